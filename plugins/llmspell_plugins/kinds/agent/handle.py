"""An agent as its users hold it; implements the contract's `AgentHandle`.

Invariant: every run goes through the runner; what the handle counts is what the runs did. Running is a count: the state
is ``running`` from the first run's begin to the last one's end. Its lifespan is the agent's time in the host: a host
that closes shuts it down before it leaves the agent and what that needs.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol, Self

import trio
from msgspec import Struct

from llmspell_hookspecs import Agent, AgentInput, AgentOutput, InvalidInputError, Message
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentInfo, AgentSink
from llmspell_hookspecs.agent_life import AgentTransition
from llmspell_hookspecs.agents import AgentLife
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.operation import RunningOperation
from llmspell_hookspecs.runs import Verdict

from .gate import Gate
from .lifecycle import Lifecycle
from .stream import AgentRun

__all__ = ["Handle"]


class Runner(Protocol):
    """What a handle asks of the runner of agents."""

    async def ask(self, handle: Handle, given: Any, sink: AgentSink | None, deadline_s: float | None) -> AgentOutput:
        """Run it once."""

    async def ask_durably(
        self, handle: Handle, given: Any, sink: AgentSink | None, deadline_s: float | None, run_id: str
    ) -> AgentOutput:
        """Run it once, and keep what becomes of it."""

    async def go_on(
        self,
        handle: Handle,
        run_id: str,
        verdicts: Mapping[str, Verdict] | None,
        take_over: bool,
        sink: AgentSink | None,
    ) -> AgentOutput:
        """Go on with a durable run."""

    async def pause(self, handle: Handle, reason: str, when: Literal["step", "now"]) -> None:
        """Let its runs stop."""

    async def resume(self, handle: Handle) -> None:
        """Let its runs go on."""

    def steered(self, handle: Handle, text: str) -> None:
        """Say that it was told something."""

    async def recover(self, handle: Handle) -> None:
        """Bring it back from the state error."""

    async def shut(self, handle: Handle, grace_s: float | None) -> None:
        """Shut it down."""

    async def end(self, handle: Handle) -> None:
        """Shut it down, whatever hooks say."""

    async def tell(self, handle: Handle) -> None:
        """Tell who wants to know of the changes of its state."""


class _Counts(Struct):
    """What the runs did so far."""

    runs: int = 0
    failed: int = 0
    running: int = 0
    tool_calls: int = 0
    busy_s: float = 0.0
    usage: ModelUsage = ModelUsage()
    last_error: str = ""
    in_a_row: int = 0


class Handle:
    """An agent of a host.

    Args:
        agent: The agent itself.
        scope: The script that it goes with; empty if it stays.
        runner: Runs it.
        lifecycle: Its states.
        gate: Where its runs stop while it is paused.

    Attributes:
        agent: The agent itself.
        scope: The script that it goes with.
        lifecycle: Its states.
        gate: Where its runs stop while it is paused.
        queue: Where runs wait for the one before.
        under_way: The operations that run it.
    """

    def __init__(self, agent: Agent, scope: str, runner: Runner, lifecycle: Lifecycle, gate: Gate) -> None:
        self.agent = agent
        self.scope = scope
        self.lifecycle = lifecycle
        self.gate = gate
        self.queue = trio.StrictFIFOLock()
        self.under_way: list[RunningOperation] = []
        self._runner = runner
        self._created_s = time.time()
        self._counts = _Counts()
        self._closing = False
        self._stopping = 0
        self._idle: trio.Event | None = None

    async def __aenter__(self) -> Self:
        """Return itself; the agent is open already."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Shut it down, unless that has happened."""
        await self._runner.end(self)

    @property
    def name(self) -> str:
        """Unique within the host."""
        return self.agent.config.name

    @property
    def config(self) -> AgentConfig:
        """What it was made from."""
        return self.agent.config

    @property
    def closed(self) -> bool:
        """Whether it is shut down."""
        return self.lifecycle.state == "terminated"

    @property
    def info(self) -> AgentInfo:
        """What is known of it now."""
        config, counts = self.agent.config, self._counts
        return AgentInfo(
            name=config.name,
            id=f"agent:{config.name}",
            kind=config.kind,
            description=config.description or self.agent.description,
            model=config.model,
            tools=config.tools,
            state=self.lifecycle.state,
            created_s=self._created_s,
            runs=counts.runs,
            failed=counts.failed,
            running=counts.running,
            tool_calls=counts.tool_calls,
            busy_s=counts.busy_s,
            usage=counts.usage,
            last_error=counts.last_error or self.lifecycle.error,
            scope=self.scope,
            capabilities=tuple(dict.fromkeys((*config.capabilities, *self.agent.capabilities))),
            tags=config.tags,
        )

    @property
    def life(self) -> AgentLife:
        """In which states it was."""
        life = self.lifecycle
        return AgentLife(
            life.state,
            life.count,
            life.errors,
            life.recoveries,
            life.error,
            life.uptime_s,
            life.spent_s(),
            life.history,
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

    # Its life.

    async def pause(self, reason: str = "", /, *, when: Literal["step", "now"] = "step") -> None:
        """Let its runs stop; see the contract's `AgentHandle`."""
        await self._runner.pause(self, reason, when)

    async def resume(self) -> None:
        """Let its runs go on; see the contract's `AgentHandle`."""
        await self._runner.resume(self)

    def tell(self, text: str, /) -> None:
        """Let the run under way take in a message; see the contract's `AgentHandle`."""
        if self.lifecycle.state in ("terminating", "terminated"):
            raise InvalidInputError(f"agent {self.name}: it is shut down; make another", field="agent")
        if not isinstance(text, str) or not text.strip():
            raise InvalidInputError(f"agent {self.name}: tell: there is no text; say something", field="text")
        self.gate.say(Message("user", text))
        self._runner.steered(self, text)

    async def stop(self, reason: str = "", /) -> int:
        """End the runs under way; see the contract's `AgentHandle`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._stopping += 1
        try:
            ended = sum([running.stop(reason or "it was stopped; ask again") for running in tuple(self.under_way)])
            await self.settled()
        finally:
            self._stopping -= 1
        return ended

    async def settled(self) -> None:
        """Wait until nothing runs."""
        while self._counts.running:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    async def set_error(self, message: str, /) -> None:
        """Bring it into the state error; see the contract's `AgentHandle`."""
        self.lifecycle.become("error", message)
        self.gate.open()
        await self._runner.tell(self)

    async def recover(self) -> None:
        """Bring it back from the state error; see the contract's `AgentHandle`."""
        await self._runner.recover(self)

    async def close(self, *, grace_s: float | None = None) -> None:
        """Shut it down; a second call does nothing."""
        if self._closing or self.lifecycle.state in ("terminating", "terminated"):
            return
        self._closing = True
        try:
            await self._runner.shut(self, grace_s)
        finally:
            self._closing = False

    # Asking.

    async def run(
        self,
        input: str | AgentInput | Mapping[str, Any],
        /,
        *,
        sink: AgentSink | None = None,
        deadline_s: float | None = None,
        durable: bool | None = None,
        run_id: str = "",
    ) -> AgentOutput:
        """Ask it once; see the contract's `AgentHandle`."""
        if self.agent.config.durable if durable is None else durable:
            return await self._runner.ask_durably(self, input, sink, deadline_s, run_id)
        if run_id:
            message = f"agent {self.name}: run_id {run_id!r:.80} is of a run that is kept; say durable, too"
            raise InvalidInputError(message, field="run_id")
        return await self._runner.ask(self, input, sink, deadline_s)

    async def go_on(
        self,
        run_id: str,
        /,
        *,
        verdicts: Mapping[str, Verdict] | None = None,
        take_over: bool = False,
        sink: AgentSink | None = None,
    ) -> AgentOutput:
        """Go on with a durable run; see the contract's `AgentHandle`."""
        return await self._runner.go_on(self, run_id, verdicts, take_over, sink)

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
                    run.output = await self._runner.ask(self, input, send.send, deadline_s)
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

    # What the runner tells it.

    def began(self) -> None:
        """Count a run that begins.

        Raises:
            InvalidInputError: It runs nothing now.
        """
        life = self.lifecycle
        if life.state == "ready":
            life.become("running")
        elif life.state not in ("running", "paused"):
            raise self._refusal()
        self._counts.running += 1

    def check(self) -> None:
        """Check that it may be asked.

        Raises:
            InvalidInputError: It runs nothing now.
        """
        if self.lifecycle.state not in ("ready", "running", "paused"):
            raise self._refusal()

    def _refusal(self) -> InvalidInputError:
        life = self.lifecycle
        what = "it is shut down; make another"
        if life.state in ("error", "recovering"):
            what = f"it is in the state {life.state} ({life.error}); recover it"
        return InvalidInputError(f"agent {self.name}: {what}", field="agent")

    def ended(self, output: AgentOutput | None, error: str, elapsed_s: float, *, is_fault: bool) -> None:
        """Count a run that ended: with an answer, or why not, and whether that is a fault of its own."""
        counts, life = self._counts, self.lifecycle
        counts.running -= 1
        counts.runs += 1
        counts.busy_s += elapsed_s
        if output is None:
            counts.failed += 1
            counts.last_error = error
            counts.in_a_row += is_fault and not self._stopping
        else:
            counts.in_a_row = 0
            counts.tool_calls += len(output.tool_calls)
            counts.usage = counts.usage + output.usage
        most = self.agent.config.max_failures
        if most and counts.in_a_row >= most and life.may("error") and life.state != "terminating":
            counts.in_a_row = 0
            life.become("error", f"{most} runs in a row failed, the last one: {error}")
            self.gate.open()  # what waits there was begun before, and goes on
        elif life.state == "running" and not counts.running:
            life.become("ready")
        if self._idle is not None and not counts.running:
            self._idle.set()
            self._idle = None

    @property
    def running(self) -> int:
        """How many runs are under way."""
        return self._counts.running

    def untold(self) -> Sequence[AgentTransition]:
        """Return the changes of its state that nobody was told of."""
        return self.lifecycle.take_untold()
