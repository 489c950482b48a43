"""The group of tools: what one must be."""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic import BaseModel

from llmspell_hookspecs import ComponentGroup, SecurityLevel, Tool

__all__ = ["TOOLS"]

_LEVELS: Final = "SecurityLevel.SAFE, RESTRICTED or PRIVILEGED"


def _is_tool(item: Any) -> bool:
    return issubclass(item if inspect.isclass(item) else type(item), Tool)


def _is_model(item: Any) -> bool:
    return inspect.isclass(item) and issubclass(item, BaseModel)


def _tool_problem(tool: Any, name: str) -> str:
    if not isinstance(tool, Tool):
        return "is no Tool; subclass llmspell_hookspecs.Tool, or mark a function with @tool"
    if tool.name != name:
        return f"calls itself {tool.name!r}; give it the name of its entry point"
    if not _is_model(getattr(tool, "parameters", None)):
        return "has no model of its parameters; write class ...(Tool[Parameters])"
    if not isinstance(tool.level, SecurityLevel):
        return f"has the level {tool.level!r}; use {_LEVELS}"
    texts = (tool.description, tool.category, tool.version, *tool.aliases)
    if not all(isinstance(text, str) for text in texts) or isinstance(tool.aliases, str):
        return "has a description, category, version or alias that is no text; write texts, and aliases as a tuple"
    return ""


TOOLS: Final = ComponentGroup("llmspell.tools", "tool", _is_tool, "tools", _tool_problem)
