"""A run under way as who asks for it iterates over it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from llmspell_hookspecs import AgentOutput
from llmspell_hookspecs.agent import AgentChunk

__all__ = ["AgentRun"]


class AgentRun:
    """A run under way whose chunks are iterated over.

    Attributes:
        output: The answer; there once the iteration has ended.
        failure: Why there is none; raised where the chunks end.
    """

    def __init__(self, chunks: trio.MemoryReceiveChannel[AgentChunk]) -> None:
        self._chunks = chunks
        self.output: AgentOutput | None = None
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[AgentChunk]:
        return self

    async def __anext__(self) -> AgentChunk:
        try:
            return await self._chunks.receive()
        except trio.EndOfChannel:
            failure, self.failure = self.failure, None
            if failure is not None:
                raise failure from None
            raise StopAsyncIteration from None
