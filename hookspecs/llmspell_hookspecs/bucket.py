"""Token buckets: how fast each of several sources may go, such as those that publish events.

Invariant: at most 4096 buckets are kept; one that is forgotten is full again. Rates in tokens a second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec import Struct

__all__ = ["TokenBuckets", "TokenRate"]

_KEPT: Final = 4096


class TokenRate(Struct, frozen=True):
    """What each source may take.

    Attributes:
        rate: Tokens a second in the long run.
        burst: Tokens at once, from 1.
    """

    rate: float
    burst: float


class _Bucket(Struct):
    tokens: float
    filled_s: float


class TokenBuckets:
    """Buckets by source.

    Args:
        limit: What each may take.
        clock: Returns seconds that only grow.
    """

    def __init__(self, limit: TokenRate, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, source: str) -> bool:
        """Return whether the source may take one more now, and count it; ``a/b`` is a part of the source ``a``."""
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
