"""The yaml-processor tool: YAML 1.2 read, written, queried and merged.

Invariant: documents are strangers' work: all of it happens in a child process, for a bounded time.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_plugins.tools.child import run_child

from . import yaml_program

__all__ = ["YamlProcessor", "YamlProcessorParameters"]

_TIME_S = 10.0


class YamlProcessorParameters(BaseModel):
    """What the yaml-processor takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["parse", "dump", "query", "merge"] = Field(
        default="parse", description="parse YAML, dump a value as YAML, query a path, or merge two documents."
    )
    input: Any = Field(description="The YAML; for dump any value.")
    query: str = Field(
        default="", max_length=1000, description="For query: where to, as servers.0.name or .servers[0].name."
    )
    other: str | None = Field(default=None, max_length=5_000_000, description="The YAML that wins, for merge.")
    all_documents: bool = Field(default=False, description="For parse and query: a list of all documents.")


class YamlProcessor(Tool[YamlProcessorParameters]):
    """Read YAML 1.2 as plain values, write values as YAML, look up a path, and merge documents."""

    name = "yaml-processor"
    aliases = ("yaml_processor",)
    category = "data"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("values", {"input": "on: [1, 0o17, no]"}, {"on": [1, 15, "no"]}),
        ToolExample("a path", {"operation": "query", "input": "a: [{b: 1}]", "query": "a.0.b"}, 1),
        ToolExample("YAML", {"operation": "dump", "input": {"b": [1], "a": None}}, {"yaml": "b:\n- 1\na: null\n"}),
    )

    async def run(self, parameters: YamlProcessorParameters, context: ToolContext) -> ToolResult:
        """Return the value; for dump ``{yaml}``.

        Raises:
            ToolError: ``invalid_input``, ``not_found``, ``limit_exceeded``, ``timeout`` or ``missing_library``.
        """
        operation, given = parameters.operation, parameters.input
        if operation == "dump":
            text = await self._child(context, yaml_program.dump, given)
            return ToolResult(operation="dump", result={"yaml": text}, text=text)
        if not isinstance(given, str):
            message = f"yaml-processor: input: {operation} takes YAML, and this is {type(given).__name__}; give a text"
            raise ToolError(message, code="invalid_input")
        context.charge(len(given))
        if operation == "merge":
            if parameters.other is None:
                message = "yaml-processor: other: there is none; give the YAML to merge in"
                raise ToolError(message, code="invalid_input")
            result = await self._child(context, yaml_program.merge, given, parameters.other)
        else:
            path = parameters.query if operation == "query" else ""
            result = await self._child(context, yaml_program.parse, given, parameters.all_documents, path)
        return ToolResult(operation=operation, result=result)

    async def _child(self, context: ToolContext, function: Any, *arguments: Any) -> Any:
        return await run_child(context, self.name, "data", _TIME_S, function, *arguments)
