"""Where results that hooks ask to keep outlive the host: what Cache with ``persist`` is looked up in behind the memory.

Invariant: the host hands over no value that holds a secret (see `holds_secret`), and a key that tells nothing of what
it stands for. Durations in seconds.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["ResultStore", "StoredResult"]


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
