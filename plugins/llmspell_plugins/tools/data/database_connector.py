"""The database-connector tool: asks databases that trusted settings name, and changes them where those say so.

Invariant: whatever a script writes, a connection that is for reading only reads: the first word of a statement is on a
list, and the database itself refuses the rest. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import ssl
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from llmspell_hookspecs import Policy, SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.services import AsyncioThread, ProjectFolder
from llmspell_hookspecs.tool import ToolLimits
from llmspell_plugins.tools.child import run_child
from llmspell_plugins.tools.library import require
from llmspell_plugins.tools.server import Server, located, run_interruptible, secret_of, trusting

from .database_connection import TOOL, Connection, Limits, Task
from .database_sqlite import read, write
from .database_statement import check

__all__ = ["DatabaseConnector", "DatabaseParameters", "DatabaseSettings"]

_CHILD_GRACE_S = 5.0  # a child is given this much longer than the statement, to say itself that it took too long


class DatabaseParameters(BaseModel):
    """What the database-connector takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["query", "schema", "explain", "execute"] = Field(
        description="query reads, schema tells the tables, explain tells how a query would run, execute changes."
    )
    database: str | None = Field(
        default=None, max_length=200, description="The connection's name in settings; not needed if there is only one."
    )
    query: str | None = Field(default=None, min_length=1, max_length=100_000, description="One statement of SQL.")
    values: list[JsonValue] | dict[str, JsonValue] = Field(
        default=[], description="For the statement's parameters: ? or :name in SQLite, $1 in PostgreSQL, %s in MySQL."
    )
    query_type: Literal["SELECT", "INSERT", "UPDATE", "DELETE"] | None = Field(
        default=None, description="What the statement must begin with; with query, any but SELECT means execute."
    )
    table: str | None = Field(default=None, min_length=1, max_length=200, description="For schema: only this one.")
    max_rows: int | None = Field(default=None, ge=1, description="The most rows, or tables; settings have a limit.")

    @model_validator(mode="after")
    def _complete(self) -> DatabaseParameters:
        if self.operation != "schema" and self.query is None:
            raise ValueError(f"{self.operation} needs query")
        return self

    @property
    def meant(self) -> str:
        """The operation that is meant: a query whose type says that it changes something is to be executed."""
        changes = self.operation == "query" and self.query_type not in (None, "SELECT")
        return "execute" if changes else self.operation


class DatabaseSettings(BaseModel):
    """``[tools.database-connector]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connections: Annotated[dict[str, Connection], Policy.LOCKED] = Field(
        default={}, description="By the names that scripts use."
    )
    timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=20.0, gt=0, description="How long a statement may take."
    )
    max_rows: Annotated[int, Policy.LOWER_ONLY] = Field(default=1000, ge=1, description="The most rows of an answer.")
    max_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=4 * 1024 * 1024, ge=1024, description="The most that the rows of an answer hold."
    )


class DatabaseConnector(Tool[DatabaseParameters]):
    """Query a database that settings name, tell its tables, explain a query, or change rows where that is allowed."""

    name = TOOL
    aliases = ("database_connector", "database-connector-tool")
    category = "data"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=60)
    examples = (
        ToolExample(
            "some rows",
            {
                "operation": "query",
                "database": "shop",
                "query": "SELECT name FROM items WHERE price < ?",
                "values": [5],
            },
            {"row_count": 2, "truncated": False},
            needs="a connection shop in settings",
        ),
        ToolExample(
            "what tables there are",
            {"operation": "schema", "database": "shop"},
            needs="a connection shop in settings",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = DatabaseSettings
    settings: DatabaseSettings

    async def run(self, parameters: DatabaseParameters, context: ToolContext) -> ToolResult:
        """Return ``{columns, rows, row_count, truncated}``, ``{tables, ...}``, ``{plan}`` or ``{rows_affected, ...}``.

        Raises:
            ToolError: ``not_configured``, ``connection``, ``query``, ``timeout``, ``locked``, ``not_found`` or
                ``missing_library``.
            SecurityError: The statement does more than the connection allows.
            ResourceLimitError: A row is too large.
        """
        name, connection = self._connection(parameters.database)
        task = self._task(parameters, connection, context)
        context.charge(task.limits.size_bytes)
        result = await self._answer(connection, task, context)
        return ToolResult(operation=task.operation, result=result, metadata={"database": name, "kind": connection.kind})

    async def _answer(self, connection: Connection, task: Task, context: ToolContext) -> dict[str, Any]:
        match connection.kind:
            case "sqlite":
                return await self._ask_file(connection, task, context)
            case "postgres":
                require(self.name, "database", "asyncpg")
                from .database_postgres import ask_postgres

                given = await self._reached(connection, context)
                return await context.services.get(AsyncioThread).run(ask_postgres, task, connection, *given)
            case "mysql":
                require(self.name, "database", "pymysql")
                from .database_mysql import Conversation

                talk = Conversation(task, connection, *await self._reached(connection, context))
                answer: dict[str, Any] = await run_interruptible(context, talk.interrupt, talk.answer)
                return answer

    async def _reached(self, connection: Connection, context: ToolContext) -> tuple[Server, str, ssl.SSLContext | None]:
        """Return where the server is, and what is needed to talk to it."""
        password = secret_of(self.name, connection.password, connection.password_env)
        server = await located(self.name, context, connection.host, connection.usual_port)
        tls = await context.run_thread(trusting, self.name, connection.ca_file) if connection.tls else None
        return server, password, tls

    async def _ask_file(self, connection: Connection, task: Task, context: ToolContext) -> dict[str, Any]:
        path = str(context.services.get(ProjectFolder).place(connection.path))
        if task.operation == "execute":
            changed: dict[str, Any] = await context.run_thread(write, path, task)
            return changed
        time_s = task.limits.time_s + _CHILD_GRACE_S
        answer: dict[str, Any] = await run_child(context, self.name, "", time_s, read, path, task)
        return answer

    def _connection(self, name: str | None) -> tuple[str, Connection]:
        known = self.settings.connections
        if name is None and len(known) == 1:
            return next(iter(known.items()))
        if name in known:
            return name, known[name]
        if not known:
            message = f"{TOOL}: database: none is set; a person may set one in [tools.{TOOL}.connections.NAME]"
            raise ToolError(message, code="not_configured")
        what = "several are set, and none was named" if name is None else f"there is no {name!r}"
        names = ", ".join(sorted(known))
        message = f"{TOOL}: database: {what} ({names}); name one of [tools.{TOOL}.connections]"
        raise ToolError(message, code="not_configured")

    def _task(self, parameters: DatabaseParameters, connection: Connection, context: ToolContext) -> Task:
        operation, query = parameters.meant, (parameters.query or "").strip().rstrip(";")
        if operation != "schema":
            word = check(operation, query, connection.kind, connection.allow)
            if parameters.query_type not in (None, word.upper()) and word != "with":
                message = (
                    f"{TOOL}: query: it is {word.upper()}, and query_type says {parameters.query_type}; correct one"
                )
                raise ToolError(message, code="invalid_input")
        limits = Limits(
            min(parameters.max_rows or self.settings.max_rows, self.settings.max_rows),
            self.settings.max_bytes,
            min(self.settings.timeout_s, context.limits.time_s),
        )
        return Task(operation, query, parameters.values, parameters.table or "", connection.allow, limits)
