"""Asks a MariaDB or MySQL server, in a thread; a cancellation kills the statement on the server.

Invariant: a user that may touch the server's files (FILE) or pass its rules (SUPER) is refused, whatever it is asked;
what came in is counted before it is read. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Final

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import Cursor, SSCursor

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import SecurityError, line_of_error
from llmspell_plugins.tools.server import Line, Server, dial

from .database_connection import TOOL, Connection, Task
from .database_rows import Rows, too_large
from .database_schema import tables_of

__all__ = ["Conversation"]

_GRACE_S: Final = 2.0
_OVERHEAD: Final = 1024 * 1024  # what the protocol and catalogues take beside the rows
_LATE: Final = {1317, 1969, 3024}  # interrupted; MariaDB's time-out; MySQL's
_READ_ONLY: Final = 1792
_TYPES: Final = {code: name.lower() for name, code in vars(FIELD_TYPE).items() if isinstance(code, int)}
_POWERS: Final = "SELECT count(*) FROM information_schema.user_privileges WHERE privilege_type IN ('FILE', 'SUPER')"
_COLUMNS: Final = """
SELECT c.table_schema, c.table_name, IF(t.table_type LIKE '%%VIEW', 'view', 'table'), c.column_name, c.column_type,
    c.is_nullable = 'YES', c.column_default, c.column_key = 'PRI'
FROM information_schema.columns c JOIN information_schema.tables t
    ON t.table_schema = c.table_schema AND t.table_name = c.table_name
WHERE c.table_schema = DATABASE() AND (%s = '' OR c.table_name = %s)
ORDER BY c.table_name, c.ordinal_position
"""
_KEYS: Final = """
SELECT table_schema, table_name, constraint_name, column_name, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL AND (%s = '' OR table_name = %s)
ORDER BY table_name, constraint_name, ordinal_position
"""


class _Counting(pymysql.Connection):
    """A connection that ends when more came in than may."""

    left = 0

    def _read_bytes(self, num_bytes: int) -> bytes:
        # The one place through which all that comes in passes, with TLS and without; the library offers no other.
        self.left -= num_bytes
        if self.left < 0:
            self._force_close()  # type: ignore[attr-defined]
            raise pymysql.DataError(0, "too much came in")
        data: bytes = super()._read_bytes(num_bytes)  # type: ignore[misc]
        return data


class Conversation:
    """One task with a server: `answer` in a thread, and `interrupt` in another if it is cancelled."""

    def __init__(
        self, task: Task, connection: Connection, server: Server, password: str, tls: ssl.SSLContext | None
    ) -> None:
        self._task = task
        self._connection = connection
        self._server = server
        self._password = password
        self._tls = tls
        self._thread_id = 0
        self._line = Line(server)

    def answer(self) -> dict[str, Any]:
        """Return the answer of the task.

        Raises:
            ToolError: ``connection``, ``query``, ``timeout`` or ``not_found``.
            SecurityError: The user may do too much, or the statement does more than read.
            ResourceLimitError: A row is too large.
        """
        try:
            made = self._connected(self._task.limits.time_s + _GRACE_S, self._line.dial)
            with closing(made) as database, self._told(database):
                return self._answered(database)
        finally:
            self._line.close()

    def _answered(self, database: _Counting) -> dict[str, Any]:
        self._thread_id = database.thread_id()  # type: ignore[no-untyped-call]
        self._settle(database)
        match self._task.operation:
            case "schema":
                return self._schema(database)
            case "explain":
                row = _all(database, f"EXPLAIN FORMAT=JSON {self._task.query}", self._task.values)[0]
                return {"plan": json.loads(row[0])}
            case "execute":
                return self._changed(database)
        return self._read(database)

    def interrupt(self) -> None:
        """Kill the statement that runs, and end the connection."""
        if self._thread_id:
            apart = partial(dial, self._server)
            with suppress(ToolError, pymysql.Error), closing(self._connected(_GRACE_S, apart)) as other:
                _all(other, f"KILL QUERY {self._thread_id:d}")
        self._line.cut()

    def _connected(self, timeout_s: float, through: Callable[[float], socket.socket]) -> _Counting:
        server, connection = self._server, self._connection
        database = _Counting(
            host=server.host,
            port=server.port,
            user=connection.user,
            password=self._password,
            database=connection.database,
            charset="utf8mb4",
            read_timeout=max(1, int(timeout_s)),
            write_timeout=max(1, int(timeout_s)),
            ssl=self._tls,
            ssl_disabled=self._tls is None,
            autocommit=False,
            local_infile=False,
            defer_connect=True,
        )
        database.left = 4 * self._task.limits.size_bytes + _OVERHEAD
        try:
            database.connect(through(timeout_s))
        except (OSError, pymysql.Error) as error:
            told = line_of_error(error)
            message = f"{TOOL}: {server.host}:{server.port}: no connection: {told}; check the server and its settings"
            raise ToolError(message, code="connection") from error
        return database

    def _settle(self, database: _Counting) -> None:
        """Refuse a user who may do too much, and begin a transaction that is held to what may be."""
        limits = self._task.limits
        if _all(database, _POWERS)[0][0]:
            message = f"{TOOL}: the user {self._connection.user!r} has FILE or SUPER; use one that has not"
            raise SecurityError(message, rule="database")
        is_maria = "MariaDB" in str(database.get_server_info())  # type: ignore[no-untyped-call]
        limit = (
            f"max_statement_time = {limits.time_s:f}"
            if is_maria
            else f"max_execution_time = {limits.time_s * 1000:.0f}"
        )
        _all(database, f"SET SESSION {limit}")
        _all(database, "START TRANSACTION" + (" READ ONLY" if self._task.operation != "execute" else ""))

    def _read(self, database: _Counting) -> dict[str, Any]:
        cursor: Any = database.cursor(SSCursor)
        cursor.execute(self._task.query, self._task.values or None)
        rows = _columns(cursor, self._task)
        try:
            while (row := cursor.fetchone()) is not None and rows.add(row):
                pass
        finally:
            # Whoever closes or forgets the cursor would read all that is left, which may be much; there is nothing else
            # that the library offers.
            cursor._result.unbuffered_active = False
        return rows.told()

    def _changed(self, database: _Counting) -> dict[str, Any]:
        with closing(database.cursor(Cursor)) as cursor:
            count = cursor.execute(self._task.query, self._task.values or None)
            rows = _columns(cursor, self._task)
            for row in cursor.fetchall() if cursor.description else ():
                if not rows.add(row):
                    break
            told = rows.told() if cursor.description else {}
        database.commit()
        return {"rows_affected": count, **told}

    def _schema(self, database: _Counting) -> dict[str, Any]:
        names = (self._task.table, self._task.table)
        keys: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
        for schema, name, constraint, column, other, others in _all(database, _KEYS, names):
            own, led = keys.setdefault((schema, name, constraint, other), ([], []))
            own.append(column)
            led.append(others)
        found = [(schema, name, own, other, led) for (schema, name, _, other), (own, led) in keys.items()]
        return tables_of(_all(database, _COLUMNS, names), found, self._task)

    @contextmanager
    def _told(self, database: _Counting) -> Iterator[None]:
        """Tell the library's errors as the tool's."""
        try:
            yield
        except (pymysql.Error, TypeError, ValueError, KeyError, OSError) as error:
            told = line_of_error(error)
            code = error.args[0] if error.args else None
            if database.left < 0:
                raise too_large(self._task.limits) from error
            if code in _LATE or "timed out" in told:
                raise self._task.late() from error
            if code == _READ_ONLY:
                raise SecurityError(f"{TOOL}: query: {told}; use the operation execute", rule="database") from error
            raise ToolError(f"{TOOL}: query: {told}; correct it", code="query") from error


def _all(database: _Counting, query: str, values: Any = ()) -> list[Any]:
    """All rows that a statement answers, of those that are ours."""
    with closing(database.cursor(Cursor)) as cursor:
        cursor.execute(query, values or None)
        return list(cursor.fetchall())


def _columns(cursor: Any, task: Task) -> Rows:
    return Rows([(column[0], _TYPES.get(column[1], "")) for column in cursor.description or ()], task.limits)
