"""Watches the operations of a host: each run of a body, and each end.

Invariant: on the loop nothing is encoded or hashed; what was asked and what came of it is read-only, so that a thread
may do that. An operation that only this process can see (``sync``: an event, what the stages of a run share) is not
recorded, and neither is one that is part of a replay.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns, time
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.context import OperationRef
from llmspell_hookspecs.operation import EndedOperation, OperationKind, RunningBody, RunningOperation
from llmspell_hookspecs.values import freeze

from .playing import PLAYING, WITHIN
from .record import Ran, Watched
from .writer import Item, Writer

__all__ = ["Recorder"]

_CAUSES: Final = 10_000
"""Of so many causes, the newest, the session is known; so many operations may have drawn before their bodies."""
_DRAWS: Final = 100_000
"""So many draws of one operation are kept, the first."""


class Recorder:
    """Hands the operations of a host to a writer.

    Args:
        writer: Takes them.
        running: Returns the operation that runs.
        sessions: Whether only those of sessions count.
        replayed: Returns whether an operation belongs to a replay.

    Attributes:
        held_up: How often one waited for room.
    """

    def __init__(
        self,
        writer: Writer,
        running: Callable[[], RunningOperation],
        *,
        sessions: bool,
        replayed: Callable[[str], bool],
    ) -> None:
        self.held_up = 0
        self._writer = writer
        self._asks = running
        self._sessions = sessions
        self._replayed = replayed
        self._running: dict[str, Watched] = {}
        self._early: dict[str, None] = {}
        self._caused: dict[str, str] = {}
        self._orders = itertools.count(int(time() * 1e6))  # so that those of a later process come later

    def watch(
        self, kind: OperationKind, ref: OperationRef, subject: Any
    ) -> Callable[[Any, BaseException | None], object]:
        """Keep what a body is given and what it yields."""
        if kind.sync or PLAYING.get() or (self._sessions and not self._session_of(ref)):
            return _ignore
        id, order = ref.id, next(self._orders)
        ran = Ran(order, subject, perf_counter_ns())
        watched = self._running.get(id)
        if watched is None:
            watched = self._running[id] = Watched(WITHIN.get(), order, [ran])
        else:
            watched.bodies.append(ran)
        watched.is_inside = True
        token = WITHIN.set(id)

        def settle(value: Any, error: BaseException | None) -> None:
            watched.is_inside = False
            ran.began_ns = perf_counter_ns() - ran.began_ns
            WITHIN.reset(token)
            if error is None:
                ran.value, ran.state = value, "yielded"
            elif isinstance(error, Exception):
                ran.value, ran.state = error, "raised"

        return settle

    async def wait(self, running: RunningBody) -> Any:
        """Stand in for a body while there is no room: wait until there is, then run it."""
        if not running.kind.sync:
            self.held_up += 1
            while (room := self._writer.room) is not None:
                await room.wait()
        return await running.run()

    def tap(self, ended: EndedOperation) -> None:
        """Hand over an operation that has ended."""
        ref, kind = ended.operation, ended.of
        watched = self._running.pop(ref.id, None)
        if self._early:
            self._early.pop(ref.id, None)
        if (kind is not None and kind.sync) or PLAYING.get():
            return
        session = self._session_of(ref) if ref.session_id or self._caused else ""
        if self._sessions and not session:
            return
        correlation = ref.correlation_id
        if self._replayed(correlation):
            return
        if watched is None:
            watched = Watched(WITHIN.get(), next(self._orders))
        id = session or correlation.removeprefix("c-")
        self._writer.add(Item(id, bool(session), ended, watched, time()))

    def draw(self, name: str, make: Callable[[], Any]) -> Any:
        """Make what is drawn, and keep it with the operation that runs."""
        value = make()
        try:
            id, subject = ("", None) if PLAYING.get() else self._asks().asked()
        except (AttributeError, LookupError):  # nothing runs
            return value
        if id:
            watched = self._running.get(id)
            if watched is None:
                watched = self._begin_early(id, subject)
            if len(watched.drawn) < _DRAWS:
                watched.drawn.append((watched.stage, name, value))
        return value

    def _begin_early(self, id: str, subject: Any) -> Watched:
        """Begin an operation in which a hook draws before its body runs."""
        if len(self._early) >= _CAUSES:  # of a task that outlives its operation, which nobody will tell of again
            oldest = next(iter(self._early))
            del self._early[oldest]
            if oldest in self._running and not self._running[oldest].bodies:
                del self._running[oldest]
        self._early[id] = None
        watched = self._running[id] = Watched(WITHIN.get(), next(self._orders))
        with suppress(InvalidInputError):  # it is refused later on, by the operation itself
            watched.asked, watched.is_early = freeze(subject), True
        return watched

    def _session_of(self, ref: OperationRef) -> str:
        """Return the session of an operation, or of what set it off: a handler of an event carries none itself."""
        session, correlation = ref.session_id, ref.correlation_id
        if not session:
            return self._caused.get(correlation, "")
        if correlation not in self._caused:
            if len(self._caused) >= _CAUSES:
                del self._caused[next(iter(self._caused))]
            self._caused[correlation] = session
        return session


def _ignore(value: Any, error: BaseException | None) -> None:
    """Keep nothing."""
