"""Committing a group of writes in one transaction, in a thread.

Invariant: the row ``deleted`` of the counters is at least the version of every key that was ever deleted, and a new key
starts above it; so versions grow over deletions, and nothing is kept of what is gone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from llmspell_plugins.storage.writer import Write

from .connections import transaction

__all__ = ["commit"]

_PUT: Final = """
    INSERT INTO entries (key, version, value)
    VALUES (?, 1 + (SELECT value FROM counters WHERE name = 'deleted'), ?)
    ON CONFLICT (key) DO UPDATE SET version = CAST(version AS INTEGER) + 1, value = excluded.value
"""
_DELETE: Final = "DELETE FROM entries WHERE key = ?"
_VERSION: Final = "SELECT version FROM entries WHERE key = ?"
_RAISE_FLOOR: Final = "UPDATE counters SET value = max(value, ?) WHERE name = 'deleted'"


def commit(connection: sqlite3.Connection, writes: Sequence[Write]) -> None:
    """Commit them all, each if its versions are as expected, or raise and commit none."""
    with transaction(connection):
        for write in writes:
            write.written = _apply(connection, write)


def _apply(connection: sqlite3.Connection, write: Write) -> dict[str, int] | None:
    for key, version in write.expect.items():
        if _version(connection, key) != version:
            return None
    written = dict.fromkeys(write.batch, 0)
    for key, value in write.batch.items():
        if value is not None:
            connection.execute(_PUT, (key, value))
            written[key] = _version(connection, key)
        elif version := _version(connection, key):
            connection.execute(_DELETE, (key,))
            connection.execute(_RAISE_FLOOR, (version,))
    return written


def _version(connection: sqlite3.Connection, key: str) -> int:
    """Return the key's version, 0 if it is absent."""
    row = connection.execute(_VERSION, (key,)).fetchone()
    if row is None:
        return 0
    # What another program put there counts as some version: it can be written over and deleted.
    return row[0] if type(row[0]) is int else 1
