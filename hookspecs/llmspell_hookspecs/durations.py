"""How long things take: a histogram of bounded size, and its percentiles. Durations in seconds.

Invariant: a percentile is at most an eighth above what it stands for, and the largest is exact; at most a few hundred
numbers are kept, however many are noted.
"""

from __future__ import annotations

from math import ceil, frexp
from typing import Final

from msgspec import Struct

__all__ = ["Durations", "Percentiles"]

_PARTS: Final = 16
"""Into how many steps a doubling from half to one is divided; the lower half of them stays empty."""
_SHORTEST_S: Final = 1e-9


class Percentiles(Struct, frozen=True):
    """How long things took.

    Attributes:
        count: How many were noted.
        p50_s: Half of them took no longer.
        p95_s: Of a hundred, 95 took no longer.
        p99_s: Of a hundred, 99 took no longer.
        max_s: None took longer.
    """

    count: int = 0
    p50_s: float = 0.0
    p95_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0


class Durations:
    """What was noted so far, by size.

    Attributes:
        count: How many were noted.
        max_s: The longest.
    """

    __slots__ = ("_counts", "_known", "count", "max_s")

    def __init__(self) -> None:
        self.count = 0
        self.max_s = 0.0
        self._counts: dict[int, int] = {}
        self._known = Percentiles()

    def note(self, duration_s: float) -> None:
        """Take a duration in; one below a nanosecond, also below 0, counts as that."""
        fraction, exponent = frexp(max(duration_s, _SHORTEST_S))
        place = exponent * _PARTS + int(fraction * _PARTS)
        self._counts[place] = self._counts.get(place, 0) + 1
        self.count += 1
        if duration_s > self.max_s:
            self.max_s = duration_s

    def merge(self, other: Durations) -> None:
        """Take in all that another has noted."""
        for place, count in other._counts.items():
            self._counts[place] = self._counts.get(place, 0) + count
        self.count += other.count
        self.max_s = max(self.max_s, other.max_s)

    @property
    def percentiles(self) -> Percentiles:
        """The percentiles of what was noted; all 0 if nothing was."""
        if self._known.count != self.count:
            limits = iter(sorted(self._counts.items()))
            place, seen = 0, 0
            found: list[float] = []
            for share in (0.5, 0.95, 0.99):
                while seen < ceil(self.count * share):
                    place, count = next(limits)
                    seen += count
                found.append(min(_upper(place), self.max_s))
            p50_s, p95_s, p99_s = found
            self._known = Percentiles(self.count, p50_s, p95_s, p99_s, self.max_s)
        return self._known


def _upper(place: int) -> float:
    """Return the upper bound of what is counted at a place."""
    exponent, part = divmod(place, _PARTS)
    return float((part + 1) / _PARTS * 2.0**exponent)
