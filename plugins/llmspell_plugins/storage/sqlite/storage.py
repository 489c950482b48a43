"""The storage SQLite: point reads on the loop, everything else in threads.

Invariant: three connections, one for each of the writer, the point reads and the scans, so none waits for another. The
writer's is opened by the first write, and makes the file; who only reads needs none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import trio
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry, check_key
from llmspell_plugins.storage.pages import Page, Pages
from llmspell_plugins.storage.place import place_of
from llmspell_plugins.storage.snapshot import Snapshot
from llmspell_plugins.storage.writer import GroupWriter, Write

from .commit import commit
from .connections import Durability, open_reader, open_writer, translated
from .reading import MISSING, PointReader, read_entry, read_page
from .upkeep import find_problems, vacuum

__all__ = ["SQLite", "SQLiteSettings"]

T = TypeVar("T")


class SQLiteSettings(BaseModel):
    """What ``sqlite`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(
        default=None,
        description="The file; it is made, for its owner only, if there is none; .llmspell/state.db if left out.",
    )
    durability: Durability = Field(
        default="full",
        description="full: on the disk when a write returns. normal: it outlives the process, but a loss of power may "
        "take the last writes. batched: as full, but commits keep batch_s apart, so that more writes share one.",
    )
    batch_s: float = Field(default=0.01, ge=0, le=1, description="For durability batched: from commit to commit.")
    busy_s: float = Field(default=5.0, ge=0, le=3600, description="How long to wait while another process writes.")
    cache_bytes: int = Field(default=16 * 1024 * 1024, ge=0, description="How much of what was read is kept.")


class SQLite:
    """A storage in one SQLite file, which several processes may share."""

    name: ClassVar[str] = "sqlite"
    Settings: ClassVar[type[SQLiteSettings]] = SQLiteSettings

    def __init__(self, settings: SQLiteSettings, services: Services | None = None) -> None:
        self._settings = settings
        self._services = services
        self._path = settings.path or Path("state.db")
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Open it; the file is made by the first write."""
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
        points = opened.points
        if points is None:
            check_key(key)
            return await self._in_thread(opened, partial(read_entry, key=key), None)
        entry = points.recall(key)
        if entry is MISSING:
            check_key(key)
            entry = points.read(key)
            if entry is MISSING:
                return await self._in_thread(opened, partial(read_entry, key=key), None)
        return entry

    def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Coroutine[Any, Any, Mapping[str, int] | None]:
        """Write all of it or nothing; see the contract's `Storage`."""
        return (self._opened or self._closed()).writer.write(batch, expect)

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys; see the contract's `Storage`."""

        async def read(after: str, count: int) -> Page:
            opened = self._opened or self._closed()
            work = partial(read_page, prefix=prefix, after=after, count=count)
            return await self._in_thread(opened, work, ([], False))

        return Pages(read, prefix, after, limit)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Return a block in which it is read as it is when the block begins, over a connection of its own."""
        opened = self._opened or self._closed()
        reading, alone = await trio.to_thread.run_sync(opened.open_snapshot), trio.Lock()

        async def in_thread(work: Callable[[], T]) -> T:
            async with alone:
                with translated(self._path, self._settings.busy_s):
                    return await trio.to_thread.run_sync(work)

        def entry(key: str) -> Entry | None:
            return None if reading is None else read_entry(reading, key)

        def page(prefix: str, after: str, count: int) -> Page:
            return ([], False) if reading is None else read_page(reading, prefix, after, count)

        try:
            yield Snapshot(in_thread, entry, page)
        finally:
            if reading is not None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(reading.close)

    async def close(self) -> None:
        """Close it after the writes under way."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        with trio.CancelScope(shield=True):
            async with opened.scanning:
                await opened.writer.close(opened.close)

    async def check(self) -> list[str]:
        """Return what is wrong with the file, one sentence each; it may be written meanwhile."""
        if self._opened is None:
            self._closed()
        return await trio.to_thread.run_sync(find_problems, self._path, self._settings.busy_s)

    async def vacuum(self) -> None:
        """Give the space of what was deleted back to the disk; writes wait meanwhile."""
        opened = self._opened or self._closed()
        with translated(self._path, self._settings.busy_s):
            await opened.writer.alone(lambda: vacuum(opened.to_write()))

    async def _in_thread(self, opened: _Opened, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        async with opened.scanning:
            if opened is not self._opened:
                self._closed()
            with translated(self._path, self._settings.busy_s):
                return await trio.to_thread.run_sync(opened.read, work, nothing)

    def _closed(self) -> _Opened:
        raise StorageError(f"storage {self._path}: it is closed; use it while it is open", code="closed")


class _Opened:
    """What there is while the storage is open.

    Attributes:
        points: Reads single entries; None while there is no file, or none that lets a connection be kept.
        writer: Commits, in a thread.
        scanning: Held by who reads in a thread.
    """

    def __init__(self, path: Path, settings: SQLiteSettings) -> None:
        self.path = path
        self.points: PointReader | None = None
        self.scanning = trio.Lock()
        self._settings = settings
        self._scans: sqlite3.Connection | None = None
        self._writing: sqlite3.Connection | None = None
        pause_s = settings.batch_s if settings.durability == "batched" else 0.0
        self.writer = GroupWriter(str(path), self._commit, self._committed, pause_s)

    def read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Return what this reads, ``nothing`` if there is no file; blocks."""
        if self._scans is not None:
            return work(self._scans)
        reader = open_reader(self.path, self._settings.busy_s)
        if reader is None:
            return nothing
        connection, lasts = reader
        if not lasts:
            with closing(connection):
                return work(connection)
        self._scans = connection
        points = open_reader(self.path, 0.0)
        if points is not None:
            self.points = PointReader(points[0], self._settings.cache_bytes)
        return work(connection)

    def to_write(self) -> sqlite3.Connection:
        """Return the connection that writes, making the file if there is none; blocks."""
        if self._writing is None:
            self._writing = open_writer(self.path, self._settings.durability, self._settings.busy_s)
        return self._writing

    def open_snapshot(self) -> sqlite3.Connection | None:
        """Return a connection that sees what there is now and nothing that follows; None if there is nothing."""
        reader = open_reader(self.path, self._settings.busy_s)
        if reader is None:
            return None
        with translated(self.path, self._settings.busy_s):
            try:
                reader[0].execute("BEGIN")
                reader[0].execute("SELECT count(*) FROM counters").fetchone()  # it begins with the first look
            except BaseException:
                reader[0].close()
                raise
        return reader[0]

    def close(self) -> None:
        """Close the connections, the writer's last: it then moves the log into the file."""
        if self.points is not None:
            self.points.close()
        for connection in (self._scans, self._writing):
            if connection is not None:
                connection.close()

    def _commit(self, group: Sequence[Write]) -> None:
        with translated(self.path, self._settings.busy_s):
            commit(self.to_write(), group)

    def _committed(self, group: Sequence[Write]) -> None:
        if self.points is not None:
            for write in group:
                self.points.forget(write.batch)


def _open(settings: SQLiteSettings, services: Services | None) -> _Opened:
    path = place_of(settings.path, "state.db", services)
    opened = _Opened(path, settings)
    try:
        opened.read(lambda connection: None, None)  # refuses at once what is not ours
    except StorageError:
        opened.writer.stop()
        raise
    return opened
