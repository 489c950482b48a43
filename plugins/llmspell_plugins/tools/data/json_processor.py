"""The json_processor tool: query JSON with jq, check it against a JSON schema, read JSON lines. Sizes in characters.

Invariant: whatever cannot be interrupted runs in a child process, whatever takes long on large input in a thread.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import ToolLimits

from . import json_program
from .json_text import decode, encode

__all__ = ["JsonProcessor", "JsonProcessorParameters"]

_LARGEST = 100 * 1024 * 1024


with warnings.catch_warnings():
    # pydantic has a method of this name, which it has given up, and warns of the field that stands in its place.
    warnings.filterwarnings("ignore", 'Field name "schema"')

    class JsonProcessorParameters(BaseModel):
        """What the json_processor takes."""

        model_config = ConfigDict(extra="forbid")

        operation: Literal["query", "transform", "jq", "validate", "stream", "parse"] = Field(
            default="query",
            description="query (also called transform and jq), validate, stream (query each of the JSON lines), "
            "or parse.",
        )
        input: Any = Field(default=None, description="A JSON value, or a JSON text; JSON lines or an array for stream.")
        query: str = Field(default=".", max_length=100_000, description="A jq program, for query and stream.")
        schema: Any = Field(
            default=None,
            validation_alias=AliasChoices("schema", "schema_"),  # the second was its name before
            description="A JSON schema or its text, for validate.",
        )


class JsonProcessor(Tool[JsonProcessorParameters]):
    """Query JSON with jq, validate it against a JSON schema, or read it."""

    name = "json_processor"
    aliases = ("json-processor", "json-processor-tool")
    category = "data"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=30, memory_bytes=1024 * 1024 * 1024)
    repeatable = True
    examples = (
        ToolExample("a part", {"operation": "query", "input": {"a": [1, 2]}, "query": ".a[1]"}, 2),
        ToolExample("a check", {"operation": "validate", "input": [1], "schema": {"type": "array"}}, {"valid": True}),
    )

    async def run(self, parameters: JsonProcessorParameters, context: ToolContext) -> ToolResult:
        """Return the value, and its JSON as text.

        Raises:
            ToolError: ``invalid_input``, ``invalid_query``, ``query_failed``, ``invalid_schema``, ``limit_exceeded`` or
                ``missing_library``.
        """
        text = await _text_of(parameters, context)
        if len(text) > _LARGEST:
            what = f"json_processor: input: {len(text)} characters are more than {_LARGEST}; give less"
            raise ToolError(what, code="limit_exceeded")
        context.charge(len(text))
        answer = await _answer(parameters, text, context)
        result = await context.run_thread(decode, answer, "json_processor: input")
        return ToolResult(operation=parameters.operation, result=result, text=answer)


async def _text_of(parameters: JsonProcessorParameters, context: ToolContext) -> str:
    """Return the input as JSON text; an array to stream becomes lines."""
    value = parameters.input
    if isinstance(value, str):
        return value
    if parameters.operation == "parse":
        what = f"json_processor: input: parse takes a text, and this is {type(value).__name__}; query takes any value"
        raise ToolError(what, code="invalid_input")
    if parameters.operation == "stream":
        if not isinstance(value, list | tuple):
            what = f"json_processor: input: stream takes JSON lines or an array, not {type(value).__name__}; use query"
            raise ToolError(what, code="invalid_input")
        return str(await context.run_thread(_lines, value))
    return str(await context.run_thread(encode, value, "json_processor: input"))


def _lines(values: Sequence[Any]) -> str:
    return "\n".join(encode(value, f"json_processor: item {index} of input") for index, value in enumerate(values))


async def _answer(parameters: JsonProcessorParameters, text: str, context: ToolContext) -> str:
    """Return the result as JSON text."""
    if parameters.operation == "parse":
        return text
    try:
        if parameters.operation == "validate":
            return str(
                await context.run_process(json_program.validate, text, await _schema(parameters.schema, context))
            )
        program = json_program.stream if parameters.operation == "stream" else json_program.query
        return str(await context.run_process(program, text, parameters.query))
    except ImportError as error:
        what = f"json_processor: {parameters.operation} needs {error.name}; run pip install 'llmspell[data]'"
        raise ToolError(what, code="missing_library") from error


async def _schema(schema: Any, context: ToolContext) -> str:
    if schema is None:
        raise ToolError("json_processor: schema: there is none; give a JSON schema to validate", code="invalid_input")
    if isinstance(schema, str):
        return schema
    return str(await context.run_thread(encode, schema, "json_processor: schema"))
