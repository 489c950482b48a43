"""Making one kind of result of another: what a Redirect, a Replace or a bare payload yields.

Invariant: an envelope is never put into an envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmspell_hookspecs import ScriptResult, ToolListing, ToolResult, bare

__all__ = ["bare", "to_listing", "to_script_result", "to_tool_result"]

_MARKS = frozenset({"result", "success", "error", "text", "message"})


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
