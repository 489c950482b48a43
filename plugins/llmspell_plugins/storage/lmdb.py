"""The storage LMDB: a memory-mapped folder, for many small reads. Needs the extra ``lmdb``.

A value is kept behind its version, 8 bytes with the highest first. LMDB's own lock lets one process write at a time.

Invariant: ``deleted`` among the counters is at least the version of every key that was ever deleted; a new key starts
above it. Small values are read on the loop, from mapped memory; transactions never outlive the call that began them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeVar

import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import MAX_KEY_BYTES, Entry, Services, StorageError, check_key

from .pages import PAGE_BYTES, Page, Pages
from .place import place_of
from .writer import GroupWriter, Write

if TYPE_CHECKING:
    from lmdb import Environment, Transaction

__all__ = ["Lmdb", "LmdbSettings"]

_VERSION_BYTES: Final = 8
_LARGE_BYTES: Final = 256 * 1024
_DELETED: Final = b"deleted"

T = TypeVar("T")


class LmdbSettings(BaseModel):
    """What ``lmdb`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(
        default=None,
        description="The folder; it is made, for its owner only, if there is none; .llmspell/state.lmdb if left out.",
    )
    durability: Literal["full", "normal", "batched"] = Field(
        default="full",
        description="full: on the disk when a write returns. normal: it outlives the process, but a loss of power may "
        "take the last write. batched: as full, but commits keep batch_s apart, so that more writes share one.",
    )
    batch_s: float = Field(default=0.01, ge=0, le=1, description="For durability batched: from commit to commit.")
    map_bytes: int = Field(default=1 << 36, ge=1 << 20, description="The most it can hold; address space only.")


class Lmdb:
    """A storage in one LMDB folder, which several processes may share; each may open it once."""

    name: ClassVar[str] = "lmdb"
    Settings: ClassVar[type[LmdbSettings]] = LmdbSettings

    def __init__(self, settings: LmdbSettings, services: Services | None = None) -> None:
        self._settings = settings
        self._services = services
        self._path = settings.path or Path("state.lmdb")
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Open it, making the folder if there is none."""
        if self._opened is not None:
            raise StorageError(f"storage {self._path}: it is open already; open it once")
        self._opened = await trio.to_thread.run_sync(_open, self._settings, self._services)
        self._path = self._opened.path
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it."""
        await self.close()

    async def get(self, key: str, /) -> Entry | None:
        """Answer the entry, or None; see the contract's `Storage`."""
        opened = self._opened or self._closed()
        encoded = check_key(key)
        try:
            with opened.environment.begin(opened.entries, buffers=True) as reading:
                raw = reading.get(encoded)
                if raw is None:
                    return None
                if len(raw) <= _LARGE_BYTES:
                    return _entry(raw)
        except opened.failure as error:
            raise _problem(self._path, error) from error
        return await self._in_thread(opened, partial(_read_entry, opened, encoded))

    async def write(self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None) -> bool:
        """Write all of it or nothing; see the contract's `Storage`."""
        return await (self._opened or self._closed()).writer.write(batch, expect)

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys; see the contract's `Storage`."""

        async def read(after: str, count: int) -> Page:
            opened = self._opened or self._closed()
            return await self._in_thread(opened, partial(_read_page, opened, prefix, after, count))

        return Pages(read, prefix, after, limit)

    async def close(self) -> None:
        """Close it after the writes under way."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        with trio.CancelScope(shield=True):
            async with opened.scanning:
                await opened.writer.close(opened.environment.close)

    async def _in_thread(self, opened: _Opened, work: Callable[[], T]) -> T:
        async with opened.scanning:
            if opened is not self._opened:
                self._closed()
            with _translated(self._path):
                return await trio.to_thread.run_sync(work)

    def _closed(self) -> _Opened:
        raise StorageError(f"storage {self._path}: it is closed; use it while it is open", code="closed")


class _Opened(Struct):
    """What there is while the storage is open."""

    path: Path
    environment: Environment
    entries: Any
    counters: Any
    writer: GroupWriter
    scanning: trio.Lock
    failure: type[Exception]


def _open(settings: LmdbSettings, services: Services | None) -> _Opened:
    try:
        import lmdb
    except ImportError as error:
        raise StorageError("storage lmdb: it needs lmdb; run pip install 'llmspell[lmdb]'") from error
    path = place_of(settings.path, "state.lmdb", services)
    with _translated(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = lmdb.open(
            str(path),
            map_size=settings.map_bytes,
            max_dbs=2,
            mode=0o600,
            metasync=settings.durability != "normal",
        )
        # Readers that were killed would keep old pages from being used again.
        environment.reader_check()
        entries, counters = environment.open_db(b"entries"), environment.open_db(b"counters")

    def commit(group: Sequence[Write]) -> None:
        with _translated(path), environment.begin(entries, write=True) as transaction:
            for write in group:
                write.written = _apply(transaction, counters, write)

    pause_s = settings.batch_s if settings.durability == "batched" else 0.0
    writer = GroupWriter(str(path), commit, lambda group: None, pause_s)
    return _Opened(path, environment, entries, counters, writer, trio.Lock(), lmdb.Error)


def _apply(transaction: Transaction, counters: Any, write: Write) -> bool:
    if any(_version(transaction.get(key.encode())) != version for key, version in write.expect.items()):
        return False
    for key, value in write.batch.items():
        encoded = key.encode()
        version = _version(transaction.get(encoded))
        floor = _version(transaction.get(_DELETED, db=counters))
        if value is not None:
            transaction.put(encoded, ((version or floor) + 1).to_bytes(_VERSION_BYTES, "big") + value)
        elif version:
            transaction.delete(encoded)
            transaction.put(_DELETED, max(version, floor).to_bytes(_VERSION_BYTES, "big"), db=counters)
    return True


def _read_entry(opened: _Opened, key: bytes) -> Entry | None:
    with opened.environment.begin(opened.entries, buffers=True) as reading:
        raw = reading.get(key)
        return None if raw is None else _entry(raw)


def _read_page(opened: _Opened, prefix: str, after: str, count: int) -> Page:
    rows: list[tuple[str, Entry]] = []
    size_bytes = 0
    first = prefix.encode()
    if len(first) > MAX_KEY_BYTES:
        return rows, False
    # No key lies between a text and its first bytes, as many as a key may have.
    behind = after.encode()[:MAX_KEY_BYTES]
    with opened.environment.begin(opened.entries, buffers=True) as reading, reading.cursor() as cursor:
        found = cursor.set_range(max(first, behind)) if first or behind else cursor.first()
        if found and bytes(cursor.key()) == behind:
            found = cursor.next()
        while found and len(rows) < count and size_bytes < PAGE_BYTES:
            key = bytes(cursor.key())
            if not key.startswith(first):
                return rows, False
            rows.append((key.decode(), _entry(cursor.value())))
            size_bytes += len(rows[-1][1].value)
            found = cursor.next()
    return rows, bool(found)


def _entry(raw: Any) -> Entry:
    return Entry(bytes(raw[_VERSION_BYTES:]), int.from_bytes(raw[:_VERSION_BYTES], "big"))


def _version(raw: Any) -> int:
    """Answer the version of what is kept, 0 for nothing."""
    return 0 if raw is None else int.from_bytes(raw[:_VERSION_BYTES], "big")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn errors of LMDB within the block into `StorageError`."""
    import lmdb

    try:
        yield
    except lmdb.MapFullError as error:
        raise StorageError(f"storage {path}: it is full; raise map_bytes") from error
    except lmdb.Error as error:
        raise _problem(path, error) from error
    except OSError as error:
        raise StorageError(f"storage {path}: {error.strerror}; name a folder that can be written") from error


def _problem(path: Path, error: Exception) -> StorageError:
    return StorageError(f"storage {path}: {error}; look at the folder and its disk")
