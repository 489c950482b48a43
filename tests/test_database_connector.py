"""The database-connector on SQLite files, held against the program sqlite3: each operation, both locks, limits."""

from __future__ import annotations

import json
import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import LlmspellError, ResourceLimitError, SecurityError, SettingsError
from llmspell_plugins.tools.api.email_sender import EmailSender
from llmspell_plugins.tools.data.database_connector import DatabaseConnector
from llmspell_plugins.tools.data.database_statement import first_word
from oracles import oracle

SHOP = """
CREATE TABLE makers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE items (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'new', price REAL, photo BLOB,
    maker INTEGER REFERENCES makers(id)
);
CREATE INDEX by_price ON items (price);
CREATE VIEW cheap AS SELECT name FROM items WHERE price < 5;
INSERT INTO makers VALUES (1, 'Ada'), (2, 'Bob');
INSERT INTO items VALUES (1, 'pen', 1.5, NULL, 1), (2, 'cup', 4, x'00ff', 2), (3, 'bag', 20.25, NULL, 1);
"""
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file)) as database:
        database.executescript(SHOP)
    return file


def settings(file: Path, allow: str = "read", **more: Any) -> dict[str, Any]:
    connection = {"kind": "sqlite", "path": str(file), "allow": allow}
    return {"tools": {"database-connector": {"connections": {"shop": connection}, **more}}}


async def ask(file: Path, operation: str, query: str | None = None, *, set: Any = None, **more: Any) -> ToolResult:
    given = {"operation": operation, **({} if query is None else {"query": query}), **more}
    async with opened(DatabaseConnector, settings=settings(file, **(set or {}))) as host:
        result: ToolResult = await host.call("tool:database-connector", given)
    return result


def told(file: Path, query: str) -> Any:
    """What the program sqlite3 says."""
    return json.loads(oracle("sqlite3", "-json", file, query) or "[]")


async def test_a_query_answers_what_the_program_answers(shop: Path) -> None:
    query = "SELECT items.id, items.name, price, makers.name AS maker FROM items JOIN makers ON maker = makers.id"

    result = (await ask(shop, "query", query)).result

    assert result["rows"] == told(shop, query)
    assert (result["row_count"], result["truncated"]) == (3, False)
    assert [column["name"] for column in result["columns"]] == ["id", "name", "price", "maker"]


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("SELECT name FROM items WHERE price > ? AND maker = ? ORDER BY id;", [2, 1]),
        ("/* why */ -- how\n SELECT name FROM items WHERE price > :least AND maker = :who", {"least": 2, "who": 1}),
        ("WITH dear AS (SELECT * FROM items WHERE price > ?) SELECT name FROM dear WHERE maker = 1", [2]),
        ("VALUES (?)", ["bag"]),
    ],
)
async def test_values_stand_for_parameters(shop: Path, query: str, values: Any) -> None:
    result = (await ask(shop, "query", query, values=values)).result

    assert [list(row.values()) for row in result["rows"]] == [["bag"]]


async def test_values_are_never_a_part_of_the_statement(shop: Path) -> None:
    result = (await ask(shop, "query", "SELECT ? AS given", values=["'; DROP TABLE items; --"])).result

    assert result["rows"][0]["given"] == "'; DROP TABLE items; --"
    assert told(shop, "SELECT count(*) AS n FROM items") == [{"n": 3}]


async def test_bytes_numbers_and_columns_of_one_name_are_told_apart(shop: Path) -> None:
    query = "SELECT photo, 9007199254740993 AS large, 9e999 AS endless, 1 AS a, 2 AS a FROM items WHERE id = 2"

    result = (await ask(shop, "query", query)).result

    assert result["rows"][0] == {
        "photo": {"base64": "AP8="},
        "large": 9007199254740993,
        "endless": "inf",
        "a": 1,
        "a_2": 2,
    }


async def test_the_schema_is_what_the_program_says(shop: Path) -> None:
    result = (await ask(shop, "schema")).result

    tables = {table["name"]: table for table in result["tables"]}
    names = told(shop, "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')")
    assert {name: table["type"] for name, table in tables.items()} == {row["name"]: row["type"] for row in names}
    for name, table in tables.items():
        rows = told(shop, f"PRAGMA table_info({name})")
        assert [(column["name"], column["type"], column["nullable"]) for column in table["columns"]] == [
            (row["name"], row["type"], not row["notnull"]) for row in rows
        ]
    assert tables["items"]["columns"][0]["primary_key"]
    assert tables["items"]["foreign_keys"] == [
        {"columns": ["maker"], "references_table": "makers", "references_columns": ["id"]}
    ]


async def test_the_schema_of_one_table_holds_no_other(shop: Path) -> None:
    result = (await ask(shop, "schema", table="makers")).result

    assert [table["name"] for table in result["tables"]] == ["makers"]
    with pytest.raises(ToolError, match="there is no 'nothing'"):
        await ask(shop, "schema", table="nothing")


async def test_explain_tells_the_plan_of_the_program(shop: Path) -> None:
    query = "SELECT name FROM items WHERE price < 5"

    result = (await ask(shop, "explain", query)).result

    printed = oracle("sqlite3", shop, f"EXPLAIN QUERY PLAN {query}")
    assert [row["detail"] for row in result["plan"]] == [line.lstrip("`-|") for line in printed.splitlines()[1:]]


async def test_execute_changes_rows_and_says_how_many(shop: Path) -> None:
    query = "UPDATE items SET price = price + ? WHERE maker = 1 RETURNING name, price"

    result = (await ask(shop, "execute", query, values=[1], set={"allow": "write"})).result

    assert (result["rows_affected"], result["row_count"]) == (2, 2)
    assert result["rows"] == told(shop, "SELECT name, price FROM items WHERE maker = 1")


async def test_a_query_whose_type_says_that_it_changes_something_is_executed(shop: Path) -> None:
    result = await ask(shop, "query", "DELETE FROM items", query_type="DELETE", set={"allow": "write"})

    assert (result.operation, result.result) == ("execute", {"rows_affected": 3})
    assert told(shop, "SELECT count(*) AS n FROM items") == [{"n": 0}]
    with pytest.raises(ToolError, match="it is DELETE, and query_type says INSERT"):
        await ask(shop, "query", "DELETE FROM items", query_type="INSERT", set={"allow": "write"})


async def test_execute_makes_tables_where_that_is_allowed(shop: Path) -> None:
    with pytest.raises(SecurityError, match="CREATE changes tables"):
        await ask(shop, "execute", "CREATE TABLE t (a)", set={"allow": "write"})

    await ask(shop, "execute", "CREATE TABLE t AS SELECT name FROM items", set={"allow": "schema"})

    assert told(shop, "SELECT count(*) AS n FROM t") == [{"n": 3}]


async def test_a_statement_that_fails_changes_nothing(shop: Path) -> None:
    before = shop.read_bytes()

    with pytest.raises(ToolError, match="FOREIGN KEY") as caught:
        await ask(shop, "execute", "UPDATE items SET maker = id", set={"allow": "write"})

    assert (caught.value.code, shop.read_bytes()) == ("query", before)


@pytest.mark.parametrize("allow", ["read", "write", "schema"])
@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '/tmp/other.db' AS other",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO '/tmp/other.db'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT * FROM pragma_database_list",
        "SELECT 1; DELETE FROM items",
        "WITH x AS (SELECT 1) DELETE FROM items",
        "WITH x AS (SELECT 1) INSERT INTO makers SELECT 3, 'Eve' FROM x",
        "DELETE FROM items",
        "/* SELECT */ DELETE FROM items",
        "EXPLAIN SELECT 1; DROP TABLE items",
        "BEGIN",
        "SELECT fts3_tokenizer('simple')",
        "CREATE TEMP TABLE t (a)",
    ],
)
async def test_a_query_does_nothing_but_read_the_file(shop: Path, query: str, allow: str) -> None:
    before, others = shop.read_bytes(), set(shop.parent.iterdir())

    with pytest.raises((SecurityError, ToolError)):
        await ask(shop, "query", query, set={"allow": allow})

    assert (shop.read_bytes(), set(shop.parent.iterdir())) == (before, others)


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO sqlite_master (name) VALUES ('x')",
        "WITH x AS (SELECT 1) UPDATE items SET name = load_extension('x')",
        "DELETE FROM items; DROP TABLE items",
        "REPLACE INTO items (name) SELECT file FROM pragma_database_list",
        "UPDATE items SET name = 1 WHERE CREATE",
    ],
)
async def test_execute_does_nothing_but_write_rows(shop: Path, query: str) -> None:
    before = shop.read_bytes()

    with pytest.raises((SecurityError, ToolError)):
        await ask(shop, "execute", query, set={"allow": "write"})

    assert shop.read_bytes() == before


async def test_a_connection_for_reading_executes_nothing(shop: Path) -> None:
    with pytest.raises(SecurityError, match="the connection is for reading; a person may set"):
        await ask(shop, "execute", "DELETE FROM items")


async def test_an_endless_query_is_stopped_in_one_line(shop: Path) -> None:
    with pytest.raises(ToolError, match=r"it took longer than 0\.2 s and was stopped; ") as caught:
        await ask(shop, "query", ENDLESS, set={"timeout_s": 0.2})

    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT hex(zeroblob(2000000000))",
        "SELECT group_concat(hex(randomblob(100000))) FROM (SELECT 1 FROM items, items, items, items, items, items)",
        "SELECT " + ", ".join(["hex(zeroblob(2000000))"] * 1500),
    ],
)
async def test_what_fills_the_memory_is_one_error(shop: Path, query: str) -> None:
    with pytest.raises((ResourceLimitError, ToolError)) as caught:
        await ask(shop, "query", query)

    assert caught.value.code == "resource_limit"
    assert "\n" not in str(caught.value)


async def test_rows_beyond_the_limits_are_left_out_and_that_is_told(shop: Path) -> None:
    many = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, hex(zeroblob(50)) AS pad FROM n"

    by_settings = (await ask(shop, "query", many, set={"max_rows": 7}, max_rows=9)).result
    by_call = (await ask(shop, "query", many, max_rows=3)).result
    by_bytes = (await ask(shop, "query", many, set={"max_bytes": 1024})).result

    assert [(each["row_count"], each["truncated"]) for each in (by_settings, by_call)] == [(7, True), (3, True)]
    assert by_bytes["truncated"]
    assert by_bytes["row_count"] == 1024 // (8 + 100 + len("xpad"))


@pytest.mark.parametrize(
    ("operation", "query"), [("query", ENDLESS), ("execute", f"INSERT INTO items (name) {ENDLESS}")]
)
async def test_a_cancelled_statement_ends_and_leaves_nothing_behind(shop: Path, operation: str, query: str) -> None:
    before = shop.read_bytes()
    async with opened(DatabaseConnector, settings=settings(shop, "write")) as host:
        with trio.move_on_after(0.3) as scope:
            await host.call("tool:database-connector", {"operation": operation, "query": query})
        again = await host.call("tool:database-connector", {"operation": "execute", "query": "DELETE FROM items"})

    assert scope.cancelled_caught
    assert again.result == {"rows_affected": 3}
    assert shop.read_bytes() != before


async def test_a_file_that_somebody_writes_is_told_as_locked(shop: Path) -> None:
    with closing(sqlite3.connect(shop, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ToolError, match="locked") as caught:
            await ask(shop, "execute", "DELETE FROM items", set={"allow": "write"})

    assert caught.value.code == "locked"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"operation": "query"}, "query needs query"),
        ({"operation": "query", "query": " -- nothing"}, "it holds no statement"),
        ({"operation": "query", "query": "SELEC 1"}, "SELEC reads no rows"),
        ({"operation": "query", "query": "SELECT colour FROM items"}, "no such column: colour; correct it"),
        ({"operation": "query", "query": "SELECT ?"}, "Incorrect number of bindings"),
        ({"operation": "query", "query": "SELECT ?", "values": [[1]]}, "type 'tuple'|type 'list'"),
        ({"operation": "query", "query": "SELECT ?", "values": [2**70]}, "too large"),
        ({"operation": "query", "query": "SELECT 1", "database": "other"}, r"there is no 'other' \(shop\)"),
        ({"operation": "explain", "query": "EXPLAIN SELECT 1"}, "EXPLAIN has no plan"),
        ({"operation": "drop"}, "operation"),
    ],
)
async def test_bad_input_is_refused_in_a_line(shop: Path, given: dict[str, Any], message: str) -> None:
    async with opened(DatabaseConnector, settings=settings(shop)) as host:
        with pytest.raises((InvalidInputError, ToolError, SecurityError), match=message) as caught:
            await host.call("tool:database-connector", given)

    assert "\n" not in str(caught.value)
    assert str(shop) not in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "other"])
async def test_a_file_that_is_no_database_is_told(tmp_path: Path, kind: str) -> None:
    file = tmp_path / kind
    if kind == "folder":
        file.mkdir()
    elif kind == "other":
        file.write_bytes(b"no database at all" * 100)

    with pytest.raises(ToolError, match=r"No such file|no regular file|not a database"):
        await ask(file, "query", "SELECT 1 FROM sqlite_master")

    assert not (tmp_path / "missing").exists()


async def test_without_connections_nothing_can_be_asked() -> None:
    async with opened(DatabaseConnector) as host:
        with pytest.raises(ToolError, match=r"none is set; a person may set one in \[tools\.database-conn") as caught:
            await host.call("tool:database-connector", {"operation": "query", "query": "SELECT 1"})

    assert caught.value.code == "not_configured"


async def test_a_script_sets_no_connection_of_its_own(shop: Path) -> None:
    async with opened(DatabaseConnector, settings=settings(shop)) as host:
        with pytest.raises(SettingsError):
            key = "tools.database-connector.connections.shop.allow"
            await host.settings.change(key, "schema", origin="script")


async def test_the_settings_that_the_how_to_shows_are_sound() -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to.md").read_text()
    tables = "".join(block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[tools." in block)

    mail = {
        "operation": "preview",
        "provider": "office",
        "to": "bob@example.org",
        "subject": "Lunch",
        "body": "At noon?",
    }
    async with opened(EmailSender, DatabaseConnector, settings=tomllib.loads(tables)) as host:
        with pytest.raises(SecurityError, match="may not get mail"):
            await host.call("tool:email-sender", mail)
        with pytest.raises(SecurityError, match="the connection is for reading"):
            await host.call("tool:database-connector", {"operation": "execute", "query": "DELETE FROM items"})


async def test_a_project_that_nobody_trusts_brings_no_connection(tmp_path: Path, shop: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    table = f'[tools.database-connector.connections.own]\nkind = "sqlite"\npath = "{shop}"\n'
    (folder / "llmspell.toml").write_text(table)

    with pytest.raises(LlmspellError, match="connections"):
        load_settings(environment={"HOME": str(tmp_path)}, cwd=folder)


@pytest.mark.parametrize(
    ("query", "kind", "word"),
    [
        ("  ((select 1))", "sqlite", "select"),
        ("/* /* */ select */ drop table x", "postgres", "drop"),
        ("/* /* */ select 1", "mysql", "select"),
        ("# select\n drop", "mysql", "drop"),
        ("# select", "sqlite", ""),
        ("-- select", "postgres", ""),
        ("/* select", "postgres", ""),
    ],
)
def test_the_first_word_is_the_one_that_the_database_sees(query: str, kind: str, word: str) -> None:
    assert first_word(query, kind) == word
