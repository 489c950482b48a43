"""Backups through the host: full and incremental, checked, restored whole, kept as long as they matter."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kernel import run
from llmspell import Host
from llmspell.cli.main import main
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.artifacts import ArtifactDraft, Artifacts
from llmspell_hookspecs.backup import Backup, Backups
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.backup.file import BackupReader, BackupWriter
from llmspell_plugins.services.backup.retention import decide
from llmspell_plugins.services.backup.settings import BackupSettings
from llmspell_plugins.services.vault.master import FILE, new_key, write_key
from llmspell_testing.isolation import TemporarySettings, isolate


@asynccontextmanager
async def project(folder: Path, backend: str = "sqlite", **backups: Any) -> AsyncIterator[Host]:
    """Open a host in a folder."""
    plugins = {"disabled": ["model_retry"], "backups": {"folder": str(folder / "backups"), **backups}}
    tables = {"storage": {"backend": backend}, "plugins": plugins}
    async with Host.open(load_settings(tables, environment={}, cwd=folder), discover=False) as host:
        yield host


async def kept(host: Host) -> dict[str, bytes]:
    """Return all that is kept, byte for byte."""
    storage = await host.get(Storages).open()
    return {key: entry.value async for key, entry in storage.scan("", limit=10**6) if not key.startswith("backup/")}


@pytest.mark.parametrize("backend", ["memory", "sqlite", "lmdb"])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
async def test_what_was_kept_is_back_byte_for_byte(tmp_path: Path, backend: str, codec: str) -> None:
    async with project(tmp_path, backend, codec=codec) as host:
        for number in range(50):
            await host.state.set(f"k{number}", {"n": number, "b": bytes(range(256))})
        before = await kept(host)
        made = await host.get(Backups).create(description="all of it")
        await host.state.set("k7", "changed")
        await host.state.delete("k8")
        await host.state.set("new", 1)

        done = await host.get(Backups).restore(made.id)

        assert await kept(host) == before
        assert (done.written, done.deleted, done.unchanged) == (2, 1, 48)
        assert (made.entries, made.held, made.codec, made.is_incremental) == (50, 50, codec, False)
        assert await host.state.get("k7") == {"n": 7, "b": bytes(range(256))}


async def test_an_incremental_one_holds_what_changed_and_leads_back_to_all(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        backups = host.get(Backups)
        for number in range(20):
            await host.state.set(f"k{number}", number)
        first = await backups.create()
        await host.state.set("k3", "three")
        await host.state.delete("k4")
        second = await backups.create(incremental=True)
        middle = await kept(host)
        await host.state.set("k4", "again")
        third = await backups.create(incremental=True)
        last = await kept(host)
        await host.state.set("k0", "lost")

        await backups.restore(second.id)
        at_second = await kept(host)
        await backups.restore(third.id)

        assert (second.parent, second.held, second.entries) == (first.id, 1, 19)
        assert (third.parent, third.held, third.entries) == (second.id, 1, 20)
        assert at_second == middle
        assert await kept(host) == last
        assert (await backups.validate(third.id)).chain == (first.id, second.id, third.id)


async def test_what_a_backup_was_made_before_is_the_way_back(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        backups = host.get(Backups)
        await host.state.set("a", 1)
        made = await backups.create()
        await host.state.set("a", 2)

        there = await backups.restore(made.id)
        await backups.restore(there.before)

        assert await host.state.get("a") == 2


async def test_a_dry_run_tells_what_would_change_and_changes_nothing(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        backups = host.get(Backups)
        await host.state.set("a", 1)
        made = await backups.create()
        await host.state.set("a", 2)
        await host.state.set("b", 2)

        told = await backups.restore(made.id, dry_run=True)

        assert (told.written, told.deleted, told.unchanged, told.dry_run) == (1, 1, 0, True)
        assert await host.state.get("a") == 2
        assert len(await backups.list()) == 1


async def test_a_storage_that_was_put_back_by_hand_gets_a_full_backup(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        await host.state.set("a", 1)
        await host.get(Backups).create()
    old = {path: path.read_bytes() for path in (tmp_path / ".llmspell").glob("state.db*")}
    async with project(tmp_path) as host:
        await host.state.set("a", 2)
        await host.get(Backups).create(incremental=True)
    for path in (tmp_path / ".llmspell").glob("state.db*"):
        path.unlink()
    for path, content in old.items():
        path.write_bytes(content)
    async with project(tmp_path) as host:
        await host.state.set("a", 3)

        made = await host.get(Backups).create(incremental=True)
        await host.state.set("a", 4)
        await host.get(Backups).restore(made.id)

        assert await host.state.get("a") == 3


async def test_a_backup_moves_to_another_backend(tmp_path: Path) -> None:
    async with project(tmp_path, "sqlite") as host:
        await host.state.set("a", {"b": [1, 2]})
        made = await host.get(Backups).create()
    async with project(tmp_path, "lmdb") as host:
        await host.state.set("else", 1)

        await host.get(Backups).restore(made.id)

        assert await host.state.get("a") == {"b": [1, 2]}
        assert await host.state.get("else") is None


async def test_what_is_written_while_a_backup_is_made_is_not_half_in_it(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        storage = await host.get(Storages).open()
        await storage.write({f"state:global\n{side}{number:04}": b"\x00" for side in "lr" for number in range(800)})
        made: list[Backup] = []

        async def write() -> None:
            for value in range(1, 100):
                for number in range(0, 800, 100):
                    both = {f"state:global\n{side}{number:04}": bytes([value]) for side in "lr"}
                    await storage.write(both)

        async def back_up() -> None:
            made.append(await host.get(Backups).create())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(back_up)
        await host.get(Backups).restore(made[0].id)

        rows = await kept(host)
        assert all(rows[f"state:global\nl{n:04}"] == rows[f"state:global\nr{n:04}"] for n in range(800))


KEYS = st.sampled_from([f"k{number}" for number in range(6)])
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 3)), max_size=5)


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(CHANGES, st.booleans()), min_size=1, max_size=5), st.data())
def test_each_backup_of_any_history_leads_back_to_what_was_kept_then(
    history: list[tuple[list[tuple[str, int | None]], bool]], data: Any
) -> None:
    async def use() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await go(Path(folder))

    async def go(folder: Path) -> None:
        async with project(folder, "memory") as host:
            backups, then = host.get(Backups), []
            for changes, incremental in history:
                for key, value in changes:
                    if value is None:
                        await host.state.delete(key)
                    else:
                        await host.state.set(key, value)
                then.append(((await backups.create(incremental=incremental)).id, await kept(host)))
            for id, expected in data.draw(st.permutations(then)):
                await backups.restore(id)
                assert await kept(host) == expected

    run(use)


# What is wrong.


async def two(folder: Path) -> tuple[Path, Path]:
    """Make a full backup and one that goes on from it; return their files."""
    async with project(folder) as host:
        for number in range(30):
            await host.state.set(f"k{number}", f"value {number}" * 20)
        first = await host.get(Backups).create()
        await host.state.set("k1", "x")
        second = await host.get(Backups).create(incremental=True)
    return tuple(folder / "backups" / f"{each.id}.lsb" for each in (first, second))  # type: ignore[return-value]


async def told_of(folder: Path, file: Path) -> str:
    """Return why a backup is not restored; the storage is as it was."""
    async with project(folder) as host:
        before = await kept(host)
        check = await host.get(Backups).validate(file.stem)
        with pytest.raises(StorageError) as caught:
            await host.get(Backups).restore(file.stem)
        assert await kept(host) == before
        assert not check.is_valid
        return str(caught.value)


async def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    _, second = await two(tmp_path)
    whole = second.read_bytes()
    places = range(0, len(whole), max(1, len(whole) // 40))
    async with project(tmp_path) as host:
        backups = host.get(Backups)
        for place in places:
            second.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            flipped = await backups.validate(second.stem)
            second.write_bytes(whole[:place])
            cut = await backups.validate(second.stem)

            assert (flipped.is_valid, cut.is_valid) == (False, False), place
            assert all(error.startswith(f"backup {second.stem}: ") for error in (*flipped.errors, *cut.errors))


async def test_a_parent_that_is_missing_or_swapped_is_named(tmp_path: Path) -> None:
    first, second = await two(tmp_path)
    content = first.read_bytes()
    first.unlink()
    missing = await told_of(tmp_path, second)
    async with project(tmp_path) as host:
        other = await host.get(Backups).create()
    swapped = (tmp_path / "backups" / f"{other.id}.lsb").read_bytes()
    first.write_bytes(swapped)
    wrong = await told_of(tmp_path, second)
    first.write_bytes(content)

    assert missing == f"backup {first.stem}: it is missing, and {second.stem} goes on from it; nothing was changed"
    assert wrong == f"backup {first.stem}: its file is another one than it was; nothing was changed"
    async with project(tmp_path) as host:
        assert (await host.get(Backups).validate(second.stem)).is_valid


@pytest.mark.parametrize("id", ["nothing", "../../etc/passwd", "20260101-000000-0000000g", ""])
async def test_an_id_that_is_none_is_refused(tmp_path: Path, id: str) -> None:
    async with project(tmp_path) as host:
        with pytest.raises(InvalidInputError, match="it is no backup's id"):
            await host.get(Backups).restore(id)


async def test_a_backup_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("in the way")
    async with project(tmp_path) as host:
        with pytest.raises(StorageError, match="it cannot be written: "):
            await host.get(Backups).create()
        await host.state.set("a", 1)

    assert (tmp_path / "backups").read_text() == "in the way"


# A restore that was broken off.


async def broken_off(folder: Path) -> Backup:
    """Leave a storage as a restore leaves it whose process died half-way."""
    async with project(folder) as host:
        for number in range(10):
            await host.state.set(f"k{number}", "old")
        made = await host.get(Backups).create()
        for number in range(10):
            await host.state.set(f"k{number}", "new")
        before = await host.get(Backups).create()
        storage = await host.get(Storages).open()
        marker = b"\x82\xa2id" + b"\xb8" + made.id.encode() + b"\xa6before\xb8" + before.id.encode()
        await storage.write({"state:global\nk0": b"\xa3old", "restore/marker": marker})
    return made


async def test_a_storage_that_is_half_restored_is_refused_until_it_is_whole(tmp_path: Path) -> None:
    await broken_off(tmp_path)
    async with project(tmp_path) as host:
        with pytest.raises(StorageError, match=r"half-way back to a backup.*--resume.*--abandon"):
            await host.state.get("k1")
        with pytest.raises(StorageError, match="half-way back"):
            await host.get(Backups).create()

        done = await host.get(Backups).resume()

        assert (done.written, done.unchanged) == (9, 1)
        assert [await host.state.get(f"k{number}") for number in range(10)] == ["old"] * 10
        with pytest.raises(InvalidInputError, match="none was broken off"):
            await host.get(Backups).resume()


async def test_a_restore_that_was_broken_off_can_be_undone(tmp_path: Path) -> None:
    await broken_off(tmp_path)
    async with project(tmp_path) as host:
        await host.get(Backups).abandon()

        assert [await host.state.get(f"k{number}") for number in range(10)] == ["new"] * 10


async def test_another_process_that_has_it_open_writes_nothing_meanwhile(tmp_path: Path) -> None:
    async with project(tmp_path) as other, project(tmp_path) as host:
        await other.state.set("a", 1)
        storage = await host.get(Storages).open()
        await storage.write({"restore/marker": b"\x81\xa2id\xa1x"})

        with pytest.raises(StorageError, match="half-way back to a backup"):
            await other.state.set("a", 2)
        await storage.storage.write({"restore/marker": None})  # type: ignore[attr-defined]
        await other.state.set("a", 3)

        assert await other.state.get("a") == 3


# Contents that lie in files.


LARGE = {name: random.Random(name).randbytes(3_000_000) for name in ("one", "two")}


async def test_the_contents_of_artifacts_are_in_a_backup_and_back_in_their_places(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        backups, artifacts = host.get(Backups), await host.enter(Artifacts)
        await artifacts.put(ArtifactDraft("one"), LARGE["one"])
        first = await backups.create()
        await artifacts.put(ArtifactDraft("two"), LARGE["two"])
        await artifacts.put(ArtifactDraft("again"), LARGE["one"])
        second = await backups.create(incremental=True)
        shutil.rmtree(tmp_path / ".llmspell" / "content")
        check = await backups.validate(second.id)
        lost = await backups.create()
        told = await backups.validate(lost.id)

        done = await backups.restore(second.id)
        report = await artifacts.verify()
        names = {info.name: await artifacts.read("host", info.id.sequence) for info in await artifacts.query()}
        await backups.restore(first.id)
        left = [info.name for info in await artifacts.query()]

    assert names == {"one": LARGE["one"], "two": LARGE["two"], "again": LARGE["one"]}
    assert (report.missing, report.corrupt, done.contents) == ((), (), 2)
    assert check.is_valid and second.is_incremental
    assert 3_000_000 < second.size_bytes < 4_000_000  # what is in the first one is not in it again
    assert told.warnings == ("the files of 2 contents were missing when it was made; see 'llmspell artifact verify'",)
    assert left == ["one"]


async def test_a_content_that_is_cut_out_of_a_backup_is_named(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        backups, artifacts = host.get(Backups), await host.enter(Artifacts)
        await artifacts.put(ArtifactDraft("one"), LARGE["one"])
        made = await backups.create()
    file = tmp_path / "backups" / f"{made.id}.lsb"
    with BackupReader(file) as reader:
        rows, versions = [row for frame in reader.entries() for row in frame], reader.versions()
        pieces = list(reader.contents())
        header = reader.header
    file.unlink()
    writer = BackupWriter(file, header)
    writer.add(rows)
    writer.add_contents(pieces[:-1])
    writer.finish(versions)

    error = await told_of(tmp_path, file)

    assert error == f"backup {made.id}: the content {pieces[0][0][:16]} is not whole in its files; nothing was changed"


async def test_nothing_of_an_artifact_lies_open_beside_an_encrypted_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key(tmp_path / "master.key", new_key())
    monkeypatch.setenv(FILE, str(tmp_path / "master.key"))
    text = b"in the clear " * 20_000
    async with project(tmp_path, "encrypted") as host:
        backups, artifacts = host.get(Backups), await host.enter(Artifacts)
        info = await artifacts.put(ArtifactDraft("one"), text)
        made = await backups.create()
        await artifacts.delete("host", info.id.sequence)
        await artifacts.sweep(0)
        await backups.restore(made.id)
        back = await artifacts.read("host", info.id.sequence)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert back == text
    assert b"in the clear" not in written
    assert not list((tmp_path / ".llmspell" / "content").rglob("*"))


# What is kept.


def made_at(day: float, *, parent: str = "", name: str = "") -> Backup:
    """Return a backup of a day in May."""
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC) + timedelta(days=day)
    return Backup(name or f"{moment:%Y%m%d-%H%M%S}-00000000", moment.timestamp(), 100, parent)


def test_the_newest_full_one_and_the_first_of_a_period_stay_and_so_do_parents() -> None:
    backups = [made_at(0, name="a"), made_at(1, name="b"), made_at(1.1, name="c"), made_at(1.2, name="d", parent="c")]
    settings = BackupSettings(max_backups=1, daily=0, weekly=0, monthly=1)

    decisions = {each.id: each for each in decide(backups, settings, made_at(2).created_s)}

    assert [decisions[id].keep for id in "abcd"] == [True, False, True, True]
    assert [decisions[id].importance for id in "abcd"] == ["important", "normal", "critical", "normal"]
    assert decisions["b"].reason == "there are 1 newer ones"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.integers(-1, 8)), max_size=12),
    st.integers(1, 4),
    st.floats(1, 50),
    st.integers(0, 3),
)
def test_whatever_is_kept_can_be_restored(days: list[tuple[float, int]], most: int, age: float, firsts: int) -> None:
    backups: list[Backup] = []
    for number, (day, parent) in enumerate(sorted(days)):
        before = backups[parent].id if 0 <= parent < number else ""
        backups.append(made_at(day, parent=before, name=f"b{number}"))
    settings = BackupSettings(max_backups=most, max_age_days=age, daily=firsts, weekly=firsts, monthly=firsts)

    decisions = decide(backups, settings, made_at(100).created_s)

    keep = {each.id for each in decisions if each.keep}
    assert all(backup.parent in keep for backup in backups if backup.id in keep and backup.parent)
    assert not backups or any(not backup.parent for backup in backups if backup.id in keep)
    assert len(decisions) == len(backups)


async def test_cleaning_deletes_what_need_not_be_kept(tmp_path: Path) -> None:
    async with project(tmp_path, max_backups=1, daily=0, weekly=0, monthly=0) as host:
        backups = host.get(Backups)
        made = [await backups.create() for _ in range(3)]

        told = await backups.cleanup(dry_run=True)
        still = len(await backups.list())
        done = await backups.cleanup()

        left = [each.id for each in await backups.list()]
        assert still == 3
        assert told.decisions == done.decisions
        assert len(left) == 1
        assert left[0] in {each.id for each in made}
        assert done.freed_bytes > 0


# Scripts and the command line.

SCRIPT = """
State.save("custom", "a", 1)
local made = State.create_backup()
State.save("custom", "a", 2)
local more = State.create_backup(true)
local checked = State.validate_backup(made.backup_id)
local back = State.restore_backup(made.id)
local value = State.load("custom", "a")
local usage = State.get_storage_usage()
local clean = State.cleanup_backups(true)
local wrong = State.restore_backup("nothing")
return {made = made, more = more, checked = checked, back = back, value = value, usage = usage, clean = clean,
        wrong = wrong, list = State.list_backups()}
"""


async def test_scripts_make_and_restore_backups_in_the_shapes_of_the_original(tmp_path: Path) -> None:
    async with project(tmp_path) as host:
        told: Mapping[str, Any] = await host.run_source(SCRIPT, "lua")

        assert (told["made"]["success"], told["made"]["is_incremental"], told["more"]["is_incremental"]) == (
            True,
            False,
            True,
        )
        assert told["checked"]["is_valid"] is True
        assert (told["back"]["success"], told["value"]) == (True, 1)
        assert (told["usage"]["total_backups"], told["usage"]["full_backups"]) == (3, 1)
        assert (told["clean"]["dry_run"], told["clean"]["deleted_count"], told["clean"]["retained_count"]) == (
            True,
            0,
            3,
        )
        assert told["wrong"]["success"] is False
        assert {"id", "created_at", "size", "is_incremental", "entry_count"} <= set(told["list"][0])


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    return isolate(tmp_path, monkeypatch)


def test_people_make_list_check_and_restore_backups(
    places: TemporarySettings, capfd: pytest.CaptureFixture[str]
) -> None:
    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return int(ended.value.code or 0), *capfd.readouterr()

    call("state", "set", "a", "1")
    code, out, err = call("backup", "create", "-d", "first", "--output", "json")
    id = json.loads(out)["id"]
    call("state", "set", "a", "2")

    assert (code, err) == (0, "")
    assert "first" in call("backup", "list")[1]
    assert f"backup {id} is whole: 1 entries" in call("backup", "validate", id)[1]
    assert call("backup", "restore", id, "--dry-run")[1].startswith(f"going back to {id} would leave: 1 written")
    assert "the storage is back at" in call("backup", "restore", id)[1]
    assert call("state", "get", "a")[1] == "1\n"
    assert call("backup", "info", id)[1].startswith(f"id: {id}")
    assert "0 of 2 backups gone" in call("backup", "cleanup")[1]
    code, out, err = call("backup", "restore", "nothing")
    assert (code, out) == (1, "")
    assert "it is no backup's id" in err
    assert call("backup", "restore")[0] == 2
