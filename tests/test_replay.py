"""Replay: what is on record runs again, served, and the first thing that differs is named."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import lz4.block  # type: ignore[import-untyped]
import msgspec
import pytest
import trio

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    Agent,
    AgentInput,
    AgentOutput,
    Cancel,
    HookContext,
    LlmspellError,
    Retry,
    ToolContext,
    ToolError,
)
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import InvalidInputError, OperationError, StorageError
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.replay import Difference, Replay, ReplayOptions, ReplayReport
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.workflow import WorkflowCall
from llmspell_plugins.services.journal.aliases import Aliases
from llmspell_plugins.services.journal.comparison import compare, put
from scripted_model import ScriptedModel, asks, says
from waiting import PATIENCE_S

KIND = OperationKind("visit", composes=True)
Body = Callable[[Host], Awaitable[Any]]


class World:
    """What the tools reach: it is different at each call."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.dice = random.Random(7)

    async def look(self, parameters: Any, context: ToolContext) -> Any:
        self.calls.append(parameters)
        for _ in range(self.dice.randrange(3)):
            await trio.lowlevel.checkpoint()
        if parameters.get("torn"):
            raise ToolError("torn by the world", code="torn", details={"at": len(self.calls)})
        return {"seen": self.dice.random(), "for": parameters}


@asynccontextmanager
async def recorded(world: World, *plugins: Any, **settings: Any) -> AsyncIterator[Host]:
    """Open a host that records, with a tool that looks at the world."""
    quick = {"hooks": {"breaker": "off"}}  # a busy machine is slow
    table = {"journal": {"record": "sessions"}, **quick, **settings}
    async with opened(make_tool("look", world.look), *plugins, settings=table) as host:
        yield host


async def visit(host: Host, body: Body, session: str = "s") -> Any:
    """Run a body as one operation of a session."""

    async def run(subject: Any) -> Any:
        return await body(host)

    again = Operation(KIND, ComponentRef("visit", "it"), None, run, baggage={"session": session})
    return await host.get(Operations).execute(again)


async def again(host: Host, body: Body, options: ReplayOptions | None = None) -> ReplayReport:
    """Run the body again, served from the record."""
    await host.get(Journal).flush()
    replay = await host.enter(Replay)
    async with replay.playing("s", options or ReplayOptions()) as replaying:
        with suppress(LlmspellError):
            await visit(host, body)
    return replaying.report()


def hooks(host: Host) -> None:
    """Register hooks of all sorts."""

    def better(context: HookContext[Any]) -> Any:
        parameters = context.subject.parameters
        return context.modify(parameters={**parameters, "better": True}) if parameters.get("n", 0) % 3 == 0 else None

    def deny(context: HookContext[Any]) -> Any:
        return Cancel("not that one") if context.subject.parameters.get("n", 0) % 7 == 5 else None

    def add(context: HookContext[Any]) -> Any:
        return context.modify(message="looked twice") if context.request.parameters.get("n", 0) % 2 else None

    def retry(context: HookContext[Any]) -> Any:
        return Retry(max_attempts=2)

    host.hooks.register("before_tool_execution", better, name="better")
    host.hooks.register("before_tool_execution", deny, kind="guard", name="deny")
    host.hooks.register("after_tool_execution", add, name="add")
    host.hooks.register("tool_error", retry, name="retry")


async def many(host: Host, dice: random.Random, count: int) -> list[Any]:
    """Look at the world many times, side by side, in another order each time; some fail, some are denied."""
    seen: dict[int, Any] = {}

    async def look(number: int) -> None:
        for _ in range(dice.randrange(5)):
            await trio.lowlevel.checkpoint()
        try:
            found = await host.call("tool:look", {"n": number, "torn": number % 11 == 10})
            seen[number] = found.result["seen"], found.message
        except LlmspellError as error:
            seen[number] = type(error).__name__, error.code, str(error)
        if number % 5 == 0:
            await host.state.set(f"seen-{number}", seen[number][0])

    async with trio.open_nursery() as nursery:
        for number in dice.sample(range(count), count):
            nursery.start_soon(look, number)
    agent = await host.agents.create(name="w", model="scripted/play", tools=["look"], max_steps=5)
    answer = await agent.run("go on")
    await agent.close()
    drawn = await host.run_source(DRAWING, "lua")
    return [seen[number] for number in sorted(seen)] + [answer.text, drawn]


DRAWING = """
local drawn = {}
for n = 1, 4 do
  local found = Tool.invoke("look", {n = n, at = os.time(), clock = os.clock(), chance = math.random(1 << 60)})
  drawn[#drawn + 1] = found.result.seen .. " " .. math.random()
end
return table.concat(drawn, ", ")
"""


@contextmanager
def traced() -> Iterator[list[str]]:
    """Yield the names of what is asked of sockets in the block, of this process."""
    seen: list[str] = []
    active = True

    def hear(event: str, arguments: object) -> None:
        if active and event.startswith("socket."):
            seen.append(event)

    sys.addaudithook(hear)  # there is no way to take it out again
    try:
        yield seen
    finally:
        active = False


def model() -> ScriptedModel:
    """Return a model that asks for two looks side by side, then answers."""
    return ScriptedModel(asks(("look", {"n": 1001}), ("look", {"n": 1002})), says("that is all"))


@pytest.mark.parametrize(("count", "rounds"), [(60, 10), pytest.param(830, 100, marks=pytest.mark.long)])
async def test_a_session_replays_identically_however_it_is_scheduled_and_opens_no_socket(
    count: int, rounds: int
) -> None:
    world, dice = World(), random.Random(3)
    values: list[Any] = []

    async def body(host: Host) -> Any:
        values.append(await many(host, dice, count))

    async with recorded(world, model()) as host:
        hooks(host)
        await visit(host, body)
        await host.get(Journal).flush()
        ran, kept = len(world.calls), await host.state.get("seen-5")
        with traced() as sockets:
            reports = [await again(host, body) for _ in range(rounds)]
        (run,) = await host.get(Journal).runs()

    assert all(report.identical for report in reports), reports[0].first
    assert {(report.operations, report.missed, report.live) for report in reports} == {(run.records, 0, 0)}
    assert all(report.served > count for report in reports)
    assert all(value == values[0] for value in values) and len(values) == rounds + 1
    assert len(world.calls) == ran and sockets == []
    assert run.records >= count * 1.2
    assert count < 830 or run.records >= 1000
    assert kept == values[0][5][0]


async def three(host: Host) -> list[Any]:
    """Look three times, one after the other."""
    return [(await host.call("tool:look", {"n": number})).result["seen"] for number in range(3)]


@pytest.mark.parametrize(
    ("taken_out", "message"),
    [
        ("better", "at before_tool_execution: code.better answered Modified in the record, nothing answers now"),
        ("add", "at after_tool_execution: code.add answered Modified in the record, nothing answers now"),
        ("deny", "at before_tool_execution: code.deny answered Cancel in the record, nothing answers now"),
    ],
)
async def test_a_hook_that_is_taken_out_is_named_as_the_first_divergence(taken_out: str, message: str) -> None:
    async def body(host: Host) -> Any:
        for number in (1, 3, 5, 6):
            with suppress(LlmspellError):
                await host.call("tool:look", {"n": number})

    async with recorded(World()) as host:
        hooks(host)
        await visit(host, body)
        report = await again(host, body, ReplayOptions(without=(f"code.{taken_out}",)))
        whole = await again(host, body)

    assert report.first is not None and whole.identical
    assert (report.first.kind, report.first.hook, report.first.message) == ("hook", f"code.{taken_out}", message)
    assert report.first.component == "tool:look" and "/tool:look#" in report.first.path
    if taken_out == "better":
        assert report.first.differences == (Difference("/parameters/better", True, None),)


async def test_a_hook_that_came_is_named(autojump_clock: trio.abc.Clock) -> None:
    async with recorded(World()) as host:
        await visit(host, three)
        host.hooks.register("before_tool_execution", lambda context: Cancel("no"), kind="guard", name="new")
        report = await again(host, three)

    assert report.first is not None
    assert report.first.hook == "code.new"
    assert report.first.message == "at before_tool_execution: code.new answers Cancel now, nothing did in the record"


async def test_another_request_is_told_with_the_nearest_one_and_where_it_differs() -> None:
    async def other(host: Host) -> Any:
        await host.call("tool:look", {"n": 0})
        await host.call("tool:look", {"n": 1, "how": "closely"})

    async with recorded(World()) as host:
        await visit(host, three)
        report = await again(host, other)

    assert report.first is not None
    assert report.first.kind == "request"
    assert report.first.message == "tool:look is asked otherwise than in the record"
    assert [each.pointer for each in report.first.differences] == ["/parameters/n", "/parameters/how"] or [
        each.pointer for each in report.first.differences
    ] == ["/parameters/how"]
    assert report.missed == 1


async def test_what_nobody_asked_for_is_told() -> None:
    async def less(host: Host) -> Any:
        await host.call("tool:look", {"n": 0})

    async with recorded(World()) as host:
        await visit(host, three)
        report = await again(host, less)

    assert report.leftovers == 2 and not report.identical
    assert all("/tool:look#" in path for path in report.unused)


async def test_an_error_comes_back_as_it_was_at_each_attempt() -> None:
    caught: list[ToolError] = []

    async def body(host: Host) -> Any:
        try:
            await host.call("tool:look", {"torn": True})
        except ToolError as error:
            caught.append(error)

    world = World()
    async with recorded(world) as host:
        hooks(host)
        await visit(host, body)
        report = await again(host, body)

    first, second = caught
    assert report.identical, report.first
    assert (str(second), second.code, second.details) == (str(first), first.code, first.details)
    assert second.details == {"at": 2} and len(world.calls) == 2


async def test_a_wait_before_an_attempt_on_record_is_not_waited_again() -> None:
    delay_s = 0.0

    async def body(host: Host) -> Any:
        with suppress(ToolError):
            await host.call("tool:look", {"torn": True})

    def retry(context: HookContext[Any]) -> Any:
        return Retry(delay_s=delay_s, max_attempts=2)

    world = World()
    async with recorded(world) as host:
        host.hooks.register("tool_error", retry, name="retry")
        await visit(host, body)
        delay_s = 25.0
        with trio.fail_after(20):
            report = await again(host, body)

    assert report.identical, report.first
    assert len(world.calls) == 2


async def test_state_is_served_and_what_is_written_stays_as_it_was() -> None:
    async def body(host: Host) -> Any:
        count = await host.state.get("count") or 0
        await host.state.set("count", count + 1)
        return await host.state.get("count")

    async with recorded(World()) as host:
        first = await visit(host, body)
        await visit(host, body, "another")
        report = await again(host, body)
        now = await host.state.get("count")

    assert (first, now) == (1, 2)
    assert report.identical, report.first


async def test_a_miss_ends_it_unless_it_may_run_or_is_answered_with_nothing() -> None:
    async def other(host: Host) -> Any:
        return [(await host.call("tool:look", {"n": number})).result for number in (1, 77)]

    world = World()
    async with recorded(world) as host:
        await visit(host, three)
        stopped = await again(host, other)
        calls = len(world.calls)
        stub = await again(host, other, ReplayOptions(on_miss="stub"))
        stubbed = len(world.calls)
        live = await again(host, other, ReplayOptions(on_miss="live"))

    assert (calls, stubbed, len(world.calls)) == (3, 3, 4)
    assert [report.missed for report in (stopped, stub, live)] == [1, 1, 1]
    assert (live.live, live.served) == (1, 1)


async def test_in_the_block_what_is_not_on_record_raises() -> None:
    async with recorded(World()) as host:
        await visit(host, three)
        await host.get(Journal).flush()
        async with (await host.enter(Replay)).playing("s"):
            with pytest.raises(OperationError, match="replay: tool:look is asked here, and was not") as caught:
                await host.call("tool:look", {"n": 1})

    assert caught.value.code == "diverged"


async def test_what_is_live_runs_though_it_is_on_record() -> None:
    world = World()
    async with recorded(world) as host:
        await visit(host, three)
        report = await again(host, three, ReplayOptions(mode="modified", live=("tool:look",)))
        (run,) = await host.get(Journal).runs()

    assert (len(world.calls), report.live, report.served) == (6, 3, 0)
    assert run.records == 4


async def test_what_may_differ_in_requests_is_left_out_of_account() -> None:
    async def at(when: str, host: Host) -> Any:
        await host.call("tool:look", {"n": 1, "when": when})

    async with recorded(World()) as host:
        await visit(host, lambda host: at("monday", host))
        strict = await again(host, lambda host: at("tuesday", host))
        loose = await again(host, lambda host: at("tuesday", host), ReplayOptions(ignore=("/parameters/when",)))

    assert not strict.identical
    assert loose.identical, loose.first


async def test_a_value_that_is_served_otherwise_reaches_who_asked() -> None:
    seen: list[Any] = []

    async def body(host: Host) -> Any:
        seen.append((await host.call("tool:look", {"n": 1})).result)

    async with recorded(World()) as host:
        await visit(host, body)
        await host.get(Journal).flush()
        (_, record) = await host.get(Journal).records("s")
        options = ReplayOptions(mode="modified", changes={f"{record.path}/result/result/seen": "else"})
        report = await again(host, body, options)

    assert seen[1] == {"seen": "else", "for": {"n": 1}}
    assert report.identical


class Reaching(Agent):
    """An agent that reaches the network by itself."""

    kind = "reaching"

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Connect to nobody."""

        def connect() -> str:
            try:
                socket.create_connection(("127.0.0.1", 9), timeout=1).close()
            except OSError:
                return "tried"
            return "reached"

        return AgentOutput(await trio.to_thread.run_sync(connect))


async def test_what_goes_around_operations_is_caught() -> None:
    async def body(host: Host) -> Any:
        agent = await host.agents.create(name="r", kind="reaching")
        try:
            return (await agent.run("go")).text
        finally:
            await agent.close()

    async with recorded(World(), Reaching) as host:
        assert await visit(host, body) in ("tried", "reached")
        report = await again(host, body)

    assert report.first is not None
    assert (report.first.kind, report.first.component) == ("status", "agent:r")


async def test_what_handlers_of_events_do_is_served_too() -> None:
    done = trio.Event()

    async def handle(event: Any) -> None:
        await host.call("tool:look", {"n": event.data})
        done.set()

    async def body(host: Host) -> Any:
        nonlocal done
        done = trio.Event()
        await host.events.publish("look.now", 4)
        with trio.move_on_after(20):
            await done.wait()

    world = World()
    async with recorded(world) as host:
        host.events.on("look.now", handle)
        await visit(host, body)
        report = await again(host, body)

    assert len(world.calls) == 1
    assert report.identical, report.first


async def test_hooks_are_told_that_it_is_a_replay() -> None:
    told: list[bool] = []

    async with opened(make_tool("look", World().look), settings={"journal": {"record": "all"}}) as host:
        host.hooks.register(
            "before_tool_execution", lambda context: told.append(context.operation.replayed), kind="observe"
        )
        await host.call("tool:look", {"n": 1})
        (run,) = await host.get(Journal).runs()
        report = await (await host.enter(Replay)).run(run.id)

    assert told == [False, True]
    assert report.identical, report.first


async def test_an_outermost_call_runs_again_with_what_was_asked_before_hooks_changed_it() -> None:
    def more(context: HookContext[Any]) -> Any:
        return context.modify(parameters={"n": context.subject.parameters["n"] + 1})

    world = World()
    async with opened(make_tool("look", world.look), settings={"journal": {"record": "all"}}) as host:
        host.hooks.register("before_tool_execution", more)
        await host.call("tool:look", {"n": 1})
        (run,) = await host.get(Journal).runs()
        report = await (await host.enter(Replay)).run(run.id)

    assert report.identical, report.first
    assert world.calls == [{"n": 2}]


async def test_it_ends_at_the_path_that_is_named() -> None:
    async with recorded(World()) as host:
        await visit(host, three)
        await host.get(Journal).flush()
        _, first, *_ = await host.get(Journal).records("s")
        report = await again(host, three, ReplayOptions(until=first.path))
        with pytest.raises(InvalidInputError, match="replay: s has no path '/nowhere'"):
            await again(host, three, ReplayOptions(until="/nowhere"))
        for options, message in (
            (ReplayOptions(without=("nothing.at_all",)), "replay: no hook fits 'nothing"),
            (ReplayOptions(changes={"/no/result/x": 1}), "replay: '/no/result/x' is in no operation on record; "),
            (ReplayOptions(live=("thing",)), "replay: nothing on record is 'thing'; "),
            (ReplayOptions(ignore=("when",)), "replay: 'when' is no JSON pointer; "),
        ):
            with pytest.raises(InvalidInputError, match=message):
                await again(host, three, options)

    assert report.leftovers == 0


async def test_a_journal_that_was_changed_is_not_replayed() -> None:
    async with recorded(World()) as host:
        await visit(host, three)
        await host.get(Journal).flush()
        storage = await host.get(Storages).open()
        await storage.write({"journal/chunks/s/0000000001": None})
        with pytest.raises(StorageError, match="journal s: chunk 1 is missing; record it anew, or restore it"):
            await (await host.enter(Replay)).run("s")


async def test_one_changed_byte_in_a_result_is_named_and_a_cassette_shows_what_comes_of_it() -> None:
    async def body(host: Host) -> Any:
        return await host.run_source("return Tool.invoke('look', {n = 2}).result.seen", "lua")

    async with recorded(World()) as host:
        await visit(host, body)
        await host.get(Journal).flush()
        text = await host.get(Journal).export("s")
        (path,) = [each.path for each in await host.get(Journal).records("s") if each.component == "look"]
        storage = await host.get(Storages).open()
        chunk = await storage.get("journal/chunks/s/0000000001")
        assert chunk is not None
        await storage.write({"journal/chunks/s/0000000001": _with_another_byte(chunk.value)})
        with pytest.raises(StorageError, match=r"journal s: chunk 1: tool:look, operation \S+, was changed; "):
            await (await host.enter(Replay)).run("s")
        replay = await host.enter(Replay)
        changed = re.sub(r'(?<="seen":0\.)\d', lambda digit: str((int(digit[0]) + 1) % 10), text, count=1)
        async with replay.playing_cassette(changed, "c") as replaying:
            await visit(host, body)
    report = replaying.report()

    assert "/tool:look#" in path and changed != text
    assert report.first is not None
    assert (report.first.kind, report.first.component) == ("result", "script:script")
    assert [each.pointer for each in report.first.differences] == ["/value"]


def _with_another_byte(chunk: bytes) -> bytes:
    """Return a chunk in which one byte of a tool's result is another one, and nothing else of the chunk changed."""
    count = int.from_bytes(chunk[32:36])
    head, block = chunk[: 36 + 8 * count], chunk[36 + 8 * count :]
    texts = msgspec.msgpack.decode(lz4.block.decompress(block), type=list[bytes])
    number = next(number for number, text in enumerate(texts) if b"\xa4seen" in text and b"\xa4look" in text)
    at = texts[number].index(b"\xa4seen") + 8
    texts[number] = texts[number][:at] + bytes([texts[number][at] ^ 1]) + texts[number][at + 1 :]
    return head + bytes(lz4.block.compress(msgspec.msgpack.encode(texts)))


@pytest.mark.parametrize("content", ["redacted", "shape"])
async def test_a_journal_that_does_not_hold_all_is_not_served(content: str) -> None:
    async with recorded(World(), journal={"record": "sessions", "content": content}) as host:
        await visit(host, three)
        await host.get(Journal).flush()
        with pytest.raises(StorageError, match=f"journal s: it is {content}, so what came of it cannot be served; "):
            await (await host.enter(Replay)).run("s")


async def test_what_cannot_run_again_by_itself_is_told() -> None:
    async with recorded(World()) as host:
        await visit(host, three)
        await host.get(Journal).flush()
        report = await (await host.enter(Replay)).run("s")

    (skipped,) = report.skipped
    assert "a visit cannot be run again by itself" in skipped


@pytest.mark.parametrize(
    ("one", "other", "similarity", "pointers"),
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 2]}, 1.0, []),
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}, 2 / 3, ["/b/1"]),
        ({"a/b": 1}, {"a/b": 1.0}, 0.0, ["/a~1b"]),
        ([], {}, 0.0, [""]),
        ({"a": 1}, {"b": 1}, 0.0, ["/a", "/b"]),
        (None, None, 1.0, []),
    ],
)
def test_two_values_are_compared_leaf_by_leaf(one: Any, other: Any, similarity: float, pointers: list[str]) -> None:
    found = compare(one, other)

    assert (found.similarity, [each.pointer for each in found.differences]) == (similarity, pointers)
    assert found.identical is (not pointers)


def test_a_value_is_put_at_a_pointer() -> None:
    given: Mapping[str, Any] = {"a": [{"b/c": 1}], "d": 2}

    assert put(given, "/a/0/b~1c", 5) == {"a": [{"b/c": 5}], "d": 2}
    assert put(given, "/new", 5) == {**given, "new": 5}
    with pytest.raises(InvalidInputError, match="replay: there is no '/a/7/x' there"):
        put(given, "/a/7/x", 5)


WORKFLOW = """
local steps = {}
for _, name in ipairs({"a", "b"}) do
  steps[#steps + 1] = {name = name, type = "tool", tool = "look", input = {n = name}}
end
local run = Workflow.sequential({name = "w", steps = steps}):execute({})
Event.publish("looked.twice", {at = 1})
return run.status
"""


async def test_a_script_with_a_workflow_replays_though_its_run_has_another_id() -> None:
    world = World()
    settings = {"journal": {"record": "all"}, "hooks": {"breaker": "off"}}
    async with opened(make_tool("look", world.look), settings=settings) as host:
        await host.run_source(WORKFLOW, "lua")
        (run,) = await host.get(Journal).runs()
        records = await host.get(Journal).records(run.id)
        reports = [await (await host.enter(Replay)).run(run.id) for _ in range(3)]

    assert {"script", "workflow", "workflow_stage", "tool"} <= {record.kind for record in records}
    assert all(report.identical for report in reports), reports[0].first
    assert len(world.calls) == 2


def test_an_id_of_this_run_is_told_as_the_one_on_record() -> None:
    aliases = Aliases()
    aliases.learn(WorkflowCall("w", "new-id-of-a-run"), lambda: {"run_id": "old-id-of-a-run"})

    told = aliases.told(("state:new-id-of-a-run/x", {"new-id-of-a-run": [WorkflowCall("w", "new-id-of-a-run")]}, 5))

    assert told == ("state:old-id-of-a-run/x", {"old-id-of-a-run": [WorkflowCall("w", "old-id-of-a-run")]}, 5)


@pytest.mark.long
def test_every_example_replays_as_it_is_on_record(tmp_path: Path) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmspell", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)

    shutil.copytree(Path(__file__).parent.parent / "examples", tmp_path / "examples")
    (tmp_path / "llmspell.toml").write_text("")
    for name in ("tour.lua", "agent.lua", "timeline.lua", "workflows/graph.lua"):
        assert (
            cli("run", f"examples/{name}", "--set", "journal.record=all", "--set", "hooks.breaker=off").returncode == 0
        )

    done = cli("replay", "run", "--all", "--set", "hooks.breaker=off")

    assert done.returncode == 0, done.stdout
    assert done.stdout.count("as on record") == 4


SCRIPT = """
local sum = 0
for n = 1, 3 do
  sum = sum + Tool.invoke("calculator", {operation="evaluate", input = n .. " * 2"}).result.result
end
local agent = Agent.builder():name("w"):model("offline/rules"):build()
agent:invoke({text="help me"})
State.save("global", "sum", sum)
print("printed once")
return sum
"""


@pytest.mark.long
def test_the_command_line_replays_and_ends_with_3_if_anything_differs(tmp_path: Path) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llmspell", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)

    (tmp_path / "a.lua").write_text(SCRIPT)
    (tmp_path / "llmspell.toml").write_text("")
    cli("run", "a.lua", "--set", "journal.record=all")
    (run,) = json.loads(cli("journal", "list", "--output", "json").stdout)
    cli("state", "set", "sum", "99")

    same = cli("replay", "run", run["id"])
    told = json.loads(cli("replay", "run", "--all", "--output", "json").stdout)
    records = json.loads(cli("journal", "show", run["id"], "--output", "json").stdout)
    first = next(each["path"] for each in records if each["component"] == "calculator")
    changed = cli("replay", "run", run["id"], "--set-result", f"{first}/result/result/result=100")
    kept = cli("state", "get", "sum")
    nothing = cli("replay", "run", "nothing")
    neither = cli("replay", "run")

    assert (same.returncode, same.stdout) == (0, f"{run['id']}: as on record (9 operations, 5 served)\n")
    assert (told[0]["identical"], told[0]["values"]) == (True, [12])
    assert changed.returncode == 3
    assert "first at /script:a.lua#" in changed.stdout
    assert "  state_write:global is asked otherwise than in the record\n    /value: 12.0 -> 110.0\n" in changed.stdout
    assert "99" in kept.stdout
    assert (nothing.returncode, nothing.stderr) == (
        2,
        "llmspell: journal nothing: there is none; see 'llmspell journal list'\n",
    )
    assert (neither.returncode, len(neither.stderr.splitlines())) == (2, 1)
