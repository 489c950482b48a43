"""Results that hooks asked to keep: looked up under a key, one flight at a time.

Invariant: errors and denied values are never stored. While one operation leads a key's flight the others wait; when it
fails, one of them leads. At most 4096 values are kept, the least recently used go first. Times in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import trio
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs import Cache, canonical

from .correlation import Frame

__all__ = ["CacheKey", "ResultCache", "Stored"]

_KEPT: Final = 4096
CacheKey = tuple[str, ...]


class Stored(Struct, frozen=True):
    """A stored value.

    Attributes:
        value: The result.
        expires_s: Until when it is fresh.
    """

    value: Any
    expires_s: float


class ResultCache:
    """Values by key, and who is computing which.

    Args:
        clock: Returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
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
            if stored is not None and stored.expires_s > self._clock():
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

    def store(self, key: CacheKey, value: Any, ttl_s: float) -> None:
        """Keep a value."""
        self._stored[key] = Stored(value, self._clock() + ttl_s)
        self._stored.move_to_end(key)
        if len(self._stored) > _KEPT:
            self._stored.popitem(last=False)

    def leave(self, frame: Frame) -> None:
        """End the flights that an operation leads; whoever waits looks again."""
        for key in frame.flights:
            flight = self._flights.pop(key, None)
            if flight is not None:
                flight.set()
        frame.flights = ()
