"""Which operation is running: frames that follow tasks and threads by a context variable; and how far they may go.

Invariant: a frame knows the one around it, so depth, root and correlation come from the running operation and never
from an argument. Ids are made when they are first read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from types import MappingProxyType
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs.context import ComponentRef, OperationRef

__all__ = ["CURRENT", "Frame", "RunnerLimits"]

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_UNASKED: Final = object()
_AGES_S: Final = 1e9
"""Longer than any operation."""


class RunnerLimits(Struct, frozen=True):
    """How far operations may go.

    Attributes:
        depth: How many operations may be around one.
        hops: How often one may be redirected.
        slow_ms: From how long on an operation is reported as slow; None for never.
        operation_time_s: How long any operation may take; None for no limit.
        forks: How many forks one operation may start.
        descendants: How many operations may run at once within one root operation, and how many forks.
        final_s: How long each hook may wait once an operation ends, or its deadline has passed.
        script_delay_s: The longest wait before a retry that a script's hook asks for.
    """

    depth: int = 32
    hops: int = 8
    slow_ms: float | None = None
    operation_time_s: float | None = None
    forks: int = 64
    descendants: int = 1000
    final_s: float = 5.0
    script_delay_s: float = 60.0


class Frame(Struct, eq=False):
    """One running operation.

    Attributes:
        owner: The runner; frames of another host do not count.
        parent: The operation around it.
        component: What runs.
        hops: How often it, and what it runs within, was redirected.
        language: Where it was asked for.
        depth: How many operations are around it.
        scopes: The runs of scripts that it descends from.
        nested: How many operations are around it, those of other hosts among them.
        top: The outermost operation around it; None at the root.
        baggage: What it and all within it carry.
        number: Unique within the runner, once the id was read; 0 until then.
        attempt: From 1.
        flights: The cache keys that it leads.
        running: At the root, how many operations run within it, forks among them.
        forks: At the root, the forks that run within it, each with its frame around; None if there never were any.
        exhausted: At the root, whether no more may until all of those have ended.
        branches: At the root, how many functions run beside each other within it.
        turns: At the root, who of its forks and branches begins or is cancelled next; None while they are few.
        correlation: Shared by all that one cause set off; empty for one of its own, and read at the root only.
        limit: What ends it at its deadline, with a ``deadline`` on trio's clock; None if nothing does.
        pauses: How many blocks run whose time does not count.
        paused_at_s: Since when.
        paused_s: How long that was before.
        until_s: Until when it may take, once it was cancelled; what it forked has no more. On trio's clock.
        stopped: Why its deadline passes earlier than it would; empty if it does not.
        subject: What it was asked for, before any hook changed that; kept while anybody is told of ends.
    """

    owner: Any
    parent: Frame | None
    component: ComponentRef
    hops: int
    language: str
    depth: int = 0
    scopes: tuple[str, ...] = ()
    nested: int = 0
    top: Frame | None = None
    baggage: Mapping[str, str] = _NOTHING
    number: int = 0
    attempt: int = 1
    flights: tuple[Any, ...] = ()
    correlation: str = ""
    running: int = 0
    forks: set[Any] | None = None
    exhausted: bool = False
    branches: int = 0
    turns: Any = None
    limit: Any = None
    pauses: int = 0
    paused_at_s: float = 0.0
    paused_s: float = 0.0
    until_s: float = inf
    stopped: str = ""
    subject: Any = _UNASKED

    @property
    def id(self) -> str:
        """Unique within the host."""
        if not self.number:
            self.number = next(self.owner.numbers)
        return f"{self.owner.prefix}-{self.number}"

    @property
    def address(self) -> str:
        """The component as ``kind:name``."""
        return f"{self.component.kind}:{self.component.name}"

    @property
    def root(self) -> Frame:
        """The outermost operation."""
        return self.top or self

    @property
    def correlation_id(self) -> str:
        """Shared by all that one cause set off."""
        root = self.root
        return root.correlation or f"c-{root.id}"

    def upward(self) -> Iterator[Frame]:
        """Yield this operation and those around it, the nearest first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent

    def asked(self) -> tuple[str, Any]:
        """Return the id of the operation and what it was asked for; of what is no operation, of the one around it."""
        for frame in self.upward():
            if frame.subject is not _UNASKED:
                return frame.id, frame.subject
        return "", None

    def leads(self, key: Any) -> bool:
        """Return whether this operation, or one around it, leads the flight of this cache key."""
        return any(key in frame.flights for frame in self.upward())

    def hurry(self, last_moments_s: float) -> float:
        """Return until when it may take now that it is cancelled: no longer than an operation around it."""
        self.until_s = min(trio.current_time() + last_moments_s, *(frame.until_s for frame in self.upward()))
        return self.until_s

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the time of a block count against no deadline, of this operation or of one around it."""
        frames, now_s = list(self.upward()), trio.current_time()
        for frame in frames:
            frame.pauses += 1
            if frame.pauses == 1:
                frame.paused_at_s = now_s
                frame._put_off(_AGES_S)
        try:
            yield
        finally:
            for frame in frames:
                frame.pauses -= 1
                if not frame.pauses:
                    took_s = trio.current_time() - frame.paused_at_s
                    frame.paused_s += took_s
                    frame._put_off(took_s - _AGES_S)

    def stop(self, reason: str) -> bool:
        """Let the deadline pass now, for this reason; returns whether there is one."""
        if self.limit is None:
            return False
        self.stopped = reason
        self.limit.deadline = trio.current_time()
        return True

    def _put_off(self, time_s: float) -> None:
        if self.limit is not None:
            self.limit.deadline += time_s

    def within(self, around: Frame | None) -> Frame:
        """Return this frame as it stands within another: what begins in it descends from both."""
        if around is None or around.owner is not self.owner:
            return self
        scopes, root, carried = (*around.scopes, *self.scopes), around.root, around.baggage
        depth, nested = around.depth, around.nested
        return _Within(self.owner, around, self.component, 0, self.language, depth, scopes, nested, root, carried)

    def ref(self) -> OperationRef:
        """Return what hooks are told of it."""
        if not self.number:  # as `id` does, which would cost a call
            self.number = next(self.owner.numbers)
        own, root, parent, baggage = f"{self.owner.prefix}-{self.number}", self.top or self, self.parent, self.baggage
        root_id = own if root is self else root.id
        correlation = root.correlation or f"c-{root_id}"
        session = baggage.get("session", "") if baggage else ""
        above = "" if parent is None else parent.id
        return OperationRef(own, correlation, above, root_id, session, self.attempt, self.hops, self.depth, baggage)


class _Within(Frame, eq=False):
    """A frame as it stands within another: a script's, while a function of its runs. It is told of as that other."""

    @property
    def id(self) -> str:
        """That of the operation around it, or of the event that is handled; nobody is told of one of its own."""
        return super().id if self.parent is None else self.parent.id

    def ref(self) -> OperationRef:
        """Return what hooks are told of the operation around it."""
        return super().ref() if self.parent is None else self.parent.ref()


CURRENT: Final[ContextVar[Frame | None]] = ContextVar("llmspell_operation", default=None)
"""The frame of the running operation."""
