"""The storage memory: entries in a dict, gone when it is closed.

Invariant: a write happens between two checkpoints, so it is whole for every other task.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import ClassVar, Self

import trio
from pydantic import BaseModel, ConfigDict

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry, check_batch, check_key

from .pages import Page, Pages

__all__ = ["Memory", "MemorySettings"]


class MemorySettings(BaseModel):
    """``memory`` takes none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Memory:
    """A storage that lives as long as the host."""

    name: ClassVar[str] = "memory"
    Settings: ClassVar[type[MemorySettings]] = MemorySettings

    def __init__(self, settings: MemorySettings | None = None, services: Services | None = None) -> None:
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._floor = 0
        """The highest version of a deleted key; a new key starts above it."""
        self._open = False

    async def __aenter__(self) -> Self:
        """Open it."""
        if self._open:
            raise StorageError("storage memory: it is open already; open it once")
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it."""
        await self.close()

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self._check_open()
            check_key(key)
        return entry

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing; see the contract's `Storage`."""
        check_batch(batch, expect)
        batch, expect = dict(batch), dict(expect or {})
        await trio.lowlevel.checkpoint()
        self._check_open()
        if any(self._version(key) != version for key, version in expect.items()):
            return None
        for key, value in batch.items():
            if value is None:
                self._delete(key)
            else:
                self._put(key, value)
        return {key: self._version(key) for key in batch}

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys; see the contract's `Storage`."""

        async def read(after: str, count: int) -> Page:
            await trio.lowlevel.checkpoint()
            self._check_open()
            start = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
            keys = self._keys[start : start + count]
            rows = [(key, self._entries[key]) for key in keys if key.startswith(prefix)]
            return rows, len(rows) == count

        return Pages(read, prefix, after, limit)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Memory]:
        """Return a block in which it is read as it is now."""
        self._check_open()
        async with Memory() as copy:
            copy._entries, copy._keys = self._entries.copy(), self._keys.copy()
            yield copy

    async def close(self) -> None:
        """Close it; its entries are gone."""
        self._open = False
        self._entries.clear()
        self._keys.clear()

    def _check_open(self) -> None:
        if not self._open:
            raise StorageError("storage memory: it is closed; use it while it is open", code="closed")

    def _version(self, key: str) -> int:
        entry = self._entries.get(key)
        return 0 if entry is None else entry.version

    def _put(self, key: str, value: bytes) -> None:
        if key not in self._entries:
            insort(self._keys, key)
        self._entries[key] = Entry(value, (self._version(key) or self._floor) + 1)

    def _delete(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._floor = max(self._floor, entry.version)
            del self._keys[bisect_left(self._keys, key)]
