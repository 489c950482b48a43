"""The chunks of one run of an agent: handed on as they happen, or held back until the answer may leave.

Invariant: where transforms or guards stand at ``after_agent_execution`` nobody gets a chunk before the answer has
passed them; if they changed it, the stream is one text: the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import trio

from llmspell_hookspecs import AgentChunk, AgentOutput, AgentSink

__all__ = ["AgentRun", "AgentStream"]


class AgentStream:
    """What of one run was handed on, over all of its attempts.

    Args:
        sink: Takes what is handed on.
        holds: Returns whether chunks are to be held back; asked as the run begins, and again while it goes on.
    """

    def __init__(self, sink: AgentSink, holds: Callable[[], bool]) -> None:
        self._sink = sink
        self._holds = holds
        self._holding = holds()
        self._held: list[AgentChunk] = []
        self._last = ""
        self._step = 1
        self._begun = False

    async def begin(self) -> None:
        """Begin an attempt; what an earlier one handed on is void."""
        self._held.clear()
        await self._void()

    async def take(self, chunk: AgentChunk) -> None:
        """Take the next chunk from the agent."""
        self._follow(chunk)
        self._holding = self._holding or self._holds()
        if self._holding:
            self._held.append(chunk)
        else:
            self._begun = True
            await self._sink(chunk)

    async def finish(self, output: AgentOutput) -> None:
        """Hand on what is left, so that the last step's texts are the answer."""
        told = "" if self._step < output.steps else self._last  # a last step without a text says nothing
        if told != output.text:
            self._held.clear()
            await self._void()
            self._held = [AgentChunk(text=output.text, step=max(1, output.steps))] if output.text else []
        held, self._held = self._held, []
        for chunk in held:
            await self._sink(chunk)

    def _follow(self, chunk: AgentChunk) -> None:
        """Keep in mind what the texts of the last step say."""
        if chunk.step != self._step or chunk.kind == "restart":
            self._step, self._last = chunk.step, ""
        if chunk.kind == "text":
            self._last += chunk.text

    async def _void(self) -> None:
        self._last = ""
        if self._begun:
            self._begun = False
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
