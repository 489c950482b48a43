"""Counts and histograms by labels, bounded in breadth. Times in nanoseconds.

Invariant: a family has at most ``most`` series; what is beyond is counted together under the label ``_other``, so the
sums are right whatever names come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

__all__ = ["BOUNDS_S", "OTHER", "Counter", "Histogram", "Times", "cumulative"]

BOUNDS_S: Final = (0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets, in seconds; what is longer is in one more."""
_BOUNDS_NS: Final = tuple(round(bound * 1e9) for bound in BOUNDS_S)
OTHER: Final = "_other"
"""The label of what is beyond the bound."""


class Counter:
    """Sums by labels.

    Args:
        most: How many series there may be.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        """Add to one series."""
        sums = self._sums
        if labels not in sums and len(sums) >= self._most:
            labels = (OTHER,) * len(labels)
        sums[labels] = sums.get(labels, 0) + amount

    def rows(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Return labels and sum of each series."""
        return iter(sorted(self._sums.items()))


class Times(Struct):
    """How long things took.

    Attributes:
        count: How many.
        total_ns: Together.
        buckets: How many in each bucket of `BOUNDS_S`, and above.
    """

    count: int
    total_ns: int
    buckets: list[int]

    def quantile_s(self, part: float) -> float:
        """Return about how long the quickest such part took at most: its bucket, cut by where it lies in there."""
        rank, before = part * self.count, 0
        for number, inside in enumerate(self.buckets):
            if before + inside >= rank and inside:
                low = BOUNDS_S[number - 1] if number else 0.0
                high = BOUNDS_S[number] if number < len(BOUNDS_S) else max(low, self.total_ns / 1e9)
                return low + (high - low) * (rank - before) / inside
            before += inside
        return 0.0


class Histogram:
    """Times by labels.

    Args:
        most: How many series there may be.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._series: dict[tuple[str, ...], Times] = {}

    def add(self, labels: tuple[str, ...], took_ns: int) -> None:
        """Add a time to one series."""
        times = self._series.get(labels)
        if times is None:
            times = self._make(labels)
        times.count += 1
        times.total_ns += took_ns
        times.buckets[bisect_left(_BOUNDS_NS, took_ns)] += 1

    def merge(self, labels: tuple[str, ...], more: Times) -> None:
        """Add the times of another histogram's series."""
        times = self._series.get(labels) or self._make(labels)
        times.count += more.count
        times.total_ns += more.total_ns
        times.buckets = [one + other for one, other in zip(times.buckets, more.buckets, strict=True)]

    def rows(self) -> Iterator[tuple[tuple[str, ...], Times]]:
        """Return labels and times of each series."""
        return iter(sorted(self._series.items(), key=lambda row: row[0]))

    def _make(self, labels: tuple[str, ...]) -> Times:
        if len(self._series) >= self._most:
            labels = (OTHER,) * len(labels)
        return self._series.setdefault(labels, Times(0, 0, [0] * (len(BOUNDS_S) + 1)))


def cumulative(buckets: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Return the upper bound of each bucket and how many are up to there, as Prometheus wants them."""
    total = 0
    for bound, inside in zip((*BOUNDS_S, float("inf")), buckets, strict=True):
        total += inside
        yield ("+Inf" if bound == float("inf") else repr(bound)), total
