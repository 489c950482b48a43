"""An agent as its users hold it; implements the contract's `AgentHandle`.

Invariant: every run goes through the runner; what the handle counts is what the runs did. Its lifespan is the agent's
time in the host: a host that closes shuts it down before it leaves the agent and what that needs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import trio
from msgspec import Struct

from llmspell_hookspecs import Agent, AgentInput, AgentOutput, Message
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentInfo, AgentSink
from llmspell_hookspecs.model import ModelUsage

from .stream import AgentRun

__all__ = ["Handle"]

Run = Callable[["Handle", Any, AgentSink | None, float | None], Awaitable[AgentOutput]]
Shut = Callable[["Handle"], Awaitable[None]]


class _Counts(Struct):
    """What the runs did so far."""

    runs: int = 0
    failed: int = 0
    running: int = 0
    tool_calls: int = 0
    busy_s: float = 0.0
    usage: ModelUsage = ModelUsage()
    last_error: str = ""


class Handle:
    """An agent of a host.

    Args:
        agent: The agent itself.
        scope: The script that it goes with; empty if it stays.
        run: Runs it through the runner.
        shut: Shuts it down through the runner.
        end: Does so, whatever hooks say.

    Attributes:
        agent: The agent itself.
        scope: The script that it goes with.
        closed: Whether it is shut down.
    """

    def __init__(self, agent: Agent, scope: str, run: Run, shut: Shut, end: Shut) -> None:
        self.agent = agent
        self.scope = scope
        self.closed = False
        self._closing = False
        self._run = run
        self._shut = shut
        self._end = end
        self._created_s = time.time()
        self._counts = _Counts()

    async def __aenter__(self) -> Self:
        """Return itself; the agent is open already."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Shut it down, unless that has happened."""
        await self._end(self)

    @property
    def name(self) -> str:
        """Unique within the host."""
        return self.agent.config.name

    @property
    def config(self) -> AgentConfig:
        """What it was made from."""
        return self.agent.config

    @property
    def info(self) -> AgentInfo:
        """What is known of it now."""
        config, counts = self.agent.config, self._counts
        state: Literal["ready", "running", "closed"] = "running" if counts.running else "ready"
        return AgentInfo(
            name=config.name,
            id=f"agent:{config.name}",
            kind=config.kind,
            description=config.description or self.agent.description,
            model=config.model,
            tools=config.tools,
            state="closed" if self.closed else state,
            created_s=self._created_s,
            runs=counts.runs,
            failed=counts.failed,
            running=counts.running,
            tool_calls=counts.tool_calls,
            busy_s=counts.busy_s,
            usage=counts.usage,
            last_error=counts.last_error,
            scope=self.scope,
            capabilities=tuple(dict.fromkeys((*config.capabilities, *self.agent.capabilities))),
            tags=config.tags,
        )

    @property
    def conversation(self) -> tuple[Message, ...]:
        """What it remembers."""
        return self.agent.conversation

    def remember(self, messages: Sequence[Message], /) -> None:
        """Add messages to what it remembers."""
        self.agent.keep(messages)

    def forget(self) -> None:
        """Begin a new conversation."""
        self.agent.forget()

    async def run(
        self,
        input: str | AgentInput | Mapping[str, Any],
        /,
        *,
        sink: AgentSink | None = None,
        deadline_s: float | None = None,
    ) -> AgentOutput:
        """Ask it once; see the contract's `AgentHandle`."""
        return await self._run(self, input, sink, deadline_s)

    @asynccontextmanager
    async def stream(
        self, input: str | AgentInput | Mapping[str, Any], /, *, deadline_s: float | None = None
    ) -> AsyncIterator[AgentRun]:
        """Ask it once, and return a block that yields chunks; see the contract's `AgentHandle`."""
        send, receive = trio.open_memory_channel[AgentChunk](0)
        run = AgentRun(receive)

        async def ask() -> None:
            with send:
                try:
                    run.output = await self._run(self, input, send.send, deadline_s)
                except Exception as error:
                    run.failure = error

        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with receive:
                try:
                    yield run
                except Exception as error:
                    failure = error
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if run.failure is not None:
            raise run.failure

    async def close(self) -> None:
        """Shut it down; a second call does nothing."""
        if self.closed or self._closing:
            return
        self._closing = True
        try:
            await self._shut(self)
        finally:
            self._closing = False

    def began(self) -> None:
        """Count a run that begins."""
        self._counts.running += 1

    def ended(self, output: AgentOutput | None, error: str, elapsed_s: float) -> None:
        """Count a run that ended: with an answer, or why not."""
        counts = self._counts
        counts.running -= 1
        counts.runs += 1
        counts.busy_s += elapsed_s
        if output is None:
            counts.failed += 1
            counts.last_error = error
        else:
            counts.tool_calls += len(output.tool_calls)
            counts.usage = counts.usage + output.usage
