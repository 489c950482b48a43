"""Tools as scripts hold them: an entry of a listing, and a tool that can be run.

Both behave as tables and, where a text is wanted, as the tool's name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from llmspell_hookspecs import LlmspellError, script_method
from llmspell_hookspecs.language import ScriptObject
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.values import thaw

from .tool_schema import script_schema

__all__ = ["ToolEntry", "ToolHandle"]

Invoke = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any]]]
_TOLD: Final = frozenset({"name", "description", "version", "category", "level", "aliases"})


class ToolEntry(ScriptObject):
    """One tool in a listing."""

    def __init__(self, listed: Mapping[str, Any]) -> None:
        self._fields = {key: thaw(value) for key, value in listed.items() if key in _TOLD}

    def script_fields(self) -> Mapping[str, Any]:
        """Return what the tool tells of itself."""
        return self._fields

    def script_text(self) -> str:
        """Return the tool's name."""
        return str(self._fields.get("name", ""))


class ToolHandle(ScriptObject):
    """A tool that can be run: ``Tool.calculator``, ``Tool.get("calculator")``."""

    def __init__(self, name: str, tools: Tools, invoke: Invoke) -> None:
        self._name = name
        self._tools = tools
        self._invoke = invoke

    def script_fields(self) -> Mapping[str, Any]:
        """Return the name; the rest is looked up when it is asked for, since it imports the tool."""
        return {"name": self._name}

    def script_lookup(self, name: str) -> Any:
        """Return another fact about the tool, or None."""
        if name not in _TOLD and name != "schema":
            return None
        try:
            described = self._tools.describe(self._name)
        except LlmspellError:
            return None
        return script_schema(described) if name == "schema" else thaw(described.get(name))

    def script_text(self) -> str:
        """Return the tool's name."""
        return self._name

    @script_method("invoke", "call", "execute_async")
    async def execute(
        self, parameters: Mapping[str, Any] | None = None, rest: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the tool.

        Args:
            parameters: What it is given.
            rest: What it is given, if a receiver of the script's own stands first: ``tool.execute({}, parameters)``.

        Raises:
            ToolError: It failed.
            OperationCancelledError: A hook denied it.
        """
        return await self._invoke(self._name, parameters or {} if rest is None else rest)

    @script_method()
    def get_schema(self) -> dict[str, Any]:
        """Return ``{name, description, parameters, json_schema}``."""
        return script_schema(self._tools.describe(self._name))
