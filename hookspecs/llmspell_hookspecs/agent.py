"""The topic agent: what an agent is made from, is given and answers, and the points around its life and its runs.

Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr
from pydantic import SecretStr

from .agent_life import AgentState
from .context import Failure, HookContext
from .model import Message, ModelResponse, ModelUsage, ToolUse
from .payload import payload_text
from .points import Phase, hookpoint
from .results import HookResult
from .values import freeze

__all__ = [
    "AgentChunk",
    "AgentConfig",
    "AgentInfo",
    "AgentInput",
    "AgentKind",
    "AgentOutput",
    "AgentSink",
    "Handoff",
    "ToolRecord",
    "after_agent_execution",
    "after_agent_init",
    "after_agent_shutdown",
    "agent_error",
    "agent_handoff",
    "around_agent_execution",
    "before_agent_execution",
    "before_agent_init",
    "before_agent_shutdown",
]


class AgentConfig(Struct, frozen=True):
    """What an agent is made from.

    Attributes:
        name: Unique among the host's agents.
        kind: Which kind of agent: ``llm``, ``basic``, or one that a plugin brings.
        description: One sentence for people and other agents.
        model: ``provider/model``, or empty for the default.
        system_prompt: What the model is told before the conversation.
        tools: Names of tools it may use.
        temperature: See `ModelRequest`.
        max_tokens: Of one answer of the model.
        max_conversation: How many messages it remembers, the system prompt aside.
        max_conversation_chars: How long they may be together.
        max_steps: How often the model may be asked in one run.
        max_tool_calls: How many tools may run in one run.
        max_parallel: How many tools run at once.
        time_s: How long one run may take.
        concurrency: What becomes of a run that is asked for while another goes on: it runs beside it (``parallel``),
            waits for it (``queue``), or is refused (``refuse``).
        max_failures: After how many runs that failed in a row it is in the state error; 0 for never.
        durable: Whether its runs are kept step by step, as those of durable workflows are.
        interruptible: Whether ``pause("now")`` may cut off its model calls, which costs 4 us each; a run that streams
            always may be.
        base_url: Where the model is, if not where settings say.
        api_key: For that URL.
        options: What only this kind of agent, or this model's provider, knows.
        capabilities: What it is good for, in words of its makers; who delegates asks for them.
        tags: Further words under which it is found.
        handoffs: The agents that its model may hand the conversation over to; they may be made later.
        handoff_carry: What such an agent is given if nobody says so: ``all`` that was said, a ``summary``, or the
            ``last`` question.
    """

    name: str
    kind: str = "llm"
    description: str = ""
    model: str = ""
    system_prompt: str = ""
    tools: tuple[str, ...] = ()
    temperature: float | None = None
    max_tokens: int | None = None
    max_conversation: int = 100
    max_conversation_chars: int = 4_000_000
    max_steps: int = 25
    max_tool_calls: int = 100
    max_parallel: int = 8
    time_s: float = 300.0
    concurrency: Literal["parallel", "queue", "refuse"] = "parallel"
    max_failures: int = 0
    interruptible: bool = False
    durable: bool = False
    base_url: str = ""
    api_key: SecretStr | None = None
    options: Mapping[str, Any] = {}
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()
    handoff_carry: Literal["all", "summary", "last"] = "all"


class AgentInput(Struct, frozen=True):
    """What an agent is asked.

    Attributes:
        text: The question.
        messages: A conversation before it, in place of the one that the agent remembers.
        parameters: Plain values for kinds of agent that take some.
    """

    text: str = ""
    messages: tuple[Message, ...] | None = None
    parameters: Mapping[str, Any] = {}

    def payload(self) -> Any:
        """Return it as a mapping, the parameters beside the text."""
        given = {"text": self.text, **self.parameters}
        return given if self.messages is None else {**given, "messages": self.messages}


class ToolRecord(Struct, frozen=True):
    """One tool that ran, or did not, in an agent's run.

    Attributes:
        id: The model's id for it.
        name: The tool.
        parameters: As the model asked.
        status: ``completed``, ``failed`` or ``denied``.
        text: What the model was told.
        elapsed_ms: How long it took.
        hook: Which hook denied it, as ``plugin.name``.
        point: The point at which it did.
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"elapsed_ms"})
    """What is new each time, for whoever compares two runs."""

    id: str
    name: str
    parameters: Mapping[str, Any] = {}
    status: Literal["completed", "failed", "denied"] = "completed"
    text: str = ""
    elapsed_ms: float = 0.0
    hook: str = ""
    point: str = ""

    def __post_init__(self) -> None:
        """Make the parameters read-only."""
        force_setattr(self, "parameters", freeze(self.parameters))


class AgentOutput(Struct, frozen=True):
    """What an agent answered.

    Attributes:
        text: The answer.
        tool_calls: The tools of the run, in the order in which the model asked for them.
        model: Which model answered last.
        usage: What all calls of the run used.
        steps: How often the model was asked.
        finish_reason: Why it ended, as `ModelResponse` has it; ``paused`` where a durable run waits for a person.
        metadata: Facts about the run; of a durable one its ``run_id``, and what it waits for as ``waiting``.
    """

    text: str = ""
    tool_calls: tuple[ToolRecord, ...] = ()
    model: str = ""
    usage: ModelUsage = ModelUsage()
    steps: int = 0
    finish_reason: str = "stop"
    metadata: Mapping[str, Any] = {}

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def payload(self) -> Any:
        """Return the answer."""
        return self.text

    @classmethod
    def of(cls, value: Any) -> AgentOutput:
        """Return the output of a bare text, a model's response, or another kind of result."""
        if isinstance(value, AgentOutput):
            return value
        if isinstance(value, ModelResponse):
            return AgentOutput(value.text, (), value.model, value.usage, 1, value.finish_reason)
        return AgentOutput(payload_text(value))


class AgentChunk(Struct, frozen=True):
    """A part of a run, as it happens.

    Attributes:
        kind: ``text``; ``tool_use``: a tool is about to run; ``tool_result``; ``restart``: the texts of this step so
            far are void.
        text: For ``text``, the next piece.
        tool_use: For ``tool_use``.
        tool_result: For ``tool_result``.
        step: Which answer of the model this belongs to, from 1.
    """

    kind: Literal["text", "tool_use", "tool_result", "restart"] = "text"
    text: str = ""
    tool_use: ToolUse | None = None
    tool_result: ToolRecord | None = None
    step: int = 1


AgentSink: TypeAlias = Callable[[AgentChunk], Awaitable[None]]
"""Takes chunks; the run waits for it."""


class Handoff(Struct, frozen=True):
    """An agent is about to hand the conversation over to another one.

    Attributes:
        source: Who hands over.
        target: To whom.
        carry: What that one is given: ``all`` that was said, the ``summary``, or the ``last`` question.
        text: What it is asked.
        summary: What it needs to know, as the model of the source puts it.
        reason: Why, as that model says.
    """

    source: str
    target: str
    carry: str = "all"
    text: str = ""
    summary: str = ""
    reason: str = ""


class AgentKind(Struct, frozen=True):
    """A kind of agent that can be made.

    Attributes:
        name: What `AgentConfig.kind` says.
        description: One sentence.
        version: As in SemVer.
        capabilities: What it can do: ``streaming``, ``tools``, ``context`` ...
        options: The JSON schema of its options; empty if it has none.
    """

    name: str
    description: str = ""
    version: str = ""
    capabilities: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}


class AgentInfo(Struct, frozen=True):
    """What is known of an agent.

    Attributes:
        name: Unique within the host.
        id: ``agent:<name>``.
        kind: Its kind.
        description: One sentence.
        model: ``provider/model``; empty for kinds without one.
        tools: What it may use.
        state: One of the nine; see `agent_life.TRANSITIONS`.
        created_s: When it was made, in seconds since the epoch.
        runs: How many runs ended.
        failed: How many of them without an answer.
        running: How many run now.
        tool_calls: How many tools it has used.
        busy_s: How long its runs took together.
        usage: What its runs used together.
        last_error: Why the last run that failed did.
        scope: The script that it goes with; empty if it stays.
        capabilities: What it is good for: its own words, and those of its kind.
        tags: Further words under which it is found.
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"created_s", "busy_s", "scope"})
    """What is new each time, for whoever compares two runs."""

    name: str
    id: str = ""
    kind: str = "llm"
    description: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    state: AgentState = "ready"
    created_s: float = 0.0
    runs: int = 0
    failed: int = 0
    running: int = 0
    tool_calls: int = 0
    busy_s: float = 0.0
    usage: ModelUsage = ModelUsage()
    last_error: str = ""
    scope: str = ""
    capabilities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


_INIT = ("Continue", "Modified", "Cancel", "Retry", "Fork", "Skipped")
_SHUTDOWN = ("Continue", "Cancel", "Fork", "Skipped")


@hookpoint(phase=Phase.BEFORE, topic="agent", accepts=_INIT)
def before_agent_init(context: HookContext[AgentConfig]) -> HookResult | None:
    """An agent is about to be made.

    When: once for each.
    Subject: what it is made from; ``Modified`` may change all but the name.
    """


@hookpoint(phase=Phase.AFTER, topic="agent", accepts=("Continue", "Cancel", "Fork", "Skipped"))
def after_agent_init(context: HookContext[AgentInfo]) -> HookResult | None:
    """An agent was made.

    When: once for each; with ``Cancel`` nobody gets it.
    Subject: what is known of it.
    """


@hookpoint(phase=Phase.BEFORE, topic="agent")
def before_agent_execution(context: HookContext[AgentInput]) -> HookResult | None:
    """An agent is about to run.

    When: guards and observers once for each attempt; transforms once for each that starts from the original input.
    Subject: what it is asked.
    """


@hookpoint(phase=Phase.AROUND, topic="agent")
def around_agent_execution(context: HookContext[AgentInput]) -> HookResult | None:
    """An agent runs.

    When: once for each attempt, around the run; an async generator with one yield.
    Subject: what it is asked.
    """


@hookpoint(phase=Phase.AFTER, topic="agent")
def after_agent_execution(context: HookContext[AgentOutput]) -> HookResult | None:
    """An agent has answered.

    When: once for each attempt that completed, or whose answer was replaced.
    Subject: the answer. Where transforms or guards stand here a stream is held back until they have passed it.
    """


@hookpoint(phase=Phase.ERROR, topic="agent", value=AgentOutput)
def agent_error(context: HookContext[Failure]) -> HookResult | None:
    """An agent has failed.

    When: once for each attempt that failed; observers also when the run was cancelled.
    Subject: the failure.
    """


@hookpoint(phase=Phase.DECISION, topic="agent")
def agent_handoff(context: HookContext[Handoff]) -> HookResult | None:
    """An agent is about to hand the conversation over to another one.

    When: once for each that its model asks for, before that agent is asked; ``match`` fits who hands over.
    Subject: to whom, and with what; with ``Cancel`` the model is told that it is denied, and goes on itself.
    """


@hookpoint(phase=Phase.BEFORE, topic="agent", accepts=_SHUTDOWN)
def before_agent_shutdown(context: HookContext[AgentInfo]) -> HookResult | None:
    """An agent is about to be shut down.

    When: once for each; also as its script or the host ends, which a ``Cancel`` cannot stop.
    Subject: what is known of it.
    """


@hookpoint(phase=Phase.AFTER, topic="agent", accepts=("Continue", "Fork", "Skipped"))
def after_agent_shutdown(context: HookContext[AgentInfo]) -> HookResult | None:
    """An agent was shut down.

    When: once for each.
    Subject: what was known of it.
    """
