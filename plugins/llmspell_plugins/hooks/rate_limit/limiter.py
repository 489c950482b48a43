"""Limiters: when so many more may go, and taking that place. Whole numbers; a place is rounded up to a nanosecond.

`Limiter.earliest` asks and `Limiter.take` takes; both are done without an await in between, so that no two callers
are given one place. Places are given in the order of asking, in the future too, and whoever has one waits for it.

Invariant: a token bucket (GCRA: the one number kept is when the bucket would be full again) grants in no time of length
w more than ``rate * w / per + burst``; a sliding window in no time of length ``per`` more than ``rate``; a fixed one in
no window more than ``rate``. A single request for more than all of that goes when the limiter is idle, and is paid off
after. Times in nanoseconds of a clock that only grows.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

__all__ = ["FixedWindow", "Limiter", "SlidingWindow", "TokenBucket"]

_LONG_AGO = -(1 << 100)
"""Before any time; 0 is none, for what was taken before this clock began may count here, too."""


class Limiter(Protocol):
    """One limit for one key."""

    def earliest(self, count: int, now_ns: int) -> int:
        """Return the first time, from now, at which so many more may go."""

    def take(self, count: int, at_ns: int) -> int:
        """Take the place at that time, or later, which `earliest` has returned; returns a ticket for it."""

    def give_back(self, count: int, ticket: int) -> bool:
        """Give a place back that was not used; False if others stand behind it, so that it is lost."""

    def add(self, count: int, at_ns: int) -> None:
        """Count more, or fewer if negative, than was taken."""

    def used(self, now_ns: int) -> float:
        """Return which part of the limit is used up: 0 for none, 1 for all."""

    def is_idle(self, now_ns: int) -> bool:
        """Return whether it is as it was when it was new, so that it may be forgotten."""

    def taken(self, now_ns: int) -> list[tuple[int, int]]:
        """Return times and counts which, taken by a new one, leave no more room than there is here."""


class TokenBucket:
    """So many in the long run, and so many at once.

    Args:
        rate: How many.
        per_ns: In which time.
        burst: How many at once, from 1.
    """

    __slots__ = ("_full_at", "_per_ns", "_rate", "_room")

    def __init__(self, rate: int, per_ns: int, burst: int) -> None:
        self._rate, self._per_ns = rate, per_ns
        self._room = burst * per_ns
        self._full_at = _LONG_AGO  # in units of a nanosecond / rate, in which everything is a whole number

    def earliest(self, count: int, now_ns: int) -> int:
        """Return the first time at which so many more may go."""
        wanted = min(count * self._per_ns, self._room)
        due = self._full_at + wanted - self._room
        return max(now_ns, -(-due // self._rate))

    def take(self, count: int, at_ns: int) -> int:
        """Take a place."""
        self._full_at = max(self._full_at, at_ns * self._rate) + count * self._per_ns
        return self._full_at

    def give_back(self, count: int, ticket: int) -> bool:
        """Give a place back."""
        if self._full_at != ticket:
            return False
        self._full_at -= count * self._per_ns
        return True

    def add(self, count: int, at_ns: int) -> None:
        """Count more or fewer."""
        self._full_at = max(self._full_at, at_ns * self._rate) + count * self._per_ns

    def used(self, now_ns: int) -> float:
        """Return which part is used up."""
        return max(0, self._full_at - now_ns * self._rate) / self._room

    def is_idle(self, now_ns: int) -> bool:
        """Return whether it is full."""
        return self._full_at <= now_ns * self._rate

    def taken(self, now_ns: int) -> list[tuple[int, int]]:
        """Return what is missing as taken now, rounded up."""
        missing = max(0, self._full_at - now_ns * self._rate)
        return [(now_ns, -(-missing // self._per_ns))] if missing else []


class SlidingWindow:
    """So many in any time of one length; every one is remembered as long.

    Args:
        rate: How many.
        per_ns: In which time.
    """

    __slots__ = ("_count", "_per_ns", "_rate", "_taken")

    def __init__(self, rate: int, per_ns: int) -> None:
        self._rate, self._per_ns = rate, per_ns
        self._taken: deque[list[int]] = deque()  # time and count, in order of time
        self._count = 0

    def earliest(self, count: int, now_ns: int) -> int:
        """Return the first time at which so many more may go; what lies before it still counts for others."""
        at_ns = max(now_ns, self._taken[-1][0] if self._taken else now_ns)
        excess = self._count + min(count, self._rate) - self._rate
        for time_ns, taken in self._taken:
            if excess <= 0:
                break
            excess -= taken
            at_ns = max(at_ns, time_ns + self._per_ns)
        return at_ns

    def take(self, count: int, at_ns: int) -> int:
        """Take a place."""
        self._taken.append([at_ns, count])
        self._count += count
        return at_ns

    def give_back(self, count: int, ticket: int) -> bool:
        """Give a place back."""
        if not self._taken or self._taken[-1] != [ticket, count]:
            return False
        self._taken.pop()
        self._count -= count
        return True

    def add(self, count: int, at_ns: int) -> None:
        """Count more or fewer."""
        for entry in reversed(self._taken):
            if entry[0] <= at_ns:
                change = max(count, -entry[1])
                entry[1] += change
                self._count += change
                return

    def used(self, now_ns: int) -> float:
        """Return which part is used up."""
        self._forget(now_ns)
        return self._count / self._rate

    def is_idle(self, now_ns: int) -> bool:
        """Return whether nothing is remembered."""
        self._forget(now_ns)
        return not self._taken

    def taken(self, now_ns: int) -> list[tuple[int, int]]:
        """Return what is remembered."""
        self._forget(now_ns)
        return [(at_ns, count) for at_ns, count in self._taken]

    def _forget(self, now_ns: int) -> None:
        while self._taken and self._taken[0][0] + self._per_ns <= now_ns:
            self._count -= self._taken.popleft()[1]


class FixedWindow:
    """So many in each window; windows begin at whole multiples of their length.

    Args:
        rate: How many.
        per_ns: How long a window is.
        origin_ns: What the clock showed at the epoch, as far as was known when the plugin began: windows then begin
            with the hours and days of UTC, and a clock that is set meanwhile moves none.
    """

    __slots__ = ("_origin_ns", "_per_ns", "_rate", "_used", "_window")

    def __init__(self, rate: int, per_ns: int, origin_ns: int) -> None:
        self._rate, self._per_ns, self._origin_ns = rate, per_ns, origin_ns
        self._window = self._used = 0

    def earliest(self, count: int, now_ns: int) -> int:
        """Return the first time at which so many more may go."""
        window = max(self._at(now_ns), self._window)
        excess = self._used_in(window) + min(count, self._rate) - self._rate
        return max(now_ns, self._start(window + max(0, -(-excess // self._rate))))

    def take(self, count: int, at_ns: int) -> int:
        """Take a place."""
        window = max(self._at(at_ns), self._window)
        self._used = self._used_in(window) + count
        self._window = window
        return window

    def give_back(self, count: int, ticket: int) -> bool:
        """Give a place back."""
        if ticket != self._window:
            return False
        self._used = max(0, self._used - count)
        return True

    def add(self, count: int, at_ns: int) -> None:
        """Count more or fewer."""
        if self._at(at_ns) == self._window:
            self._used = max(0, self._used + count)

    def used(self, now_ns: int) -> float:
        """Return which part is used up."""
        return self._used / self._rate if self._at(now_ns) <= self._window else 0.0

    def is_idle(self, now_ns: int) -> bool:
        """Return whether its window is over and nothing is owed."""
        return self._at(now_ns) > self._window + self._used // self._rate

    def taken(self, now_ns: int) -> list[tuple[int, int]]:
        """Return what counts in this window as taken now, or in a later one in the middle of that."""
        this = self._at(now_ns)
        window = max(this, self._window)
        used = self._used_in(window)
        at_ns = now_ns if window == this else self._start(window) + self._per_ns // 2  # no edge: clocks are rounded
        return [(at_ns, used)] if used or window > this else []  # those before a later one are closed, whatever it has

    def _used_in(self, window: int) -> int:
        """What counts in a window that is not before the last one; what is owed is paid off by those between."""
        return max(0, self._used - self._rate * (window - self._window))

    def _at(self, time_ns: int) -> int:
        return (time_ns - self._origin_ns) // self._per_ns

    def _start(self, window: int) -> int:
        return window * self._per_ns + self._origin_ns
