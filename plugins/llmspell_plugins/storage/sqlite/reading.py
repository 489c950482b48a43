"""Point reads on the loop through a cache, and pages of a scan in a thread.

A point read takes about 4 us, less than the way to a thread and back; what it cannot answer at once (a large value, a
locked file) it leaves to a thread. The cache is emptied when any connection but the reader's own has committed, which
SQLite tells by ``PRAGMA data_version``; that is asked once in `FRESH_S`, and our own commits drop their keys at once.

Invariant: what the cache holds was true at most `FRESH_S` ago, and never misses a write that returned in this process.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry
from llmspell_plugins.storage.pages import PAGE_BYTES, Page

__all__ = ["FRESH_S", "MISSING", "Missing", "PointReader", "checked", "read_entry", "read_page"]

FRESH_S: Final = 0.001
_LARGE_BYTES: Final = 256 * 1024
"""Reading this much takes a tenth of a millisecond."""
_OVERHEAD_BYTES: Final = 300
"""What a cached entry takes beside its value."""


_SMALL: Final = "SELECT version, CASE WHEN length(value) <= ? THEN value END FROM entries WHERE key = ?"
_ENTRY: Final = "SELECT value, version FROM entries WHERE key = ?"
_FROM: Final = "SELECT key, value, version FROM entries WHERE key >= ? ORDER BY key LIMIT ?"
_BEHIND: Final = "SELECT key, value, version FROM entries WHERE key > ? ORDER BY key LIMIT ?"


class Missing(enum.Enum):
    """Neither an entry nor None: it must be read, or read in a thread."""

    MISSING = enum.auto()


MISSING: Final = Missing.MISSING


class PointReader:
    """Reads single entries; used on the loop only.

    Args:
        connection: Reads only, and waits for no lock.
        cache_bytes: How much is kept; 0 for nothing.
    """

    def __init__(self, connection: sqlite3.Connection, cache_bytes: int) -> None:
        self._connection = connection
        self._cache: dict[str, Entry | None] = {}
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self._seen = -1
        self._fresh_until_s = 0.0

    def recall(self, key: str) -> Entry | Missing | None:
        """Return from the cache, or MISSING."""
        now_s = monotonic()
        if now_s >= self._fresh_until_s:
            self._refresh(now_s)
        return self._cache.get(key, MISSING)

    def read(self, key: str) -> Entry | Missing | None:
        """Return from the file and remember it; MISSING if that is to be done in a thread."""
        try:
            row = self._connection.execute(_SMALL, (_LARGE_BYTES, key)).fetchone()
        except sqlite3.Error:
            return MISSING
        if row is None:
            return self._remember(key, None)
        version, value = row
        if type(value) is not bytes or type(version) is not int:
            return MISSING
        return self._remember(key, Entry(value, version))

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what was just written."""
        for key in keys:
            self._cache.pop(key, None)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _remember(self, key: str, entry: Entry | None) -> Entry | None:
        size = _OVERHEAD_BYTES + (0 if entry is None else len(entry.value))
        if self._held_bytes + size > self._cache_bytes:
            self._empty()
        if size <= self._cache_bytes:
            self._held_bytes += size
            self._cache[key] = entry
        return entry

    def _refresh(self, now_s: float) -> None:
        try:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            version = -1
        if version != self._seen or version == -1:
            self._empty()
        self._seen = version
        self._fresh_until_s = now_s + FRESH_S

    def _empty(self) -> None:
        self._cache.clear()
        self._held_bytes = 0


def checked(key: Any, value: Any, version: Any) -> Entry:
    """Return the entry of a row.

    Raises:
        StorageError: One of its columns has a type that we do not write; SQLite lets any program put any into them.
    """
    if type(key) is str and type(value) is bytes and type(version) is int:
        return Entry(value, version)
    types = ", ".join(
        f"its {name} is {type(found).__name__}, not {wanted.__name__}"
        for name, found, wanted in (("key", key, str), ("value", value, bytes), ("version", version, int))
        if type(found) is not wanted
    )
    raise StorageError(f"storage row {key!r:.80}: {types}; another program wrote it: write the key anew, or delete it")


def read_entry(connection: sqlite3.Connection, key: str) -> Entry | None:
    """Return an entry of any size; blocks."""
    row = connection.execute(_ENTRY, (key,)).fetchone()
    return None if row is None else checked(key, *row)


def read_page(connection: sqlite3.Connection, prefix: str, after: str, count: int) -> Page:
    """Return a page of entries with this prefix; blocks."""
    rows: list[tuple[str, Entry]] = []
    size_bytes = 0
    statement, start = (_BEHIND, after) if after >= prefix else (_FROM, prefix)
    # Left open before its end, a cursor holds its snapshot, and the log cannot be recycled.
    cursor = connection.execute(statement, (start, count))
    try:
        for key, value, version in cursor:
            entry = checked(key, value, version)
            if not key.startswith(prefix):
                return rows, False
            rows.append((key, entry))
            size_bytes += len(value)
            if size_bytes >= PAGE_BYTES:
                return rows, True
    finally:
        cursor.close()
    return rows, len(rows) == count
