"""The database-connector on real servers, PostgreSQL and MariaDB, held against the programs psql and mariadb.

Each server gets a database and a user of our own, which are dropped again; where there is no server the tests skip.
It is longer than most because the statements of both servers stand beside each other.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.services.asyncio_thread import AsyncioThread
from llmspell_plugins.tools.data.database_connector import DatabaseConnector

NAME = f"llmspell_{uuid.uuid4().hex[:12]}"
PASSWORD = "Correct-horse-4"
SHOP = """
CREATE TABLE makers (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL DEFAULT 'new', price DECIMAL(9, 2), made DATE,
    maker INTEGER, FOREIGN KEY (maker) REFERENCES makers (id)
);
CREATE VIEW cheap AS SELECT name FROM items WHERE price < 5;
INSERT INTO makers VALUES (1, 'Ada'), (2, 'Bob');
INSERT INTO items VALUES (1, 'pen', 1.5, '2024-01-31', 1), (2, 'cup', 4, NULL, 2), (3, 'bag', 20.25, '2025-02-01', 1);
"""


class Server(NamedTuple):
    """A server with the database of the tests in it."""

    kind: str
    program: tuple[str, ...]
    table: Mapping[str, Any]
    endless: str
    huge: str
    wide: str

    def told(self, query: str) -> str:
        """What its own program prints, as its administrator."""
        done = subprocess.run(self.program, input=query, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def postgres() -> Iterator[Server]:
    base = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-q", "-At", "-v", "ON_ERROR_STOP=1")
    made = _prepared(base, f"CREATE ROLE {NAME} LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE {NAME} OWNER {NAME};")
    if made:
        pytest.skip(f"there is no PostgreSQL on 127.0.0.1 whose administrator is postgres: {made}")
    table = {"kind": "postgres", "host": "127.0.0.1", "database": NAME, "user": NAME, "password": PASSWORD}
    try:
        server = Server(
            "postgres",
            (*base, "-d", NAME),
            {**table, "tls": False},
            "SELECT pg_sleep(600)",
            "SELECT repeat('x', 200000000)",
            "SELECT i, repeat('x', 1000) FROM generate_series(1, 100000000) AS i",
        )
        server.told(f"SET ROLE {NAME}; {SHOP}")
        yield server
    finally:
        _prepared(base, f"DROP DATABASE {NAME} WITH (FORCE)", f"DROP ROLE {NAME}")


def mariadb() -> Iterator[Server]:
    base = ("mariadb", "--batch", "--skip-column-names")
    users = [f"{NAME}@localhost", f"{NAME}@127.0.0.1"]  # by which of them it knows us is for its name lookup to say
    wanted = [f"CREATE USER {user} IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON {NAME}.* TO {user};" for user in users]
    made = _prepared(base, f"CREATE DATABASE {NAME};" + "".join(wanted))
    if made:
        pytest.skip(f"there is no MariaDB whose administrator is this user: {made}")
    table = {"kind": "mysql", "host": "127.0.0.1", "database": NAME, "user": NAME, "password": PASSWORD}
    try:
        server = Server(
            "mysql",
            (*base, NAME),
            {**table, "tls": False},
            "SELECT sleep(600)",
            "SELECT " + ", ".join(["repeat('x', 8000000)"] * 20),
            "SELECT seq, repeat('x', 1000) FROM seq_1_to_100000000",
        )
        server.told(SHOP)
        yield server
    finally:
        _prepared(base, f"DROP DATABASE {NAME}", f"DROP USER {', '.join(users)}")


def _prepared(program: tuple[str, ...], *queries: str) -> str:
    """Run statements as the administrator, and return why they could not be."""
    if shutil.which(program[0]) is None:
        return f"{program[0]} is not installed"
    for query in queries:
        done = subprocess.run(program, input=query, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return done.stderr.strip()
    return ""


@pytest.fixture(scope="module", params=[postgres, mariadb])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    pytest.importorskip("asyncpg", reason="asyncpg comes with the extra database")
    pytest.importorskip("pymysql", reason="pymysql comes with the extra database")
    yield from request.param()


def settings(server: Server, allow: str = "read", connection: Any = None, **more: Any) -> dict[str, Any]:
    table = {**server.table, "allow": allow, **(connection or {})}
    return {"tools": {"database-connector": {"connections": {"shop": table}, **more}}}


async def ask(server: Server, operation: str, query: str | None = None, *, set: Any = None, **more: Any) -> ToolResult:
    given = {"operation": operation, **({} if query is None else {"query": query}), **more}
    async with opened(DatabaseConnector, AsyncioThread, settings=settings(server, **(set or {}))) as host:
        result: ToolResult = await host.call("tool:database-connector", given)
    return result


def place(server: Server, number: int = 1) -> str:
    return f"${number}" if server.kind == "postgres" else "%s"


async def test_a_query_answers_what_the_program_answers(server: Server) -> None:
    query = (
        "SELECT items.id, items.name, price, made, makers.name FROM items JOIN makers ON maker = makers.id ORDER BY 1"
    )

    result = (await ask(server, "query", query)).result

    printed = server.told(query.replace("made,", "coalesce(cast(made AS char(10)), 'nothing'),"))
    lines = [line.replace("|", "\t").split("\t") for line in printed.splitlines()]
    assert [[str(value or "nothing") for value in row.values()] for row in result["rows"]] == lines
    assert [column["name"] for column in result["columns"]] == ["id", "name", "price", "made", "name_2"]
    assert (result["row_count"], result["truncated"]) == (3, False)
    assert all(column["type"] for column in result["columns"])


async def test_values_stand_for_parameters_and_are_never_a_part_of_the_statement(server: Server) -> None:
    query = f"SELECT name FROM items WHERE made = {place(server)} AND price > {place(server, 2)}"

    found = (await ask(server, "query", query, values=["2025-02-01", 20])).result
    name = f"SELECT id FROM items WHERE name = {place(server)}"
    none = (await ask(server, "query", name, values=["'; DROP TABLE items; -- \\' OR 1=1"])).result

    assert [dict(row) for row in found["rows"]] == [{"name": "bag"}]
    assert none["row_count"] == 0
    assert server.told("SELECT count(*) FROM items") == "3"


async def test_the_schema_is_what_the_catalogue_of_the_server_says(server: Server) -> None:
    result = (await ask(server, "schema")).result

    tables = {table["name"]: table for table in result["tables"]}
    schema = "public" if server.kind == "postgres" else NAME
    told = server.told(
        "SELECT concat(table_name, ' ', column_name, ' ', is_nullable) FROM information_schema.columns"
        f" WHERE table_schema = '{schema}' ORDER BY table_name, ordinal_position"
    )
    columns = [
        f"{name} {column['name']} {'YES' if column['nullable'] else 'NO'}"
        for name, table in sorted(tables.items())
        for column in table["columns"]
    ]
    assert columns == told.splitlines()
    assert {name: (table["type"], table["schema"]) for name, table in tables.items()} == {
        "cheap": ("view", schema),
        "items": ("table", schema),
        "makers": ("table", schema),
    }
    assert [column["name"] for column in tables["items"]["columns"] if column["primary_key"]] == ["id"]
    assert tables["items"]["foreign_keys"] == [
        {"columns": ["maker"], "references_table": "makers", "references_columns": ["id"]}
    ]
    one = (await ask(server, "schema", table="makers")).result
    assert [table["name"] for table in one["tables"]] == ["makers"]
    with pytest.raises(ToolError, match="there is no 'nothing'"):
        await ask(server, "schema", table="nothing")


async def test_explain_tells_the_plan_of_the_program(server: Server) -> None:
    query = "SELECT name FROM items WHERE price < 5"

    plan = (await ask(server, "explain", query)).result["plan"]

    command = "EXPLAIN (FORMAT JSON)" if server.kind == "postgres" else "EXPLAIN FORMAT=JSON"
    printed = server.told(f"{command} {query}").replace("\\n", "\n").replace("\\t", "\t")
    assert plan == json.loads(printed)
    given = (await ask(server, "explain", query.replace("5", place(server)), values=[5])).result["plan"]
    assert type(given) is type(plan)


async def test_execute_changes_rows_and_says_how_many(server: Server) -> None:
    query = f"INSERT INTO makers VALUES ({place(server)}, {place(server, 2)}), (4, 'Dan') RETURNING id, name"

    made = (await ask(server, "execute", query, values=[3, "Eve"], set={"allow": "write"})).result
    there = server.told("SELECT name FROM makers WHERE id > 2 ORDER BY id").split()
    gone = (await ask(server, "execute", "DELETE FROM makers WHERE id > 2", set={"allow": "write"})).result

    assert (made["rows_affected"], there) == (2, ["Eve", "Dan"])
    assert [dict(row) for row in made["rows"]] == [{"id": 3, "name": "Eve"}, {"id": 4, "name": "Dan"}]
    assert gone == {"rows_affected": 2}
    assert server.told("SELECT count(*) FROM makers") == "2"


async def test_execute_makes_tables_where_that_is_allowed(server: Server) -> None:
    with pytest.raises(SecurityError, match="CREATE changes tables"):
        await ask(server, "execute", "CREATE TABLE t (a INTEGER)", set={"allow": "write"})

    await ask(server, "execute", "CREATE TABLE t (a INTEGER)", set={"allow": "schema"})
    there = server.told("SELECT count(*) FROM t")
    await ask(server, "execute", "DROP TABLE t", set={"allow": "schema"})

    assert there == "0"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM items",
        "/*! DELETE */ FROM items",
        "SELECT 1; DELETE FROM items",
        "WITH gone AS (DELETE FROM items RETURNING id) SELECT * FROM gone",
        "WITH x AS (SELECT 1) INSERT INTO makers SELECT 9, 'x' FROM x",
        "EXPLAIN ANALYZE DELETE FROM items",
        "SELECT 1 AS a INTO stolen",
        "SELECT 1 INTO OUTFILE '/tmp/llmspell_stolen'",
        "SELECT load_file('/etc/passwd') || pg_read_file('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT set_config('role', 'postgres', false)",
        "COPY (SELECT 1) TO PROGRAM 'touch /tmp/llmspell_stolen'",
        "SET TRANSACTION READ WRITE",
        "DO $$ BEGIN DELETE FROM items; END $$",
        "BEGIN",
        "CALL x()",
        "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE items",
    ],
)
async def test_a_query_does_nothing_but_read(server: Server, query: str) -> None:
    with pytest.raises((SecurityError, ToolError)) as caught:
        await ask(server, "query", query, set={"allow": "schema"})

    assert "\n" not in str(caught.value)
    assert server.told("SELECT count(*) FROM items") == "3"
    assert server.told("SELECT count(*) FROM makers") == "2"


async def test_a_statement_that_fails_changes_nothing(server: Server) -> None:
    query = "UPDATE items SET maker = id"

    with pytest.raises(ToolError, match="foreign key") as caught:
        await ask(server, "execute", query, set={"allow": "write"})

    assert caught.value.code == "query"
    assert server.told("SELECT sum(maker) FROM items") == "4"


async def test_an_administrator_is_no_user_for_the_tool(server: Server) -> None:
    if server.kind == "postgres":
        other, grant, revoke = (
            f"{NAME}_other",
            "GRANT pg_read_server_files TO {}",
            "REVOKE pg_read_server_files FROM {}",
        )
        server.told(f"CREATE ROLE {other} NOLOGIN; GRANT {other} TO {NAME}")
        grants = [(grant.format(NAME), revoke.format(NAME)), (grant.format(other), revoke.format(other))]
    else:
        both = f"{NAME}@localhost, {NAME}@127.0.0.1"
        grants = [
            (f"GRANT {power} ON *.* TO {both}", f"REVOKE {power} ON *.* FROM {both}") for power in ("FILE", "SUPER")
        ]
    try:
        for grant, revoke in grants:
            server.told(grant)
            try:
                with pytest.raises(SecurityError, match="use one that"):
                    await ask(server, "query", "SELECT 1")
            finally:
                server.told(revoke)
    finally:
        if server.kind == "postgres":
            server.told(f"DROP ROLE {other}")

    assert (await ask(server, "query", "SELECT 1")).result["row_count"] == 1


async def test_a_statement_that_takes_too_long_is_stopped_in_one_line(server: Server) -> None:
    with pytest.raises(ToolError, match=r"it took longer than 0\.3 s and was stopped; ") as caught:
        await ask(server, "query", server.endless, set={"timeout_s": 0.3})

    assert caught.value.code == "timeout"


async def test_an_answer_that_would_fill_the_memory_is_one_error(server: Server) -> None:
    with pytest.raises(ResourceLimitError, match="a row holds more than 100000 bytes"):
        await ask(server, "query", server.huge, set={"max_bytes": 100_000})


async def test_rows_beyond_the_limits_are_left_out_and_that_is_told(server: Server) -> None:
    by_rows = (await ask(server, "query", server.wide, set={"max_rows": 7}, max_rows=9)).result
    by_bytes = (await ask(server, "query", server.wide, set={"max_bytes": 50_000})).result

    assert (by_rows["row_count"], by_rows["truncated"]) == (7, True)
    assert (40 < by_bytes["row_count"] < 50, by_bytes["truncated"]) == (True, True)


async def test_a_function_that_writes_is_refused_by_the_database_itself(server: Server) -> None:
    insert = "INSERT INTO makers VALUES (9, 'x')"
    if server.kind == "postgres":
        server.told(f"CREATE FUNCTION grow() RETURNS integer LANGUAGE sql AS $${insert}; SELECT 1$$")
    else:
        server.told(f"DELIMITER //\nCREATE FUNCTION grow() RETURNS INTEGER BEGIN {insert}; RETURN 1; END//")

    with pytest.raises(SecurityError, match=r"(?i)read.only.*; use the operation execute"):
        await ask(server, "query", "SELECT grow()", set={"allow": "write"})

    server.told("DROP FUNCTION grow")


@pytest.mark.parametrize("operation", ["query", "execute"])
async def test_a_cancelled_statement_ends_on_the_server_too(server: Server, operation: str) -> None:
    writing = f"INSERT INTO makers SELECT 9, 'x' FROM ({server.endless}) AS x"
    query = server.endless if operation == "query" else writing
    killed = kills(server)
    async with opened(DatabaseConnector, AsyncioThread, settings=settings(server, "write")) as host:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                await host.call("tool:database-connector", {"operation": operation, "query": query})

            nursery.start_soon(call)
            while not await trio.to_thread.run_sync(running, server):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        while await trio.to_thread.run_sync(running, server):
            await trio.lowlevel.checkpoint()

        again = await host.call("tool:database-connector", {"operation": "query", "query": "SELECT 1 AS one"})

    assert [dict(row) for row in again.result["rows"]] == [{"one": 1}]
    assert server.told("SELECT count(*) FROM makers") == "2"
    assert server.kind == "postgres" or kills(server) > killed


def kills(server: Server) -> int:
    """How many statements MariaDB was told to kill; PostgreSQL does not count them."""
    return 0 if server.kind == "postgres" else int(server.told("SHOW GLOBAL STATUS LIKE 'Com_kill'").split()[1])


def running(server: Server) -> bool:
    """Whether the server still sleeps for us."""
    if server.kind == "postgres":
        query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{NAME}' AND state = 'active'"
        query += " AND query LIKE '%pg_sleep%'"
    else:
        query = "SELECT count(*) FROM information_schema.processlist"
        query += f" WHERE user = '{NAME}' AND command <> 'Sleep' AND info LIKE '%sleep(600)%'"
    return server.told(query) != "0"


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ({"password": "wrong", "user": "llmspell_nobody"}, "no connection"),
        ({"port": 1}, "no connection"),
        ({"database": "nothing_at_all"}, "no connection"),
        ({"tls": True}, "no connection"),
        ({"tls": True, "ca_file": "/nowhere/ca.pem"}, "ca_file: No such file"),
        ({"password": None, "password_env": "LLMSPELL_NOT_SET"}, "the variable LLMSPELL_NOT_SET is not set"),
        ({"host": "nowhere.invalid"}, "it has no address"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_told_in_a_line(server: Server, connection: Any, message: str) -> None:
    table = {key: value for key, value in connection.items() if value is not None}
    gone = [key for key, value in connection.items() if value is None]
    given = settings(server, connection=table)
    for key in gone:
        del given["tools"]["database-connector"]["connections"]["shop"][key]
    async with opened(DatabaseConnector, AsyncioThread, settings=given) as host:
        with pytest.raises(ToolError, match=message) as caught:
            await host.call("tool:database-connector", {"operation": "query", "query": "SELECT 1"})

    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)


async def test_a_host_that_is_denied_is_not_reached(server: Server) -> None:
    given = {**settings(server), "security": {"hosts": {"denied": ["127.0.0.0/8"]}}}
    async with opened(DatabaseConnector, AsyncioThread, settings=given) as host:
        with pytest.raises(SecurityError, match="denied"):
            await host.call("tool:database-connector", {"operation": "query", "query": "SELECT 1"})


@pytest.mark.parametrize(
    ("query", "values", "message"),
    [
        ("SELECT nothing_here", [], "nothing_here"),
        ("SELECT 1 FROM", [], "syntax"),
        ("SELECT name FROM items WHERE id = {0}", [], r"parameters|syntax"),
        ("SELECT name FROM items WHERE id = {0} AND made = {1}", [1], r"parameters|arguments"),
        ("SELECT name FROM items WHERE id = 1", [1], r"parameters|arguments"),
    ],
)
async def test_a_wrong_statement_is_told_in_a_line(server: Server, query: str, values: Any, message: str) -> None:
    with pytest.raises((ToolError, InvalidInputError), match=message) as caught:
        await ask(server, "query", query.format(place(server), place(server, 2)), values=values)

    assert "\n" not in str(caught.value)
