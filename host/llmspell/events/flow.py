"""How fast a source may publish: a token bucket for each.

Invariant: at most 4096 buckets are kept; one that is forgotten is full again. Rates in events a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec import Struct

__all__ = ["Flow", "FlowLimit"]

_KEPT: Final = 4096


class FlowLimit(Struct, frozen=True):
    """What each source may publish.

    Attributes:
        rate: Events a second in the long run.
        burst: Events at once, from 1.
    """

    rate: float
    burst: float


class _Bucket(Struct):
    tokens: float
    filled_s: float


class Flow:
    """Buckets by source.

    Args:
        limit: What each may publish.
        clock: Returns seconds that only grow.
    """

    def __init__(self, limit: FlowLimit, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, source: str) -> bool:
        """Return whether the source may publish one more now, and count it; ``a/b`` is a part of the source ``a``."""
        source = source.partition("/")[0]
        now_s = self._clock()
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = self._buckets[source] = _Bucket(self.limit.burst, now_s)
            if len(self._buckets) > _KEPT:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(source)
        bucket.tokens = min(self.limit.burst, bucket.tokens + (now_s - bucket.filled_s) * self.limit.rate)
        bucket.filled_s = now_s
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
