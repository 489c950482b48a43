"""Upkeep of the file: integrity and vacuum, through sqlite-utils. All of it blocks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from llmspell_hookspecs.errors import line_of_error

from .connections import open_reader

__all__ = ["find_problems", "vacuum"]


def find_problems(path: Path, busy_s: float) -> list[str]:
    """Return what SQLite finds wrong with the file, one sentence each.

    Raises:
        StorageError: It cannot be opened.
    """
    from sqlite_utils import Database

    reader = open_reader(path, busy_s)
    if reader is None:
        return []
    with closing(reader[0]) as connection:
        try:
            found = [next(iter(row.values())) for row in Database(connection).query("PRAGMA integrity_check")]
        except sqlite3.DatabaseError as error:
            return [line_of_error(error)]
    return [] if found == ["ok"] else found


def vacuum(connection: sqlite3.Connection) -> None:
    """Write the file anew without its gaps, and empty the log."""
    from sqlite_utils import Database

    Database(connection).vacuum()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
