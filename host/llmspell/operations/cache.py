"""Results that hooks asked to keep: looked up under a key, one flight at a time.

Invariant: errors and denied values are never stored. While one operation leads a key's flight the others wait; when it
fails, one of them leads. At most 4096 values, and so many bytes of them, are kept; the least recently used go first.
Times in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import trio
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs import Cache
from llmspell_hookspecs.values import canonical

from .correlation import Frame
from .second_level import SecondLevel

__all__ = ["CacheKey", "ResultCache", "Stored", "ToKeep", "name_of"]

_KEPT: Final = 4096
CacheKey = tuple[str, ...]


class Stored(Struct, frozen=True):
    """A stored value.

    Attributes:
        value: The result.
        expires_s: Until when it is fresh.
        size_bytes: How much it holds, see the contract's `size_of`.
    """

    value: Any
    expires_s: float
    size_bytes: int = 0


class ToKeep(Struct, frozen=True):
    """What is to be stored when an operation completes.

    Attributes:
        key: Under which key.
        ttl_s: How long it is fresh.
        value: The value; `NOTHING` for the body's.
        persist: Whether the second level is to have it, too.
    """

    key: CacheKey
    ttl_s: float
    value: Any
    persist: bool = False


class ResultCache:
    """Values by key, and who is computing which.

    Args:
        clock: Returns seconds that only grow.
        max_bytes: How much all values may hold.
        second: What keeps values beyond this host.
    """

    def __init__(self, clock: Callable[[], float], max_bytes: int, second: SecondLevel) -> None:
        self._clock = clock
        self.max_bytes = max_bytes
        self.second = second
        self._bytes = 0
        self._stored: OrderedDict[CacheKey, Stored] = OrderedDict()
        self._flights: dict[CacheKey, trio.Event] = {}

    @staticmethod
    def key(frame: Frame, kind: str, plugin: str, cache: Cache, subject: Any) -> CacheKey:
        """Return the key: kind, component, session, plugin, the hook's own part and the canonical subject."""
        session = "" if cache.scope == "host" else frame.ref().session_id
        about = blake3(canonical(subject)).hexdigest()
        return (kind, frame.component.name, frame.component.id, cache.scope, session, plugin, cache.key, about)

    def stale(self, key: CacheKey) -> Stored | None:
        """Return the stored value, even expired."""
        return self._stored.get(key)

    async def enter(self, key: CacheKey, frame: Frame) -> Stored | None:
        """Return the fresh value, once there is one; None makes this operation the flight's leader."""
        while True:
            stored = self._stored.get(key)
            if stored is not None and self.is_fresh(stored):
                self._stored.move_to_end(key)
                return stored
            if frame.leads(key):
                return None
            flight = self._flights.get(key)
            if flight is None:
                self._flights[key] = trio.Event()
                frame.flights = (*frame.flights, key)
                return None
            await flight.wait()

    def is_fresh(self, stored: Stored) -> bool:
        """Return whether a stored value may be served by itself."""
        return stored.expires_s > self._clock()

    def store(self, key: CacheKey, value: Any, ttl_s: float, size_bytes: int) -> Stored:
        """Keep a value and return it as stored; one that is larger than all may be together is not kept."""
        self._bytes += size_bytes
        before = self._stored.pop(key, None)
        if before is not None:
            self._bytes -= before.size_bytes
        self._stored[key] = stored = Stored(value, self._clock() + ttl_s, size_bytes)
        while len(self._stored) > _KEPT or self._bytes > self.max_bytes:
            _, dropped = self._stored.popitem(last=False)
            self._bytes -= dropped.size_bytes
        return stored

    def leave(self, frame: Frame) -> None:
        """End the flights that an operation leads; whoever waits looks again."""
        for key in frame.flights:
            flight = self._flights.pop(key, None)
            if flight is not None:
                flight.set()
        frame.flights = ()


def name_of(key: CacheKey) -> str:
    """Return the name of a key in the second level, which tells nothing of the call."""
    return blake3(canonical(key)).hexdigest()
