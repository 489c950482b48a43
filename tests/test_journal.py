"""The journal: what is on record of operations, what is found of changes, what goes, and what it never holds."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import lz4.block  # type: ignore[import-untyped]
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from kernel import make_tool, opened
from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, LlmspellError, Modified, Retry, ToolCall, ToolContext, ToolError, ToolResult
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError
from llmspell_hookspecs.journal import Journal, JournalRecord
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.journal.chunk import START, Head, chunk_of, hash_of, read_chunk
from llmspell_plugins.services.journal.content import Content
from llmspell_plugins.services.journal.record import Written, WrittenBody, packed, unpacked
from llmspell_plugins.services.journal.retention import to_forget
from llmspell_plugins.settings.journal import JournalSettings
from llmspell_plugins.storage.memory import Memory
from scripted_model import ScriptedModel, asks, says
from waiting import PATIENCE_S, until

KIND = OperationKind("visit")


async def echo(parameters: Any, context: ToolContext) -> Any:
    if parameters.get("how") == "fails":
        raise ToolError("torn", code="torn")
    if parameters.get("how") == "waits":
        await trio.sleep_forever()
    return {"said": parameters.get("how", "")}


def recording(*plugins: Any, record: str = "all", **more: Any) -> Any:
    """Return a host that records."""
    journal = {"record": record, **more.pop("journal", {})}
    return opened(make_tool("echo", echo), *plugins, settings={"journal": journal, **more})


async def in_session(host: Host, session: str, *calls: Mapping[str, Any]) -> None:
    """Call the tool echo so within one operation of a session."""

    async def body(subject: Any) -> Any:
        for call in calls:
            with suppress(LlmspellError):
                await host.call("tool:echo", call)
        return len(calls)

    visit = Operation(KIND, ComponentRef("visit", "it"), None, body, baggage={"session": session})
    await host.get(Operations).execute(visit)


async def on_record(host: Host) -> list[JournalRecord]:
    """Return the records of the one journal there is."""
    journal = host.get(Journal)
    (run,) = await journal.runs()
    return list(await journal.records(run.id))


async def stored(host: Host) -> dict[str, bytes]:
    """Return all that the storage has of journals."""
    storage = await host.get(Storages).open()
    return {key: entry.value async for key, entry in storage.scan("journal/")}


# What is on record.


async def test_each_operation_is_on_record_once_as_it_ended() -> None:
    async with recording() as host:
        host.hooks.register(
            "before_tool_execution",
            lambda context: Cancel("not that") if context.subject.parameters.get("how") == "denied" else None,
            kind="guard",
            name="deny",
        )
        await in_session(host, "s", {"how": "fine"}, {"how": "fails"}, {"how": "denied"})
        visit, fine, fails, denied = await on_record(host)

    assert [each.status for each in (visit, fine, fails, denied)] == ["completed", "completed", "failed", "cancelled"]
    assert (visit.kind, fine.component) == ("visit", "echo")
    assert fine.request["parameters"] == {"how": "fine"}
    assert fine.result["result"] == {"said": "fine"}
    assert (fails.code, fails.result["message"], fails.ran) == ("torn", "torn", True)
    assert (denied.code, denied.ran) == ("denied", False)
    assert [(answer.point, answer.hook, answer.value["reason"]) for answer in denied.answers] == [
        ("before_tool_execution", "code.deny", "not that")
    ]
    assert fine.path.startswith(f"{visit.path}/tool:echo#")


async def test_what_a_caller_cancels_is_on_record_as_cancelled() -> None:
    async with recording() as host:
        with trio.move_on_after(0):
            await host.call("tool:echo", {"how": "waits"})
        await trio.testing.wait_all_tasks_blocked()
        (record,) = await on_record(host)

    assert (record.status, record.code) == ("cancelled", "cancelled")


async def test_each_attempt_and_what_hooks_made_of_the_result_is_on_record() -> None:
    async with recording() as host:
        again = Retry(max_attempts=2, value=ToolCall("echo", {"how": "fine"}))
        host.hooks.register("tool_error", lambda context: again, name="again")
        host.hooks.register("after_tool_execution", lambda context: Modified(ToolResult("else")), name="other")
        await host.call("tool:echo", {"how": "fails"})
        (record,) = await on_record(host)

    assert (record.status, record.attempt, record.result["result"]) == ("completed", 2, "else")
    assert record.request["parameters"] == {"how": "fine"}
    assert [(each.hook, each.result) for each in record.answers] == [
        ("code.again", "Retry"),
        ("code.other", "Modified"),
    ]


@pytest.mark.parametrize("seed", range(5))
async def test_a_path_is_the_same_however_operations_are_interleaved(seed: int) -> None:
    dice = random.Random(seed)

    async def nap(parameters: Any, context: ToolContext) -> Any:
        for _ in range(dice.randrange(4)):
            await trio.lowlevel.checkpoint()
        return parameters["number"]

    async with recording(make_tool("nap", nap)) as host:

        async def body(subject: Any) -> Any:
            async with trio.open_nursery() as nursery:
                for number in dice.sample(range(6), 6):
                    nursery.start_soon(host.call, "tool:nap", {"number": number // 2})

        await host.get(Operations).execute(Operation(KIND, ComponentRef("visit", "it"), None, body))
        records = await on_record(host)

    assert {each.path for each in records} == PATHS or not PATHS
    PATHS.update(each.path for each in records)
    assert sorted(path.rpartition(".")[2] for path in PATHS) == ["1", "1", "1", "1", "2", "2", "2"]


PATHS: set[str] = set()


async def test_nothing_is_asked_or_written_while_it_is_off() -> None:
    async with recording(record="off") as host:
        await in_session(host, "s", {"how": "fine"})
        journal = await host.enter(Journal)

        assert host._runner.taps == () == host._runner.stand_ins
        assert (await journal.stats()).recording == "off"
        assert await journal.runs() == []
        assert await stored(host) == {}


async def test_a_journal_belongs_to_the_session_or_else_to_the_run() -> None:
    async with recording() as host:
        await in_session(host, "s/1", {"how": "fine"})
        await in_session(host, "s/1", {"how": "other"})
        await host.call("tool:echo", {"how": "alone"})
        runs = await host.get(Journal).runs()

    told = {(run.session, run.records, run.component) for run in runs}
    assert told == {(True, 4, "visit:it"), (False, 1, "tool:echo")}
    assert "s/1" in {run.id for run in runs}


async def test_only_sessions_are_recorded_if_settings_say_so() -> None:
    async with recording(record="sessions") as host:
        await host.call("tool:echo", {"how": "alone"})
        await in_session(host, "s", {"how": "fine"})
        runs = await host.get(Journal).runs()

    assert [(run.id, run.records) for run in runs] == [("s", 2)]


async def test_each_message_of_a_conversation_is_stored_once() -> None:
    lines = [asks(("echo", {"how": f"{number} {'x' * 2000}"})) for number in range(10)]
    async with recording(ScriptedModel(*lines, says("done"))) as host:
        agent = await host.agents.create(name="w", model="scripted/play", tools=["echo"], max_steps=20)
        await agent.run("go on")
        journal = host.get(Journal)
        await journal.flush()
        (run,) = [each for each in await journal.runs() if each.component == "agent:w"]
        calls = [each for each in await journal.records(run.id) if each.kind == "model"]
        entries = await stored(host)

    messages = sum(b"role" in data for key, data in entries.items() if key.startswith("journal/blobs/"))
    assert [len(each.request["messages"]) for each in calls] == [*range(1, 22, 2)]
    assert messages == 21
    assert calls[-1].request["messages"][:-2] == calls[-2].request["messages"]


async def test_a_session_that_goes_on_in_another_host_goes_on_in_its_journal(tmp_path: Path) -> None:
    for _ in range(2):
        loaded = load_settings({"journal": {"record": "all"}}, environment={}, cwd=tmp_path)
        async with Host.open(loaded, plugins=[make_tool("echo", echo)], discover=False) as host:
            await in_session(host, "s", {"how": "fine"})
    async with Host.open(loaded, plugins=[make_tool("echo", echo)], discover=False) as host:
        (report,) = await host.get(Journal).verify("s")
        records = await host.get(Journal).records("s")

    assert (report.records, report.problem) == (4, "")
    assert [each.path.rpartition(".")[2] for each in records if each.kind == "visit"] == ["1", "2"]


# What is found of changes.


async def long_run(host: Host) -> str:
    """Record a run of more than one chunk; returns its id."""
    await in_session(host, "s", *({"how": f"{number}", "pad": "x" * (number % 3 * 700)} for number in range(600)))
    await host.get(Journal).flush()
    return "s"


async def test_one_changed_byte_of_a_recorded_result_is_named() -> None:
    async with recording() as host:
        id = await long_run(host)
        storage = await host.get(Storages).open()
        key = "journal/chunks/s/0000000002"
        first, chunk = [(await storage.get(each)).value for each in ("journal/chunks/s/0000000001", key)]
        start = 36 + 8 * int.from_bytes(chunk[32:36])
        texts = msgspec.msgpack.decode(lz4.block.decompress(chunk[start:]), type=list[bytes])
        changed = unpacked(texts[17])
        texts[17] = texts[17].replace(b"said", b"sajd")
        block = lz4.block.compress(msgspec.msgpack.encode(texts))
        await storage.write({key: chunk[:start] + block})
        (report,) = await host.get(Journal).verify(id)

    assert changed.bodies[0].state == "yielded"
    assert report.problem == f"chunk 2: tool:echo, operation {changed.id}, was changed"
    assert report.records == int.from_bytes(first[32:36]) + 17


async def test_a_changed_or_missing_content_is_named_with_its_operation() -> None:
    async with recording() as host:
        await in_session(host, "s", {"how": "fine"}, {"how": "x" * 5000})
        journal, storage = host.get(Journal), await host.get(Storages).open()
        await journal.flush()
        key, data = next(
            (key, data) for key, data in (await stored(host)).items() if b"said" in data and "blobs" in key
        )
        await storage.write({key: data[:-1] + b"y"})
        (changed,) = await journal.verify("s")
        await storage.write({key: None})
        (missing,) = await journal.verify("s")
        with pytest.raises(StorageError, match="is missing; run 'llmspell journal verify'"):
            await journal.records("s")

    assert "content of tool:echo" in changed.problem and changed.problem.endswith("was changed")
    assert changed.path.startswith("/visit:it#") and "/tool:echo#" in changed.path
    assert missing.problem.endswith("is missing")


@pytest.mark.parametrize("how", ["missing", "swapped", "cut", "head", "head gone wrong", "later"])
async def test_a_chain_that_is_not_whole_is_named(how: str) -> None:
    async with recording() as host:
        id = await long_run(host)
        storage = await host.get(Storages).open()
        one, two, head = (f"journal/{place}" for place in ("chunks/s/0000000001", "chunks/s/0000000002", "heads/s"))
        first, second, top = [(await storage.get(key)).value for key in (one, two, head)]
        found = msgspec.msgpack.decode(top, type=Head)
        changes: dict[str, dict[str, bytes | None]] = {
            "missing": {two: None},
            "swapped": {one: second, two: first},
            "cut": {two: second[:40]},
            "head": {head: msgspec.msgpack.encode(structs.replace(found, records=7))},
            "head gone wrong": {head: top[:-9]},
            "later": {head: msgspec.msgpack.encode(structs.replace(found, format=2))},
        }
        await storage.write(changes[how])
        (report,) = await host.get(Journal).verify(id)

    assert (
        report.problem
        == {
            "missing": "chunk 2 is missing",
            "swapped": "chunk 1: it does not follow the one before it",
            "cut": "chunk 2: it is cut",
            "head": "its head tells of 7 records, there are 601",
            "head gone wrong": "its head cannot be read; restore it, or 'llmspell journal forget'",
            "later": "it has format 2, this llmspell reads 1; use a newer one",
        }[how]
    )


def some_chunk() -> bytes:
    """Return a chunk of three records."""
    body = WrittenBody(1, "d", 5, "yielded", Content("value", b"\xa3abc"))
    one = Written("a-1", "", 1, 1.0, "tool", "x", "lua", "completed", "", 1, 0, 5, "d", body.content, (body,), None)
    return chunk_of([packed(structs.replace(one, id=f"a-{number}")) for number in (1, 2, 3)], START)


CHUNK = some_chunk()


@given(st.integers(0, len(CHUNK) - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_chunk_goes_unnoticed(place: int, by: int) -> None:
    changed = bytearray(CHUNK)
    changed[place] ^= by

    records, problem = read_chunk(bytes(changed), START)

    assert problem or (len(records) == 3 and hash_of(bytes(changed)) != hash_of(CHUNK))


def test_a_chunk_comes_back_as_it_was() -> None:
    records, problem = read_chunk(CHUNK, START)

    assert ([each.id for each in records], problem) == (["a-1", "a-2", "a-3"], "")


# What ends it.


@pytest.mark.long
async def test_a_kill_at_any_moment_loses_only_what_was_not_flushed(tmp_path: Path) -> None:
    oracle, dice = tmp_path / "oracle", random.Random(12)
    folder = tmp_path / "project"
    folder.mkdir()
    for each in range(6):
        command = [
            sys.executable,
            str(Path(__file__).with_name("journal_child.py")),
            str(folder),
            str(oracle),
            str(each),
        ]
        before = oracle.read_bytes().count(b"\n") if oracle.exists() else 0
        wanted = dice.randrange(1, 25)
        with subprocess.Popen(command) as process:
            until(lambda: oracle.exists() and oracle.read_bytes().count(b"\n") >= before + wanted, "acknowledged")  # noqa: B023 - asked at once
            process.send_signal(signal.SIGKILL)
    acknowledged = {run: int(number) for run, number in map(str.split, oracle.read_text().splitlines())}

    async with Host.open(load_settings({}, environment={}, cwd=folder), discover=False) as host:
        journal = await host.enter(Journal)
        (report,) = await journal.verify("one")
        found: dict[str, list[int]] = {}
        for record in await journal.records("one"):
            found.setdefault(str(record.request[0]), []).append(record.request[1])

    assert report.problem == ""
    assert all(found[run][:number] == [*range(1, number + 1)] for run, number in acknowledged.items())
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in found.values())


class Slow(Memory):
    """A storage that writes when it is let, or fails."""

    name: ClassVar[str] = "slow"
    go: ClassVar[trio.Event]
    failing: ClassVar[bool] = False

    async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
        await Slow.go.wait()
        if Slow.failing:
            raise OSError(28, "no space left")
        return await super().write(batch, expect=expect)


async def test_operations_wait_when_too_many_wait_to_be_recorded_and_none_is_lost() -> None:
    Slow.go, Slow.failing = trio.Event(), False
    ended = 0
    async with recording(Slow, journal={"storage": "slow", "pending": 256}) as host:

        async def many() -> None:
            nonlocal ended
            for number in range(400):
                await host.call("tool:echo", {"how": str(number)})
                ended += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(many)
            await trio.testing.wait_all_tasks_blocked(0.2)
            held_at = ended
            Slow.go.set()
        stats = await host.get(Journal).stats()
        runs = await host.get(Journal).runs()

    assert held_at == 256
    assert stats.held_up > 0
    assert (len(runs), stats.lost) == (400, 0)


async def test_what_the_storage_does_not_take_is_lost_counted_and_told_once() -> None:
    Slow.go, Slow.failing = trio.Event(), True
    Slow.go.set()
    async with recording(Slow, journal={"storage": "slow"}) as host:
        await in_session(host, "s", {"how": "one"})
        journal = host.get(Journal)
        with pytest.raises(StorageError, match=r"journal: 2 operations were not recorded: .*; see to the storage"):
            await journal.flush()
        result = await host.call("tool:echo", {"how": "meanwhile"})
        await journal.runs()
        Slow.failing = False
        await in_session(host, "s", {"how": "two"})
        await journal.runs()
        (run,) = [each for each in await journal.runs() if each.session]
        told = [str(problem) for problem in host.problems if "journal" in str(problem)]
        (report,) = await journal.verify("s")

    assert result.result == {"said": "meanwhile"}
    assert (run.records, run.lost) == (2, 2)
    assert len(told) == 1
    assert report.problem == ""


# What it never holds.


SECRET = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize("content", ["full", "redacted", "shape"])
async def test_a_secret_is_never_written(content: str) -> None:
    async with recording(journal={"content": content}) as host:
        await in_session(host, "s", {"how": "fine", "api_key": "hunter22-under-its-name"})
        if content != "full":
            await host.call("tool:echo", {"how": f"within a text {SECRET} " + "x" * 3000})
        await host.get(Journal).flush()
        records = [
            record for run in await host.get(Journal).runs() for record in await host.get(Journal).records(run.id)
        ]
        whole = b"".join(unpressed(key, data) for key, data in (await stored(host)).items())

    assert b"hunter22" not in whole
    assert SECRET.encode() not in whole
    assert len(records) == (2 if content == "full" else 3)
    if content == "shape":
        assert b"within a text" not in whole


def unpressed(key: str, data: bytes) -> bytes:
    """Return what an entry says."""
    return b"".join(map(msgspec.msgpack.encode, read_chunk(data, data[:32])[0])) if "/chunks/" in key else data


# What goes.


def head(ended_s: float, **more: Any) -> Head:
    return Head(ended_s=ended_s, size_bytes=1000, **more)


def test_what_is_too_old_or_too_much_goes_and_what_failed_stays_longer() -> None:
    settings = JournalSettings(max_age_s=100.0, max_runs=3)
    found = [
        ("new", head(950)),
        ("mid", head(930)),
        ("failed", head(700, failed=1)),
        ("old", head(890)),
        ("d", head(940)),
    ]

    assert to_forget(found, settings, 1000.0) == ["failed", "old"]
    assert to_forget(found, JournalSettings(max_age_s=1e6), 1000.0) == []
    assert to_forget(found, JournalSettings(max_age_s=60.0), 1000.0) == ["mid", "failed", "old"]
    assert to_forget(
        [("a", Head(ended_s=1, size_bytes=70_000)), ("b", head(2))], JournalSettings(max_bytes=65_536), 3.0
    ) == ["a"]


async def test_a_host_lets_old_journals_go_whole(autojump_clock: trio.abc.Clock) -> None:
    async with recording(journal={"max_runs": 2}) as host:
        for number in range(5):
            await in_session(host, f"s{number}", {"how": "x" * 5000})
        await host.get(Journal).flush()
        await trio.sleep(61)
        runs = await host.get(Journal).runs()
        entries = await stored(host)

    assert [run.id for run in runs] == ["s4", "s3"]
    assert not any(f"/s{number}" in key for key in entries for number in range(3))


async def test_a_journal_that_is_forgotten_is_gone_with_all_it_held() -> None:
    async with recording() as host:
        await in_session(host, "s", {"how": "x" * 5000})
        await in_session(host, "other", {"how": "x" * 5000})
        journal = host.get(Journal)
        records = await journal.forget("s")
        keys = [key for key in await stored(host) if "/s" in key]
        with pytest.raises(ComponentNotFoundError, match="journal s: there is none; see 'llmspell journal list'"):
            await journal.forget("s")
        (other,) = await journal.verify("other")

    assert (records, keys) == (2, [])
    assert (other.records, other.problem) == (2, "")


# The command line.


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmspell", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)


SCRIPT = """
local agent = Agent.builder():name("w"):model("offline/rules"):build()
print(agent:invoke({text="help me"}).text)
Tool.invoke("calculator", {operation="evaluate", input="2 + 2"})
"""


@pytest.mark.long
def test_the_command_line_shows_verifies_and_forgets(tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_text(SCRIPT)
    (tmp_path / "llmspell.toml").write_text("")

    cli(tmp_path, "run", "a.lua", "--set", "journal.record=all")
    (run,) = json.loads(cli(tmp_path, "journal", "list", "--output", "json").stdout)
    shown = cli(tmp_path, "journal", "show", run["id"]).stdout
    records = json.loads(cli(tmp_path, "journal", "show", run["id"], "--output", "json").stdout)
    verified = cli(tmp_path, "journal", "verify", run["id"]).stdout
    (call,) = json.loads(cli(tmp_path, "log", "list", "--output", "json").stdout)
    conversation = cli(tmp_path, "log", "show", run["id"], str(call["call"])).stdout
    wrong = cli(tmp_path, "log", "show", run["id"], "99")
    forgotten = cli(tmp_path, "journal", "forget", run["id"])
    gone = cli(tmp_path, "journal", "show", run["id"])

    assert (run["component"], run["records"]) == ("script:a.lua", 6)
    assert shown.startswith("script:a.lua#") and "\n  tool:calculator#" in shown
    assert [each["kind"] for each in records][:2] == ["script", "agent_init"]
    assert verified == "6 records of 1 journal are in order\n"
    assert (call["model"], call["asked"]) == ("offline/rules", "help me")
    assert "user: help me\nassistant: " in conversation and " tokens in, " in conversation
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert forgotten.stdout == f"6 records of {run['id']} are deleted\n"
    assert gone.stderr == f"llmspell: journal {run['id']}: there is none; see 'llmspell journal list'\n"
