"""The topic agent, its life: the nine states, what leads from one to another, and the points that tell of it.

Invariant: the table is data; whatever moves an agent goes by it. A state is changed first and told of afterwards, so
that no hook and no breaker can leave an agent between two states; what a hook may refuse is asked before anything is
changed. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final, Literal, TypeAlias

from msgspec import Struct

from .context import HookContext
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "TRANSITIONS",
    "AgentPause",
    "AgentRecovery",
    "AgentState",
    "AgentTransition",
    "agent_paused",
    "agent_recovering",
    "agent_resumed",
    "agent_state_changed",
]

AgentState: TypeAlias = Literal[
    "uninitialized",
    "initializing",
    "ready",
    "running",
    "paused",
    "terminating",
    "terminated",
    "error",
    "recovering",
]
TRANSITIONS: Final[Mapping[str, tuple[AgentState, ...]]] = MappingProxyType(
    {
        "uninitialized": ("initializing", "error"),
        "initializing": ("ready", "error", "terminating"),
        "ready": ("running", "paused", "terminating", "error"),
        "running": ("ready", "paused", "terminating", "error"),
        "paused": ("ready", "running", "terminating", "error"),
        "terminating": ("terminated", "error"),
        "terminated": (),
        "error": ("recovering", "terminating", "terminated"),
        "recovering": ("ready", "error", "terminating"),
    }
)
"""The states that may follow each."""


class AgentTransition(Struct, frozen=True):
    """An agent's state was changed.

    Attributes:
        previous: What it was.
        state: What it is.
        reason: Why.
        at_s: When, since the epoch.
        elapsed_s: How long it had been what it was.
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"at_s", "elapsed_s"})
    """What is new each time, for whoever compares two runs."""

    previous: AgentState
    state: AgentState
    reason: str = ""
    at_s: float = 0.0
    elapsed_s: float = 0.0


class AgentPause(Struct, frozen=True):
    """An agent is paused, or goes on.

    Attributes:
        reason: Why.
        when: ``step``: runs stop before the next thing they do; ``now``: the model call under way is cut off, too, and
            made again as the run goes on, so it is billed twice.
        running: How many runs it has.
    """

    reason: str = ""
    when: Literal["step", "now"] = "step"
    running: int = 0


class AgentRecovery(Struct, frozen=True):
    """An agent in the state error is to recover.

    Attributes:
        error: What brought it there.
        attempts: How often that was tried since it was ready.
    """

    error: str = ""
    attempts: int = 0


@hookpoint(
    phase=Phase.NOTICE, topic="agent", aliases=("agent:on_state_change", "agent_state_change", "AgentStateChange")
)
def agent_state_changed(context: HookContext[AgentTransition]) -> HookResult | None:
    """An agent's state was changed.

    When: after each change, from ``ready`` to ``running`` as a first run begins, and back as the last one ends.
    Subject: what it was and what it is.
    """


@hookpoint(phase=Phase.NOTICE, topic="agent", aliases=("agent:before_pause", "agent:on_pause"))
def agent_paused(context: HookContext[AgentPause]) -> HookResult | None:
    """An agent was paused.

    When: once for each; its runs stop at their next step.
    Subject: why, and how.
    """


@hookpoint(phase=Phase.CHECK, topic="agent", aliases=("agent:before_resume", "agent:on_resume"))
def agent_resumed(context: HookContext[AgentPause]) -> HookResult | None:
    """A paused agent is about to go on.

    When: once for each; with ``Cancel`` it stays paused.
    Subject: why it was paused, and how.
    """


@hookpoint(phase=Phase.CHECK, topic="agent", aliases=("agent:before_recover", "agent:on_recover"))
def agent_recovering(context: HookContext[AgentRecovery]) -> HookResult | None:
    """An agent in the state error is about to recover.

    When: before each attempt; with ``Cancel`` it stays in its state, and nothing is counted.
    Subject: what brought it there.
    """
