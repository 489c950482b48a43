"""The service ResultCache: results that hooks asked to keep, looked up under a key, one flight at a time.

Behind it is the service ResultStore, asked for no longer than a hook may take.

Invariant: while one operation leads a key's flight the others wait; when it fails, one of them leads. At most 4096
values, and so many bytes of them as ``limits.cache_bytes`` says, are kept; the least recently used go first. Nothing
that the store does, or fails to do, is felt by an operation but as a miss: what fails is told once, until it works
again, and is left alone for a while. Durations in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any, ClassVar, Final, TypeVar

import trio
from blake3 import blake3

from llmspell_hookspecs import Cache, Services
from llmspell_hookspecs.errors import StorageError, text_of_error
from llmspell_hookspecs.foreign import let_pass
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.result_store import CacheKey, Flight, ResultCache, ResultStore, Stored
from llmspell_hookspecs.services import Clock, SettingsAccess
from llmspell_hookspecs.values import canonical

__all__ = ["Results"]

T = TypeVar("T")
_KEPT: Final = 4096
_REST_S: Final = 30.0


class Results:
    """Implements the contract's `ResultCache`."""

    name: ClassVar[str] = "result_cache"
    provides: ClassVar[type[Any]] = ResultCache

    def __init__(self, settings: None, services: Services) -> None:
        self._services = services
        self._settings = services.get(SettingsAccess)
        self._clock = services.get(Clock).monotonic_s
        self._bytes = 0
        self._stored: OrderedDict[CacheKey, Stored] = OrderedDict()
        self._flights: dict[CacheKey, trio.Event] = {}
        self._rests_until_s = -inf
        self._works = True

    def key(self, flight: Flight, kind: str, plugin: str, cache: Cache, subject: Any, /) -> CacheKey:
        """Return the key: kind, component, session, plugin, the hook's own part and the canonical subject."""
        session = "" if cache.scope == "host" else flight.ref().session_id
        about = blake3(canonical(subject)).hexdigest()
        return (kind, flight.component.name, flight.component.id, cache.scope, session, plugin, cache.key, about)

    def stale(self, key: CacheKey, /) -> Stored | None:
        """Return the stored value, even expired."""
        return self._stored.get(key)

    async def enter(self, key: CacheKey, flight: Flight, /) -> Stored | None:
        """Return the fresh value, once there is one; None makes this operation the flight's leader."""
        while True:
            stored = self._stored.get(key)
            if stored is not None and self.is_fresh(stored):
                self._stored.move_to_end(key)
                return stored
            if flight.leads(key):
                return None
            under_way = self._flights.get(key)
            if under_way is None:
                self._flights[key] = trio.Event()
                flight.flights = (*flight.flights, key)
                return None
            await under_way.wait()

    def is_fresh(self, stored: Stored, /) -> bool:
        """Return whether a stored value may be served by itself."""
        return stored.expires_s > self._clock()

    def store(self, key: CacheKey, value: Any, ttl_s: float, size_bytes: int, /) -> Stored:
        """Keep a value and return it as stored; one that is larger than all may be together is not kept."""
        most_bytes = self._settings.section("limits").cache_bytes
        self._bytes += size_bytes
        before = self._stored.pop(key, None)
        if before is not None:
            self._bytes -= before.size_bytes
        self._stored[key] = stored = Stored(value, self._clock() + ttl_s, size_bytes)
        while len(self._stored) > _KEPT or self._bytes > most_bytes:
            _, dropped = self._stored.popitem(last=False)
            self._bytes -= dropped.size_bytes
        return stored

    def leave(self, flight: Flight, /) -> None:
        """End the flights that an operation leads; whoever waits looks again."""
        for key in flight.flights:
            under_way = self._flights.pop(key, None)
            if under_way is not None:
                under_way.set()
        flight.flights = ()

    async def ask(
        self, key: CacheKey, question: Callable[[ResultStore, str], Awaitable[T]], limit_s: float, /
    ) -> T | None:
        """Return what the store answers; see the contract."""
        if trio.current_time() < self._rests_until_s:
            return None
        try:
            with trio.fail_after(limit_s):
                answer = await question(await self._services.enter(ResultStore), _name_of(key))
        except trio.TooSlowError:
            why = f"it took longer than {limit_s:g} s"
        except BaseException as error:
            let_pass(error)
            why = text_of_error(error)
        else:
            self._works = True
            return answer
        self._rests_until_s = trio.current_time() + _REST_S
        if self._works:
            self._works = False
            problem = StorageError(f"the store of results: {why}; until it works they stay in memory alone")
            self._services.get(Operations).problem(problem)
        return None


def _name_of(key: CacheKey) -> str:
    """The name of a key in the store, which tells nothing of the call."""
    return blake3(canonical(key)).hexdigest()
