"""The audit log: what it records, what it finds, and what it keeps when things go wrong."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import make_tool
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import OperationCancelledError, ToolContext
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.hooks.security import AuditLog, verify
from llmspell_plugins.hooks.security.audit import AuditPlaces
from llmspell_plugins.storage.memory import Memory
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings

RULES = [{"name": "no-bad", "action": "deny", "tools": ["echo"], "arguments": {"/text": "bad"}}]


async def echo(parameters: dict[str, Any], context: ToolContext) -> Any:
    return parameters


def host_in(folder: Path, **settings: Any) -> Any:
    table = {"plugins": {"security": {"enabled": True, "rules": RULES, **settings}}}
    loaded = load_settings(table, environment={}, cwd=folder)
    return Host.open(loaded, plugins=[make_tool("echo", echo)], discover=False)


def places(folder: Path) -> AuditPlaces:
    return AuditPlaces(folder / "audit.key", folder / "audit.head")


async def logged(folder: Path, count: int) -> Memory:
    """Return a storage with so many entries."""
    storage = Memory()
    await storage.__aenter__()
    log = AuditLog(storage, places(folder))
    await log.load()
    for number in range(count):
        log.add({"number": number})
    await log.flush()
    return storage


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmspell", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


async def test_a_refusal_is_recorded_before_its_caller_is_told(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await host.call("tool:echo", {"text": "good"})
        with pytest.raises(OperationCancelledError):
            await host.call("tool:echo", {"text": "bad"})
        good, problem = await verify(await host.get(Storages).open(), places(tmp_path / ".llmspell"))

    shown = cli(tmp_path, "audit", "show", "--output", "json")
    rows = json.loads(shown.stdout)
    assert (good, problem) == (1, None)
    assert [(row["action"], row["rule"], row["component"]) for row in rows] == [("deny", "no-bad", "tool:echo")]
    assert "bad" not in {*rows[0]} and rows[0]["arguments"] == ["text"]


async def test_all_that_is_decided_is_recorded_where_settings_say_so(tmp_path: Path) -> None:
    async with host_in(tmp_path, audit="all") as host:
        for _ in range(5):
            await host.call("tool:echo", {"text": "good"})

    rows = json.loads(cli(tmp_path, "audit", "show", "--action", "allow", "--output", "json").stdout)
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
    assert "5 entries are in order" in cli(tmp_path, "audit", "verify").stdout


async def test_a_log_that_was_cut_is_found_from_the_command_line(tmp_path: Path) -> None:
    async with host_in(tmp_path, audit="all") as host:
        for _ in range(5):
            await host.call("tool:echo", {"text": "good"})
    async with host_in(tmp_path, enabled=False) as host:
        storage = await host.get(Storages).open()
        await storage.write({"audit/0000000000000005": None})

    done = cli(tmp_path, "audit", "verify")

    assert done.returncode == 1
    assert "entry 5: it is missing; the head tells of 5 entries" in done.stderr


async def test_a_change_of_any_byte_of_any_entry_is_found_and_the_entry_named(tmp_path: Path) -> None:
    storage = await logged(tmp_path, 3)
    assert await verify(storage, places(tmp_path)) == (3, None)
    tried = 0
    for number in (1, 2, 3):
        key = f"audit/{number:016d}"
        entry = await storage.get(key)
        assert entry is not None
        for place in range(len(entry.value)):
            changed = bytearray(entry.value)
            changed[place] ^= 1
            await storage.write({key: bytes(changed)})
            good, problem = await verify(storage, places(tmp_path))
            assert problem is not None and (good, problem.number) == (number - 1, number), (number, place)
            tried += 1
        await storage.write({key: entry.value})

    assert tried > 300
    assert await verify(storage, places(tmp_path)) == (3, None)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_entry_that_was_taken_out_is_named(tmp_path: Path, number: int) -> None:
    storage = await logged(tmp_path, 3)

    await storage.write({f"audit/{number:016d}": None})

    _, problem = await verify(storage, places(tmp_path))
    assert problem is not None and problem.number == number


async def test_two_entries_that_changed_places_are_found(tmp_path: Path) -> None:
    storage = await logged(tmp_path, 3)
    first, second = await storage.get("audit/0000000000000001"), await storage.get("audit/0000000000000002")
    assert first is not None and second is not None

    await storage.write({"audit/0000000000000001": second.value, "audit/0000000000000002": first.value})

    _, problem = await verify(storage, places(tmp_path))
    assert problem is not None and problem.number == 1


async def test_a_log_made_anew_with_another_key_is_not_the_one_of_the_head(tmp_path: Path) -> None:
    await logged(tmp_path, 3)
    head = (tmp_path / "audit.head").read_bytes()
    (tmp_path / "audit.key").unlink()
    (tmp_path / "audit.head").unlink()
    forged = await logged(tmp_path, 3)
    (tmp_path / "audit.head").write_bytes(head)

    _, problem = await verify(forged, places(tmp_path))

    assert problem is not None and problem.number == 3


async def test_two_writers_of_one_storage_make_one_chain(tmp_path: Path) -> None:
    storage = await logged(tmp_path, 1)
    logs = [AuditLog(storage, places(tmp_path)) for _ in range(2)]
    for log in logs:
        await log.load()
    async with trio.open_nursery() as nursery:
        for log in logs:
            for number in range(40):
                log.add({"number": number})
                nursery.start_soon(log.flush)

    assert await verify(storage, places(tmp_path)) == (81, None)


@pytest.mark.parametrize(("audit", "lives"), [("strict", False), ("all", True), ("refusals", True)])
async def test_a_log_that_cannot_be_opened_takes_no_rule_away_and_denies_all_when_strict(
    tmp_path: Path, audit: str, lives: bool
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".llmspell" / "audit.key").mkdir(parents=True)

    async with host_in(tmp_path, audit=audit) as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:echo", {"text": "bad"})
        if lives:
            assert (await host.call("tool:echo", {"text": "fine"})).success
        else:
            with pytest.raises(OperationCancelledError, match="the audit log cannot be opened"):
                await host.call("tool:echo", {"text": "fine"})
        problems = [str(problem) for problem in host.problems]

    assert any("the audit log cannot be opened: audit log: its key" in problem for problem in problems)


async def test_a_storage_that_is_gone_denies_when_strict_and_only_counts_otherwise(tmp_path: Path) -> None:
    for audit, lives in (("strict", False), ("all", True), ("refusals", True)):
        folder = tmp_path / audit
        folder.mkdir()
        async with host_in(folder, audit=audit) as host:
            storage: Any = await host.get(Storages).open()

            async def fail(*_: Any, **__: Any) -> None:
                raise StorageError("storage: No space left on device")

            storage.write = fail
            try:
                await host.call("tool:echo", {"text": "good"})
                lived = True
            except OperationCancelledError as error:
                assert "guard failed" in str(error)
                lived = False
            with pytest.raises(OperationCancelledError):
                await host.call("tool:echo", {"text": "bad"})
            assert lived is lives, audit


async def test_a_key_that_is_gone_keeps_the_plugin_out_and_a_required_one_stops_operations(tmp_path: Path) -> None:
    async with host_in(tmp_path, audit="all") as host:
        await host.call("tool:echo", {"text": "good"})
    (tmp_path / ".llmspell" / "audit.key").unlink()

    async with host_in(tmp_path, required=True) as host:
        with pytest.raises(Exception, match=r"its key .* is missing"):
            await host.call("tool:echo", {"text": "good"})


CHILD = """
import sys, trio
from pathlib import Path
from llmspell_plugins.hooks.security import AuditLog
from llmspell_plugins.hooks.security.audit import AuditPlaces
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings
async def main():
    folder = Path(sys.argv[1])
    async with SQLite(SQLiteSettings(path=str(folder / "log.db")), None) as storage:
        log = AuditLog(storage, AuditPlaces(folder / "audit.key", folder / "audit.head"))
        await log.load()
        while True:
            await log.flush(log.add({"what": "x" * 200}))
            sys.stdout.write("a")
            sys.stdout.flush()
trio.run(main)
"""


@pytest.mark.long
async def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged, dice = 0, random.Random(7)
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            wanted = dice.randrange(1, 60)
            got = child.stdout.read(wanted)
            child.send_signal(signal.SIGKILL)
            acknowledged += len(got) + len(child.stdout.read())
    async with SQLite(SQLiteSettings(path=str(tmp_path / "log.db")), None) as storage:  # type: ignore[arg-type]
        good, problem = await verify(storage, places(tmp_path))

    assert problem is None
    assert good >= acknowledged > 12


@pytest.mark.parametrize("head", ["/", "a\0b", "\ud800"])
async def test_a_head_whose_name_is_none_loses_records_aloud_and_ends_no_writer(tmp_path: Path, head: str) -> None:
    storage = Memory()
    await storage.__aenter__()
    log = AuditLog(storage, AuditPlaces(tmp_path / "audit.key", Path(head)))
    await log.load()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        for _ in range(2):
            ticket = log.add({"x": 1})
            with pytest.raises(StorageError, match=r"audit log: .*; see to the storage"):
                await log.flush(ticket)
        nursery.cancel_scope.cancel()

    assert log.lost == 2


async def test_a_record_that_was_lost_is_told_once_and_those_after_it_are_not_blamed(tmp_path: Path) -> None:
    storage = Memory()
    await storage.__aenter__()
    log = AuditLog(storage, places(tmp_path))
    await log.load()
    (head := tmp_path / "audit.head").mkdir()  # nothing can be written there
    lost = log.add({"x": 1})
    with pytest.raises(StorageError, match="see to the storage"):
        await log.flush()
    head.rmdir()

    log.add({"x": 2})
    await log.flush()
    with pytest.raises(StorageError, match="see to the storage"):  # who wrote that one has not heard of it yet
        await log.flush(lost)
    await log.flush()

    assert (log.lost, log.written, log.error) == (1, 1, "")
