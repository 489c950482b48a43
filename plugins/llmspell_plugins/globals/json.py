"""The global JSON: read, write and query JSON."""

from __future__ import annotations

from typing import Any, ClassVar

from llmspell_hookspecs import Calls, InvalidInputError, ScriptGlobal, ToolResult, script_method
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import parse_text, write_text

__all__ = ["Json"]


class Json(ScriptGlobal):
    """Read, write and query JSON."""

    name: ClassVar[str] = "JSON"

    @script_method("decode")
    async def parse(self, text: str) -> Any:
        """Return the value that a JSON text stands for.

        Raises:
            InvalidInputError: It is no JSON.
        """
        return await parse_text(text)

    @script_method("encode")
    async def stringify(self, value: Any, pretty: Any = None) -> str:
        """Return a value as JSON text.

        Args:
            value: What is written.
            pretty: True, a width, or ``{pretty = true}``: on many lines, indented by two; else on one line.

        Raises:
            InvalidInputError: The value cannot be written.
        """
        wanted = pretty.get("pretty") if isinstance(pretty, dict) else pretty
        return await write_text(value, pretty=bool(wanted))

    @script_method()
    async def query(self, value: Any, program: str) -> Any:
        """Return what a jq program makes of a value; the tool json_processor runs it.

        Args:
            value: A value; a string is taken for JSON text.
            program: A jq program, such as ``.items[0]``.

        Raises:
            InvalidInputError: The program is empty.
            ToolError: It is wrong, or fails on this value.
        """
        if not program.strip():
            raise InvalidInputError("JSON.query: the program is empty; give a jq program such as '.items[0]'")
        parameters = {"operation": "query", "input": value, "query": program}
        answer = await self.services.get(Calls).call("tool:json_processor", parameters)
        return thaw(answer.result if isinstance(answer, ToolResult) else answer)
