"""Asks a SQLite file: opened for reading, held to reading by an authorizer, and stopped in time by a progress handler.

A reading statement runs in a child process, since one that fills the memory or is cancelled can only be killed; one
that writes runs in a thread, which is interrupted, since a kill would leave a journal for the next one to roll back.
Invariant: no statement of a script reaches another file, a setting of the connection or an extension.
"""

from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import trio

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import SecurityError, line_of_error

from .database_connection import TOOL, Task
from .database_rows import Rows, plain, too_large

__all__ = ["read", "write"]

_READS: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_WRITES: Final = _READS | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_SHAPES: Final = _WRITES | {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_CREATE_TRIGGER,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_DROP_TRIGGER,
    sqlite3.SQLITE_ALTER_TABLE,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_ANALYZE,
}
_ALLOWED: Final = {"read": _READS, "write": _WRITES, "schema": _SHAPES}
_FUNCTIONS_REFUSED: Final = {"load_extension", "fts3_tokenizer"}
_STEPS: Final = 10_000  # of SQLite's machine between two looks at the time: about a tenth of a millisecond
_BUSY_S: Final = 1.0
_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


def read(path: str, task: Task) -> dict[str, Any]:
    """Return the answer of a task that only reads; runs in a child process.

    Raises:
        ToolError: ``query``, ``timeout``, ``connection`` or ``not_found``.
        SecurityError: The statement does more than read.
        ResourceLimitError: A row is too large.
    """
    with _opened(path, "ro", task) as database, _told(task):
        if task.operation == "schema":
            return _schema(database, task)
        _guard(database, "read", task)
        query = f"EXPLAIN QUERY PLAN {task.query}" if task.operation == "explain" else task.query
        with closing(database.execute(query, task.values or ())) as cursor:
            rows = _rows(cursor, task).told()
        return {"plan": rows["rows"]} if task.operation == "explain" else rows


def write(path: str, task: Task) -> dict[str, Any]:
    """Run a statement that changes something, all of it or nothing; runs in a thread, and ends when it is cancelled.

    Raises:
        ToolError: ``query``, ``timeout``, ``connection`` or ``not_found``.
        SecurityError: The statement does more than the connection allows.
        ResourceLimitError: A row that it returns is too large.
    """
    with _opened(path, "rw", task) as database:
        try:
            with _told(task):
                database.execute("BEGIN IMMEDIATE")
                _guard(database, task.allow, task, trio.from_thread.check_cancelled)
                with closing(database.execute(task.query, task.values or ())) as cursor:
                    rows = _rows(cursor, task).told() if cursor.description else {}
                trio.from_thread.check_cancelled()
                database.set_authorizer(None)
                count = database.execute("SELECT changes()").fetchone()[0]
                database.execute("COMMIT")
        except ToolError:
            trio.from_thread.check_cancelled()  # an interrupted statement is an error of SQLite's
            raise
    return {"rows_affected": count, **rows}


@contextmanager
def _opened(path: str, mode: str, task: Task) -> Iterator[sqlite3.Connection]:
    """A connection to a file that is there; closing it rolls back what was not committed."""
    try:
        regular = stat.S_ISREG(Path(path).stat().st_mode)
    except OSError as error:
        raise ToolError(f"{TOOL}: its file: {error.strerror}; correct path in settings", code="not_found") from error
    if not regular:
        raise ToolError(f"{TOOL}: its file is no regular file; correct path in settings", code="not_found")
    address = f"{Path(path).absolute().as_uri()}?mode={mode}"
    database = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
    with closing(database):
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        for limit, value in (*_LIMITS.items(), (sqlite3.SQLITE_LIMIT_LENGTH, task.limits.size_bytes)):
            database.setlimit(limit, value)
        with _told(task):
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA foreign_keys = ON")
        yield database


def _guard(
    database: sqlite3.Connection, allow: str, task: Task, check_cancelled: Callable[[], None] = lambda: None
) -> None:
    """Let statements do what is allowed, and only for so long."""
    allowed = _ALLOWED[allow]
    end_s = time.monotonic() + task.limits.time_s

    def judge(action: int, first: str | None, second: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS_REFUSED:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_PRAGMA and first == "data_version":  # full-text tables ask it of themselves
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY

    def late() -> bool:
        check_cancelled()  # what it raises interrupts the statement and is lost here; `write` asks again
        return time.monotonic() > end_s

    database.set_authorizer(judge)
    database.set_progress_handler(late, _STEPS)


def _rows(cursor: sqlite3.Cursor, task: Task) -> Rows:
    rows = Rows([(name, "") for name, *_ in cursor.description or ()], task.limits)
    for row in cursor:
        if not rows.add(row):
            break
    return rows


@contextmanager
def _told(task: Task) -> Iterator[None]:
    """Tell SQLite's errors as the tool's."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
        told = line_of_error(error)
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_INTERRUPT":
            raise task.late() from error
        if name == "SQLITE_TOOBIG" or isinstance(error, sqlite3.DataError):
            raise too_large(task.limits) from error
        if name == "SQLITE_AUTH" or "not authorized" in told or "prohibited" in told:
            what = f"{TOOL}: query: {told}; only what the connection allows is run"
            raise SecurityError(what, rule="database") from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ToolError(f"{TOOL}: {told}; try again when the other writer is done", code="locked") from error
        raise ToolError(f"{TOOL}: query: {told}; correct it", code="query") from error


def _schema(database: sqlite3.Connection, task: Task) -> dict[str, Any]:
    """What tables there are; asked with statements of our own, so without the authorizer."""
    from sqlite_utils import Database

    held = Database(database, execute_plugins=False)
    kinds = {**dict.fromkeys(held.table_names(), "table"), **dict.fromkeys(held.view_names(), "view")}
    names = [name for name in kinds if not task.table or name == task.table]
    if task.table and not names:
        raise ToolError(f"{TOOL}: table: there is no {task.table!r}; ask schema for all", code="not_found")
    found = names[: task.limits.rows]
    return {
        "tables": [_table(held[name], kinds[name]) for name in found],
        "table_count": len(names),
        "truncated": len(names) > len(found),
    }


def _table(table: Any, kind: str) -> dict[str, Any]:
    foreign = table.foreign_keys if kind == "table" else []
    return {
        "name": table.name,
        "schema": "main",
        "type": kind,
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "nullable": not column.notnull,
                "default": plain(column.default_value),
                "primary_key": bool(column.is_pk),
            }
            for column in table.columns
        ],
        "foreign_keys": [
            {
                "columns": list(getattr(key, "columns", (key.column,))),  # several since sqlite-utils 4
                "references_table": key.other_table,
                "references_columns": list(getattr(key, "other_columns", (key.other_column,))),
            }
            for key in foreign
        ],
    }
