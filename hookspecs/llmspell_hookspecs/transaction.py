"""Writes that are kept back and committed together: a transaction over a storage, which services join.

A durable workflow runs a tool whose ``effects`` are ``transactional`` within one, and commits it in the batch that
records that the stage is done: so both are written or neither is, whenever the process dies. A service that keeps what
it writes in a storage of the host takes part in one line::

    storage = joined(await self._services.get(Storages).open())

Invariant: nothing of it stands in the storage before it is committed, and whoever joined reads what was written within.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from .errors import ResourceLimitError
from .storage import Entry, Storage, check_batch, check_key

__all__ = ["MAX_TRANSACTION_BYTES", "Transaction", "joined"]

MAX_TRANSACTION_BYTES: Final = 64 * 1024 * 1024
"""How much one transaction keeps back, keys and values together; what writes more is not to be transactional."""

_AROUND: Final[ContextVar[Transaction | None]] = ContextVar("llmspell_transaction", default=None)


def joined(storage: Storage, /) -> Storage:
    """Return the transaction that is around, if it is one over this storage and is still open, else the storage."""
    around = _AROUND.get()
    return around if around is not None and around.is_over(storage) else storage


class Transaction:
    """A storage as it will be once it is committed; implements `Storage` for those who joined.

    The versions that `write` returns count up from the one that is there, from 0 if there is none. After the commit the
    last one of a key may differ from the one it has; whoever expects it then gets a conflict, and overwrites nothing.

    Args:
        storage: Where it will be written.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._written: dict[str, tuple[bytes | None, int]] = {}
        self._expected: dict[str, int] = {}
        self._size_bytes = 0
        self._is_open = True

    async def __aenter__(self) -> Self:
        """Return it; the storage is open already."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it, which writes nothing."""
        await self.close()

    def is_over(self, storage: Storage) -> bool:
        """Return whether what is written to this storage belongs into it."""
        return self._is_open and self._storage is storage

    @contextmanager
    def around(self) -> Iterator[None]:
        """Let all join that is called within the block; it is closed when the block is left, and takes no more."""
        token = _AROUND.set(self)
        try:
            yield
        finally:
            _AROUND.reset(token)
            self._is_open = False

    def commitment(self) -> tuple[dict[str, bytes | None], dict[str, int]]:
        """Return what its commit writes, and which versions it expects, as `Storage.write` takes them."""
        return {key: value for key, (value, _) in self._written.items()}, dict(self._expected)

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry as it was written within, else the one of the storage."""
        check_key(key)
        if key not in self._written:
            return await self._storage.get(key)
        return _entry(self._written[key])

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Keep all of it back or nothing; see `Storage`.

        Raises:
            ResourceLimitError: It would keep back more than `MAX_TRANSACTION_BYTES`.
        """
        check_batch(batch, expect)
        batch, expect = dict(batch), dict(expect or {})
        found: dict[str, int] = {}
        for key in {**batch, **expect}:
            if key not in self._written:
                entry = await self._storage.get(key)
                found[key] = 0 if entry is None else entry.version
        # From here on nothing waits, so that those who share it cannot come in between.
        versions = {key: self._version(key, found) for key in {**batch, **expect}}
        if any(versions[key] != version for key, version in expect.items()):
            return None
        self._take(batch)
        for key, version in expect.items():
            if key not in self._written:
                self._expected.setdefault(key, version)
        for key, value in batch.items():
            last = self._written[key][1] if key in self._written else found[key]
            self._written[key] = value, last + 1
        return {key: self._version(key, found) for key in batch}

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys, as they will be; see `Storage`."""
        mine = {key: held for key, held in self._written.items() if key.startswith(prefix) and key > after}
        if not mine or limit < 0:
            return self._storage.scan(prefix, after=after, limit=limit)
        below = self._storage.scan(prefix, after=after, limit=min(limit + len(mine), sys.maxsize))
        return _Merged(below, mine, limit)

    async def close(self) -> None:
        """Take no more, and forget what was written within."""
        self._is_open = False
        self._written.clear()

    def _version(self, key: str, found: Mapping[str, int]) -> int:
        held = self._written.get(key)
        if held is None:
            return found[key]
        return 0 if held[0] is None else held[1]

    def _take(self, batch: Mapping[str, bytes | None]) -> None:
        """Count what is kept back."""
        size_bytes = self._size_bytes
        for key, value in batch.items():
            before = self._written.get(key)
            size_bytes += len(value or b"") + (len(key) if before is None else -len(before[0] or b""))
        if size_bytes > MAX_TRANSACTION_BYTES:
            message = (
                f"transaction: it would keep back {size_bytes} bytes; write at most {MAX_TRANSACTION_BYTES} in one"
            )
            raise ResourceLimitError(message)
        self._size_bytes = size_bytes


class _Merged:
    """What a storage holds and what was written within, in order of keys, at most ``limit``."""

    def __init__(
        self, below: AsyncIterator[tuple[str, Entry]], mine: Mapping[str, tuple[bytes | None, int]], limit: int
    ) -> None:
        self._below, self._mine, self._left = below, mine, limit
        self._keys = sorted(mine, reverse=True)
        self._next: tuple[str, Entry] | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Entry]:
        while self._left > 0:
            if self._next is None and not self._is_over:
                self._next = await self._behind()
            if self._keys and (self._next is None or self._keys[-1] < self._next[0]):
                key = self._keys.pop()
                entry = _entry(self._mine[key])
                if entry is None:
                    continue
                found = key, entry
            elif self._next is not None:
                found, self._next = self._next, None
            else:
                break
            self._left -= 1
            return found
        raise StopAsyncIteration

    async def _behind(self) -> tuple[str, Entry] | None:
        """Return the storage's next entry that was not written within, None if there is none."""
        async for key, entry in self._below:
            if key not in self._mine:
                return key, entry
        self._is_over = True
        return None


def _entry(held: tuple[bytes | None, int]) -> Entry | None:
    value, version = held
    return None if value is None else Entry(value, version)
