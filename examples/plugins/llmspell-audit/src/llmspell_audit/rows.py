"""The log's rows: plain dicts, secrets masked, texts cut to 200 characters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from llmspell_hookspecs import Cancel, Failure, HookContext, ToolCall, ToolResult
from llmspell_hookspecs.script import ScriptRun

from .masking import Masking

__all__ = ["asked_row", "ended_row"]

_LONGEST: Final = 200


def asked_row(context: HookContext[Any], request: ToolCall | ScriptRun, names: Iterable[str]) -> dict[str, Any]:
    """Return the row that says what was asked for, and by whom."""
    return {**_head("asked", context), "request": _request(request, names)}


def ended_row(context: HookContext[Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the row that says how it ended."""
    row = {**_head("ended", context), "attempt": context.operation.attempt, "status": "completed"}
    row["body_ms"] = round(context.elapsed_ns / 1e6, 3)
    outcome = context.outcome
    if outcome is not None:
        row["status"] = outcome.status
        if outcome.decision is not None:
            row["decision"] = {"hook": outcome.hook, "answer": type(outcome.decision).__name__}
        if isinstance(outcome.decision, Cancel):
            row["decision"] |= {"code": outcome.decision.code, "reason": _cut(outcome.decision.reason)}
        if outcome.error is not None:
            row["error"] = _error(outcome.error, context.request, names)
    if isinstance(context.subject, ToolResult):
        row["success"] = context.subject.success
    if context.forks:
        row["forks"] = [{"component": fork.call.address, "status": fork.status} for fork in context.forks]
    return row


def _head(event: str, context: HookContext[Any]) -> dict[str, Any]:
    operation = context.operation
    return {
        "event": event,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "operation": operation.id,
        "parent": operation.parent_id,
        "correlation": operation.correlation_id,
        "component": f"{context.component.kind}:{context.component.name}",
        "language": context.language,
    }


def _request(request: ToolCall | ScriptRun, names: Iterable[str]) -> dict[str, Any]:
    if isinstance(request, ScriptRun):
        return {"name": request.name, "path": request.path}
    return {name: _cut(value) for name, value in _masking(names, request).masked(request.parameters).items()}


def _error(failure: Failure, request: Any, names: Iterable[str]) -> dict[str, Any]:
    message = _masking(names, request).masked(failure.message)
    return {"type": failure.type, "code": failure.code, "message": _cut(message)}


def _masking(names: Iterable[str], request: Any) -> Masking:
    parameters: Mapping[str, Any] = request.parameters if isinstance(request, ToolCall) else {}
    return Masking(names, parameters, secrets=True)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}... ({len(value)} characters)"
    if isinstance(value, Mapping):
        return {str(key): _cut(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(item) for item in value]
    plain = value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value))
    return value if plain else _cut(repr(value))
