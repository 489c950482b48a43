"""The sessions that this host holds: their leases, what runs in them, and what may begin in them.

A guard at the points before scripts, agents, models, tools, workflows and writes of state judges what begins in a
session: not while it is suspended or another host has it, and no more than its limits allow. It is registered with the
first session that is held, so a host without sessions asks nobody.

Invariant: when the lease of a session has run out nothing begins in it, whether or not anybody took it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs.context import HookContext
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.services import Clock, Hooks
from llmspell_hookspecs.system import LimitExceeded

__all__ = ["Held", "HeldSessions", "Run"]

POINTS: Final = (
    "before_script_run",
    "before_agent_execution",
    "before_model_call",
    "before_tool_execution",
    "before_workflow_start",
    "before_workflow_stage",
    "before_state_write",
    "before_state_delete",
)
_REFUSED: Final = 1000


class Run(Struct, eq=False):
    """Something that runs within a session.

    Attributes:
        scope: Cancels it.
        ended: Set when it has ended.
    """

    scope: trio.CancelScope
    ended: trio.Event


class Held(Struct, eq=False):
    """A session that this host holds.

    Attributes:
        id: The session's.
        lease_s: Until when, in seconds since the epoch.
        ends_s: Until when operations may begin in it.
        most: How many may.
        operations: How many did.
        renewed_s: When its lease was renewed last, on trio's clock.
        saved_s: When it was saved last, on trio's clock.
        runs: What runs in it.
        refusal: Why nothing may begin in it, and the code; None if something may.
        last: The operation that was counted last.
        exceeded: The limits that it has run into.
    """

    id: str
    lease_s: float
    ends_s: float
    most: int
    operations: int
    renewed_s: float
    saved_s: float
    runs: set[Run] = set()
    refusal: tuple[str, str] | None = None
    last: str = ""
    exceeded: set[str] = set()


class HeldSessions:
    """What this host holds, and the guard over it.

    Args:
        hooks: Where the guard is registered.
        clock: Tells the time.
        told: Called with each limit that a session runs into, once.
    """

    def __init__(self, hooks: Hooks, clock: Clock, told: Callable[[LimitExceeded], None]) -> None:
        self._hooks, self._clock, self._told = hooks, clock, told
        self._held: dict[str, Held] = {}
        self._refused: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._guarded = False

    def __iter__(self) -> Any:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def get(self, id: str) -> Held | None:
        """Return a session that is held, or None."""
        return self._held.get(id)

    def take(self, held: Held) -> None:
        """Hold a session from now on."""
        self._guard()
        self._refused.pop(held.id, None)
        self._held[held.id] = held

    def drop(self, id: str) -> Held | None:
        """Hold it no longer; what it carries may go on."""
        self._refused.pop(id, None)
        return self._held.pop(id, None)

    def refuse(self, id: str, reason: str, code: str) -> None:
        """Hold it no longer, and let nothing begin that carries it."""
        self._guard()
        self._held.pop(id, None)
        self._refused[id] = reason, code
        while len(self._refused) > _REFUSED:
            self._refused.popitem(last=False)

    def _guard(self) -> None:
        if not self._guarded:
            self._guarded = True
            for point in POINTS:
                self._hooks.register(point, self._judge, plugin="sessions", kind="guard", name="session")

    def _judge(self, context: HookContext[Any]) -> Cancel | None:
        """Refuse what may not begin in its session."""
        operation = context.operation
        id = operation.session_id
        if not id:
            return None
        held = self._held.get(id)
        if held is None:
            refused = self._refused.get(id)
            return None if refused is None else Cancel(*refused)
        if held.refusal is not None:
            return Cancel(*held.refusal)
        now_s = self._clock.now_s()
        if now_s >= held.lease_s:
            return Cancel(f"the lease of session {id} ran out before it was renewed; resume it", "session_lost")
        if operation.id != held.last:
            if held.operations >= held.most:
                return self._exceeded(held, "session_operations", held.most, f"{held.most} operations began in it")
            if now_s >= held.ends_s:
                return self._exceeded(held, "session_duration_s", held.ends_s, "its time is over")
            held.last = operation.id
            held.operations += 1
        return None

    def _exceeded(self, held: Held, resource: str, limit: float, why: str) -> Cancel:
        reason = f"session {held.id}: {why}; complete it and begin another, or raise the limit"
        if resource not in held.exceeded:
            held.exceeded.add(resource)
            self._told(LimitExceeded(resource, limit, reason))
        return Cancel(reason, "resource_limit")


def ends_of(started_s: float, most_s: float | None, limit_s: float) -> float:
    """Return until when operations may begin in a session."""
    return started_s + min(inf if most_s is None else most_s, limit_s)
