"""Followers of the event log: each event at least once, in order, behind what was acknowledged, also after a kill."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ResourceLimitError, ScriptError, StorageError
from llmspell_hookspecs.event_log import EventFollower, EventLog
from test_event_log import cli, host_in, record
from waiting import PATIENCE_S, until


def reading_in(folder: Path) -> Any:
    """Return a host that records nothing."""
    return Host.open(load_settings({}, environment={}, cwd=folder), discover=False)


async def taken(follower: EventFollower, count: int) -> list[Any]:
    """Return the data of the next events."""
    found = []
    with trio.fail_after(PATIENCE_S):
        for _ in range(count):
            each = await follower.receive()
            assert each is not None
            found.append(each.event.data["number"])
    return found


async def test_a_follower_goes_on_behind_what_was_acknowledged_in_the_next_process(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        follower = await host.get(EventLog).follow("billing", "user.*", after=0)
        log = await record(host, 6)
        await record(host, 1, "other")
        first = await taken(follower, 4)
        await follower.acknowledge(2)

    async with host_in(tmp_path) as host:
        log = host.get(EventLog)
        again = await log.follow("billing", "user.*")
        rest = await taken(again, 4)
        nothing = await again.receive(0)
        (info,) = await log.followers()

    assert (first, rest, nothing) == ([0, 1, 2, 3], [2, 3, 4, 5], None)
    assert (info.name, info.patterns, info.acknowledged, info.behind, info.missed) == ("billing", ("user.*",), 2, 4, 0)


async def test_one_waits_for_what_is_published_later_and_a_new_one_begins_with_that(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host, trio.open_nursery() as nursery:
        await record(host, 3)
        follower = await host.get(EventLog).follow("new", ["user.*"])
        got: list[Any] = []

        async def follow() -> None:
            got.extend(await taken(follower, 2))

        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        for number in (7, 8):
            await host.events.publish("user.created", {"number": number})

    assert got == [7, 8]


async def test_what_another_process_records_is_followed_too(tmp_path: Path) -> None:
    async with reading_in(tmp_path) as reader, host_in(tmp_path) as writer:
        log = await reader.enter(EventLog)
        follower = await log.follow("beside", after=0)
        await record(writer, 2)

        assert await taken(follower, 2) == [0, 1]


async def test_who_opens_it_takes_it_over_and_the_other_moves_nothing_any_more(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        log = await record(host, 3)
        old = await log.follow("one", after=0)
        assert await taken(old, 3) == [0, 1, 2]
        new = await log.follow("one")

        with pytest.raises(StorageError, match="another goes on under its name") as refused:
            await old.acknowledge(3)
        with pytest.raises(StorageError, match="another goes on under its name"):
            await old.receive(0)
        assert await taken(new, 3) == [0, 1, 2]

        assert await log.forget("one")
        assert not await log.forget("one")
        with pytest.raises(StorageError, match="it was forgotten") as forgotten:
            await new.acknowledge(3)
    assert (refused.value.code, forgotten.value.code) == ("taken_over", "forgotten")


async def test_what_went_before_it_was_read_is_counted_as_missed(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        follower = await host.get(EventLog).follow("slow", after=0)
        await record(host, 50)
        assert await taken(follower, 1) == [0]
        await follower.acknowledge(1)

    async with host_in(tmp_path, max_events=10) as host:
        log = host.get(EventLog)
        with trio.fail_after(PATIENCE_S):
            while (await log.stats()).first < 41:
                await trio.sleep(0.01)
        (before,) = await log.followers()
        follower = await log.follow("slow")
        first = await taken(follower, 1)
        await follower.acknowledge(41)
        (after,) = await log.followers()

    assert (before.missed, before.behind, first) == (39, 10, [40])
    assert (follower.missed, after.missed, after.acknowledged, after.behind) == (39, 39, 41, 9)


async def test_what_it_does_not_follow_is_passed_over_once(tmp_path: Path) -> None:
    async with host_in(tmp_path, patterns=["user.**", "noise"]) as host:
        log = host.get(EventLog)
        follower = await log.follow("patient", "user.*", after=0, accepts=lambda event: event.data["number"] != 1)
        await record(host, 1500, "noise")
        assert await follower.receive(0) is None
        for _ in range(3):
            assert await follower.receive(0) is None
        assert (await log.followers())[0].acknowledged == 1000
        await record(host, 3)

        assert await taken(follower, 2) == [0, 2]
        with pytest.raises(InvalidInputError, match=r"1504 cannot be acknowledged; .* 1503 at most"):
            await follower.acknowledge(1504)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 401, "\ud800"])
async def test_a_wrong_name_is_refused(tmp_path: Path, name: str) -> None:
    async with host_in(tmp_path) as host:
        with pytest.raises(InvalidInputError, match="is no name of a follower"):
            await host.get(EventLog).follow(name)
        with pytest.raises(InvalidInputError):
            await host.get(EventLog).follow("good", "[")
        assert await host.get(EventLog).followers() == []


@pytest.mark.parametrize("after", [-1, True, "1", 1.5])
async def test_a_beginning_that_is_no_number_is_refused(tmp_path: Path, after: Any) -> None:
    async with host_in(tmp_path) as host:
        with pytest.raises(InvalidInputError, match="is no number of an event"):
            await host.get(EventLog).follow("good", after=after)


@pytest.mark.long
async def test_there_are_a_thousand_at_most(tmp_path: Path) -> None:
    loaded = {"plugins": {"event_log": {"enabled": True, "storage": "memory"}}}
    async with Host.open(load_settings(loaded, environment={}, cwd=tmp_path), discover=False) as host:
        log = host.get(EventLog)
        for number in range(1000):
            await log.follow(f"f{number}", after=0)
        with pytest.raises(ResourceLimitError, match="1000 followers"):
            await log.follow("one more", after=0)
        await log.follow("f7")


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 4)),
        st.tuples(st.just("receive"), st.integers(1, 4)),
        st.tuples(st.just("acknowledge"), st.integers(0, 12)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(STEPS)
def test_whatever_happens_in_whatever_order_nothing_is_left_out(steps: list[tuple[str, int]]) -> None:
    """The oracle: after an opening come the numbers behind the greatest one acknowledged, one by one."""

    async def main() -> None:
        async with host_in(Path(folder), storage="memory", patterns=["user.*"]) as host:
            log = host.get(EventLog)
            published, acknowledged, read = 0, 0, 0
            follower = await log.follow("one", after=0)
            for what, count in steps:
                if what == "publish":
                    await record(host, count)
                    published += count
                elif what == "receive":
                    for _ in range(count):
                        found = await follower.receive(0)
                        assert (found.number if found else None) == (read + 1 if read < published else None)
                        read = min(read + 1, published)
                elif what == "acknowledge" and count <= read:
                    await follower.acknowledge(count)
                    acknowledged = max(acknowledged, count)
                elif what == "reopen":
                    follower, read = await log.follow("one"), acknowledged
            assert (await log.followers())[0].acknowledged == acknowledged == follower.acknowledged

    with TemporaryDirectory() as folder:
        trio.run(main)


@pytest.mark.long
def test_a_kill_at_any_moment_leaves_no_event_out_and_repeats_none_that_was_acknowledged(tmp_path: Path) -> None:
    folder, oracle = tmp_path / "project", tmp_path / "oracle"
    folder.mkdir()
    oracle.touch()
    child = Path(__file__).with_name("event_log_child.py")
    ends: list[int] = []
    for _ in range(6):
        before = oracle.read_bytes().count(b"\n")
        with subprocess.Popen([sys.executable, str(child), "follow", str(folder), str(oracle)]) as process:
            until(lambda: oracle.read_bytes().count(b"\n") >= before + 40, "events")  # noqa: B023 - asked at once
            process.send_signal(signal.SIGKILL)
        ends.append(len(oracle.read_text().splitlines()))

    acknowledged, expected = 0, 1
    for number, line in enumerate(oracle.read_text().splitlines()):
        if number in ends:  # a new process: behind what was acknowledged, which may be more than was told
            word, at = line.split()
            assert word == "given"
            assert acknowledged < int(at) <= expected
            expected = int(at)
        word, at = line.split()
        if word == "given":
            assert int(at) == expected
            expected += 1
        else:
            acknowledged = int(at)


# Scripts.

COUNTS = """
local id = Event.subscribe("user.*", {name = "mine", after = 0})
for i = 1, 3 do Event.publish("user.created", {n = i}) end
local got = {}
for i = 1, 3 do
    local event = Event.receive(id)
    got[#got + 1] = event.data.n
    if i == 2 then Event.acknowledge(id, event) end
end
return {got = got, info = Event.subscription_stats(id).delivered, left = Event.receive(id, 0) == nil}
"""
OTHER = 'return Event.receive(Event.subscribe("user.*", {name = "mine", after = 0}), 0) == nil'
AGAIN = """
local id = Event.subscribe({pattern = "user.*", name = "mine"})
local events = Event.receive_batch(id, 10)
Event.ack(id, events[#events].number)
local left = Event.receive(id, 0) == nil
return {#events, events[1].data.n, left, Event.unsubscribe(id), Event.forget("mine"), Event.forget("mine")}
"""


async def test_a_lua_script_goes_on_where_its_last_run_was(tmp_path: Path) -> None:
    async with host_in(tmp_path) as host:
        await host.events.publish("user.created", {"n": "not the script's"})
        first = await host.run_source(COUNTS, "lua", name="shop.lua")
        others = await host.run_source(OTHER, "lua", name="other.lua")
    async with host_in(tmp_path) as host:
        again = await host.run_source(AGAIN, "lua", name="shop.lua")

    assert first == {"got": [1, 2, 3], "info": 3, "left": True}
    assert others is True
    assert again == [1, 3, True, True, True, False]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ('Event.subscribe("a", print, {name = "b"})', "give no handler"),
        ('Event.on("a", print, {name = "b"})', "use Event.subscribe"),
        ('Event.subscribe("a", {after = 3})', "give a name, too"),
        ('Event.subscribe("a", {name = ("x"):rep(65)})', "name"),
        ('Event.acknowledge(Event.subscribe("a"), 1)', "has no name"),
        ('Event.acknowledge(Event.subscribe("a", {name = "b"}), 9)', "9 cannot be acknowledged"),
        ('Event.acknowledge(Event.subscribe("a", {name = "b"}))', "the event is missing"),
    ],
)
async def test_a_mistake_of_a_script_is_told(tmp_path: Path, source: str, problem: str) -> None:
    async with host_in(tmp_path) as host:
        with pytest.raises(ScriptError, match=problem):
            await host.run_source(source, "lua")


async def test_where_nothing_is_recorded_a_script_is_told(tmp_path: Path) -> None:
    async with reading_in(tmp_path) as host:
        with pytest.raises(ScriptError, match=r"set plugins.event_log.enabled = true"):
            await host.run_source('Event.subscribe("a", {name = "b"})', "lua")


# The command line.


async def test_the_command_line_lists_followers_and_removes_them(tmp_path: Path) -> None:
    empty = cli(tmp_path, "event", "followers")
    async with host_in(tmp_path) as host:
        log = await record(host, 3)
        await taken(await log.follow("billing", "user.*", after=1), 2)

    (row,) = json.loads(cli(tmp_path, "event", "followers", "--output", "json").stdout)
    removed = cli(tmp_path, "event", "forget", "billing")
    gone = cli(tmp_path, "event", "forget", "billing")

    assert empty.stdout == "nobody follows the log under a name\n"
    assert (row["name"], row["patterns"], row["acknowledged"], row["behind"]) == ("billing", ["user.*"], 1, 2)
    assert (removed.returncode, removed.stdout) == (0, "billing is forgotten\n")
    assert gone.returncode == 1
    assert "there is no follower 'billing'" in gone.stderr
