"""What is timed in a turn: our own agent, with a model that answers at once, in the process.

Invariant: the host is opened as anyone's is, with the ``llm`` agent of the box; its model obeys the rule of the peers'
(see `turn_peers`). Its conversation is forgotten before each turn, within the timed part, as theirs is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from pydantic import BaseModel

from llmspell import Host
from llmspell_hookspecs import (
    HookContext,
    ModelRequest,
    ModelResponse,
    Provider,
    ProviderInfo,
    Services,
    Tool,
    ToolContext,
)
from llmspell_hookspecs.model import ChunkSink, Endpoint, ModelUsage, ToolUse

from .turn_peers import USE, Turn

__all__ = ["Add", "Fake", "open_agent"]


class _Parameters(BaseModel):
    a: int
    b: int


class Add(Tool[_Parameters]):
    """Add two numbers."""

    name = "add"

    async def run(self, parameters: _Parameters, context: ToolContext) -> int:
        """Return their sum."""
        return parameters.a + parameters.b


class _Settings(BaseModel):
    """None."""


class Fake:
    """Implements the contract's `Provider`."""

    name = "fake"
    rank: ClassVar[int | None] = None
    Settings: ClassVar[type[BaseModel]] = _Settings

    def __init__(self, settings: _Settings, services: Services) -> None:
        pass

    def info(self) -> ProviderInfo:
        """Return that it takes tools."""
        return ProviderInfo("fake", tools=True)

    def at(self, endpoint: Endpoint, /) -> Provider:
        """Return itself."""
        return self

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Answer by the rule."""
        last, usage = request.messages[-1], ModelUsage(1, 1)
        if last.role == "tool":
            return ModelResponse(f"tool said: {last.content}", usage=usage)
        if last.content == USE:
            return ModelResponse(
                tool_uses=(ToolUse("1", "add", {"a": 2, "b": 2}),), finish_reason="tool_use", usage=usage
            )
        return ModelResponse(last.content, usage=usage)

    async def close(self) -> None:
        """Do nothing."""
        return


@asynccontextmanager
async def open_agent(hooks: int = 0, *, tool: bool = False) -> AsyncIterator[Turn]:
    """Open a host with one agent, and so many hooks before a model call, that do nothing."""
    async with Host.open(False, plugins=[Add, Fake], discover=False) as host:
        for number in range(hooks):
            host.hooks.register("before_model_call", _nothing, name=f"nothing_{number}")
        agent = await host.agents.create(name="writer", model="fake/echo", tools=["add"] if tool else [])

        async def turn(text: str) -> str:
            agent.forget()
            return (await agent.run(text)).text

        yield turn


def _nothing(context: HookContext[ModelRequest]) -> None:
    return None
