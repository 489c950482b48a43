"""What kind of statement a text of SQL is, by its first word; comments and brackets before it are passed over.

Invariant: this is the first of two locks, since each kind of database is held to reading by means of its own as well.
The lists name what may run, so that what nobody thought of does not.
"""

from __future__ import annotations

import re
from typing import Final

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import SecurityError

from .database_connection import TOOL

__all__ = ["check", "first_word"]

_READING: Final = {
    "sqlite": frozenset({"select", "with", "values", "explain"}),
    "postgres": frozenset({"select", "with", "values", "table", "explain", "show"}),
    "mysql": frozenset({"select", "with", "values", "table", "explain", "show", "describe", "desc"}),
}
_PLANNED: Final = frozenset({"select", "with", "values", "table"})
_WRITING: Final = frozenset({"insert", "update", "delete", "replace", "merge", "with"})
_SHAPING: Final = frozenset({"create", "alter", "drop", "truncate", "comment", "rename", "reindex", "analyze"})
_WORD: Final = re.compile(r"[A-Za-z]+")
_MARK: Final = re.compile(r"/\*|\*/")


def check(operation: str, query: str, kind: str, allow: str) -> str:
    """Return the first word of a statement that may run, in lower case.

    Args:
        operation: ``query``, ``explain`` or ``execute``.
        query: The statement.
        kind: Of database.
        allow: ``read``, ``write`` or ``schema``.

    Raises:
        InvalidInputError: There is no statement.
        SecurityError: It may not run by this operation, or on this connection.
    """
    if kind == "mysql" and re.search(r"/\*M?!", query, re.IGNORECASE):
        raise _refused("a comment that MySQL would run (/*!)", "leave it out")
    word = first_word(query, kind)
    if not word:
        raise InvalidInputError(f"{TOOL}: query: it holds no statement; write one such as SELECT 1", field="query")
    if operation == "query" and word not in _READING[kind]:
        remedy = "use the operation execute" if word in _WRITING | _SHAPING else "write a SELECT"
        raise _refused(f"{word.upper()} reads no rows", remedy)
    if operation == "explain" and word not in _PLANNED:
        raise _refused(f"{word.upper()} has no plan to show", "give explain a SELECT")
    if operation == "execute":
        _check_write(word, allow)
    return word


def _check_write(word: str, allow: str) -> None:
    if allow == "read":
        raise _refused("the connection is for reading", "a person may set allow = 'write' for it")
    if word in _SHAPING and allow != "schema":
        raise _refused(f"{word.upper()} changes tables", "a person may set allow = 'schema' for the connection")
    if word not in _WRITING | _SHAPING:
        raise _refused(f"{word.upper()} is none that execute runs", "write an INSERT, UPDATE or DELETE")


def first_word(query: str, kind: str) -> str:
    """Return the first word after spaces, comments and opening brackets, in lower case; empty if there is none."""
    place = 0
    while place < len(query):
        if query[place].isspace() or query[place] == "(":
            place += 1
        elif query.startswith("--", place) or (kind == "mysql" and query[place] == "#"):
            end = query.find("\n", place)
            place = len(query) if end < 0 else end + 1
        elif query.startswith("/*", place):
            place = _after_comment(query, place, nested=kind == "postgres")
        else:
            break
    found = _WORD.match(query, place)
    return found[0].lower() if found else ""


def _after_comment(query: str, place: int, *, nested: bool) -> int:
    """Where the comment that starts here ends; PostgreSQL's hold others, those of all others do not."""
    if not nested:
        end = query.find("*/", place + 2)
        return len(query) if end < 0 else end + 2
    depth = 0
    for mark in _MARK.finditer(query, place):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(query)


def _refused(what: str, remedy: str) -> SecurityError:
    return SecurityError(f"{TOOL}: query: {what}; {remedy}", rule="database")
