"""The life of an agent: which state it is in, how it came there, and how long it was in each.

Invariant: a state follows another only if `agent_life.TRANSITIONS` has it; a change is made at once, never half. What
is to be told of it is kept until somebody may wait for that. Times in seconds.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.agent_life import TRANSITIONS, AgentState, AgentTransition

__all__ = ["Lifecycle"]

_KEPT: Final = 256
"""How many changes are remembered."""


class Lifecycle:
    """The states of one agent.

    Args:
        name: The agent's.
        watched: Returns whether anybody wants to be told of changes.
        clock: Returns the time since the epoch, never less than before.

    Attributes:
        state: What it is in.
        untold: Changes that nobody was told of yet; empty where nobody wants to be.
        count: How many changes there were.
        errors: How often it came into the state error.
        recoveries: How often it was tried to recover since it was ready last.
        error: What brought it into the state error.
    """

    def __init__(self, name: str, watched: Callable[[], bool], clock: Callable[[], float] = time.time) -> None:
        self.state: AgentState = "uninitialized"
        self.untold: list[AgentTransition] = []
        self.count = self.errors = self.recoveries = 0
        self.error = ""
        self._name, self._watched, self._clock = name, watched, clock
        self._since_s = self._began_s = clock()
        self._history: deque[tuple[AgentState, AgentState, str, float, float]] = deque(maxlen=_KEPT)
        self._spent_s: dict[AgentState, float] = {}

    def may(self, state: AgentState) -> bool:
        """Return whether a state may follow."""
        return state in TRANSITIONS[self.state]

    def become(self, state: AgentState, reason: str = "") -> None:
        """Be in another state.

        Raises:
            InvalidInputError: It may not follow.
        """
        previous = self.state
        if state not in TRANSITIONS[previous]:
            known = ", ".join(TRANSITIONS[previous]) or "none"
            message = f"agent {self._name}: it is {previous}, and {state} does not follow that; there are {known}"
            raise InvalidInputError(message, field="state")
        now_s = self._clock()
        elapsed_s = max(0.0, now_s - self._since_s)
        self.state, self._since_s = state, now_s
        self.count += 1
        self._spent_s[previous] = self._spent_s.get(previous, 0.0) + elapsed_s
        if state == "error":
            self.errors += 1
            self.error = reason
        elif state == "ready" and previous != "running":
            self.recoveries = 0
        change = previous, state, reason, now_s, elapsed_s
        self._history.append(change)  # made a struct when somebody asks: each run passes here twice
        if self._watched():
            self.untold.append(AgentTransition(*change))

    def take_untold(self) -> Sequence[AgentTransition]:
        """Return what is to be told, and forget it."""
        taken, self.untold = self.untold, []
        return taken

    @property
    def history(self) -> tuple[AgentTransition, ...]:
        """The last changes, the oldest first."""
        return tuple(AgentTransition(*change) for change in self._history)

    @property
    def uptime_s(self) -> float:
        """How long it is there."""
        return max(0.0, self._clock() - self._began_s)

    def spent_s(self) -> Mapping[AgentState, float]:
        """Return how long it was in each state, in which it ever was."""
        spent = dict(self._spent_s)
        spent[self.state] = spent.get(self.state, 0.0) + max(0.0, self._clock() - self._since_s)
        return spent
