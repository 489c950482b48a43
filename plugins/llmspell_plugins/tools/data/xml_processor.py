"""The xml-processor tool: read XML, query it with XPath, check it by a schema, write it another way.

Invariant: documents are strangers' work: all of it happens in a child process, for a bounded time.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_plugins.tools.child import run_child

from . import xml_program

__all__ = ["XmlProcessor", "XmlProcessorParameters"]

_TIME_S = 5.0

with warnings.catch_warnings():
    # pydantic has a method of this name, which it has given up, and warns of the field that stands in its place.
    warnings.filterwarnings("ignore", 'Field name "schema"')

    class XmlProcessorParameters(BaseModel):
        """What the xml-processor takes."""

        model_config = ConfigDict(extra="forbid")

        operation: Literal["parse", "query", "transform_json", "validate", "format", "c14n"] = Field(
            default="parse",
            description="parse (what it holds), query (XPath 1.0), transform_json, validate, format, c14n.",
        )
        input: str = Field(max_length=20_000_000, description="The XML.")
        query: str = Field(
            default="/*",
            max_length=10_000,
            validation_alias=AliasChoices("query", "xpath", "expression"),
            description="An XPath, for query.",
        )
        namespaces: dict[str, str] = Field(
            default={}, max_length=100, description="The addresses of the prefixes that the query uses."
        )
        schema: Any = Field(
            default=None,
            validation_alias=AliasChoices("schema", "schema_"),
            description="The schema's text, for validate.",
        )
        schema_language: Literal["xsd", "rng"] = Field(default="xsd", description="XML Schema or RELAX NG.")


class XmlProcessor(Tool[XmlProcessorParameters]):
    """Read XML, query it with XPath, validate it, and turn it into JSON or another layout."""

    name = "xml-processor"
    aliases = ("xml_processor", "xml-processor-tool")
    category = "data"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("an XPath", {"operation": "query", "input": "<a><b>1</b></a>", "query": "//b/text()"}, ["1"]),
        ToolExample(
            "JSON", {"operation": "transform_json", "input": '<a x="1"><b/></a>'}, {"a": {"@x": "1", "b": None}}
        ),
    )

    async def run(self, parameters: XmlProcessorParameters, context: ToolContext) -> ToolResult:
        """Return what the operation says: facts, finds, values, ``{valid, errors}``, or the XML.

        Raises:
            ToolError: ``invalid_input``, ``invalid_query``, ``invalid_schema``, ``limit_exceeded``, ``timeout`` or
                ``missing_library``.
            ResourceLimitError: It needs too much memory.
        """
        context.charge(len(parameters.input))
        operation, text = parameters.operation, parameters.input
        match operation:
            case "query":
                result = await self._child(context, xml_program.query, text, parameters.query, parameters.namespaces)
            case "transform_json":
                result = await self._child(context, xml_program.to_json, text)
            case "validate":
                if not isinstance(parameters.schema, str):
                    message = "xml-processor: schema: there is no text; give an XML Schema or RELAX NG"
                    raise ToolError(message, code="invalid_input")
                arguments = (text, parameters.schema, parameters.schema_language)
                result = await self._child(context, xml_program.validate, *arguments)
            case "format" | "c14n":
                function = xml_program.formatted if operation == "format" else xml_program.canonical
                written = await self._child(context, function, text)
                return ToolResult(operation=operation, result={"xml": written}, text=written)
            case _:
                result = await self._child(context, xml_program.parse, text)
        return ToolResult(operation=operation, result=result)

    async def _child(self, context: ToolContext, function: Any, *arguments: Any) -> Any:
        return await run_child(context, self.name, "xml", _TIME_S, function, *arguments)
