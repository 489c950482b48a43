"""Making, running and shutting down agents: what each adds to the operation around it.

Invariant: an agent is made, runs and ends through the runner only. Those of a script go when it ends, and all of them
when the host closes.

It is longer than most because how an agent is made, runs, pauses, recovers and ends is one story.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
import trio
from msgspec import structs
from pydantic import SecretStr

from llmspell_hookspecs import (
    AgentInput,
    AgentOutput,
    InvalidInputError,
    LlmspellError,
    Message,
    OperationCancelledError,
    Services,
)
from llmspell_hookspecs.agent import AgentConfig, AgentInfo, AgentKind, AgentSink
from llmspell_hookspecs.agent_life import AgentPause, AgentRecovery
from llmspell_hookspecs.agents import Agents, Turn
from llmspell_hookspecs.context import ComponentRef, OperationRef
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError, ResourceLimitError, text_of_error
from llmspell_hookspecs.event import Events
from llmspell_hookspecs.fit import fit, plain, thaw_fields
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.kind import CallOptions, ComponentKind, Declared, Registries
from llmspell_hookspecs.operation import Asker, Operation, OperationKind, Operations, RunningOperation, same
from llmspell_hookspecs.payload import question_of
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.services import SettingsAccess, Tools
from llmspell_hookspecs.workflows import WorkflowRun
from llmspell_plugins.kinds.hiding import hide_fields, reveal_fields
from llmspell_plugins.kinds.stream import AgentStream, Watch
from llmspell_plugins.kinds.workflow.stage import PausedError

from .durable import Asked, DurableRuns
from .gate import Gate
from .group import AGENTS
from .handle import Handle
from .lifecycle import Lifecycle
from .registry import AgentRegistry

__all__ = ["AGENT", "AgentRunner"]


def _facts(output: AgentOutput) -> Mapping[str, Any]:
    usage = output.usage
    return {
        "model": output.model,
        "steps": output.steps,
        "tool_calls": len(output.tool_calls),
        "text_length": len(output.text),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


def _to_output(value: Any) -> AgentOutput:
    return hide_fields(AgentOutput.of(value))


AGENT: Final = OperationKind(
    name="agent",
    before="before_agent_execution",
    around="around_agent_execution",
    after="after_agent_execution",
    error="agent_error",
    result=AgentOutput,
    to_result=_to_output,
    payload=question_of,
    events=True,
    facts=_facts,
    composes=True,
)
_LONGEST_NAME: Final = 200
_NO_FAULTS: Final = (OperationCancelledError, PausedError)
_CLOSING_S: Final = 1.0
_LAST_MOMENTS_S: Final = 0.1
_BACKOFF_S: Final = 1.0
_LONGEST_BACKOFF_S: Final = 30.0
_LEAST: Final = (
    ("max_steps", 1),
    ("max_tool_calls", 0),
    ("max_parallel", 1),
    ("max_conversation", 0),
    ("max_failures", 0),
)
_CHANGES: Final = ("agent_state_changed",)
T = TypeVar("T")
_LASTING: Final = attrgetter("name", "kind", "description", "model", "tools")
"""What of an agent is the same in a run that is repeated."""
_INIT: Final = OperationKind(
    name="agent_init",
    before="before_agent_init",
    after="after_agent_init",
    result=AgentInfo,
    identity=_LASTING,
    composes=True,
)
_SHUTDOWN: Final = OperationKind(
    name="agent_shutdown",
    before="before_agent_shutdown",
    after="after_agent_shutdown",
    result=AgentInfo,
    identity=_LASTING,
    composes=True,
)


_Kept: TypeAlias = tuple[WorkflowRun, Sequence[Message]]
"""Of a durable run: who keeps it, and the conversation before it."""


class _Context:
    """What one run of an agent is given beside its input; implements the contract's ``AgentContext``."""

    __slots__ = ("_frame", "_gate", "_ref", "before", "records", "sink")

    def __init__(self, frame: RunningOperation, gate: Gate, sink: AgentSink | None, kept: _Kept | None) -> None:
        self.records: WorkflowRun | None = None
        self.before: Sequence[Message] | None = None
        if kept is not None:
            self.records, self.before = kept
        self._frame = frame
        self._gate = gate
        self._ref: OperationRef | None = None
        self.sink = sink

    @property
    def attention(self) -> bool:
        """Whether the agent was paused, or told something."""
        return self._gate.attention

    async def checkpoint(self, *, take: bool = True) -> Sequence[Message]:
        """Wait while the agent is paused, and return what it was told meanwhile."""
        return await self._gate.passed(self._frame, take=take)

    async def interruptible(self, call: Callable[[], Awaitable[T]], /) -> T | None:
        """Run a call that ``pause("now")`` cuts off."""
        return await self._gate.interruptible(call)

    @property
    def operation(self) -> OperationRef:
        """Which operation this is."""
        if self._ref is None:
            self._ref = self._frame.ref()
        return self._ref


class AgentRunner(ComponentKind):
    """The agents of a host; implements the contract's `Agents`."""

    name = "agent"
    group = AGENTS
    provides = Agents

    def __init__(self, settings: None, services: Services) -> None:
        self._registry = AgentRegistry(services.get(Registries).of(AGENTS.name), services)
        self._services = services
        self._operations = services.get(Operations)
        self._settings = services.get(SettingsAccess)
        self._handles: dict[str, Handle] = {}
        self._making: dict[str, str] = {}
        self._durable = DurableRuns(services)

    # Making.

    async def create(self, config: AgentConfig | None = None, /, *, scope: str = "", **fields: Any) -> Handle:
        """Make an agent; see the contract's `Agents`."""
        if not fields.get("name") and (config is None or not config.name):
            made_up = self._services.get(Entropy).draw("agent", partial(secrets.token_hex, 4))
            fields["name"] = f"agent_{made_up}"
        wanted = _config(config, fields)
        self._reserve(wanted.name, scope)
        made: list[Handle] = []

        async def make(approved: AgentConfig) -> AgentInfo:
            if approved.name != wanted.name:
                message = f"agent {wanted.name}: a hook changed its name to {approved.name!r}; leave the name"
                raise InvalidInputError(message, field="name")
            life = Lifecycle(wanted.name, Watch(self._operations, partial(self._tells, wanted.name)))
            life.become("initializing")
            agent = await self._registry.make(self._held(reveal_fields(thaw_fields(approved))), scope)
            gate = Gate(wanted.name, self._settings.section("agents").pause_s)
            made[:] = [Handle(agent, scope, self, life, gate)]
            return made[0].info

        try:
            await self._operations.execute(Operation(_INIT, _ref(wanted.name), hide_fields(wanted), make))
            await self._registry.keep(made[0])
            made[0].lifecycle.become("ready")
            self._handles[wanted.name] = made[0]
        finally:
            self._making.pop(wanted.name, None)
            if made and wanted.name not in self._handles:
                made[0].lifecycle.become("error", "it could not be made")
                made[0].lifecycle.become("terminated")
                await self._leave(made[0])
        if made[0].lifecycle.untold:
            await self.tell(made[0])
        return made[0]

    def _tells(self, name: str) -> bool:
        return self._operations.asks(_CHANGES, name)

    def get(self, name: str, /) -> Handle | None:
        """Return the agent of this name, or None."""
        return self._handles.get(name)

    def list(self) -> Sequence[AgentInfo]:
        """Return what is known of each agent, in the order in which they were made."""
        return [handle.info for handle in self._handles.values()]

    def kinds(self) -> Sequence[AgentKind]:
        """Return the kinds that can be made; loads them."""
        return self._registry.kinds()

    def declared(self) -> Mapping[str, Sequence[Declared]]:
        """Return what each agent may use, and its model; see `ComponentKind`."""
        uses: dict[str, Declared] = {}
        declared = {}
        for name, handle in self._handles.items():
            config = handle.config
            for tool in config.tools:
                if tool not in uses:
                    uses[tool] = Declared(self._address(tool))
            model = [Declared(f"model:{config.model}")] if config.model else []
            declared[name] = [*(uses[tool] for tool in config.tools), *model]
        return declared

    def _address(self, tool: str) -> str:
        """Return the address of what an agent names as its tool."""
        kind, colon, name = tool.partition(":")
        if colon and kind != "tool":
            return tool
        name = name if colon else tool
        return f"tool:{self._services.get(Tools).canonical(name) or name}"

    def _reserve(self, name: str, scope: str) -> None:
        if name in self._handles or name in self._making:
            message = f"agent {name}: there is one of this name; choose another, or shut that one down"
            raise InvalidInputError(message, field="name")
        most = self._settings.section("agents")
        scopes = [*(handle.scope for handle in self._handles.values()), *self._making.values()]
        if len(scopes) >= most.count:
            message = f"agent {name}: there are {most.count} agents, which is the most; shut some down (agents.count)"
            raise ResourceLimitError(message, resource="agents", limit=most.count)
        if scope and scopes.count(scope) >= most.script_count:
            message = f"agent {name}: its script has {most.script_count} agents; shut some down (agents.script_count)"
            raise ResourceLimitError(message, resource="agents", limit=most.script_count)
        self._making[name] = scope

    def _held(self, config: AgentConfig) -> AgentConfig:
        """Return what it is made from, with its limits within those of the settings."""
        most = self._settings.section("agents")
        return structs.replace(
            config,
            time_s=min(config.time_s, most.time_s),
            max_steps=min(config.max_steps, most.steps),
            max_tool_calls=min(config.max_tool_calls, most.tool_calls),
            max_conversation_chars=min(config.max_conversation_chars, most.conversation_chars),
            tools=tuple(config.tools),
        )

    # Running.

    async def run(self, name: str, input: Any, options: CallOptions, /) -> AgentOutput:
        """Run an agent by its address; see `ComponentKind`."""
        handle = self._handles.get(name)
        if handle is None or not self._sees(options.scope, handle):
            seen = [other for other, each in self._handles.items() if self._sees(options.scope, each)]
            names = ", ".join(seen) or "none"
            raise ComponentNotFoundError(f"agent {name!r}: there is none; there are {names}", address=f"agent:{name}")
        return await self._ask_in_turn(handle, input, None, options)

    def _sees(self, scope: str, handle: Handle) -> bool:
        """Whether a hook of this script, or what runs here, may have the agent run."""
        own = handle.scope
        return (not scope or own in ("", scope)) and self._operations.reaches(own)

    async def ask(self, handle: Handle, given: Any, sink: AgentSink | None, deadline_s: float | None) -> AgentOutput:
        """Run an agent once; see the contract's `AgentHandle`."""
        return await self._ask_in_turn(handle, given, sink, CallOptions(deadline_s))

    async def ask_durably(
        self, handle: Handle, given: Any, sink: AgentSink | None, deadline_s: float | None, run_id: str
    ) -> AgentOutput:
        """Run an agent once, and keep what becomes of it; see the contract's `AgentHandle`."""
        if not handle.agent.durable:
            message = f"agent {handle.name}: agents of the kind {handle.config.kind} keep nothing of their runs"
            raise InvalidInputError(f"{message}; ask it without durable", field="durable")
        handle.check()
        return await self._durable.run(handle, _input(handle.name, given), run_id, sink, deadline_s)

    async def go_on(
        self,
        handle: Handle,
        run_id: str,
        verdicts: Mapping[str, Verdict] | None,
        take_over: bool,
        sink: AgentSink | None,
    ) -> AgentOutput:
        """Go on with a durable run; see the contract's `AgentHandle`."""
        handle.check()
        return await self._durable.go_on(handle, run_id, verdicts, take_over, sink)

    async def within(self, run: WorkflowRun, config: Mapping[str, Any], /) -> Any:
        """Run an agent as the stages of a durable run; see the contract's `Agents`."""
        asked = Asked.of(run.id, run.input)
        name = str(config.get("name", ""))
        handle, own = self._handles.get(name), None
        if handle is None:
            handle = own = await self.create(None, **{key: value for key, value in config.items() if value is not None})
        try:
            sink = self._durable.sinks.get(run.id)
            output = await self._ask_in_turn(handle, asked.input, sink, CallOptions(), (run, asked.before))
        finally:
            if own is not None:
                await self.end(own)
        return plain(msgspec.to_builtins(output, enc_hook=_as_plain))

    async def _ask_in_turn(
        self, handle: Handle, given: Any, sink: AgentSink | None, options: CallOptions, kept: _Kept | None = None
    ) -> AgentOutput:
        """Run it beside what runs, after that, or not at all, as it was made to."""
        how = handle.config.concurrency
        if how == "parallel":
            return await self._ask(handle, given, sink, options, kept)
        if Turn.runs(handle.agent):
            message = f"agent {handle.name}: it asks itself within its own run, which {how} does not allow"
            raise InvalidInputError(f"{message}; make it with concurrency = 'parallel'", field="concurrency")
        try:
            handle.queue.acquire_nowait()
        except trio.WouldBlock:
            if how == "refuse":
                message = f"agent {handle.name}: it runs, and takes one question at a time; ask again when it is ready"
                raise ResourceLimitError(message, resource="runs", limit=1) from None
            await handle.queue.acquire()
        try:
            return await self._ask(handle, given, sink, options, kept)
        finally:
            handle.queue.release()

    async def _ask(
        self, handle: Handle, given: Any, sink: AgentSink | None, options: CallOptions, kept: _Kept | None
    ) -> AgentOutput:
        holds = Watch(self._operations, partial(self._operations.settles, AGENT, handle.name))
        stream = None if sink is None else AgentStream(sink, holds)
        turn = Turn(handle.agent)
        output: AgentOutput | None = None
        error, is_fault, began = "cancelled", False, perf_counter()
        life = handle.lifecycle
        handle.began()
        try:
            if life.untold:
                await self.tell(handle)
            output = await self._operations.execute(
                options.operation(
                    AGENT,
                    _ref(handle.name),
                    _hidden(handle.name, _input(handle.name, given)),
                    self._body(handle, turn, stream, kept),
                    time_s=handle.config.time_s,
                    prepare=None if stream is None else _beginning(stream),
                    ready=None if stream is None else same,
                    as_of=self._operations.as_of,
                    repeatable=handle.agent.repeatable,
                    depends=lambda: (handle.config, handle.conversation),
                )
            )
            output = reveal_fields(output)
        except Exception as failure:
            error, is_fault = text_of_error(failure), not isinstance(failure, _NO_FAULTS)
            raise
        finally:
            handle.ended(output, error, perf_counter() - began, is_fault=is_fault)
            if life.untold:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_MOMENTS_S):
                    await self.tell(handle)
        turn.end(output.text)
        if stream is not None:
            await stream.finish(output)
        return output

    def _body(self, handle: Handle, turn: Turn, stream: AgentStream | None, kept: _Kept | None) -> Any:
        sink = None if stream is None else stream.take
        gate = handle.gate

        async def body(approved: AgentInput) -> AgentOutput:
            frame = self._operations.running()
            context = _Context(frame, gate, sink, kept)
            handle.under_way.append(frame)
            try:
                if gate.paused:
                    await gate.passed(frame, take=False)
                with turn:
                    return await turn.agent.run(reveal_fields(approved), context)
            finally:
                handle.under_way.remove(frame)

        return body

    # Its life.

    async def tell(self, handle: Handle) -> None:
        """Tell who wants to know of the changes of its state."""
        for change in handle.untold():
            await self._operations.ask(_CHANGES[0], change, _ref(handle.name))

    def steered(self, handle: Handle, text: str) -> None:
        """Say that it was told something."""
        with suppress(LlmspellError):  # a mailbox that is full: it was told all the same
            told = {"agent": handle.name, "characters": len(text), "running": handle.running}
            self._services.get(Events).publish_nowait("agent.steered", told)

    async def pause(self, handle: Handle, reason: str, when: Literal["step", "now"]) -> None:
        """Let its runs stop; see the contract's `AgentHandle`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if when not in ("step", "now"):
            raise InvalidInputError(f"agent {handle.name}: it pauses at a 'step' or 'now', not {when!r}", field="when")
        if when == "now" and handle.running and not (handle.config.interruptible or handle.gate.may_cut):
            message = f"agent {handle.name}: nothing of what it does can be cut off; make it with interruptible = true"
            raise InvalidInputError(f"{message}, or let it stop at its next step", field="when")
        if handle.lifecycle.state != "paused":
            handle.lifecycle.become("paused", reason)
        handle.gate.shut(when, reason)
        await self._operations.ask("agent_paused", AgentPause(reason, when, handle.running), _ref(handle.name))
        await self.tell(handle)

    async def resume(self, handle: Handle) -> None:
        """Let its runs go on; see the contract's `AgentHandle`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        gate = handle.gate
        if handle.lifecycle.state != "paused":
            return
        await self._operations.ask(
            "agent_resumed", AgentPause(gate.reason, gate.when, handle.running), _ref(handle.name)
        )
        if handle.lifecycle.state == "paused":
            handle.lifecycle.become("running" if handle.running else "ready", "resumed")
            gate.open()
            await self.tell(handle)

    async def recover(self, handle: Handle) -> None:
        """Bring it back from the state error; see the contract's `AgentHandle`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        life, most = handle.lifecycle, self._settings.section("agents").recoveries
        while True:
            if life.state != "error":
                message = f"agent {handle.name}: it is {life.state}; there is nothing to recover from"
                raise InvalidInputError(message, field="state")
            if life.recoveries >= most:
                message = f"agent {handle.name}: it was tried to recover {most} times ({life.error}); shut it down"
                raise ResourceLimitError(f"{message}, or raise agents.recoveries", resource="recoveries", limit=most)
            await self._operations.ask(
                "agent_recovering", AgentRecovery(life.error, life.recoveries), _ref(handle.name)
            )
            if life.recoveries:
                await trio.sleep(min(_BACKOFF_S * 2 ** (life.recoveries - 1), _LONGEST_BACKOFF_S))
            if life.state == "error" and await self._recovered(handle):
                return

    async def _recovered(self, handle: Handle) -> bool:
        """Try once; returns whether it is in order again."""
        life = handle.lifecycle
        life.become("recovering")
        life.recoveries += 1
        why = "its recovery was cut off"
        try:
            with Blamed(partial(_unrecovered, handle.name), spares=LlmspellError):
                await handle.agent.recover()
            why = ""
        except Exception as error:
            why = text_of_error(error)
        finally:
            if life.state == "recovering":
                life.become("error" if why else "ready", why)
                if not why and handle.running:
                    life.become("running")
        await self.tell(handle)
        return not why

    # Shutting down.

    async def shut(self, handle: Handle, grace_s: float | None) -> None:
        """Shut it down; see the contract's `AgentHandle`."""
        most_s = float(self._settings.section("agents").grace_s)

        async def shut(info: AgentInfo) -> AgentInfo:
            await self._drain(handle, most_s if grace_s is None else min(grace_s, most_s))
            await self._drop(handle)
            return handle.info

        await self._operations.execute(Operation(_SHUTDOWN, _ref(handle.name), handle.info, shut))

    async def _drain(self, handle: Handle, grace_s: float) -> None:
        """Begin no more runs, and let those under way end; after a while, or if they are paused, stop them."""
        life = handle.lifecycle
        paused = life.state == "paused"
        if life.may("terminating"):
            life.become("terminating")
            await self.tell(handle)
        if not handle.running or Turn.runs(handle.agent):
            return
        if not paused:
            with trio.move_on_after(grace_s):
                await handle.settled()
        with trio.move_on_after(_CLOSING_S):
            await handle.stop("it is being shut down; make another")

    async def end(self, handle: Handle) -> None:
        """Shut it down, whatever hooks say, unless it is."""
        try:
            if not handle.closed:
                await self.shut(handle, 0.0)
        except LlmspellError as error:
            self._operations.problem(error)
        finally:
            await self._drop(handle)

    async def _drop(self, handle: Handle) -> None:
        life = handle.lifecycle
        if life.state != "terminated":
            if life.may("terminating"):
                life.become("terminating")
            life.become("terminated")
            self._handles.pop(handle.name, None)
            self._durable.drop(handle)
            await self._leave(handle)
            await self.tell(handle)

    async def _leave(self, handle: Handle) -> None:
        await self._registry.leave(handle)
        await self._registry.leave(handle.agent)

    async def close_scope(self, scope: str, /) -> int:
        """Shut down all agents of a script; returns how many."""
        mine = [handle for handle in self._handles.values() if scope and handle.scope == scope]
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING_S):
            for handle in reversed(mine):
                await self.end(handle)
        return len(mine)


def _as_plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _unrecovered(name: str, error: BaseException) -> PluginError:
    return PluginError(f"agent {name}: it did not recover: {text_of(error)}; repair its kind", plugin=name)


def _ref(name: str) -> ComponentRef:
    return ComponentRef("agent", name, f"agent:{name}")


def _config(config: AgentConfig | None, fields: Mapping[str, Any]) -> AgentConfig:
    name = str(fields.get("name") or (config.name if config is not None else ""))
    given = {**fields, "name": name}
    if isinstance(given.get("api_key"), str):
        given["api_key"] = SecretStr(given["api_key"])
    wanted: AgentConfig = fit(given, AgentConfig, f"agent {name}", config)
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        message = f"agent {name[:40]!r}: a name is at most {_LONGEST_NAME} printable characters; choose another"
        raise InvalidInputError(message, field="name")
    for field, least in _LEAST:
        if getattr(wanted, field) < least:
            raise InvalidInputError(f"agent {name}: {field} must be {least} or more", field=field)
    if not wanted.time_s > 0:
        raise InvalidInputError(f"agent {name}: time_s must be above 0", field="time_s")
    return wanted


def _hidden(name: str, given: AgentInput) -> AgentInput:
    try:
        return hide_fields(given)
    except InvalidInputError as error:
        message = f"agent:{name}: its input: {str(error).removeprefix('value: ')}"
        raise InvalidInputError(message) from None


def _input(name: str, given: Any) -> AgentInput:
    """Return what an agent is asked: a text, ``{"text": ...}`` (or ``input``, ``prompt``), or whole."""
    if isinstance(given, AgentInput):
        return given
    if isinstance(given, str):
        return AgentInput(given)
    if not isinstance(given, Mapping):
        kind = "nothing" if given is None else f"a {type(given).__name__}"
        raise InvalidInputError(f"agent:{name}: its input is {kind}; give a text, or a mapping with a text")
    rest = dict(given)
    texts = [rest.pop(key) for key in ("text", "input", "prompt") if key in rest]
    messages, parameters = rest.pop("messages", None), rest.pop("parameters", None)
    if parameters is not None and not isinstance(parameters, Mapping):
        message = f"agent:{name}: its parameters are a {type(parameters).__name__}; give a mapping"
        raise InvalidInputError(message, field="parameters")
    parameters = {**(parameters or {}), **rest}
    asked_for = {"text": str(texts[0]) if texts else "", "messages": messages, "parameters": parameters}
    found: AgentInput = fit(asked_for, AgentInput, f"agent:{name}")
    return found


def _beginning(stream: AgentStream) -> Any:
    async def prepare(subject: AgentInput, asker: Asker) -> AgentInput:
        await stream.begin()
        return subject

    return prepare
