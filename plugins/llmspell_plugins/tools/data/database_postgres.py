"""Asks a PostgreSQL server; all of it runs on the host's asyncio thread, and a cancellation cancels the statement.

A read-only transaction is no sandbox: a superuser's ``COPY ... TO PROGRAM`` runs programs in one. So a role that may
touch the server's files or programs is refused, whatever it is asked. Invariant: what comes in from the server is
counted before it is read, so that no answer fills the memory. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from llmspell_hookspecs import InvalidInputError, LlmspellError, ToolError
from llmspell_hookspecs.errors import SecurityError, line_of_error
from llmspell_plugins.tools.server import Server

from .database_connection import TOOL, Connection, Task
from .database_rows import Rows, too_large
from .database_schema import tables_of

if TYPE_CHECKING:
    import asyncpg

__all__ = ["ask_postgres"]

_CLOSE_S: Final = 2.0
_MOST_AT_ONCE: Final = 500
_OVERHEAD: Final = 1024 * 1024  # what the protocol, catalogues and a statement's errors take beside the rows
_POWERS: Final = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(current_user, oid, 'MEMBER') AND (rolsuper OR rolname IN (
        'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'
    ))
)
"""
_COLUMNS: Final = """
SELECT n.nspname, c.relname,
    CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END,
    a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
    pg_catalog.pg_get_expr(d.adbin, d.adrelid), coalesce(a.attnum = ANY (i.indkey), false)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AND ($1 = '' OR c.relname = $1)
ORDER BY n.nspname, c.relname, a.attnum
"""
_KEYS: Final = """
SELECT n.nspname, c.relname,
    ARRAY(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.place),
    f.relname,
    ARRAY(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_catalog.pg_constraint o
JOIN pg_catalog.pg_class c ON c.oid = o.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class f ON f.oid = o.confrelid
WHERE o.contype = 'f' AND ($1 = '' OR c.relname = $1)
ORDER BY o.conname
"""


async def ask_postgres(
    task: Task, connection: Connection, server: Server, password: str, tls: ssl.SSLContext | None
) -> dict[str, Any]:
    """Return the answer of a task.

    Raises:
        ToolError: ``connection``, ``query``, ``timeout`` or ``not_found``.
        SecurityError: The role may do too much, or the statement does more than read.
        ResourceLimitError: A row is too large.
    """
    try:
        async with asyncio.timeout(task.limits.time_s + _CLOSE_S):  # the server's own time-out comes first
            async with _connected(task, connection, server, password, tls) as (database, counted):
                try:
                    return await _answered(database, task)
                except (LlmspellError, TimeoutError):
                    raise
                except Exception as error:
                    if counted.left < 0:
                        raise too_large(task.limits) from error
                    raise _told(error, task) from error
    except TimeoutError as error:
        raise task.late() from error


@asynccontextmanager
async def _connected(
    task: Task, connection: Connection, server: Server, password: str, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[asyncpg.Connection[Any], _Counted]]:
    """A connection in a transaction, which is rolled back when it is closed."""
    import asyncpg

    loop: Any = _PinnedLoop(server)
    try:
        # All that is given the library looks up neither in the environment nor in files.
        database: asyncpg.Connection[Any] = await asyncpg.connect(
            host=server.host,
            port=server.port,
            user=connection.user,
            password=password,
            database=connection.database,
            ssl=tls or False,
            timeout=task.limits.time_s,
            statement_cache_size=0,
            loop=loop,
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        told = line_of_error(error)
        message = f"{TOOL}: {server.host}:{server.port}: no connection: {told}; check the server and its settings"
        raise ToolError(message, code="connection") from error
    try:
        counted = _Counted(loop.transport, 4 * task.limits.size_bytes + _OVERHEAD)
        if await database.fetchval(_POWERS):
            message = (
                f"{TOOL}: the role {connection.user!r} may reach the server's files or programs; use one that may not"
            )
            raise SecurityError(message, rule="database")
        await database.execute("BEGIN" if task.operation == "execute" else "BEGIN READ ONLY")
        await database.execute(f"SET LOCAL statement_timeout = {max(1, int(task.limits.time_s * 1000))}")
        yield database, counted
    finally:
        try:
            await database.close(timeout=_CLOSE_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            database.terminate()


async def _answered(database: asyncpg.Connection[Any], task: Task) -> dict[str, Any]:
    if task.operation == "schema":
        columns, keys = [await database.fetch(query, task.table) for query in (_COLUMNS, _KEYS)]
        return tables_of(map(tuple, columns), map(tuple, keys), task)
    if isinstance(task.values, dict):
        raise InvalidInputError(f"{TOOL}: values: PostgreSQL counts them, $1 and on; give a list", field="values")
    query = f"EXPLAIN (FORMAT JSON) {task.query}" if task.operation == "explain" else task.query
    statement = await database.prepare(query)
    types = [parameter.name for parameter in statement.get_parameters()]
    if len(types) != len(task.values):
        what = f"the statement has {len(types)} parameters, and {len(task.values)} were given"
        raise InvalidInputError(f"{TOOL}: values: {what}; give one for each", field="values")
    values = [_given(value, kind) for value, kind in zip(task.values, types, strict=True)]
    if task.operation == "explain":
        return {"plan": json.loads(await statement.fetchval(*values))}
    rows = Rows([(column.name, column.type.name) for column in statement.get_attributes()], task.limits)
    if task.operation == "query":
        await _fetch(await statement.cursor(*values), rows)
        return rows.told()
    for row in await statement.fetch(*values):
        if not rows.add(tuple(row)):
            break
    count = (statement.get_statusmsg() or "").rpartition(" ")[2]
    await database.execute("COMMIT")
    affected = int(count) if count.isdecimal() else 0
    return {"rows_affected": affected, **(rows.told() if statement.get_attributes() else {})}


async def _fetch(cursor: Any, rows: Rows) -> None:
    """Read rows, as many at once as there is room for if they are as large as those before."""
    at_once, before = 1, rows.left_bytes
    while found := await cursor.fetch(at_once):
        for row in found:
            if not rows.add(tuple(row)):
                return
        each = max(1, (before - rows.left_bytes) // len(rows))
        at_once = max(1, min(2 * at_once, _MOST_AT_ONCE, rows.left_bytes // each))


_DATES: Final[Mapping[str, Callable[[str], Any]]] = {
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timetz": datetime.time.fromisoformat,
    "timestamp": datetime.datetime.fromisoformat,
    "timestamptz": datetime.datetime.fromisoformat,
}


def _given(value: Any, kind: str) -> Any:
    """A value of JSON as the library wants it for a parameter of this type."""
    try:
        match value, kind:
            case str(), _ if kind in _DATES:
                return _DATES[kind](value)
            case str() | int() | float(), "numeric":
                return Decimal(str(value))
            case {"base64": str(text)}, "bytea":
                return base64.b64decode(text, validate=True)
            case ((dict() | list() | bool() | int() | float()), ("json" | "jsonb")):
                return json.dumps(value)
    except (ValueError, InvalidOperation, binascii.Error) as error:
        message = f"{TOOL}: values: {str(value)[:80]!r} is no {kind}; correct it"
        raise InvalidInputError(message, field="values") from error
    return value


def _told(error: Exception, task: Task) -> Exception:
    """The tool's error for one of the library's."""
    import asyncpg

    told = line_of_error(error)
    match error:
        case asyncpg.QueryCanceledError():
            return task.late()
        case asyncpg.ReadOnlySQLTransactionError():
            return SecurityError(f"{TOOL}: query: {told}; use the operation execute", rule="database")
        case asyncpg.PostgresError() | asyncpg.InterfaceError() | ValueError() | OverflowError() | TypeError():
            return ToolError(f"{TOOL}: query: {told}; correct it", code="query")
        case OSError():
            return ToolError(f"{TOOL}: the connection broke off: {told}; try again", code="connection")
    return error


class _PinnedLoop:
    """The running loop, but that its connections lead to a server's judged addresses, whatever name they are given."""

    def __init__(self, server: Server) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self.transport: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, host: str, port: int, **options: Any) -> Any:
        """Connect to the first address that answers."""
        made = None
        for address in self._server.addresses[:-1]:
            with suppress(OSError):
                made = await self._loop.create_connection(factory, address, port, **options)
                break
        if made is None:
            made = await self._loop.create_connection(factory, self._server.addresses[-1], port, **options)
        self.transport = made[0]
        return made

    async def start_tls(self, *arguments: Any, **options: Any) -> Any:
        """Start TLS, under the server's name."""
        self.transport = await self._loop.start_tls(*arguments, **options)
        return self.transport


class _Counted(asyncio.Protocol):
    """Stands before a transport's protocol and ends the connection when more came than may.

    Attributes:
        left: How many bytes may still come; negative once there were too many.
    """

    def __init__(self, transport: Any, left: int) -> None:
        self.left = left
        self._transport = transport
        self._inner: Any = transport.get_protocol()
        for name in ("pause_writing", "resume_writing", "eof_received", "connection_lost"):
            setattr(self, name, getattr(self._inner, name))
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        """Hand it on, if there is room."""
        self.left -= len(data)
        if self.left < 0:
            self._transport.abort()
        else:
            self._inner.data_received(data)
