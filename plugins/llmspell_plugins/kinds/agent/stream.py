"""What an agent's stream says of its run, and a run under way as who asks for it iterates over it.

Invariant: where transforms or guards stand at ``after_agent_execution`` nobody gets a chunk before the answer has
passed them (see `Stream`); if they changed it, the stream is one text: the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio

from llmspell_hookspecs import AgentOutput
from llmspell_hookspecs.agent import AgentChunk, AgentSink
from llmspell_plugins.kinds.stream import Stream

__all__ = ["AgentRun", "AgentStream"]


class AgentStream:
    """The chunks of one run, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Returns whether chunks are to be held back, see `Stream`.
    """

    def __init__(self, sink: AgentSink, holds: Callable[[], bool]) -> None:
        self._sink = sink
        self._stream = Stream(self._send, self._restart, holds)
        self._last = ""
        self._step = 1

    async def begin(self) -> None:
        """Begin an attempt; what an earlier one handed on is void."""
        self._last = ""
        await self._stream.void()

    async def take(self, chunk: AgentChunk) -> None:
        """Take the next chunk from the agent."""
        if chunk.step != self._step or chunk.kind == "restart":
            self._step, self._last = chunk.step, ""
        if chunk.kind == "text":
            self._last += chunk.text
        await self._stream.put(chunk)

    async def finish(self, output: AgentOutput) -> None:
        """Hand on what is left, so that the last step's texts are the answer."""
        told = "" if self._step < output.steps else self._last  # a last step without a text says nothing
        if told != output.text:
            await self.begin()
            if output.text:
                await self._stream.put(AgentChunk(text=output.text, step=max(1, output.steps)))
        await self._stream.finish()

    async def _send(self, chunk: AgentChunk) -> bool:
        await self._sink(chunk)
        return True

    async def _restart(self) -> None:
        await self._sink(AgentChunk("restart", step=self._step))


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
