"""The storage backends: the conformance suite over each of them, and what is each one's own."""

from __future__ import annotations

import random
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from llmspell_hookspecs import InvalidInputError, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry
from llmspell_plugins.storage.lmdb import Lmdb, LmdbSettings
from llmspell_plugins.storage.memory import Memory
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings
from llmspell_plugins.storage.writer import GroupWriter, Write
from llmspell_testing import held_beyond_idle_s, loop_steps
from llmspell_testing.storage import StorageConformance
from waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent


class TestMemory(StorageConformance):
    durable = False

    def make(self, folder: Path) -> Storage:
        return Memory()


class TestSQLite(StorageConformance):
    shared = True

    def make(self, folder: Path) -> Storage:
        return SQLite(SQLiteSettings(path=folder / "state.db"))


class TestSQLiteWithoutCache(StorageConformance):
    shared = True

    def make(self, folder: Path) -> Storage:
        return SQLite(SQLiteSettings(path=folder / "state.db", cache_bytes=0, durability="normal"))


class TestSQLiteBatched(StorageConformance):
    shared = True

    def make(self, folder: Path) -> Storage:
        return SQLite(SQLiteSettings(path=folder / "state.db", durability="batched", batch_s=0.0005))


class TestLmdb(StorageConformance):
    def make(self, folder: Path) -> Storage:
        return Lmdb(LmdbSettings(path=folder / "state"))


def sqlite(folder: Path, **settings: Any) -> SQLite:
    return SQLite(SQLiteSettings(path=folder / "state.db", **settings))


@asynccontextmanager
async def writing(commit: Callable[[Any], None]) -> AsyncIterator[GroupWriter]:
    """A writer for the block."""
    writer = GroupWriter("test", commit, lambda group: None)
    yield writer
    await writer.close(lambda: None)


async def test_writes_that_wait_share_a_commit() -> None:
    sizes: list[int] = []
    disk = threading.Event()

    def commit(group: Any) -> None:
        sizes.append(len(group))
        disk.wait(PATIENCE_S)
        for write in group:
            write.written = True

    async with writing(commit) as writer, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(writer.write, {f"{number}": b""}, None)
        await trio.testing.wait_all_tasks_blocked()
        disk.set()

    assert sizes in ([1, 49], [50])


async def test_a_write_that_cannot_be_committed_fails_alone() -> None:
    committed: list[str] = []
    errors: list[str] = []

    def commit(group: Any) -> None:
        if any("bad" in write.batch for write in group):
            raise OSError("the disk says no")
        committed.extend(key for write in group for key in write.batch)

    async def put(writer: GroupWriter, key: str) -> None:
        try:
            await writer.write({key: b""}, None)
        except OSError as error:
            errors.append(str(error))

    async with writing(commit) as writer, trio.open_nursery() as nursery:
        for key in ("first", "a", "bad", "b"):
            nursery.start_soon(put, writer, key)

    assert sorted(committed) == ["a", "b", "first"]
    assert errors == ["the disk says no"]


async def test_a_cancelled_write_that_has_not_begun_is_taken_out() -> None:
    committed: list[str] = []
    disk = threading.Event()

    def commit(group: list[Write]) -> None:
        disk.wait(PATIENCE_S)
        committed.extend(key for write in group for key in write.batch)

    async with writing(commit) as writer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.write, {"first": b""}, None)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.01):
                await writer.write({"second": b""}, None)
            disk.set()
        await writer.write({"third": b""}, None)

    assert committed == ["first", "third"]


async def test_work_alone_goes_before_waiting_writes_and_hands_on_when_cancelled() -> None:
    order: list[str] = []
    disk = threading.Event()

    def commit(group: Any) -> None:
        disk.wait(PATIENCE_S)
        order.extend(key for write in group for key in write.batch)

    async with writing(commit) as writer, trio.open_nursery() as nursery:
        nursery.start_soon(writer.write, {"first": b""}, None)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(writer.write, {"second": b""}, None)
        nursery.start_soon(writer.alone, lambda: order.append("alone"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.001):
            await writer.alone(lambda: order.append("cancelled"))
        disk.set()

    assert order == ["first", "alone", "second"]


async def test_a_watcher_that_is_cancelled_leaves_the_watch_to_another() -> None:
    told: list[str] = []
    disk = threading.Event()

    def commit(group: Any) -> None:
        disk.wait(PATIENCE_S)

    writer = GroupWriter("test", commit, lambda group: None)

    async def write(key: str) -> None:
        await writer.write({key: b""}, None)
        told.append(key)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.005):
            nursery.start_soon(write, "second")
            nursery.start_soon(write, "third")
            await writer.write({"first": b""}, None)
        assert told == []
        disk.set()
    await writer.close(lambda: None)

    assert sorted(told) == ["second", "third"]


@pytest.mark.parametrize("comes", ["write", "close"])
async def test_a_commit_that_nobody_waits_for_is_ended_by_whoever_comes_next(comes: str) -> None:
    ended: list[str] = []
    disk = threading.Event()

    def commit(group: Any) -> None:
        disk.wait(PATIENCE_S)

    writer = GroupWriter("test", commit, lambda group: ended.extend(group[0].batch))

    with trio.move_on_after(0.005):
        await writer.write({"left": b""}, None)
    assert ended == []
    disk.set()
    if comes == "write":
        await writer.write({"next": b""}, None)
    await writer.close(lambda: ended.append("closed"))

    assert ended == ["left", *(["next"] if comes == "write" else []), "closed"]


@pytest.mark.parametrize("pause_s", [0.0, 0.001])
async def test_however_many_are_cancelled_every_write_that_returns_was_committed(pause_s: float) -> None:
    source = random.Random(7)
    committed: set[str] = set()
    returned: set[str] = set()
    worked: list[int] = []

    def commit(group: Any) -> None:
        time.sleep(source.uniform(0, 0.001))
        committed.update(key for write in group for key in write.batch)

    writer = GroupWriter("test", commit, lambda group: None, pause_s)

    async def write(number: int) -> None:
        await trio.sleep(source.uniform(0, 0.2))
        with trio.move_on_after(source.choice([0.0002, 0.001, PATIENCE_S])):
            if number % 20 == 0:
                await writer.alone(lambda: worked.append(number))
                return
            await writer.write({f"{number}": b""}, None)
            returned.add(f"{number}")

    async with trio.open_nursery() as nursery:
        for number in range(600):
            nursery.start_soon(write, number)
    await writer.close(lambda: worked.append(-1))

    assert returned <= committed
    assert 100 < len(returned) < 570
    assert worked[-1] == -1


async def test_a_pause_that_ends_while_a_write_comes_holds_it_up_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    writer = GroupWriter("test", lambda group: None, lambda group: written.extend(group[0].batch), 0.001)
    await writer.write({"first": b""}, None)
    next_round = writer._next

    def slowly() -> None:
        next_round()
        time.sleep(0.005)  # the pause ends here, between two looks at the clock

    monkeypatch.setattr(writer, "_next", slowly)
    await writer.write({"second": b""}, None)
    await writer.close(lambda: None)

    assert written == ["first", "second"]


@pytest.mark.timing
async def test_batched_commits_keep_their_distance(tmp_path: Path) -> None:
    async with sqlite(tmp_path, durability="batched", batch_s=0.05) as storage:
        started = trio.current_time()
        for number in range(4):
            await storage.write({f"{number}": b""})
        assert trio.current_time() - started >= 0.15


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1), ("batched", 2)])
async def test_the_durability_decides_whether_sqlite_waits_for_the_disk(
    tmp_path: Path, durability: str, level: int
) -> None:
    async with sqlite(tmp_path, durability=durability) as storage:
        assert storage._opened is not None
        writing = storage._opened.to_write()
        assert writing.execute("PRAGMA synchronous").fetchone() == (level,)
        assert writing.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_cached_read_sees_what_another_program_wrote(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as storage:
        await storage.write({"key": b"ours"})
        assert await storage.get("key") == Entry(b"ours", 1)
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("UPDATE entries SET value = x'00', version = 2 WHERE key = 'key'")
        other.close()
        await trio.sleep(0.002)

        assert await storage.get("key") == Entry(b"\x00", 2)
        assert await storage.write({"key": b"ours"}, expect={"key": 2})


async def test_the_cache_is_bounded(tmp_path: Path) -> None:
    async with sqlite(tmp_path, cache_bytes=100_000) as storage:
        await storage.write({f"{number}": b"x" * 10_000 for number in range(100)})
        for number in range(100):
            assert await storage.get(f"{number}") is not None
        assert storage._opened is not None
        assert storage._opened.points is not None
        cached = storage._opened.points._cache
        assert 1 <= len(cached) <= 9


async def write_and_read(storage: Storage, values: list[bytes]) -> None:
    for value in values:
        await storage.write({"large": value})
        entry = await storage.get("large")
        assert entry is not None
        assert len(entry.value) == len(value)


LARGE = [50_000_000 - number for number in range(3)]


async def test_large_values_are_written_and_read_beside_the_loop(tmp_path: Path) -> None:
    values = [b"x" * size for size in LARGE]  # made here: that would hold the loop itself

    async with sqlite(tmp_path) as storage:
        await write_and_read(storage, values)  # the machine finds memory and disk for it, which is no matter of ours
        with loop_steps() as steps:
            await write_and_read(storage, values)

    assert steps.longest_s < 0.02


@pytest.mark.timing
async def test_the_loop_goes_on_while_large_values_are_written_and_read(tmp_path: Path) -> None:
    values = [b"x" * size for size in LARGE]

    async with sqlite(tmp_path) as storage:
        await write_and_read(storage, values)
        held_s = await held_beyond_idle_s(lambda: write_and_read(storage, values))

    assert held_s < 0.1


async def test_a_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"

    async with sqlite(folder) as storage, Lmdb(LmdbSettings(path=folder / "lmdb")) as other:
        await storage.write({"secret": b"1"})
        await other.write({"secret": b"1"})
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {"state.db", "state.db-wal", "data.mdb"} <= {path.name for path in files}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_check_finds_nothing_in_a_good_file_and_something_in_a_damaged_one(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as storage:
        await storage.write({f"{number:05}": b"x" * 500 for number in range(500)})
        assert await storage.check() == []
    file = tmp_path / "state.db"
    content = bytearray(file.read_bytes())
    content[40_000:60_000] = b"\x5a" * 20_000
    file.write_bytes(content)

    async with sqlite(tmp_path) as storage:
        found = await storage.check()
        assert found
        assert all(isinstance(sentence, str) for sentence in found)
        with pytest.raises(StorageError, match=r"state\.db: .*malformed"):
            for number in range(500):
                await storage.get(f"{number:05}")
        with pytest.raises(StorageError, match=r"state\.db: .*malformed"):
            [key async for key, _ in storage.scan("")]


async def test_vacuum_gives_space_back_while_writes_wait(tmp_path: Path) -> None:
    async with sqlite(tmp_path) as storage:
        keys = [f"{number:05}" for number in range(500)]
        await storage.write(dict.fromkeys(keys, b"x" * 10_000))
        await storage.write(dict.fromkeys(keys))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage.vacuum)
            nursery.start_soon(storage.write, {"kept": b"1"})
        assert await storage.get("kept") is not None
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500_000


async def test_the_schema_is_open_to_sqlite_utils(tmp_path: Path) -> None:
    from sqlite_utils import Database

    async with sqlite(tmp_path) as storage:
        await storage.write({"a": b"1"})
    connection = sqlite3.connect(tmp_path / "state.db")
    rows = list(Database(connection).table("entries").rows)
    connection.close()

    assert rows == [{"key": "a", "version": 1, "value": b"1"}]


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
async def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "state.db"
    if content is None:
        other = sqlite3.connect(file)
        other.execute("CREATE TABLE theirs (x)")
        other.close()
    else:
        file.write_bytes(content)
    before = file.read_bytes()

    with pytest.raises(StorageError, match=r"state\.db: "):
        await sqlite(tmp_path).__aenter__()

    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("keep", "damage", "words"),
    [
        (100, b"", "its data.mdb is cut or no file of LMDB; put a copy in its place"),
        (8192, b"", "its data.mdb was cut, [0-9]+ bytes are missing; put a copy in its place"),
        (0, b"no file of LMDB" * 1000, "its data.mdb is cut or no file of LMDB; put a copy in its place"),
        (8192, b"\xff" * 1_000_000, r"its data.mdb is damaged \(.*\); put a copy in its place"),
    ],
)
async def test_a_file_of_lmdb_that_is_cut_or_damaged_says_what_to_do(
    keep: int, damage: bytes, words: str, tmp_path: Path
) -> None:
    folder = tmp_path / "state.lmdb"
    async with Lmdb(LmdbSettings(path=folder)) as storage:
        await storage.write({"key": b"x" * 100_000})
    data = folder / "data.mdb"
    data.write_bytes(data.read_bytes()[:keep] + damage)

    with pytest.raises(StorageError, match=f"^storage {folder}: {words}$"):
        await Lmdb(LmdbSettings(path=folder)).__aenter__()


async def test_a_schema_of_a_later_version_is_refused(tmp_path: Path) -> None:
    async with sqlite(tmp_path):
        pass
    other = sqlite3.connect(tmp_path / "state.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StorageError, match="its schema is 99"):
        await sqlite(tmp_path).__aenter__()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match=r"file/state\.db"):
        await sqlite(tmp_path / "file").__aenter__()
    with pytest.raises(StorageError, match="file/lmdb"):
        await Lmdb(LmdbSettings(path=tmp_path / "file" / "lmdb")).__aenter__()


async def test_a_write_against_a_lock_held_too_long_says_that_it_is_busy(tmp_path: Path) -> None:

    async def fail(storage: Storage, key: str) -> None:
        with pytest.raises(StorageError, match=r"held its lock for 0\.05 s") as caught:
            await storage.write({key: b"1"})
        assert caught.value.code == "busy"

    async with sqlite(tmp_path, busy_s=0.05) as storage:
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(fail, storage, f"{number}")
        assert await storage.get("0") is None
        other.execute("ROLLBACK")
        other.close()
        assert await storage.write({"key": b"1"})


async def test_a_full_lmdb_names_the_setting_and_keeps_what_it_had(tmp_path: Path) -> None:
    async with Lmdb(LmdbSettings(path=tmp_path, map_bytes=1 << 20)) as storage:
        await storage.write({"small": b"1"})
        with pytest.raises(StorageError, match="raise map_bytes"):
            await storage.write({"large": b"x" * (2 << 20)})
        assert await storage.get("small") == Entry(b"1", 1)
        assert await storage.write({"small": b"2"})


async def test_an_lmdb_folder_is_opened_once_in_a_process(tmp_path: Path) -> None:
    async with Lmdb(LmdbSettings(path=tmp_path)) as storage:
        await storage.write({"key": b"1"})
        with pytest.raises(StorageError, match="already open"):
            await Lmdb(LmdbSettings(path=tmp_path)).__aenter__()


async def test_a_missing_lmdb_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)

    with pytest.raises(StorageError, match=r"pip install 'llmspell\[lmdb\]'"):
        await Lmdb(LmdbSettings(path=tmp_path)).__aenter__()


@pytest.mark.parametrize("storage", [SQLite, Lmdb, Memory])
def test_a_backend_has_a_name_and_validates_its_settings(storage: Any, tmp_path: Path) -> None:
    assert storage.name in ("sqlite", "lmdb", "memory")
    with pytest.raises(ValueError, match="extra"):
        storage.Settings(path=tmp_path, wrong=1)


def test_importing_the_backends_imports_neither_lmdb_nor_sqlite_utils() -> None:
    import subprocess

    code = (
        "import sys, llmspell_plugins.storage.lmdb, llmspell_plugins.storage.sqlite, llmspell_plugins.storage.memory;"
        "print(sorted({'lmdb', 'sqlite_utils'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


async def test_a_key_is_refused_with_its_length() -> None:
    async with Memory() as storage:
        with pytest.raises(InvalidInputError, match="it has 512 bytes in UTF-8; give 1 to 511"):
            await storage.write({"k" * 512: b""})


@pytest.mark.long
def test_the_benchmark_times_us_beside_a_floor_in_every_row() -> None:
    import subprocess

    code = (
        "import trio; from benchmarks.storage import measure_storage;"
        "print(*sorted({(t.row, t.contender) for t in trio.run(measure_storage, 1).timings}), sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    for row in ("durable write", "100 durable writes at once", "cached read", "cold read", "scan of 1000 entries"):
        assert f"('{row}', 'llmspell')" in done.stdout
        assert f"('{row}', 'floor: sqlite3')" in done.stdout
