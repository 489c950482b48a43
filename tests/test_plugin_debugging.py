"""The plugin debugging: every operation is one span, whatever becomes of it, and a person gets a script's trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from chrome_traces import check_trace
from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, Fork, HookContext, Modified, Replace, Services
from llmspell_hookspecs.errors import LlmspellError, OperationCancelledError, ToolError
from llmspell_hookspecs.results import Call, Retry
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.debugging import Debugging, DebuggingSettings
from scripted_model import ScriptedModel, asks, says
from test_durable_runs import Effects, acting, crash
from waiting import PATIENCE_S

COMMAND = Path(sys.executable).parent / "llmspell"
SECRET = "ghp_" + "a1B2" * 9
BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"


class Watched(Debugging):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = DebuggingSettings
    newest: ClassVar[Watched]

    def __init__(self, settings: DebuggingSettings, services: Services) -> None:
        super().__init__(settings, services)
        Watched.newest = self


def watched(**table: Any) -> dict[str, Any]:
    return {"plugins": {"watched": table}}


async def _echo(parameters: dict[str, Any], context: Any) -> Any:
    if parameters.get("fail"):
        raise ToolError(f"no, {parameters.get('text')}", code="no")
    return parameters.get("text")


async def spans() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await Watched.newest.snapshot())["spans"]
    return found


async def spans_of(*plugins: Any, settings: Mapping[str, Any] | None = None, **given: Any) -> list[dict[str, Any]]:
    """Call ``echo`` and return the spans."""
    async with opened(Watched, make_tool("echo", _echo), *plugins, settings=settings or watched()) as host:
        with suppress(LlmspellError):
            await host.call("tool:echo", given)
        return await spans()


# Whatever operations do.


class Play:
    """A tool that calls itself as its parameters say, and what each of its calls has to come to."""

    def __init__(self) -> None:
        self.host: Host
        self.numbers = count()
        self.ends: list[tuple[int, int, str]] = []
        self.scopes: dict[int, trio.CancelScope] = {}

    async def __call__(self, parameters: dict[str, Any], context: Any) -> Any:
        node = parameters["node"]
        if node["together"]:
            async with trio.open_nursery() as nursery:
                for child in node["children"]:
                    nursery.start_soon(self.call, child, parameters["number"])
        else:
            for child in node["children"]:
                await self.call(child, parameters["number"])
        if node["end"] == "failed":
            raise ToolError("no", code="no")
        if node["end"] == "cancelled":
            self.scopes[parameters["number"]].cancel()
            await trio.sleep_forever()
        return None

    async def call(self, node: dict[str, Any], parent: int = -1) -> None:
        number = next(self.numbers)
        self.ends.append((number, parent, node["end"]))
        with trio.CancelScope() as self.scopes[number], suppress(LlmspellError):
            await self.host.call("tool:play", {"node": node, "number": number})


nodes = st.recursive(
    st.fixed_dictionaries(
        {
            "end": st.sampled_from(["completed", "failed", "cancelled"]),
            "together": st.just(False),
            "children": st.just([]),
        }
    ),
    lambda inner: st.fixed_dictionaries(
        {
            "end": st.sampled_from(["completed", "failed", "cancelled"]),
            "together": st.booleans(),
            "children": st.lists(inner, max_size=4),
        }
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.lists(nodes, min_size=1, max_size=3))
def test_every_operation_is_one_span_that_ends_within_the_one_around_it(trees: list[dict[str, Any]]) -> None:
    play = Play()

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with opened(Watched, make_tool("play", play), settings=watched(values="full")) as play.host:
            async with trio.open_nursery() as nursery:
                for tree in trees:
                    nursery.start_soon(play.call, tree)
            return await Watched.newest.snapshot(), await Watched.newest.chrome()

    told, trace = run(main)

    found = check_trace(trace)
    by_number = {each["asked"]["parameters"]["number"]: each for each in told["spans"]}
    by_id = {each["operation"]: each for each in told["spans"]}
    parent_of = {number: parent for number, parent, _ in play.ends}
    assert told["running"] == []
    assert (told["kept"], told["dropped"]) == (len(play.ends), 0)
    assert {(number, each["status"]) for number, each in by_number.items()} == {(n, end) for n, _, end in play.ends}
    assert set(found) == set(by_id)
    for number, each in by_number.items():
        around = by_id.get(each.get("parent", ""))
        assert (around["asked"]["parameters"]["number"] if around else -1) == parent_of[number]
        if around is not None:
            assert around["begin_ns"] <= each["begin_ns"] <= each["end_ns"] <= around["end_ns"]
            within = found[each["operation"]]["within"]
            assert within == (around["operation"] if around["task"] == each["task"] else "")


@given(st.integers(1, 6), st.integers(0, 15))
def test_the_buffer_keeps_the_newest_whole_and_counts_the_rest(buffer: int, calls: int) -> None:
    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with opened(Watched, make_tool("echo", _echo), settings=watched(buffer=buffer)) as host:
            for number in range(calls):
                await host.call("tool:echo", {"text": f"n{number}"})
                if number % 4 == 3:
                    await Watched.newest.snapshot()
            return await Watched.newest.snapshot(), await Watched.newest.chrome()

    told, trace = run(main)

    texts = [each["asked"]["parameters"]["text"] for each in told["spans"]]
    assert texts == [f"n{number}" for number in range(calls)][-buffer:]
    assert (told["kept"], told["dropped"]) == (len(texts), calls - len(texts))
    assert len(check_trace(trace)) == len(texts)


async def test_what_is_shorter_than_asked_for_is_counted_only() -> None:
    async with opened(Watched, make_tool("echo", _echo), settings=watched(min_ms=3_600_000)) as host:
        await host.call("tool:echo", {})
        told = await Watched.newest.snapshot()

    assert (told["spans"], told["short"], told["kept"], told["running"]) == ([], 1, 0, [])


async def test_what_runs_now_is_told_and_has_a_span_when_its_caller_has_left_it() -> None:
    begun = trio.Event()

    async def wait(parameters: Any, context: Any) -> None:
        begun.set()
        await trio.sleep_forever()

    async with opened(Watched, make_tool("wait", wait), settings=watched()) as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.call, "tool:wait")
            await begun.wait()
            told = await Watched.newest.snapshot()
            nursery.cancel_scope.cancel()
        (span,) = await spans()

    assert [each["component"] for each in told["running"]] == ["tool:wait"]
    assert told["spans"] == []
    assert span["status"] == "cancelled"
    assert span["operation"] == told["running"][0]["operation"]


async def test_a_snapshot_ends_while_others_go_on_and_counts_what_it_holds() -> None:
    """Calls follow upon each other as long as it takes."""

    async def go_on() -> None:
        while True:
            await host.call("tool:echo", {})

    async with opened(Watched, make_tool("echo", _echo), settings=watched(buffer=300)) as host:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(go_on)
            with trio.fail_after(PATIENCE_S):
                told = await Watched.newest.snapshot()
                while not told["dropped"]:
                    told = await Watched.newest.snapshot()
            nursery.cancel_scope.cancel()
        last = await Watched.newest.snapshot()

    for each in (told, last):
        numbers = [int(span["operation"].rpartition("-")[2]) for span in each["spans"]]
        assert each["kept"] == len(numbers) == 300
        assert max(numbers) - min(numbers) < 300 + 2 * 4  # none in the middle is missing, but for those that run
    assert last["running"] == []


# What hooks do to them.


async def test_a_span_tells_what_was_changed_between_what_was_asked_and_what_ran() -> None:
    def change(context: HookContext[Any]) -> Modified:
        return context.modify(parameters={"text": "new", "extra": 1})

    (span,) = await spans_of(make_plugin("changes", (BEFORE, change, {"priority": "highest"})), text="old", gone=2)

    assert span["asked"]["parameters"] == {"text": "old", "gone": 2}
    assert {row["field"]: (row.get("before"), row.get("after")) for row in span["changed"]} == {
        "parameters.text": ("old", "new"),
        "parameters.gone": (2, None),
        "parameters.extra": (None, 1),
    }
    assert span["answer"]["result"] == "new"


async def test_a_span_tells_attempts_and_forks() -> None:
    def again(context: HookContext[Any]) -> Retry | None:
        return Retry(0.0) if context.operation.attempt < 3 else None

    def fork(context: HookContext[Any]) -> Fork | None:
        return Fork((Call("tool:other", {"fail": True}),)) if context.component.name == "echo" else None

    plugin = make_plugin("acts", (ERROR, again, {"match": "echo"}), (BEFORE, fork, {}))
    found = await spans_of(plugin, make_tool("other", _echo), fail=True)

    echo = next(each for each in found if each["component"] == "tool:echo")
    others = [each for each in found if each["component"] == "tool:other"]
    assert (echo["attempt"], echo["status"]) == (3, "failed")
    assert echo["forks"] == [{"call": "tool:other", "status": "failed"}] * len(others)
    assert {each["parent"] for each in others} == {echo["operation"]}
    assert all(echo["begin_ns"] <= each["begin_ns"] <= each["end_ns"] <= echo["end_ns"] for each in others)


async def test_a_span_tells_which_hook_cancelled() -> None:
    refuse = make_plugin("acts", (BEFORE, lambda context: Cancel("not today"), {"kind": "guard", "name": "refuse"}))
    (span,) = await spans_of(refuse, text="x")

    assert (span["status"], span["cancelled_by"]) == ("cancelled", "acts.refuse")
    assert "not today" in span["answer"]["message"]


async def test_an_answer_in_the_place_of_the_body_is_the_answer_of_the_span() -> None:
    (span,) = await spans_of(make_plugin("acts", (BEFORE, lambda context: Replace("instead"), {})), text="x")

    assert (span["status"], span["answer"]["result"]) == ("completed", "instead")


async def test_what_an_observer_behind_the_end_calls_lies_within_the_operation_that_it_observes() -> None:
    async def look(context: HookContext[Any]) -> None:
        if context.component.name == "echo":
            await host.call("tool:other", {})

    plugin = make_plugin("looks", (AFTER, look, {"kind": "observe", "priority": "lowest"}))
    tools = [make_tool("echo", _echo), make_tool("other", _echo)]
    async with opened(Watched, *tools, plugin, settings=watched()) as host:
        await host.call("tool:echo", {})
        echo, other = await spans()

    assert other["parent"] == echo["operation"]
    assert echo["begin_ns"] <= other["begin_ns"] <= other["end_ns"] <= echo["end_ns"]


async def test_what_a_task_in_the_background_goes_on_with_stands_beside_and_is_led_to() -> None:
    ended = trio.Event()

    async def leave(parameters: Any, context: Any) -> None:
        nursery.start_soon(later)

    async def later() -> None:
        await ended.wait()
        await host.call("tool:echo", {})

    async with opened(Watched, make_tool("leave", leave), make_tool("echo", _echo), settings=watched()) as host:
        async with trio.open_nursery() as nursery:
            await host.call("tool:leave", {})
            ended.set()
        told, trace = await spans(), await Watched.newest.chrome()

    left, _ = told
    assert {each["component"] for each in told} == {"tool:leave", "tool:echo"}
    found = check_trace(trace)
    assert all(each["within"] == "" for each in found.values())
    assert left["component"] == "tool:leave"


# Secrets.


@pytest.mark.parametrize("values", ["cut", "full"])
@pytest.mark.parametrize("fail", [False, True])
async def test_no_secret_is_in_a_trace(values: str, fail: bool) -> None:
    def change(context: HookContext[Any]) -> Modified:
        given = context.subject.parameters
        return context.modify(parameters={**given, "note": f"also {SECRET}", "password": "hunter two"})

    plugin = make_plugin("changes", (BEFORE, change, {}))
    given: dict[str, Any] = {"text": f"{'x' * 190} {SECRET}", "api_key": "swordfish", "fail": fail}
    async with opened(Watched, make_tool("echo", _echo), plugin, settings=watched(values=values)) as host:
        with suppress(ToolError):
            await host.call("tool:echo", given)
        told = json.dumps([await Watched.newest.snapshot(), await Watched.newest.chrome()])

    assert "parameters.note" in told
    assert not any(part in told for part in (SECRET[:12], SECRET[-12:], "hunter", "swordfish"))


# Memory.


async def test_memory_is_measured_where_settings_want_it_and_only_as_long() -> None:
    kept: list[bytes] = []

    async def keep(parameters: Any, context: Any) -> None:
        kept.append(bytes(64_000_000))  # so much that what the rest of the process lets go of meanwhile is little

    traced = tracemalloc.is_tracing()
    async with opened(Watched, make_tool("keep", keep), settings=watched(memory=True)) as host:
        await host.call("tool:keep", {})
        (span,) = await spans()
    (other,) = await spans_of()

    assert span["memory_bytes"] > 32_000_000
    assert "memory_bytes" not in other
    assert tracemalloc.is_tracing() == traced


# The file.


async def test_a_folder_that_is_not_there_leaves_the_plugin_out_and_the_host_works(tmp_path: Path) -> None:
    file = tmp_path / "none" / "trace.json"
    async with opened(Watched, make_tool("echo", _echo), settings=watched(export=str(file))) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]
        await host.call("tool:echo", {})

    assert f"{file.parent} is no folder" in failed.error


async def test_a_file_that_cannot_be_written_is_told_once_and_harms_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    file = folder / "trace.json"
    async with opened(Watched, make_tool("echo", _echo), settings=watched(export=str(file))) as host:
        folder.rmdir()
        await host.call("tool:echo", {})
        assert [str(problem) for problem in host.problems] == []

    (problem,) = map(str, host.problems)
    assert f"{file} cannot be written: " in problem


@pytest.mark.parametrize("format", ["chrome", "json"])
async def test_the_file_holds_all_that_ended_when_the_host_has(format: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    table = watched(export=str(file), format=format)
    async with opened(Watched, make_tool("echo", _echo), settings=table) as host:
        for number in range(70):
            await host.call("tool:echo", {"text": str(number)})
        assert not file.exists()

    told = json.loads(file.read_text())
    found = told["spans"] if format == "json" else [each["args"] for each in check_trace(told).values()]
    assert [each["asked"]["parameters"]["text"] for each in found] == [str(number) for number in range(70)]
    assert os.listdir(tmp_path) == ["trace.json"]


# Each sort of operation, end to end.


def tree(told: list[dict[str, Any]], parent: str = "") -> list[Any]:
    """Return the spans as they nest."""
    own = [each for each in told if each.get("parent", "") == parent]
    return [(each["component"], each["status"], tree(told, each["operation"])) for each in own]


async def test_the_turns_of_an_agent_are_spans_with_their_models_and_tools_within() -> None:
    model = ScriptedModel(asks(("echo", {"text": "hi"})), says("done"))
    async with opened(Watched, make_tool("echo", _echo), model, settings=watched()) as host:
        agent = await host.agents.create(name="writer", model="scripted/play", tools=["echo"])
        await agent.run("go")
        told = await spans()

    model_call: Any = ("model:scripted/play", "completed", [])
    inner = [model_call, ("tool:echo", "completed", []), model_call]
    assert tree(told) == [("agent:writer", "completed", inner)]
    assert len({each["correlation"] for each in told}) == 1


async def test_the_stages_of_a_workflow_are_spans_of_it() -> None:
    stages = [
        {"name": "one", "tool": "echo", "input": {"text": "a"}},
        {"name": "two", "tool": "echo", "input": {"fail": True}},
    ]
    async with opened(Watched, make_tool("echo", _echo), settings=watched()) as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        with suppress(LlmspellError):
            await handle.run({})
        told, trace = await spans(), await Watched.newest.chrome()

    one: Any = ("workflow_stage:w.one", "completed", [("tool:echo", "completed", [])])
    two: Any = ("workflow_stage:w.two", "failed", [("tool:echo", "failed", [])])
    assert tree(told) == [("workflow:w", "failed", [one, two])]
    assert len(check_trace(trace)) == 5


async def test_a_workflow_that_is_resumed_is_a_span_though_nothing_is_asked_before_it(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("again", "a"), acting("again", "b")]}, "b")
    table = {"storage": {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "kept.db")}}, **watched()}

    async with opened(Watched, *effects.tools(), settings=table) as host:
        await host.get(Workflows).resume("r", take_over=True)
        told = await spans()

    outer = told[0]
    assert outer["component"] == "workflow:w"
    assert [each["component"] for each in told[1:]] == ["workflow_stage:w.b", "tool:again"]
    assert all(outer["begin_ns"] <= each["begin_ns"] <= each["end_ns"] <= outer["end_ns"] for each in told)


SCRIPT = """
Tool.execute("calculator", {operation = "evaluate", input = "1 + 1"})
pcall(function() Tool.execute("calculator", {operation = "evaluate", input = "1 +"}) end)
return "done"
"""


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    environment = {**os.environ, **places}
    pipe = subprocess.PIPE
    return subprocess.Popen([COMMAND, *arguments], cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("enabled", ["hook", "set"])
def test_a_person_gets_the_trace_of_a_script(enabled: str, tmp_path: Path) -> None:
    def llmspell(*arguments: str) -> None:
        with begin(tmp_path, *arguments) as process:
            _, told = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, told) == (0, "")

    (tmp_path / "script.lua").write_text(SCRIPT)
    switch = ["--set", "plugins.debugging.enabled=true"]
    if enabled == "hook":
        llmspell("hook", "enable", "debugging")
        switch = []
    llmspell("run", "script.lua", *switch, "--set", "plugins.debugging.export=trace.json")

    found = check_trace(json.loads((tmp_path / "trace.json").read_text()))
    script, first, second = found.values()
    assert [each["name"] for each in found.values()] == ["script:script.lua", "tool:calculator", "tool:calculator"]
    assert [each["args"]["status"] for each in found.values()] == ["completed", "completed", "failed"]
    assert first["within"] == second["within"] == script["args"]["operation"]


def test_the_trace_of_a_script_that_is_interrupted_is_written(tmp_path: Path) -> None:
    (tmp_path / "script.lua").write_text('print("ready") while true do end')
    switch = ["--set", "plugins.debugging.enabled=true", "--set", "plugins.debugging.export=trace.json"]

    with begin(tmp_path, "run", "script.lua", *switch) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)

    (script,) = check_trace(json.loads((tmp_path / "trace.json").read_text())).values()
    assert process.returncode == 130
    assert script["args"]["status"] == "cancelled"


async def test_a_cancelled_call_says_so_to_its_caller_as_without_the_plugin() -> None:
    plugin = make_plugin("denies", (BEFORE, lambda context: Cancel("no"), {"kind": "guard"}))
    async with opened(Watched, make_tool("echo", _echo), plugin, settings=watched()) as host:
        with pytest.raises(OperationCancelledError, match="no"):
            await host.call("tool:echo", {})
