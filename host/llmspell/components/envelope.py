"""Making one kind of result of another: what a Redirect, a Replace or a bare payload yields.

Invariant: an envelope is never put into an envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmspell_hookspecs import (
    DEEPEST,
    LARGEST,
    AgentOutput,
    ModelResponse,
    ScriptResult,
    ToolListing,
    ToolResult,
    bare,
    freeze,
)

__all__ = [
    "asked",
    "outgrows",
    "to_agent_output",
    "to_listing",
    "to_model_response",
    "to_script_result",
    "to_tool_result",
]

_NUMBERS: Final = frozenset({int, float, bool, type(None)})

_MARKS = frozenset({"result", "success", "error", "text", "message"})


def asked(value: Any) -> Any:
    """Answer what a model's or an agent's subject or answer gives to another component: a text as its ``input``."""
    held = bare(value)
    return {"input": held} if isinstance(held, str) else held


def to_tool_result(value: Any) -> ToolResult:
    """Answer a tool's envelope for a bare payload, a mapping of envelope fields, or another kind of result."""
    if isinstance(value, ToolResult):
        return value
    if isinstance(value, Mapping) and set(value) <= set(ToolResult.__struct_fields__) and _MARKS & set(value):
        return ToolResult(**value)
    return ToolResult(result=bare(value))


def to_script_result(value: Any) -> ScriptResult:
    """Answer a script's result for a bare value, or another kind of result."""
    return value if isinstance(value, ScriptResult) else ScriptResult(bare(value))


def to_listing(value: Any) -> ToolListing:
    """Answer a listing for a sequence of descriptions, ``{tools: ...}``, or another kind of result with one in it."""
    if isinstance(value, ToolListing):
        return value
    held = bare(value)
    tools = held.get("tools", ()) if isinstance(held, Mapping) else held
    return ToolListing(tuple(tools) if isinstance(tools, list | tuple) else (tools,))


def to_model_response(value: Any) -> ModelResponse:
    """Answer a model's response for a bare text, a mapping of its fields, or another kind of result."""
    if isinstance(value, ModelResponse):
        return value
    if isinstance(value, AgentOutput):
        return ModelResponse(value.text, (), value.finish_reason, value.usage, value.model)
    return ModelResponse(_text(value))


def to_agent_output(value: Any) -> AgentOutput:
    """Answer an agent's output for a bare text, or another kind of result."""
    if isinstance(value, AgentOutput):
        return value
    if isinstance(value, ModelResponse):
        return AgentOutput(value.text, (), value.model, value.usage, 1, value.finish_reason)
    return AgentOutput(_text(value))


def _text(value: Any) -> str:
    """Answer a value as text: a text as it is, a ``text`` in a mapping, anything else as JSON."""
    if isinstance(value, ToolResult) and value.text is not None:
        return value.text
    held = bare(value)
    if isinstance(held, Mapping) and isinstance(held.get("text"), str):
        return str(held["text"])
    return held if isinstance(held, str) else msgspec.json.encode(freeze(held), enc_hook=_encodable).decode()


def _encodable(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def outgrows(result: ToolResult, limit_bytes: int) -> bool:
    """Whether the result's strings, bytes and items add up to more than the limit; stops as soon as they do.

    What is nested too deeply, holds itself or too many items has no size: it is refused for that when it is shown to
    hooks.
    """
    size, left, parts = 0, LARGEST, [iter((result.result, result.text, result.metadata))]
    while parts and size <= limit_bytes:
        for value in parts[-1]:
            kind = type(value)
            if kind in _NUMBERS:
                size += 4
            elif isinstance(value, str | bytes):
                size += len(value)
            elif isinstance(value, dict | Mapping):
                size += 2 * len(value)
                left -= len(value)
                parts.append(iter(value.values()))
                break
            elif isinstance(value, list | tuple):
                size += 2 * len(value)
                left -= len(value)
                parts.append(iter(value))
                break
            else:
                size += 4
        else:
            parts.pop()
        if len(parts) > DEEPEST + 2 or left < 0:
            return False
    return size > limit_bytes
