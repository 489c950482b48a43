"""The storage LMDB: a memory-mapped folder, for many small reads. Needs the extra ``lmdb``.

A value is kept behind its version, 8 bytes with the highest first. LMDB's own lock lets one process write at a time;
the folder is opened for reading, which needs no lock of the writers', and opened anew by the first write. ``llmspell``
among the counters marks it as ours and carries the schema's version.

Invariant: ``deleted`` among the counters is at least the version of every key that was ever deleted; a new key starts
above it. Small values are read on the loop, from mapped memory; transactions never outlive the call that began them.
The file is never shorter than its pages, which to touch would end the process: a shorter one is refused,
before each transaction, and so is one that was put in its place.

It is longer than most because whoever reads, writes or opens anew relies on the same checks of the one mapped file.
"""

from __future__ import annotations

import enum
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self, TypeVar

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import MAX_KEY_BYTES, Entry, check_key

from .pages import PAGE_BYTES, Page, Pages
from .place import place_of
from .snapshot import Snapshot
from .writer import GroupWriter, Write

if TYPE_CHECKING:
    from lmdb import Transaction

__all__ = ["Lmdb", "LmdbSettings"]

_VERSION_BYTES: Final = 8
_LARGE_BYTES: Final = 256 * 1024
_DELETED: Final = b"deleted"
_MARK: Final = b"llmspell"
_SCHEMA_VERSION: Final = 1
_DATABASES: Final = {b"entries", b"counters"}

T = TypeVar("T")


class _Missing(enum.Enum):
    """It must be read in a thread."""

    MISSING = enum.auto()


_MISSING: Final = _Missing.MISSING


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
        """Open it; the folder is made by the first write."""
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
        """Return the entry, or None; see the contract's `Storage`."""
        opened = self._opened or self._closed()
        encoded = check_key(key)
        # Until somebody writes, the environment may be opened anew at any time; a loop waits for no lock.
        if opened.writable:
            found = self._get(opened, encoded)
        elif opened.gate.acquire(blocking=False):
            try:
                found = self._get(opened, encoded)
            finally:
                opened.gate.release()
        else:
            found = _MISSING
        if not isinstance(found, _Missing):
            return found
        return await self._in_thread(opened, partial(_read_entry, opened, encoded))

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing; see the contract's `Storage`."""
        written: Mapping[str, int] | None = await (self._opened or self._closed()).writer.write(batch, expect)
        return written

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys; see the contract's `Storage`."""

        async def read(after: str, count: int) -> Page:
            opened = self._opened or self._closed()
            return await self._in_thread(opened, partial(_read_page, opened, prefix, after, count))

        return Pages(read, prefix, after, limit)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Return a block in which it is read as it is when the block begins."""
        opened = self._opened or self._closed()
        reading = await self._in_thread(opened, opened.begin_snapshot)

        def entry(key: str) -> Entry | None:
            return None if reading is None else _get_entry(opened.still(reading), key.encode())

        def page(prefix: str, after: str, count: int) -> Page:
            return ([], False) if reading is None else _get_page(opened.still(reading), prefix, after, count)

        try:
            yield Snapshot(partial(self._in_thread, opened), entry, page)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(opened.alone, partial(opened.end_snapshot, reading))

    async def close(self) -> None:
        """Close it after the writes under way."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        with trio.CancelScope(shield=True):
            async with opened.scanning:
                await opened.writer.close(opened.close)

    def _get(self, opened: _Opened, key: bytes) -> Entry | _Missing | None:
        """Return a small entry, or that it is to be read in a thread."""
        if opened.entries is None:
            return _MISSING
        try:
            opened.check_file()
            with opened.environment.begin(opened.entries, buffers=True) as reading:
                raw = reading.get(key)
                if raw is None:
                    return None
                return _entry(raw) if len(raw) <= _LARGE_BYTES else _MISSING
        except opened.failure as error:
            raise _problem(self._path, error) from error
        except OSError as error:
            raise _unusable(self._path, error) from error

    async def _in_thread(self, opened: _Opened, work: Callable[[], T]) -> T:
        async with opened.scanning:
            if opened is not self._opened:
                self._closed()
            with _translated(self._path):
                return await trio.to_thread.run_sync(opened.alone, work)

    def _closed(self) -> _Opened:
        raise StorageError(f"storage {self._path}: it is closed; use it while it is open", code="closed")


class _Opened(Struct):
    """What there is while the storage is open; its methods block.

    Attributes:
        environment: None while there is no folder.
        entries: None while nothing was written, or while it is opened anew.
        writable: Whether the environment is.
        size_bytes: The largest that the data file was seen.
        identity: The data file's device and number.
        scanning: Held by who is in a thread, but for the writer.
        snapshots: The transactions of those that are being read.
        gate: Held by who uses the environment while it may be opened anew.
    """

    path: Path
    settings: LmdbSettings
    failure: type[Exception]
    scanning: trio.Lock
    gate: threading.Lock
    writer: Any = None
    environment: Any = None
    entries: Any = None
    counters: Any = None
    writable: bool = False
    size_bytes: int = 0
    identity: tuple[int, int] = (0, 0)
    snapshots: list[Any] = msgspec.field(default_factory=list)

    def alone(self, work: Callable[[], T]) -> T:
        """Return what this returns, while nobody opens it anew."""
        with self.gate:
            return work()

    def look(self) -> bool:
        """Return whether there is something to read, opening what has been made meanwhile."""
        if self.environment is None and _is_there(self.path):
            # Where the lock's file cannot be written, no reader of ours keeps a writer of others' from used pages.
            places = (self.path, self.path / "data.mdb")
            self._open(readonly=True, lock=all(os.access(place, os.W_OK, effective_ids=True) for place in places))
        elif self.environment is not None:
            self.check_file()
        if self.environment is not None and self.entries is None:
            self._find()
        return self.entries is not None

    def begin_snapshot(self) -> Transaction | None:
        """Return a transaction that sees what there is now; None if there is nothing."""
        if not self.look():
            return None
        reading: Transaction = self.environment.begin(self.entries, buffers=True)
        self.snapshots.append(reading)
        return reading

    def still(self, reading: Transaction) -> Transaction:
        """Return a snapshot's transaction, if that may still be used."""
        if reading not in self.snapshots:
            raise StorageError(f"storage {self.path}: it is closed; use it while it is open", code="closed")
        self.check_file()
        return reading

    def end_snapshot(self, reading: Transaction | None) -> None:
        """End a snapshot."""
        if reading is not None and reading in self.snapshots:
            self.snapshots.remove(reading)
            reading.abort()

    def to_write(self) -> None:
        """Open it anew, for writing too, making what is not there."""
        if self.snapshots:
            message = "a snapshot of it is read, and nothing was written yet; write when that is over"
            raise StorageError(f"storage {self.path}: {message}", code="busy")
        if self.environment is not None:
            self.check_file()  # what was cut to nothing would become a new one, silently
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.close()
        try:
            self._open(lock=True)
            # Readers that were killed would keep old pages from being used again.
            self.environment.reader_check()
            self._find()
            with self.environment.begin(write=True) as writing:
                counters = self.environment.open_db(b"counters", txn=writing)
                entries = self.environment.open_db(b"entries", txn=writing)
                writing.put(_MARK, _SCHEMA_VERSION.to_bytes(_VERSION_BYTES, "big"), db=counters)
        except Exception:
            self.close()
            raise
        self.entries, self.counters, self.writable = entries, counters, True

    def commit(self, group: Sequence[Write]) -> None:
        """Commit the writes, all or nothing."""
        with _translated(self.path):
            if not self.writable:
                self.alone(self.to_write)
            self.check_file()
            with self.environment.begin(self.entries, write=True) as transaction:
                for write in group:
                    write.written = _apply(transaction, self.counters, write)
            if missing_bytes := self._missing_bytes():  # LMDB leaves pages unwritten that it has freed at once
                data = self.path / "data.mdb"
                os.truncate(data, data.stat().st_size + missing_bytes)

    def check_file(self) -> None:
        """Refuse a file that was cut or replaced: what is mapped and gone ends the process (SIGBUS).

        The file never shrinks, so one look at its size tells, before LMDB touches a page.
        """
        least_bytes = self.size_bytes  # before the look: another thread may see it grown after ours
        status = os.stat(f"{self.path}/data.mdb")  # at each read: making a path of its own takes longer than the look
        if status.st_size < least_bytes or (status.st_dev, status.st_ino) != self.identity:
            was = "was replaced" if (status.st_dev, status.st_ino) != self.identity else "was cut"
            raise StorageError(f"storage {self.path}: its data.mdb {was} while it was open; start anew with a copy")
        self.size_bytes = max(self.size_bytes, status.st_size)

    def close(self) -> None:
        """Close what is open."""
        while self.snapshots:
            self.snapshots.pop().abort()
        if self.environment is not None:
            self.environment.close()
        self.environment = self.entries = self.counters = None

    def _open(self, **how: bool) -> None:
        import lmdb

        _is_there(self.path)
        self.environment = lmdb.open(
            str(self.path),
            map_size=self.settings.map_bytes,
            max_dbs=2,
            mode=0o600,
            metasync=self.settings.durability != "normal",
            **how,
        )
        status = (self.path / "data.mdb").stat()
        self.size_bytes, self.identity = status.st_size, (status.st_dev, status.st_ino)
        if missing_bytes := self._missing_bytes():
            self.close()
            raise StorageError(
                f"storage {self.path}: its data.mdb was cut, {missing_bytes} bytes are missing; put a copy in its place"
            )

    def _find(self) -> None:
        """Open the databases if they are there; refuse what is not ours."""
        with self.environment.begin() as reading, reading.cursor() as cursor:
            names = {bytes(name) for name in cursor.iternext(values=False)}
        if names and names != _DATABASES:
            raise StorageError(f"storage {self.path}: another program made this folder; name another one")
        if not names:
            return
        counters = self.environment.open_db(b"counters", create=False)
        with self.environment.begin(counters) as reading:
            version = _version(reading.get(_MARK))
        if version not in (0, _SCHEMA_VERSION):  # 0: made before there was a mark
            message = f"its schema is {version}, and this llmspell knows {_SCHEMA_VERSION}; upgrade llmspell"
            raise StorageError(f"storage {self.path}: {message}")
        self.entries, self.counters = self.environment.open_db(b"entries", create=False), counters

    def _missing_bytes(self) -> int:
        """Return how much shorter the file is than its pages."""
        pages = self.environment.info()["last_pgno"] + 1
        size_bytes: int = pages * self.environment.stat()["psize"]
        return max(0, size_bytes - (self.path / "data.mdb").stat().st_size)


def _open(settings: LmdbSettings, services: Services | None) -> _Opened:
    try:
        import lmdb
    except ImportError as error:
        raise StorageError("storage lmdb: it needs lmdb; run pip install 'llmspell[lmdb]'") from error
    path = place_of(settings.path, "state.lmdb", services)
    opened = _Opened(path, settings, lmdb.Error, trio.Lock(), threading.Lock())
    with _translated(path):
        try:
            opened.look()  # refuses at once what is not ours
        except Exception:
            opened.close()
            raise
    pause_s = settings.batch_s if settings.durability == "batched" else 0.0
    opened.writer = GroupWriter(str(path), opened.commit, lambda group: None, pause_s)
    return opened


def _is_there(path: Path) -> bool:
    """Return whether the folder holds a file of LMDB's; LMDB would wait for ever for a pipe."""
    for place, is_right, what in ((path, stat.S_ISDIR, "folder"), (path / "data.mdb", stat.S_ISREG, "regular file")):
        try:
            status = place.stat()
        except FileNotFoundError:
            return False
        if not is_right(status.st_mode):
            raise StorageError(f"storage {path}: {place.name} is no {what}; name another folder")
    return status.st_size > 0  # LMDB makes a file of no bytes its own when it first writes, and cannot read one


def _apply(transaction: Transaction, counters: Any, write: Write) -> dict[str, int] | None:
    if any(_version(transaction.get(key.encode())) != version for key, version in write.expect.items()):
        return None
    written = dict.fromkeys(write.batch, 0)
    for key, value in write.batch.items():
        encoded = key.encode()
        version = _version(transaction.get(encoded))
        floor = _version(transaction.get(_DELETED, db=counters))
        if value is not None:
            written[key] = (version or floor) + 1
            transaction.put(encoded, written[key].to_bytes(_VERSION_BYTES, "big") + value)
        elif version:
            transaction.delete(encoded)
            transaction.put(_DELETED, max(version, floor).to_bytes(_VERSION_BYTES, "big"), db=counters)
    return written


def _read_entry(opened: _Opened, key: bytes) -> Entry | None:
    if not opened.look():
        return None
    with opened.environment.begin(opened.entries, buffers=True) as reading:
        return _get_entry(reading, key)


def _get_entry(reading: Transaction, key: bytes) -> Entry | None:
    raw = reading.get(key)
    return None if raw is None else _entry(raw)


def _read_page(opened: _Opened, prefix: str, after: str, count: int) -> Page:
    if not opened.look():
        return [], False
    with opened.environment.begin(opened.entries, buffers=True) as reading:
        return _get_page(reading, prefix, after, count)


def _get_page(reading: Transaction, prefix: str, after: str, count: int) -> Page:
    rows: list[tuple[str, Entry]] = []
    size_bytes = 0
    first = prefix.encode()
    if len(first) > MAX_KEY_BYTES:
        return rows, False
    # No key lies between a text and its first bytes, as many as a key may have.
    behind = after.encode()[:MAX_KEY_BYTES]
    with reading.cursor() as cursor:
        found = cursor.set_range(max(first, behind)) if first or behind else cursor.first()
        if found and bytes(cursor.key()) == behind:
            found = cursor.next()
        while found and len(rows) < count and size_bytes < PAGE_BYTES:
            key = bytes(cursor.key())
            if not key.startswith(first):
                return rows, False
            rows.append((_decoded(key), _entry(cursor.value())))
            size_bytes += len(rows[-1][1].value)
            found = cursor.next()
    return rows, bool(found)


def _decoded(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise StorageError(f"storage key {key!r:.80}: it is no UTF-8; another program wrote it: delete it") from None


def _entry(raw: Any) -> Entry:
    if len(raw) < _VERSION_BYTES:
        message = f"storage entry {bytes(raw)!r}: it has no version; another program wrote it: write the key anew"
        raise StorageError(message)
    return Entry(bytes(raw[_VERSION_BYTES:]), int.from_bytes(raw[:_VERSION_BYTES], "big"))


def _version(raw: Any) -> int:
    """Return the version of what is kept, 0 for nothing."""
    return 0 if raw is None else int.from_bytes(raw[:_VERSION_BYTES], "big")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn errors of LMDB within the block into `StorageError`."""
    import lmdb

    try:
        yield
    except lmdb.MapFullError as error:
        raise StorageError(f"storage {path}: it is full; raise map_bytes") from error
    except lmdb.ReadonlyError as error:
        raise StorageError(f"storage {path}: it may only be read; let the folder and its files be written") from error
    except lmdb.Error as error:
        raise _problem(path, error) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"storage {path}: {error.strerror}; name a folder that can be written")


def _problem(path: Path, error: Exception) -> StorageError:
    import lmdb

    if isinstance(error, lmdb.InvalidError):
        return StorageError(f"storage {path}: its data.mdb is cut or no file of LMDB; put a copy in its place")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.PanicError):
        return StorageError(f"storage {path}: its data.mdb is damaged ({error}); put a copy in its place")
    return StorageError(f"storage {path}: {error}; look at the folder and its disk")
