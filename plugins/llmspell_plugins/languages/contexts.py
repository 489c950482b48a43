"""A hook's context as a plain table, with the names that the original's guides use beside the subject's own.

Invariant: whatever a hook does with the table, the context stays as it is. What plugins keep in the context's metadata
is theirs: a script is shown what scripts keep there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from llmspell_hookspecs import Failure, HookContext, ToolCall
from llmspell_hookspecs.points import script_name_of

__all__ = ["ALIASES", "SCRIPT", "data_of", "table_of"]

ALIASES: Final = {"tool_name": "name", "input": "parameters", "output": "result"}
"""Names that the original's guides use, and the fields that they stand for where the subject has such a field."""

SCRIPT: Final = "script"
"""The namespace of the metadata in which scripts keep what is theirs; `data_of` shows it beside the subject."""

_PHASES: Final = {
    "tool_parameter_validation": "ParameterValidation",
    "tool_security_check": "SecurityCheck",
    "tool_resource_allocated": "ResourceAllocation",
    "before_tool_execution": "PreExecution",
    "after_tool_execution": "PostExecution",
    "tool_error": "ErrorHandling",
    "tool_timeout": "Timeout",
    "tool_resource_released": "ResourceCleanup",
}


def table_of(context: HookContext[Any]) -> dict[str, Any]:
    """Return the table that a script's hook is given."""
    point = context.point
    component = context.component
    operation = context.operation
    plain: dict[str, Any] = {
        "point": point if ":" in point else script_name_of(point),
        "correlation_id": operation.correlation_id,
        "component_id": {
            "type": component.kind.capitalize(),
            "component_type": component.kind.capitalize(),
            "name": component.name,
            "id": component.id,
        },
        "language": context.language,
        "metadata": {**_facts_of(context), **_kept_by_scripts(context)},
        "operation": _plain(operation),
        "data": data_of(context),
    }
    if context.request is not None:
        plain["request"] = _plain(context.request)
        plain["elapsed_ms"] = context.elapsed_ns / 1e6
    if context.outcome is not None:
        plain["outcome"] = _plain(context.outcome)
    if context.forks:
        plain["forks"] = _plain(context.forks)
    return plain


def _facts_of(context: HookContext[Any]) -> dict[str, str]:
    """Return what the original puts into the metadata of a tool's hooks; nothing at the other points."""
    held = (context.subject, getattr(context.subject, "call", None), context.request)
    call = next((each for each in held if isinstance(each, ToolCall)), None)
    if call is None:
        return {}
    facts = {
        "tool_name": call.name,
        "tool_category": call.category.capitalize(),
        "security_level": call.level.capitalize(),
    }
    return {**facts, "execution_phase": _PHASES[context.point]} if context.point in _PHASES else facts


def _kept_by_scripts(context: HookContext[Any]) -> dict[str, Any]:
    return {"script": _plain(context.metadata["script"])} if "script" in context.metadata else {}


def _plain(value: Any) -> Any:
    """Return a value with structs and read-only containers as plain ones; an error is its text, a secret masked."""
    if isinstance(value, msgspec.Struct):
        return {field: _plain(getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, BaseException | SecretStr) else value


def data_of(context: HookContext[Any]) -> Any:
    """Return the subject's fields, the guides' names and what scripts keep beside them; what is no struct as it is."""
    subject = context.subject
    if not isinstance(subject, msgspec.Struct):
        return _plain(subject)
    data: dict[str, Any] = _plain(subject)
    if isinstance(subject, Failure):
        data.pop("error")
        data["error"] = data["error_message"] = subject.message
    for alias, field in ALIASES.items():
        if alias not in data and field in data:
            data[alias] = data[field]
    request = context.request
    if request is not None:
        for alias, field in (("tool_name", "name"), ("parameters", "parameters"), ("input", "parameters")):
            if alias not in data and hasattr(request, field):
                data[alias] = _plain(getattr(request, field))
    data["attempt"] = context.operation.attempt
    kept = _plain(context.metadata[SCRIPT]) if SCRIPT in context.metadata else {}
    return {**kept, **data}
