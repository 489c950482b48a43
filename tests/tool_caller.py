"""How the tests of tools call one: the parameters are validated, and threads and processes are threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pydantic
import trio

from llmspell_hookspecs import InvalidInputError, Tool, ToolContext, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.tool import ToolLimits


class Context:
    """A tool's context without a host."""

    def __init__(self, limits: ToolLimits, services: Any = None) -> None:
        self.limits = limits
        self.services = services
        self.charged = 0

    def charge(self, size_bytes: int, /) -> None:
        self.charged += size_bytes
        if self.charged > self.limits.memory_bytes:
            raise ResourceLimitError("tool: too much memory; give it less", resource="memory_bytes")

    async def run_thread(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(function, *arguments)

    async def run_process(self, function: Callable[..., Any], /, *arguments: Any, work_s: float | None = None) -> Any:
        return await trio.to_thread.run_sync(function, *arguments)


async def acall(tool: type[Tool[Any]], **parameters: Any) -> ToolResult:
    """Call a tool inside a running trio loop."""
    try:
        validated = tool.parameters.model_validate(parameters)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(
            f"{tool.name}: {first['msg']}; correct it", field=".".join(map(str, first["loc"]))
        ) from error
    return cast(ToolResult, await tool().run(validated, cast(ToolContext, Context(tool.limits))))


def call(tool: type[Tool[Any]], **parameters: Any) -> ToolResult:
    """Call a tool and return its result."""
    return trio.run(lambda: acall(tool, **parameters))
