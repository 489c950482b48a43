"""Opening the file: connections, durability, and the schema, which sqlite-utils makes.

The file is in WAL mode, so readers and the writer never wait for each other; between processes SQLite's own locks hold
one writer at a time. ``PRAGMA application_id`` marks the file as ours, ``user_version`` carries the schema's version.

Invariant: a file that something else made is refused, not changed. All of this blocks, so it runs in a thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from llmspell_hookspecs import StorageError

__all__ = ["Durability", "open_reader", "open_writer", "transaction", "translated"]

Durability = Literal["full", "normal", "batched"]
APPLICATION_ID: Final = 0x6C6C6D73
"""``llms`` in ASCII."""
SCHEMA_VERSION: Final = 1
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


@contextmanager
def translated(path: Path, busy_s: float) -> Iterator[None]:
    """Turn errors of SQLite within the block into `StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        if _primary(error) in _BUSY:
            message = f"storage {path}: another process held its lock for {busy_s:g} s; try again, or raise busy_s"
            raise StorageError(message, code="busy") from error
        raise StorageError(f"storage {path}: {error}; look at the file and its disk") from error
    except OSError as error:
        raise StorageError(f"storage {path}: {error.strerror}; name a file that can be written") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the writers' lock for the block, and commit, or roll back if it raises.

    The lock is taken first, because SQLite gives up at once where two connections want to turn a read into a write.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def open_writer(path: Path, durability: Durability, busy_s: float) -> sqlite3.Connection:
    """Make the file if need be and answer the connection that writes.

    Raises:
        StorageError: It cannot be opened, or is not ours.
    """
    with translated(path, busy_s):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = _connect(path, "rw", busy_s)
        try:
            _claim(connection, path)
            _switch_to_wal(connection, busy_s)
            connection.execute(f"PRAGMA synchronous = {'NORMAL' if durability == 'normal' else 'FULL'}")
            # Commits to a log that grows take half as long again; emptied at 1 MiB, it soon stops growing.
            connection.execute("PRAGMA wal_autocheckpoint = 256")
            _make_schema(connection, path)
        except Exception:
            connection.close()
            raise
    return connection


def open_reader(path: Path, busy_s: float) -> sqlite3.Connection:
    """Answer a connection that only reads; the file is open for writing already.

    Args:
        path: The file.
        busy_s: How long to wait for a lock, which a reader meets only while the file is being recovered.

    Raises:
        StorageError: It cannot be opened.
    """
    with translated(path, busy_s):
        return _connect(path, "ro", busy_s)


def _connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    address = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    """Mark a new file as ours; refuse one that is somebody else's."""
    with transaction(connection):
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner != APPLICATION_ID and (owner or tables):
            raise StorageError(f"storage {path}: another program made this file; name another one")
        if owner != APPLICATION_ID:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _switch_to_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Set the journal's mode; SQLite does not wait by itself where two processes do this at once."""
    until = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _primary(error) not in _BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return


def _make_schema(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        message = f"storage {path}: its schema is {version}, and this llmspell knows {SCHEMA_VERSION}; upgrade llmspell"
        raise StorageError(message)
    if version == SCHEMA_VERSION:
        return
    with transaction(connection):
        _make_tables(connection)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make what is not there; another process may have been first."""
    from sqlite_utils import Database

    database = Database(connection)
    database.table("entries").create(
        {"key": str, "version": int, "value": bytes},
        pk="key",
        not_null={"key", "version", "value"},
        if_not_exists=True,
    )
    database.table("counters").create(
        {"name": str, "value": int}, pk="name", not_null={"name", "value"}, if_not_exists=True
    )
    database.execute("INSERT OR IGNORE INTO counters (name, value) VALUES ('deleted', 0)")


def _primary(error: sqlite3.Error) -> int:
    """Answer the primary code of an extended one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
