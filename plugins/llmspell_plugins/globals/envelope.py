"""A tool's answer as scripts see it, and a tool's failure as scripts hear of it.

The envelope's keys lie at the top (``operation``, ``success``, ``result``, ``message``, ``error``, ``metadata``);
beside them ``text`` (raw content, else the envelope as JSON), ``data`` (JSON content parsed, else the result) and
``_raw_text``.

Invariant: a failure says ``Tool execution failed:`` and keeps the code of its cause; a denial stays a denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import trio

from llmspell_hookspecs import InvalidInputError, LlmspellError, OperationCancelledError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import is_small, parse_text, write_text

__all__ = ["answer_of", "failure_of", "soft_failure"]

_SOFT: Final = frozenset({("file_operations", "write")})
"""Whose failures are envelopes for scripts, as in the original's version 0.7."""
_ERROR_TYPES: Final = ((SecurityError, "security_violation"), (InvalidInputError, "validation_error"))


async def answer_of(answer: Any, elapsed_ms: float) -> dict[str, Any]:
    """Return the table that a script is given for what a tool answered.

    Args:
        answer: A tool's result, or the payload of one.
        elapsed_ms: How long the call took; ``metadata.execution_time_ms`` says it.
    """
    result = answer if isinstance(answer, ToolResult) else ToolResult(answer)
    envelope = {
        "operation": result.operation,
        "success": result.success,
        "result": await _thawed(result.result),
        "message": result.message,
        "error": thaw(result.error),
        "metadata": thaw(result.metadata),
    }
    text = result.text if result.text is not None else await _envelope_text(envelope)
    inner = {} if result.text is None else {"response": _response(envelope)}  # there the original keeps it then
    envelope["metadata"] = {"execution_time_ms": elapsed_ms, **envelope["metadata"], **inner}
    parsed = await _parsed(result.text)
    data = envelope["result"] if parsed is None else parsed
    return {**envelope, "text": text, "data": data, "_raw_text": text}


def failure_of(name: str, error: LlmspellError) -> LlmspellError:
    """Return the error that a script is given for a tool's failure.

    Args:
        name: The tool, as the script called it.
        error: Why the call failed.
    """
    if isinstance(error, OperationCancelledError):
        code = "" if error.code == "denied" else f" ({error.code})"
        message = (
            f"Tool execution failed: {name} was denied{code} by hook {error.hook} at {error.point}: {error.reason}"
        )
        return OperationCancelledError(
            message, hook=error.hook, point=error.point, reason=error.reason, code=error.code, component=error.component
        )
    details = error.details if isinstance(error, ToolError) else None
    return ToolError(f"Tool execution failed: {error}", code=error.code, details=details)


def soft_failure(tool: str | None, given: Mapping[str, Any], error: LlmspellError) -> ToolResult | None:
    """Return the envelope of a failed write, which the original's scripts read where others raise; else None.

    Args:
        tool: The tool's canonical name.
        given: Its parameters.
        error: Why the call failed; what a hook denied is raised.
    """
    if (tool, given.get("operation")) not in _SOFT or isinstance(error, OperationCancelledError):
        return None
    kind = next((word for type_, word in _ERROR_TYPES if isinstance(error, type_)), "execution_error")
    return ToolResult(
        {"error_type": kind, "error": str(error), "path": given.get("path")},
        str(given["operation"]),
        False,
        str(error),
        {"message": str(error), "code": error.code},
    )


class _Response(ScriptObject):
    """An envelope around a large result, which crosses to the script a second time only if it is asked for."""

    def __init__(self, envelope: Mapping[str, Any]) -> None:
        self._envelope = envelope

    def script_fields(self) -> Mapping[str, Any]:
        """Return all but the result."""
        return {key: value for key, value in self._envelope.items() if key != "result"}

    def script_lookup(self, name: str) -> Any:
        """Return the result."""
        return self._envelope["result"] if name == "result" else None


def _response(envelope: Mapping[str, Any]) -> Any:
    return dict(envelope) if is_small(envelope["result"]) else _Response(dict(envelope))


async def _thawed(value: Any) -> Any:
    if is_small(value):
        return thaw(value)
    return await trio.to_thread.run_sync(thaw, value)


async def _envelope_text(envelope: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in envelope.items() if value not in (None, "", {})}
    try:
        return await write_text(kept, pretty=True)
    except InvalidInputError:  # bytes and the like: the result itself still crosses
        return str(envelope["message"])


async def _parsed(text: str | None) -> Any:
    """Return what a JSON object or list in the text stands for, or None if it is none."""
    if text is None or text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return await parse_text(text)
    except (InvalidInputError, ResourceLimitError):
        return None
