"""Storages on disk over what is not ours, was damaged, may only be read, or is full: one error in one line."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import lmdb
import pytest

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry
from llmspell_plugins.storage.lmdb import Lmdb, LmdbSettings
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings
from llmspell_testing import StorageFileConformance
from waiting import PATIENCE_S


def make(backend: str, folder: Path) -> Any:
    if backend == "sqlite":
        return SQLite(SQLiteSettings(path=folder / "state.db", busy_s=0.1))
    return Lmdb(LmdbSettings(path=folder / "state.lmdb"))


class TestSQLiteFile(StorageFileConformance):
    def make_at(self, path: Path) -> Storage:
        return SQLite(SQLiteSettings(path=path, busy_s=0.1))

    def make_later(self, path: Path) -> None:
        sqlite_of("PRAGMA user_version = 99")(path)


class TestLmdbFolder(StorageFileConformance):
    data = "data.mdb"

    def make_at(self, path: Path) -> Storage:
        return Lmdb(LmdbSettings(path=path))

    def make_later(self, path: Path) -> None:
        put(b"counters", b"llmspell", (2).to_bytes(8, "big"))(path)


both = pytest.mark.parametrize("backend", ["sqlite", "lmdb"])


async def use(storage: Any) -> None:
    """Read and write a storage in all ways."""
    async with storage:
        await storage.get("a")
        async for _ in storage.scan(""):
            pass
        await storage.write({"a": b"new"}, expect={"a": 0})


def in_one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.startswith("storage ")
    assert len(text) <= 500
    return text


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody else's user may not enter, as pytest's would be."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@both
async def test_what_only_reads_makes_nothing_and_sees_what_is_made_later(backend: str, folder: Path) -> None:
    async with make(backend, folder) as reader:
        assert await reader.get("a") is None
        assert [key async for key, _ in reader.scan("")] == []
        assert list(folder.iterdir()) == []

        code = f"""
import trio
from pathlib import Path
from test_storage_places import make
async def main():
    async with make({backend!r}, Path({str(folder)!r})) as storage:
        await storage.write({{"a": b"1"}})
trio.run(main)
"""
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)

        assert await reader.get("a") == Entry(b"1", 1)
        assert await reader.write({"a": b"2"}, expect={"a": 1})
        assert await reader.get("a") == Entry(b"2", 2)


async def test_a_reader_needs_no_lock_of_the_writers(folder: Path) -> None:
    async with make("sqlite", folder) as storage:
        await storage.write({"a": b"1"})

    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with make("sqlite", folder) as storage:
            found = await storage.get("a"), [key async for key, _ in storage.scan("")]

    assert found == (Entry(b"1", 1), ["a"])


# What is no storage of ours.


def sqlite_of(*statements: str) -> Callable[[Path], None]:
    def build(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    return build


OURS = "PRAGMA application_id = 0x6C6C6D73"
FILES: dict[str, Callable[[Path], object]] = {
    "a foreign mark": sqlite_of("PRAGMA application_id = 7"),
    "a foreign view": sqlite_of("CREATE VIEW theirs AS SELECT 1"),
    "a negative schema": sqlite_of(OURS, "PRAGMA user_version = -1"),
    "tables of other columns": sqlite_of(OURS, "PRAGMA user_version = 1", "CREATE TABLE entries (x)"),
    "no tables": sqlite_of(OURS, "PRAGMA user_version = 1"),
}


@pytest.mark.parametrize("kind", FILES)
async def test_a_file_that_is_no_storage_of_ours_is_one_error_and_left_as_it_is(kind: str, folder: Path) -> None:
    path = folder / "state.db"
    FILES[kind](path)
    before = path.read_bytes() if path.is_file() else path.lstat().st_mode

    with pytest.raises(StorageError) as caught:
        await use(make("sqlite", folder))

    in_one_line(caught.value)
    assert "state.db" in str(caught.value)
    if "tables" not in kind:
        assert (path.read_bytes() if path.is_file() else path.lstat().st_mode) == before


def environment(path: Path, write: Callable[[Any], None]) -> None:
    with lmdb.open(str(path), max_dbs=4, map_size=1 << 20) as made:
        write(made)


def put(database: bytes | None, key: bytes, value: bytes) -> Callable[[Path], None]:
    def write(made: Any) -> None:
        opened = made.open_db(database)
        with made.begin(opened, write=True) as transaction:
            transaction.put(key, value)

    return lambda path: environment(path, write)


FOLDERS: dict[str, Callable[[Path], object]] = {
    "foreign keys": put(None, b"theirs", b"data"),
    "a foreign database": put(b"theirs", b"a", b"b"),
    "one database of our name": put(b"entries", b"a", b"b"),
}


@pytest.mark.parametrize("kind", FOLDERS)
async def test_a_folder_that_is_no_storage_of_ours_is_one_error_and_left_as_it_is(kind: str, folder: Path) -> None:
    path = folder / "state.lmdb"
    FOLDERS[kind](path)
    data = path / "data.mdb"
    before = data.read_bytes() if data.is_file() else b""

    with pytest.raises(StorageError) as caught:
        await use(make("lmdb", folder))

    assert "state.lmdb" in in_one_line(caught.value)
    assert (data.read_bytes() if data.is_file() else b"") == before


async def test_a_folder_of_a_later_schema_is_refused_and_one_without_a_mark_is_taken(folder: Path) -> None:
    async with make("lmdb", folder) as storage:
        await storage.write({"a": b"1"})
    path = folder / "state.lmdb"
    put(b"counters", b"llmspell", (2).to_bytes(8, "big"))(path)

    with pytest.raises(StorageError, match="its schema is 2, and this llmspell knows 1; upgrade llmspell"):
        await use(make("lmdb", folder))

    with lmdb.open(str(path), max_dbs=4) as made, made.begin(made.open_db(b"counters"), write=True) as writing:
        writing.delete(b"llmspell")
    async with make("lmdb", folder) as storage:
        assert await storage.get("a") == Entry(b"1", 1)


# Rows that another program wrote.


ROWS = {
    "a text": "UPDATE entries SET value = 'text'",
    "a number": "UPDATE entries SET value = 7",
    "a fraction": "UPDATE entries SET value = 7.5",
    "a version that is a text": "UPDATE entries SET version = 'new'",
    "a version that is a fraction": "UPDATE entries SET version = 1.5",
    "a key of bytes": "UPDATE entries SET key = x'00ff'",
    "a key that is no UTF-8": "UPDATE entries SET key = CAST(x'61ff' AS TEXT)",
}


@pytest.mark.parametrize("kind", ROWS)
async def test_a_row_that_another_program_wrote_is_one_error(kind: str, folder: Path) -> None:
    async with make("sqlite", folder) as storage:
        await storage.write({"a": b"1"})
    sqlite_of(ROWS[kind])(folder / "state.db")

    async with make("sqlite", folder) as storage:
        with pytest.raises(StorageError) as scanned:
            [key async for key, _ in storage.scan("")]
        if "key" not in kind:
            with pytest.raises(StorageError):
                await storage.get("a")
            await storage.write({"a": None})
            await storage.write({"a": b"2"})
            found = await storage.get("a")
            assert found is not None
            assert found.value == b"2"

    in_one_line(scanned.value)


@pytest.mark.parametrize(("key", "value"), [(b"a", b""), (b"a", b"short"), (b"\xff", b"12345678value")])
async def test_an_entry_that_another_program_wrote_is_one_error(key: bytes, value: bytes, folder: Path) -> None:
    async with make("lmdb", folder) as storage:
        await storage.write({"b": b"1"})
    put(b"entries", key, value)(folder / "state.lmdb")

    async with make("lmdb", folder) as storage:
        with pytest.raises(StorageError) as caught:
            [key async for key, _ in storage.scan("")]

    in_one_line(caught.value)


# Full disks, and files that are cut while they are open. In a process of its own: what LMDB does there may end it.


def child(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=PATIENCE_S)


FULL = """
import resource, sys, trio
from pathlib import Path
from test_storage_places import make
from llmspell_hookspecs.errors import StorageError

async def main():
    async with make(sys.argv[2], Path(sys.argv[1])) as storage:
        await storage.write({"a": b"1"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        try:
            await storage.write({"b": b"x" * 4_000_000})
        except StorageError as error:
            print(error)
        assert (await storage.get("a")).value == b"1"
        assert await storage.get("b") is None
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert await storage.write({"b": b"2"})

trio.run(main)
"""


@both
def test_a_disk_that_is_full_is_one_error_and_loses_nothing(backend: str, folder: Path) -> None:
    done = child(FULL, str(folder), backend)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("storage ")


CUT_OPEN = """
import os, sys, trio
from pathlib import Path
from test_storage_places import make
from llmspell_hookspecs.errors import StorageError

folder, how, after = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
data = folder / "state.lmdb" / "data.mdb"

async def main():
    async with make("lmdb", folder) as storage:
        for number in range(60):
            await storage.write({f"{number}": b"x" * 2000})
    async with make("lmdb", folder) as storage:
        if after == "a write":
            await storage.write({"a": b"1"})
        else:
            await storage.get("1")
        if how == "replaced":
            other = data.with_name("other")
            other.write_bytes(data.read_bytes())
            other.rename(data)
        elif how == "deleted":
            data.unlink()
        else:
            os.truncate(data, int(how))
        async def scan():
            async for _ in storage.scan(""):
                pass
        for use in (lambda: storage.get("30"), scan, lambda: storage.write({"b": b"1"})):
            try:
                await use()
            except StorageError as error:
                print(error)

trio.run(main)
"""


@pytest.mark.parametrize("after", ["a read", "a write"])
@pytest.mark.parametrize("how", ["0", "4096", "20000", "replaced", "deleted"])
def test_a_file_of_lmdb_that_is_cut_or_swapped_while_it_is_open_is_one_error(
    how: str, after: str, folder: Path
) -> None:
    done = child(CUT_OPEN, str(folder), how, after)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 3, done.stdout


async def test_a_file_that_grows_while_it_is_looked_at_was_not_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, look = folder / "state.lmdb" / "data.mdb", os.stat

    def look_slowly(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        """Look, and be overtaken by a thread that sees the file grown."""
        seen = look(path, *rest, **options)
        if str(path) == str(data):
            monkeypatch.setattr(os, "stat", look)
            os.truncate(data, seen.st_size + 4096)
            storage._opened.check_file()
        return seen

    async with make("lmdb", folder) as storage:
        await storage.write({"a": b"1"})
        monkeypatch.setattr(os, "stat", look_slowly)
        assert (await storage.get("a")).value == b"1"
