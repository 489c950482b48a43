"""The event log: what is on record, what is found of changes and cuts, what goes, and what comes again."""

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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from kernel import make_plugin
from llmspell import Host
from llmspell.plugins.tables import TableModels
from llmspell.settings import load_settings
from llmspell_hookspecs import Cancel, Event, HookContext, InvalidInputError, Storage
from llmspell_hookspecs.errors import SettingsError, StorageError
from llmspell_hookspecs.event_log import EventLog, EventSelection, Replayed
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.event_log.service import places_of
from llmspell_plugins.services.event_log.settings import EventLogSettings
from llmspell_plugins.services.hash_chain import ChainLog, ChainPlaces, verify
from llmspell_plugins.storage.memory import Memory
from waiting import PATIENCE_S, until


def host_in(folder: Path, *plugins: Any, **table: Any) -> Any:
    """Return a host that records, and whose tests tell it what."""
    chosen = {"enabled": True, "patterns": ["user.**", "event.log.*"], **table}
    loaded = load_settings({"plugins": {"event_log": chosen}}, environment={}, cwd=folder)
    return Host.open(loaded, plugins=plugins, discover=False)


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "llmspell", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


ALL = EventSelection()


async def record(host: Host, count: int, topic: str = "user.created") -> EventLog:
    """Publish so many events, and return the log when they are on record."""
    for number in range(count):
        await host.events.publish(topic, {"number": number})
    log = host.get(EventLog)
    await log.flush()
    return log


async def numbers(log: EventLog, selection: EventSelection = ALL) -> list[tuple[int, int]]:
    """Return the numbers in the log, and those in the events."""
    return [(each.number, each.event.data["number"]) for each in await log.read(selection)]


# What is on record.


def test_it_is_not_even_imported_unless_it_is_enabled(tmp_path: Path) -> None:
    source = """
import sys, trio
from llmspell import Host
async def main():
    async with Host.open(False) as host:
        await host.events.publish("user.created")
        print([name for name in sys.modules if "event_log" in name or "hash_chain" in name])
trio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert (done.stdout, done.stderr) == ("[]\n", "")


async def test_nothing_is_subscribed_or_recorded_unless_it_is_enabled(tmp_path: Path) -> None:
    async with host_in(tmp_path, enabled=False) as host:
        owners = {each.owner for each in host.events.subscriptions()}
        assert not host.events.listens("user.created")

    loaded = load_settings({}, environment={}, cwd=tmp_path)
    async with Host.open(loaded, discover=False) as host:
        log = await host.enter(EventLog)
        with pytest.raises(StorageError, match=r"nothing is recorded here; set plugins.event_log.enabled = true"):
            await log.flush()
        assert await log.read() == []
        assert not (await log.stats()).recording
        assert not host.events.listens("user.created")
    assert "event_log" not in owners
    assert not (tmp_path / ".llmspell" / "events.key").exists()


async def test_events_are_on_record_in_the_order_of_publishing_whatever_their_priority_or_age(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        host.events.publish_nowait("other", 1)
        for number, priority in ((0, 3), (1, 0), (2, -5), (3, 0)):
            host.events.publish_nowait(
                "user.created",
                {"number": number},
                priority=priority,
                ttl_s=0.0,
                tags=("a", "b"),
                source="me",
                target="you",
                correlation_id="c",
            )
        log = host.get(EventLog)
        await log.flush()
        found = await log.read()
        stats = await log.stats()

    assert [(each.number, each.event.data["number"], each.event.priority) for each in found] == [
        (1, 0, 3),
        (2, 1, 0),
        (3, 2, -5),
        (4, 3, 0),
    ]
    first = found[0].event
    assert (first.source, first.target, first.tags, first.correlation_id) == ("me", "you", ("a", "b"), "c")
    assert (stats.recorded, stats.lost, stats.last) == (4, 0, 4)


async def test_what_waits_when_the_host_closes_is_recorded_first_and_the_next_host_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        async with host_in(tmp_path) as host:
            for number in range(700):
                host.events.publish_nowait("user.created", {"number": number})
    async with host_in(tmp_path) as host:
        found = await numbers(host.get(EventLog))

    assert found == [(number + 1, number % 700) for number in range(1400)]


async def test_two_hosts_of_one_folder_make_one_log(tmp_path: Path) -> None:
    async with host_in(tmp_path) as one, host_in(tmp_path) as other, trio.open_nursery() as nursery:
        for host in (one, other):
            nursery.start_soon(record, host, 300)
    async with host_in(tmp_path) as host:
        report = await host.get(EventLog).verify()
        found = await numbers(host.get(EventLog))

    assert (report.first, report.entries, report.problem) == (1, 600, "")
    assert [number for number, _ in found] == [*range(1, 601)]
    assert sorted(each for _, each in found) == sorted([*range(300), *range(300)])


async def test_an_event_that_is_too_large_is_on_record_without_its_data_and_secrets_are_masked(tmp_path: Path) -> None:
    async with host_in(tmp_path, event_bytes=2000) as host:
        host.events.publish_nowait("user.large", "x" * 3000)
        host.events.publish_nowait("user.tags", source="s" * 3000)
        host.events.publish_nowait("user.secret", {"password": "hunter2hunter2", "at": "http://me:pw123@host/"})
        host.events.publish_nowait("user.odd", "\ud800")
        log = host.get(EventLog)
        await log.flush()
        large, tags, secret, odd = [each.event for each in await log.read()]
        stats = await log.stats()

    assert large.data.startswith("<left out: ") and tags.data == "<left out>"
    assert "hunter2" not in str(secret.data) and "pw123" not in str(secret.data)
    assert odd.type == "user.odd"
    assert (stats.without_data, stats.lost) == (2, 0)


async def test_events_are_selected_by_number_pattern_source_cause_and_time(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        for number in range(6):
            topic = ("user.a", "user.b.c")[number % 2]
            host.events.publish_nowait(
                topic, {"number": number}, source=f"script:{number}", correlation_id=str(number // 2)
            )
        log = host.get(EventLog)
        await log.flush()
        middle = (await log.read())[2].recorded_s
        chosen_by: dict[str, dict[str, Any]] = {
            "after": {"after": 4},
            "until": {"after": 1, "until": 3},
            "pattern": {"patterns": ("*.b.*",)},
            "source": {"source": "script:[12]"},
            "cause": {"correlation_id": "1"},
            "limit": {"limit": 2},
            "since": {"since_s": middle + 1e6},
            "up to": {"until_s": middle},
        }
        found = {
            name: [each for _, each in await numbers(log, EventSelection(**chosen))]
            for name, chosen in chosen_by.items()
        }
        with pytest.raises(InvalidInputError):
            await log.read(EventSelection(patterns=("[",)))

    assert found == {
        "after": [4, 5],
        "until": [1, 2],
        "pattern": [1, 3, 5],
        "source": [1, 2],
        "cause": [2, 3],
        "limit": [0, 1],
        "since": [],
        "up to": [*range(6)],
    }


@pytest.mark.parametrize(
    "line",
    ["max_events = 5", "max_age_s = 9.0", 'patterns = ["a"]', 'scripts = "all"', 'head = "/tmp/x"', "pending = 1"],
)
def test_a_file_of_a_project_changes_nothing_about_what_is_recorded(tmp_path: Path, line: str) -> None:
    (tmp_path / "llmspell.toml").write_text(f"[plugins.event_log]\nenabled = true\n{line}\n")

    with pytest.raises(SettingsError, match=rf"plugins\.event_log\.{line.split(' ')[0]} = .* loosens policy"):
        load_settings({}, environment={}, cwd=tmp_path, models=TableModels())


# When things go wrong.


class Failing(Memory):
    """A storage whose disk is full for a while."""

    name = "failing"
    full = False

    async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
        """Write, if there is room."""
        if self.full and any(key.startswith("event/") for key in batch):
            raise OSError(28, "No space left on device")
        return await super().write(batch, expect=expect)


async def test_a_full_disk_loses_events_aloud_once_and_the_log_says_how_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host_in(tmp_path, Failing, storage="failing") as host:
        log = await record(host, 3)
        opened: Any = await host.get(Storages).open("failing")
        storage = opened.storage
        storage.full = True
        for number in range(600):
            await host.events.publish("user.lost", {"number": number})
        with pytest.raises(StorageError, match=r"event log: 600 events were not recorded: .*No space left.*; see to"):
            await log.flush()
        await log.flush()  # told once
        lost = await log.stats()
        storage.full = False
        await record(host, 2)
        found = [(each.number, each.event.type, each.event.data) for each in await log.read()]
        report, stats = await log.verify(), await log.stats()
        problems = [str(problem) for problem in host.problems]

    assert (lost.lost, lost.recorded) == (600, 3) and "No space left" in lost.error
    assert found[3:] == [
        (4, "event.log.lost", {"count": 600}),
        (5, "user.created", {"number": 0}),
        (6, "user.created", {"number": 1}),
    ]
    assert (report.entries, report.problem, stats.error, stats.recorded) == (6, "", "", 5)
    assert len([line for line in caplog.messages if "not recorded" in line]) == 1
    assert len([line for line in problems if "not recorded" in line]) == 1


async def test_what_comes_faster_than_it_is_written_is_lost_counted_and_told(tmp_path: Path) -> None:
    async with host_in(tmp_path, pending=100) as host:
        for number in range(150):
            host.events.publish_nowait("user.created", {"number": number})
        log = host.get(EventLog)
        with pytest.raises(StorageError, match="50 events were not recorded: they came faster than they are written"):
            await log.flush()
        await record(host, 1)
        found = [(each.event.type, each.event.data) for each in await log.read()]

    assert [data for topic, data in found if topic == "event.log.lost"] == [{"count": 50}]
    created = [data["number"] for topic, data in found if topic == "user.created"]
    assert created == [*range(100), 0]


async def test_a_key_that_is_gone_stops_no_operation_but_a_required_log_does(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await record(host, 3)
    (tmp_path / ".llmspell" / "events.key").unlink()

    async with host_in(tmp_path) as host:
        await host.events.publish("user.created")
        with pytest.raises(StorageError, match=r"its key .* is missing; put it back"):
            await host.get(EventLog).flush()
    async with host_in(tmp_path, required=True) as host:
        with pytest.raises(Exception, match=r"its key .* is missing"):
            await host.call("tool:calculator", {"input": "1"})


@pytest.mark.long
def test_a_disk_that_is_full_stops_nobody_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    child = Path(__file__).with_name("event_log_child.py")
    command = [sys.executable, str(child), "full", str(tmp_path), "800000"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    told = json.loads(done.stdout)
    lines = [json.loads(line) for line in cli(tmp_path, "event", "export").stdout.splitlines()]
    assert 600 <= told["recorded"] < 1200 and told["recorded"] + told["lost"] == 1200
    assert told["problem"].startswith(f"event log: {told['lost']} events were not recorded: ")
    assert told["result"]["result"] == 4
    assert [line["data"] for line in lines[:600]] == [*range(600)]
    assert [line["data"][0] for line in lines[600:-2]] == [*range(told["recorded"] - 600)]
    assert (lines[-2]["type"], lines[-2]["data"]) == ("event.log.lost", {"count": told["lost"]})
    assert lines[-1]["data"] == "after"
    assert done.stderr.count("not recorded") == 1
    assert cli(tmp_path, "event", "verify").returncode == 0


@pytest.mark.long
async def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    oracle, dice = tmp_path / "oracle", random.Random(11)
    folder = tmp_path / "project"
    folder.mkdir()
    for each in range(8):
        child = Path(__file__).with_name("event_log_child.py")
        command = [sys.executable, str(child), "record", str(folder), str(oracle), str(each)]
        before = len(oracle.read_bytes().splitlines()) if oracle.exists() else 0
        wanted = dice.randrange(1, 40)
        with subprocess.Popen(command) as process:
            until(lambda: oracle.exists() and oracle.read_bytes().count(b"\n") >= before + wanted, "acknowledged")  # noqa: B023 - asked at once
            process.send_signal(signal.SIGKILL)
    acknowledged: dict[int, int] = {}
    for line in oracle.read_text().splitlines():
        run, number = map(int, line.split())
        acknowledged[run] = number

    loaded = load_settings({}, environment={}, cwd=folder)
    async with Host.open(loaded, discover=False) as host:
        log = await host.enter(EventLog)
        report = await log.verify()
        found: dict[int, list[int]] = {}
        after = 0
        while page := await log.read(EventSelection(after=after)):
            after = page[-1].number
            for recorded in page:
                run, number = recorded.event.data
                found.setdefault(run, []).append(number)

    assert report.problem == ""
    assert report.entries == sum(map(len, found.values()))
    assert len(acknowledged) == 8
    for run, number in acknowledged.items():
        assert found[run] == [*range(1, len(found[run]) + 1)]
        assert len(found[run]) >= number


# Changes and cuts.

SIZE = 4
FIRST = 2
"""How many entries the small log has, and up to which it was pruned."""


async def small_log(folder: Path) -> tuple[Memory, ChainPlaces]:
    """Return a storage with a log of which the first entries were taken out on purpose."""
    storage = Memory()
    await storage.__aenter__()
    places = ChainPlaces(folder / "key", folder / "head", "log", "event/", "verify")
    log = ChainLog(storage, places)
    await log.load()
    for number in range(FIRST + SIZE):
        log.append(json.dumps({"number": number}))
    await log.flush()
    await log.prune(FIRST)
    return storage, places


async def kept_in(storage: Storage) -> dict[str, bytes]:
    return {name: entry.value async for name, entry in storage.scan("event/")}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, SIZE - 1), st.integers(0, 10_000), st.integers(1, 255))
def test_a_change_of_any_byte_is_found_and_its_entry_named(
    tmp_path_factory: pytest.TempPathFactory, index: int, place: int, by: int
) -> None:
    async def main() -> None:
        storage, places = await small_log(tmp_path_factory.mktemp("log"))
        assert await verify(storage, places) == structs.replace(
            await verify(storage, places), first=FIRST + 1, entries=SIZE, problem=None
        )
        name, value = sorted((await kept_in(storage)).items())[index]
        changed = bytearray(value)
        changed[place % len(value)] ^= by

        await storage.write({name: bytes(changed)})

        found = await verify(storage, places)
        assert found.problem is not None
        assert (found.entries, found.problem.number) == (index, FIRST + index + 1)

    trio.run(main)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, SIZE - 1), min_size=1))
def test_whatever_is_taken_out_the_first_that_is_missing_is_named(
    tmp_path_factory: pytest.TempPathFactory, taken: set[int]
) -> None:
    async def main() -> None:
        storage, places = await small_log(tmp_path_factory.mktemp("log"))
        names = sorted(await kept_in(storage))

        await storage.write(dict.fromkeys(names[index] for index in taken))

        found = await verify(storage, places)
        assert found.problem is not None and found.problem.number == FIRST + 1 + min(taken)
        assert found.entries == min(taken)

    trio.run(main)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(SIZE)))
def test_entries_in_another_order_are_found(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    async def main() -> None:
        storage, places = await small_log(tmp_path_factory.mktemp("log"))
        kept = sorted((await kept_in(storage)).items())

        await storage.write({name: kept[order[index]][1] for index, (name, _) in enumerate(kept)})

        found = await verify(storage, places)
        first = next((index for index, each in enumerate(order) if each != index), None)
        assert (found.problem and found.problem.number) == (None if first is None else FIRST + 1 + first)

    trio.run(main)


@pytest.mark.parametrize("change", ["base", "base_hash", "seal", "gone", "cut back"])
async def test_a_head_that_claims_that_more_was_taken_out_is_found(tmp_path: Path, change: str) -> None:
    storage, places = await small_log(tmp_path)
    head = json.loads(places.head.read_text())
    names = sorted(await kept_in(storage))
    if change == "gone":
        places.head.unlink()
    elif change == "cut back":
        last = json.loads((await kept_in(storage))[names[-2]])
        places.head.write_text(json.dumps({**head, "number": last["number"], "hash": last["hash"], "base": 3}))
    else:
        forged = {"base": 4, "base_hash": "1" * 64, "seal": "2" * 64}
        places.head.write_text(json.dumps({**head, change: forged[change]}))
        await storage.write(dict.fromkeys(names[:2]))

    found = await verify(storage, places)

    assert found.problem is not None


# What goes.


async def pruned(host: Host, first: int) -> EventLog:
    """Return the log once its first entries are gone: that is looked after as the host opens."""
    log = host.get(EventLog)
    with trio.fail_after(PATIENCE_S):
        while (await log.stats()).first < first:
            await trio.sleep(0.01)
    return log


async def test_the_oldest_go_by_number_and_what_is_left_is_verified(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await record(host, 120)
    async with host_in(tmp_path, max_events=50) as host:
        log = await pruned(host, 71)
        left, report = await numbers(log), await log.verify()
    async with host_in(tmp_path) as host:
        await record(host, 10)
    async with host_in(tmp_path, max_events=50) as host:
        log = await pruned(host, 81)
        later, stats = await numbers(log), await log.stats()

    shown = cli(tmp_path, "event", "verify")
    assert left == [(number, number - 1) for number in range(71, 121)]
    assert (report.first, report.entries, report.problem) == (71, 50, "")
    assert [number for number, _ in later] == [*range(81, 131)]
    assert (stats.first, stats.last) == (81, 130)
    assert "50 events are in order, from number 81 on" in shown.stdout


async def test_a_log_that_grows_is_looked_after_each_thousand_events(tmp_path: Path) -> None:
    async with host_in(tmp_path, max_events=100) as host:
        await record(host, 2500)
        log = await pruned(host, 1901)
        report = await log.verify()

    assert report.problem == ""
    assert report.first + report.entries == 2501


async def test_the_oldest_go_by_size(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        for number in range(100):
            await host.events.publish("user.created", {"number": number, "text": "x" * 3000})
    async with host_in(tmp_path, max_bytes=65_536) as host:
        log = await pruned(host, 2)
        left, report = await log.read(), await log.verify()

    size_bytes = sum(len(each.event.data["text"]) for each in left)
    assert 32_768 < size_bytes < 65_536 and left[-1].number == 100
    assert (report.entries, report.problem) == (len(left), "")


async def test_the_oldest_go_by_age_but_the_newest_stays(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await record(host, 5)
    async with host_in(tmp_path, max_age_s=1e-6) as host:
        log = await pruned(host, 5)
        left, report = await numbers(log), await log.verify()

    assert left == [(5, 4)]
    assert (report.first, report.entries, report.problem) == (5, 1, "")


async def test_a_kill_while_entries_are_taken_out_leaves_a_log_in_order(tmp_path: Path) -> None:
    class Killed(Memory):
        """Nothing is written any more."""

        dead = False

        async def write(self, batch: Any, /, *, expect: Any = None) -> Any:
            """Write, unless it was killed."""
            if self.dead:
                raise StorageError("storage: gone; come back")
            return await super().write(batch, expect=expect)

    storage = Killed()
    await storage.__aenter__()
    places = ChainPlaces(tmp_path / "key", tmp_path / "head", "log", "event/", "verify")
    log = ChainLog(storage, places)
    await log.load()
    for number in range(10):
        log.append(str(number))
    await log.flush()
    storage.dead = True
    with pytest.raises(StorageError):
        await log.prune(6)
    storage.dead = False

    again = ChainLog(storage, places)
    await again.load()
    await again.flush(again.append("more"))
    found = await verify(storage, places)

    assert (found.first, found.entries, found.problem) == (7, 5, None)


async def test_a_log_that_was_cut_goes_on_behind_the_gap_which_stays_to_be_found(tmp_path: Path) -> None:
    storage, places = await small_log(tmp_path)
    await storage.write({places.key_of(number): None for number in range(FIRST + 2, FIRST + SIZE + 1)})

    for _ in range(2):  # two processes that go on with it
        log = ChainLog(storage, places)
        await log.load()
        for number in range(SIZE):
            log.append(str(number))
        await log.flush()
    found = await verify(storage, places)

    assert found.problem is not None
    assert (found.entries, found.problem.number, found.problem.problem) == (1, FIRST + 2, "it is missing")
    assert len(await kept_in(storage)) == 1 + 2 * SIZE


# What comes again.


async def test_a_replay_publishes_in_order_what_was_and_says_that_it_was_before(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        for number in range(5):
            host.events.publish_nowait("user.created", {"number": number}, ttl_s=0.0, tags=("t",), source="me")
        log = host.get(EventLog)
        await log.flush()
        first = (await log.read())[0].event
        async with host.events.subscribe("user.*") as events:
            done = await log.replay(EventSelection(after=1))
            seen = []
            while (event := events.receive_nowait()) is not None:
                seen.append(event)
        await log.flush()
        count = len(await log.read())
        again = [event.sequence for event in seen]

    assert done == Replayed(4, 0, 5)
    assert [event.data["number"] for event in seen] == [1, 2, 3, 4]
    assert all(event.replayed and event.ttl_s is None and event.tags == ("t",) for event in seen)
    assert again == sorted(again) and again[0] > 5
    assert not first.replayed
    assert count == 5


async def test_what_a_hook_withholds_of_a_replay_is_counted(tmp_path: Path) -> None:
    def withhold(context: HookContext[Event]) -> Cancel | None:
        return Cancel("no") if context.subject.replayed and context.subject.data["number"] == 1 else None

    async with host_in(tmp_path, make_plugin("withholding", ("before_event_emit", withhold, {}))) as host:
        log = await record(host, 3)
        done = await log.replay()

    assert done == Replayed(2, 1, 3)


# The command line.


async def test_the_command_line_verifies_replays_and_exports(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await record(host, 3)
        await record(host, 2, "user:gone")

    good = cli(tmp_path, "event", "verify", "--output", "json")
    again = cli(tmp_path, "event", "replay", "--from", "2", "--pattern", "user.created", "--output", "json")
    lines = cli(tmp_path, "event", "export", "--pattern", "*.gone", "--pattern", "user.created", "--limit", "4")
    wrong = cli(tmp_path, "event", "export", "--pattern", "[")

    assert json.loads(good.stdout) == {"first": 1, "entries": 5, "number": 0, "problem": None}
    assert json.loads(again.stdout) == {"published": 2, "refused": 0, "last": 3}
    rows = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [(row["type"], row["data"]["number"]) for row in rows] == [
        ("user.created", 0),
        ("user.created", 1),
        ("user.created", 2),
        ("user:gone", 0),
    ]
    assert [*rows[0]] == [*structs.asdict(Event("a")), "process", "pid"]
    assert (wrong.returncode, wrong.stdout) == (2, "")

    settings_ = EventLogSettings()
    async with host_in(tmp_path, enabled=False) as host:
        storage = await host.get(Storages).open()
        places = places_of(host.get(ProjectFolder), settings_)
        await storage.write({places.key_of(4): None})
    bad = cli(tmp_path, "event", "verify")
    assert bad.returncode == 1
    assert "event log: entry 4: it is missing; 3 before it are in order" in bad.stderr
