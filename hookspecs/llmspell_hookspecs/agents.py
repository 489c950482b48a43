"""What an agent is, for who writes one, and the agents of a host, for who asks them.

Invariant: an agent's conversation holds whole turns only, each with the answer that left its run: a run that fails, is
cancelled or denied leaves it as it was, and trimming never parts a tool's answer from the question for it. Durations in
seconds.

It is longer than most because what an agent is given stands beside what its users hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, TypeVar, runtime_checkable

from msgspec import Struct, structs
from pydantic import BaseModel

from .agent import AgentConfig, AgentInfo, AgentInput, AgentKind, AgentOutput, AgentSink
from .agent_life import AgentState, AgentTransition
from .context import OperationRef
from .model import Message
from .plugin import Services

if TYPE_CHECKING:
    from .runs import Verdict
    from .workflows import WorkflowRun

__all__ = ["Agent", "AgentContext", "AgentHandle", "AgentLife", "Agents", "Turn"]

T = TypeVar("T")


class AgentContext(Protocol):
    """What an agent is given beside its input."""

    @property
    def operation(self) -> OperationRef:
        """Which operation this is."""

    @property
    def sink(self) -> AgentSink | None:
        """Takes the run's chunks as they happen; None if nobody wants them."""

    @property
    def records(self) -> WorkflowRun | None:
        """Keeps what becomes of each step, of a run that is durable: have what may not run twice run as a stage."""

    @property
    def before(self) -> Sequence[Message] | None:
        """What a durable run that goes on had as its conversation when it began; None for what is remembered now."""

    @property
    def attention(self) -> bool:
        """Whether the agent was paused, or told something, so that `checkpoint` is to be passed."""

    async def checkpoint(self, *, take: bool = True) -> Sequence[Message]:
        """Wait while the agent is paused, and return what it was told meanwhile; pass it before each step.

        Args:
            take: Whether what it was told is taken; else it is there for the next one that passes.

        Raises:
            ResourceLimitError: It was paused for too long.
        """

    async def interruptible(self, call: Callable[[], Awaitable[T]], /) -> T | None:
        """Run a call that ``pause("now")`` cuts off; None if it did, and then pass `checkpoint` and make it again."""


class Agent:
    """An agent: subclass it and write `run`; an entry point in ``llmspell.agents``.

    If the class has a pydantic model ``Settings``, ``[plugins.KIND]`` is held to it when the kind loads; an agent reads
    its values by ``Settings.model_validate(services.settings(KIND))``. An agent that holds something is an async
    context manager: entered as it is made, left when it is shut down.

    Attributes:
        kind: The kind's name, which is its entry point's.
        version: As in SemVer.
        description: For people; the class's docstring if empty.
        capabilities: What it can do: ``streaming`` (it hands over chunks), ``tools``, ``context`` (it remembers) ...
        repeatable: Whether a run may be repeated after it ran (Retry at after and error points).
        durable: Whether it keeps its steps where a run is durable, by `AgentContext.records`.
        Options: A pydantic model for ``AgentConfig.options``, if the kind has options of its own.
        scope: The script that it goes with, empty if it stays: whatever it makes goes with that, too.
    """

    kind: ClassVar[str]
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = ""
    capabilities: ClassVar[tuple[str, ...]] = ()
    repeatable: ClassVar[bool] = True
    durable: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel] | None] = None
    scope: str = ""

    def __init__(self, config: AgentConfig, services: Services) -> None:
        """Take what it is made from."""
        self.config = config
        self.services = services
        self._conversation: tuple[Message, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "description" not in cls.__dict__:
            cls.description = (inspect.getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ")

    @property
    def conversation(self) -> tuple[Message, ...]:
        """What it remembers, the oldest first, without the system prompt."""
        return self._conversation

    def remember(self, messages: Sequence[Message]) -> None:
        """Add a whole turn to the conversation; within a run it counts when the run's answer has passed every hook."""
        turn = _TURN.get()
        if turn is not None and turn.agent is self:
            turn.messages += messages
        else:
            self.keep(messages)

    def keep(self, messages: Sequence[Message]) -> None:
        """Add messages at once, and forget the oldest turns above what the config allows."""
        kept = (*self._conversation, *messages)
        surplus = max(len(kept) - self.config.max_conversation, self._too_long(kept))
        if surplus > 0:
            turns = (place for place in range(surplus, len(kept)) if kept[place].role == "user")
            kept = kept[next(turns, len(kept)) :]
        self._conversation = kept

    def _too_long(self, messages: Sequence[Message]) -> int:
        """How many of the oldest messages must go for the others to be short enough."""
        length = 0
        for place in reversed(range(len(messages))):
            length += len(messages[place].content)
            if length > self.config.max_conversation_chars:
                return place + 1
        return 0

    def forget(self) -> None:
        """Begin a new conversation."""
        self._conversation = ()

    async def recover(self) -> None:
        """Bring it back into order, after `AgentHandle.set_error` or too many failures; whatever is raised: it is not.

        Here there is nothing to do.
        """

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Return once.

        Raises:
            LlmspellError: It could not.
        """
        raise TypeError(f"agent {self.kind}: write its run method")


class Turn:
    """What one run of an agent adds to its conversation; the host's, which knows when the answer may leave.

    Attributes:
        agent: Whose run it is.
        messages: What it remembered in the attempt that runs, or ran last.
    """

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.messages: list[Message] = []

    def __enter__(self) -> Self:
        """Begin an attempt: a block in which the agent runs once; what an earlier attempt remembered is void."""
        self.messages = []
        self._token = _TURN.set(self)
        return self

    @staticmethod
    def runs(agent: Agent) -> bool:
        """Return whether what runs here belongs to a run of this agent."""
        turn = _TURN.get()
        while turn is not None and turn.agent is not agent:
            around = turn._token.old_value
            turn = around if isinstance(around, Turn) else None
        return turn is not None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _TURN.reset(self._token)
        if kind is not None:
            self.messages = []

    def end(self, text: str) -> None:
        """Add it to the conversation, with the answer as hooks let it leave."""
        if not self.messages:
            return
        *before, last = self.messages
        if last.role == "assistant" and last.content != text:
            last = structs.replace(last, content=text)
        self.agent.keep([*before, last])


_TURN: ContextVar[Turn | None] = ContextVar("llmspell_turn", default=None)


class AgentLife(Struct, frozen=True):
    """In which states an agent was.

    Attributes:
        state: What it is in.
        transitions: How often that changed.
        errors: How often it came into the state error.
        recoveries: How often it was tried to recover since it was ready last.
        error: What brought it into the state error last.
        uptime_s: How long it is there.
        spent_s: How long it was in each state.
        history: The last changes, 256 at most, the oldest first.
    """

    state: AgentState
    transitions: int = 0
    errors: int = 0
    recoveries: int = 0
    error: str = ""
    uptime_s: float = 0.0
    spent_s: Mapping[AgentState, float] = {}
    history: tuple[AgentTransition, ...] = ()


class AgentHandle(Protocol):
    """An agent of a host; every run goes through the runner."""

    @property
    def name(self) -> str:
        """Unique within the host."""

    @property
    def config(self) -> AgentConfig:
        """What it was made from."""

    @property
    def info(self) -> AgentInfo:
        """What is known of it now."""

    @property
    def conversation(self) -> tuple[Message, ...]:
        """What it remembers."""

    @property
    def life(self) -> AgentLife:
        """In which states it was."""

    def remember(self, messages: Sequence[Message], /) -> None:
        """Add messages to what it remembers."""

    def forget(self) -> None:
        """Begin a new conversation."""

    async def pause(self, reason: str = "", /, *, when: Literal["step", "now"] = "step") -> None:
        """Let its runs stop at their next step, and those that are asked for wait.

        Args:
            reason: Why, for people.
            when: ``now`` cuts off the model calls under way, too; they are made again, and billed twice.

        Raises:
            InvalidInputError: It is not ready or running; or ``now``, and one of its runs can be cut off nowhere.
        """

    async def resume(self) -> None:
        """Let its runs go on; of one that is not paused there is nothing to do.

        Raises:
            OperationCancelledError: A hook keeps it paused.
        """

    def tell(self, text: str, /) -> None:
        """Let the run under way take in a message at its next step, as one of the user; the next run if none is.

        Raises:
            InvalidInputError: It is shut down, or the text is empty.
        """

    async def stop(self, reason: str = "", /) -> int:
        """End the runs under way, which fail with this reason, and wait for their ends; returns how many."""

    async def set_error(self, message: str, /) -> None:
        """Bring it into the state error, in which it runs nothing; what runs goes on.

        Raises:
            InvalidInputError: It is in none from which that follows.
        """

    async def recover(self) -> None:
        """Bring it back from the state error, by its own `Agent.recover`, which is tried with growing waits.

        Raises:
            InvalidInputError: It is not in the state error.
            OperationCancelledError: A hook keeps it there.
            ResourceLimitError: It was tried as often as ``agents.recoveries`` allows; shut it down.
        """

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
        """Ask it once.

        Args:
            input: The question, or more than that.
            sink: Takes the run's chunks as they happen, as far as hooks let them pass.
            deadline_s: How long it may take; its own limit counts as well.
            durable: Whether the run is kept, so that `go_on` can take it up, in this process or another; what it was
                made with if None.
            run_id: The id of a run that is kept; one is made up if it is left out.

        Raises:
            InvalidInputError: The input does not fit, or the agent is closed.
            OperationCancelledError: A hook cancelled it.
            OperationTimeoutError: A deadline passed.
            ResourceLimitError: It asked the model, or for tools, more often than it may.
            ProviderError: Its model could not be asked.
        """

    async def go_on(
        self,
        run_id: str,
        /,
        *,
        verdicts: Mapping[str, Verdict] | None = None,
        take_over: bool = False,
        sink: AgentSink | None = None,
    ) -> AgentOutput:
        """Go on with a durable run that waits, failed, or was cut off; what has ended of it does not run again.

        Args:
            run_id: The run's.
            verdicts: What a person says of tools that were under way when it was cut off, by their paths.
            take_over: Take it from whoever seems to run it.
            sink: As for `run`.

        Raises:
            ComponentNotFoundError: There is no such run.
            WorkflowError: Somebody runs it, or it is another agent's.
            Exception: As `run` does.
        """

    def stream(
        self, input: str | AgentInput | Mapping[str, Any], /, *, deadline_s: float | None = None
    ) -> AbstractAsyncContextManager[Any]:
        """Ask it once, and return a block that yields chunks: ``async with agent.stream("hi") as run: async for ...``.

        When the iteration has ended ``run.output`` is the answer; leaving the block early cancels the run.
        """

    async def close(self, *, grace_s: float | None = None) -> None:
        """Shut it down; a second call does nothing.

        Args:
            grace_s: How long runs under way may go on before they are stopped; what ``agents.grace_s`` says if None.

        Raises:
            OperationCancelledError: A hook keeps it.
        """


@runtime_checkable
class Agents(Protocol):
    """The agents of a host."""

    async def create(self, config: AgentConfig | None = None, /, *, scope: str = "", **fields: Any) -> AgentHandle:
        """Make an agent.

        Args:
            config: What it is made from, or None.
            scope: A script's id; its agents go when it ends.
            fields: Further fields of `AgentConfig`; ``name`` may be left out.

        Raises:
            InvalidInputError: A field is wrong, or the name is taken.
            ComponentNotFoundError: There is no such kind, model provider or tool.
            OperationCancelledError: A hook refused it.
        """

    async def within(self, run: WorkflowRun, config: Mapping[str, Any], /) -> Any:
        """Run an agent as the stages of a durable run, and return its answer as plain data; the pattern agent asks.

        Args:
            run: The run, with what the agent is asked as its input.
            config: What the agent was made from; one is made of it if there is none of its name.

        Raises:
            Exception: As `AgentHandle.run` does.
        """

    def get(self, name: str, /) -> AgentHandle | None:
        """Return the agent of this name, or None."""

    def list(self) -> Sequence[AgentInfo]:
        """Return what is known of each agent, in the order in which they were made."""

    def kinds(self) -> Sequence[AgentKind]:
        """Return the kinds that can be made; loads them."""

    async def close_scope(self, scope: str, /) -> int:
        """Shut down all agents of a script; returns how many."""
