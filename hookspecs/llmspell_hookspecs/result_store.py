"""What keeps the results that hooks ask to keep: the memory, and behind it what `Cache` with ``persist`` looks up.

Invariant: the host hands over no value that holds a secret (see `holds_secret`), and a key that tells nothing of what
it stands for. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from .context import ComponentRef, OperationRef
from .results import Cache

__all__ = ["CacheKey", "Flight", "ResultCache", "ResultStore", "Stored", "StoredResult"]

T = TypeVar("T")
CacheKey = tuple[str, ...]


class StoredResult(Struct, frozen=True):
    """A result as a store has it.

    Attributes:
        value: The result.
        fresh_s: How long it is fresh from now on; 0 or less for one that has expired.
    """

    value: Any
    fresh_s: float


@runtime_checkable
class ResultStore(Protocol):
    """Keeps results by key.

    One flight of each key asks at a time, when nothing fresh is in memory, and for no longer than a hook may take.
    What it raises is told once, and counts as a miss.
    """

    async def find(self, key: str, kind: type, /) -> StoredResult | None:
        """Return what is kept under this key, also when it has expired; None for nothing of this type."""

    async def keep(self, key: str, value: Any, ttl_s: float, kind: type, /) -> bool:
        """Keep a frozen result of this type, fresh for so long; False if `find` could not return it as it is."""


class Stored(Struct, frozen=True):
    """A stored value.

    Attributes:
        value: The result.
        expires_s: Until when it is fresh.
        size_bytes: How much it holds, see `size_of`.
    """

    value: Any
    expires_s: float
    size_bytes: int = 0


class Flight(Protocol):
    """An operation, as far as it leads others to a result.

    Attributes:
        component: What runs.
        flights: The keys that it leads.
    """

    component: ComponentRef
    flights: tuple[CacheKey, ...]

    def leads(self, key: CacheKey, /) -> bool:
        """Return whether this operation, or one around it, leads the flight of this key."""

    def ref(self) -> OperationRef:
        """Return what hooks are told of it."""


@runtime_checkable
class ResultCache(Protocol):
    """Values by key, and who is computing which: what the host asks where a hook answers `Cache`.

    Whoever asks stores neither errors nor denied values.
    """

    def key(self, flight: Flight, kind: str, plugin: str, cache: Cache, subject: Any, /) -> CacheKey:
        """Return the key: kind, component, session, plugin, the hook's own part and the canonical subject."""

    def stale(self, key: CacheKey, /) -> Stored | None:
        """Return the stored value, even expired."""

    async def enter(self, key: CacheKey, flight: Flight, /) -> Stored | None:
        """Return the fresh value, once there is one; None makes this operation the flight's leader."""

    def is_fresh(self, stored: Stored, /) -> bool:
        """Return whether a stored value may be served by itself."""

    def store(self, key: CacheKey, value: Any, ttl_s: float, size_bytes: int, /) -> Stored:
        """Keep a value and return it as stored; one that is larger than all may be together is not kept."""

    def leave(self, flight: Flight, /) -> None:
        """End the flights that an operation leads; whoever waits looks again."""

    async def ask(
        self, key: CacheKey, question: Callable[[ResultStore, str], Awaitable[T]], limit_s: float, /
    ) -> T | None:
        """Return what the store answers about a key, of which it is told a name; None if it does not in time."""
