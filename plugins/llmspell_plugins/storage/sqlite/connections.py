"""Opening the file: connections, durability, and the schema, which sqlite-utils makes.

The file is in WAL mode, so readers and the writer never wait for each other; between processes SQLite's own locks hold
one writer at a time. ``PRAGMA application_id`` marks the file as ours, ``user_version`` carries the schema's version.

Reading needs no lock of the writers', makes nothing, and works where nothing can be made: a file without a log in a
folder that may not be written is read as it stands.

Invariant: a file that something else made is refused, not changed. All of this blocks, so it runs in a thread.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from llmspell_hookspecs.errors import StorageError, line_of_error

__all__ = ["Durability", "Reader", "open_reader", "open_writer", "transaction", "translated"]

Durability = Literal["full", "normal", "batched"]
APPLICATION_ID: Final = 0x6C6C6D73
"""``llms`` in ASCII."""
SCHEMA_VERSION: Final = 1
Reader = tuple[sqlite3.Connection, bool]
"""A connection that only reads, and whether it may be kept: it sees what others write meanwhile."""
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_NOT_MADE: Final = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
"""What SQLite says where it cannot make the index of a log."""


@contextmanager
def translated(path: Path, busy_s: float) -> Iterator[None]:
    """Turn errors of SQLite within the block into `StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        if _primary(error) in _BUSY:
            message = f"storage {path}: another process held its lock for {busy_s:g} s; try again, or raise busy_s"
            raise StorageError(message, code="busy") from error
        raise StorageError(f"storage {path}: {line_of_error(error)}; {_advice(error)}") from error
    except OverflowError as error:
        raise StorageError(
            f"storage {path}: a value is too large for SQLite ({line_of_error(error)}); write a smaller one"
        ) from error
    except OSError as error:
        raise StorageError(f"storage {path}: {error.strerror}; name a file that can be written") from error


def _advice(error: sqlite3.Error) -> str:
    match _primary(error):
        case sqlite3.SQLITE_FULL:
            return "make room on its disk"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return "let the file and its folder be read and written"
        case sqlite3.SQLITE_NOTADB:
            return "name another file"
    return "look at the file and its disk, or put a copy in its place"


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
    """Make the file if need be and return the connection that writes.

    Raises:
        StorageError: It cannot be opened, or is not ours.
    """
    with translated(path, busy_s):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_kind(path)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        connection = _connect(path, "mode=rw", busy_s)
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


def open_reader(path: Path, busy_s: float) -> Reader | None:
    """Return a connection that only reads; None if nothing was ever written.

    Args:
        path: The file.
        busy_s: How long to wait for a lock, which a reader meets only while the file is being recovered.

    Raises:
        StorageError: It cannot be opened, or is not ours.
    """
    with translated(path, busy_s):
        if not _check_kind(path):
            return None
        try:
            connection = _reading(path, "mode=ro", busy_s)
        except sqlite3.OperationalError as error:
            if _primary(error) not in _NOT_MADE or _has_log(path):
                raise
            connection = _reading(path, "immutable=1", busy_s)
            return None if connection is None else (connection, False)
        return None if connection is None else (connection, True)


def _reading(path: Path, how: str, busy_s: float) -> sqlite3.Connection | None:
    connection = _connect(path, how, busy_s)
    ready = False
    try:
        ready = _check_ours(connection, path)
    finally:
        if not ready:
            connection.close()
    return connection if ready else None


def _connect(path: Path, how: str, busy_s: float) -> sqlite3.Connection:
    address = f"{path.resolve().as_uri()}?{how}"
    return sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)


def _check_kind(path: Path) -> bool:
    """Return whether there is a file with something in it; SQLite would wait for ever for a pipe."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"storage {path}: it is no regular file; name another one")
    return status.st_size > 0


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0


def _check_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the tables are there; refuse what is somebody else's or of a schema that we do not know."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or tables):
        raise StorageError(f"storage {path}: another program made this file; name another one")
    if version not in (0, SCHEMA_VERSION):
        message = f"storage {path}: its schema is {version}, and this llmspell knows {SCHEMA_VERSION}; upgrade llmspell"
        raise StorageError(message)
    return bool(owner == APPLICATION_ID and version == SCHEMA_VERSION)


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    """Mark a new file as ours; refuse one that is somebody else's."""
    if _check_ours(connection, path):
        return
    with transaction(connection):
        if not _check_ours(connection, path):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _switch_to_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """Set the journal's mode; SQLite does not wait by itself where two processes do this at once."""
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        return  # it is kept in the file
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
    if _check_ours(connection, path):
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
    """Return the primary code of an extended one."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
