"""What a storage backend is: versioned entries under keys.

Invariant: `Storage.write` is atomic and durable when it returns; versions only grow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["Entry", "Storage"]


class Entry(Struct, frozen=True):
    """A stored value.

    Attributes:
        value: The bytes.
        version: Grows with each write of the key, from 1.
    """

    value: bytes
    version: int


@runtime_checkable
class Storage(Protocol):
    """A backend; one conformance suite holds all of them."""

    async def get(self, key: str, /) -> Entry | None:
        """Answer the entry, or None."""

    async def write(self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None) -> bool:
        """Write all of it or nothing; None deletes.

        Args:
            batch: The new values.
            expect: The versions that the keys must have (0: absent) for the write to happen.

        Returns:
            Whether it was written; False if a version differs from the expected one.
        """

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys, from behind ``after``, at most ``limit``."""

    async def close(self) -> None:
        """Close it; what was written stays."""
