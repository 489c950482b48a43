"""Until when events with a time to live are delivered, by a clock that nobody sets.

Invariant: of an event that is too old nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heappop, heappush

from .event import Event

__all__ = ["Ages"]


class Ages:
    """The ages of the events of one bus.

    Args:
        now_s: Returns the seconds since the epoch, as events' timestamps have them.
        clock: Returns seconds that only grow.
    """

    def __init__(self, now_s: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._clock = clock
        self._due: dict[int, float] = {}
        self._order: list[tuple[float, int]] = []

    def note(self, event: Event) -> None:
        """Take in an event that is about to be delivered."""
        if event.ttl_s is None:
            return
        now_s = self._clock()
        due_s = self._due[event.sequence] = now_s + event.timestamp + event.ttl_s - self._now_s()
        heappush(self._order, (due_s, event.sequence))
        while self._order and self._order[0][0] < now_s:
            del self._due[heappop(self._order)[1]]

    def is_over(self, event: Event) -> bool:
        """Return whether an event is too old by now."""
        due_s = self._due.get(event.sequence)
        return due_s is None or self._clock() > due_s
