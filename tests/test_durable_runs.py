"""Durable runs through a host: what is kept, what a resumed run repeats and asks, and who may write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs.errors import ComponentNotFoundError, InvalidInputError, WorkflowError
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.workflow import WorkflowOutput
from llmspell_hookspecs.workflows import Workflows
from state_scenarios import Counted


class Effects:
    """A tool of each sort that writes down what it does, and dies where it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: list[str] = []
        self.keys: dict[str, set[str]] = {}
        self.dies_at = ""
        self.dies_before = False
        self.scope = trio.CancelScope()

    def tools(self) -> list[Any]:
        sorts: dict[str, dict[str, Any]] = {
            "again": {"repeatable": True},
            "keyed": {"repeatable": False, "effects": "keyed"},
            "once": {"repeatable": False},
        }
        return [make_tool(name, self.act, **attributes) for name, attributes in sorts.items()]

    async def act(self, parameters: dict[str, Any], context: Any) -> Any:
        name = parameters["name"]
        if name == self.dies_at and self.dies_before:
            self.scope.cancel()
            await trio.sleep_forever()
        self.done.append(name)
        self.keys.setdefault(name, set()).add(context.key)
        if name == self.dies_at:
            self.scope.cancel()
            await trio.sleep_forever()
        return {"result": name}

    @asynccontextmanager
    async def host(self, **options: Any) -> AsyncIterator[Host]:
        storage = {"backend": "sqlite", "sqlite": {"path": str(self.folder / "kept.db")}}
        async with opened(*self.tools(), settings={"storage": storage}, **options) as host:
            yield host


def acting(tool: str, name: str) -> dict[str, Any]:
    return {"name": name, "tool": tool, "input": {"name": name}}


async def crash(effects: Effects, definition: Mapping[str, Any], at: str, *, before: bool = False) -> None:
    """Run a workflow whose process ends, as far as anything kept can tell, within a stage."""
    effects.dies_at, effects.dies_before, effects.scope = at, before, trio.CancelScope()
    async with effects.host() as host:
        handle = await host.get(Workflows).create(definition)
        with effects.scope:
            await handle.run({"n": 1}, run_id="r", durable=True)
    effects.dies_at = ""


async def resume(effects: Effects, **options: Any) -> WorkflowOutput:
    async with effects.host() as host:
        return await host.get(Workflows).resume("r", take_over=True, **options)


@pytest.mark.parametrize(("tool", "runs"), [("again", 2), ("keyed", 2), ("once", 1)])
async def test_only_a_stage_that_says_so_runs_twice(tmp_path: Path, tool: str, runs: int) -> None:
    effects = Effects(tmp_path)
    stages = [acting("once", "a"), acting(tool, "b"), acting("once", "c")]

    await crash(effects, {"name": "w", "stages": stages}, "b")
    output = await resume(effects)

    assert (effects.done.count("a"), effects.done.count("b")) == (1, runs)
    assert len(effects.keys["b"]) == (1 if tool != "again" else len(effects.keys["b"]))
    assert output.status == ("paused" if tool == "once" else "completed")
    assert effects.done.count("c") == (0 if tool == "once" else 1)


@pytest.mark.parametrize(
    ("verdict", "runs", "status", "output"),
    [
        (Verdict("again"), 2, "completed", {"result": "b"}),
        (Verdict("skip"), 1, "completed", None),
        (Verdict("done", {"result": 7}), 1, "completed", {"result": 7}),
    ],
)
async def test_a_person_says_what_became_of_an_interrupted_stage(
    tmp_path: Path, verdict: Verdict, runs: int, status: str, output: Any
) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("once", "a"), acting("once", "b"), acting("again", "c")]}, "b")

    paused = await resume(effects)
    resumed = await resume(effects, verdicts={"b": verdict})

    assert paused.status == "paused"
    assert "b: it waits for a person" in paused.error
    assert (resumed.status, effects.done.count("b")) == (status, runs)
    assert resumed.outputs.get("b") == output
    assert effects.done.count("a") == 1


async def test_siblings_of_an_interrupted_stage_end_and_do_not_run_again(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    branches = [{"name": name, "stages": [acting("once", name), acting("once", f"{name}2")]} for name in "xyz"]

    await crash(effects, {"name": "w", "pattern": "parallel", "max_concurrency": 1, "branches": branches}, "y")
    paused = await resume(effects)
    resumed = await resume(effects, verdicts={"branch.y/y": Verdict("done", 1)})

    assert paused.status == "paused"
    assert resumed.status == "completed"
    assert sorted(effects.done) == sorted(["x", "x2", "y", "y2", "z", "z2"])


async def test_a_run_that_ended_answers_what_it_yielded_and_runs_nothing(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    async with effects.host() as host:
        handle = await host.get(Workflows).create({"name": "w", "durable": True, "stages": [acting("once", "a")]})
        first = await handle.run(run_id="r")

    again = await resume(effects)

    assert (again.status, again.output, again.outputs) == ("completed", first.output, first.outputs)
    assert effects.done == ["a"]


async def test_what_a_function_does_to_an_earlier_output_changes_nothing() -> None:
    def spoil(context: Any) -> Any:
        context.output("a")["list"].append("spoilt")
        context.input.append("spoilt")
        context.shared["said"].append("spoilt")
        return [context.output("a"), context.input, context.shared["said"]]

    stages = [
        {"name": "a", "function": lambda context: {"list": [1]}},
        {"name": "b", "function": spoil, "input": "{{step:a:output.list}}"},
    ]
    async with opened() as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": stages, "shared": {"said": []}})
        output = await handle.run(durable=True)

    assert output.output == [{"list": [1]}, [1, "spoilt"], []]
    assert output.outputs["a"] == {"list": [1]}


async def test_an_output_that_cannot_be_kept_fails_its_stage() -> None:
    async with opened() as host:
        stages = [{"name": "a", "function": lambda context: object()}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        with pytest.raises((WorkflowError, InvalidInputError), match="cannot be kept"):
            await handle.run(durable=True)


async def test_a_run_that_is_not_durable_touches_no_storage() -> None:
    bench = Bench()
    bench.counting = "write"
    async with opened(Counted(bench)) as host:
        stages = [{"name": "a", "function": lambda context: 1}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        await handle.run()

        assert bench.runs == []
        await handle.run(durable=True)
        assert bench.runs


async def test_a_run_that_was_taken_over_writes_nothing_any_more(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    reached, go_on = trio.Event(), trio.Event()

    async def wait(parameters: dict[str, Any], context: Any) -> Any:
        if not reached.is_set():
            reached.set()
            with trio.CancelScope(shield=True):  # as a frozen process is
                await go_on.wait()
            effects.done.append("late")
        return 1

    stages = [{"name": "w", "tool": "wait", "input": {}}, acting("once", "b")]
    async with opened(*effects.tools(), make_tool("wait", wait), settings=kept(tmp_path)) as host:
        workflows = host.get(Workflows)
        handle = await workflows.create({"name": "w", "stages": stages})
        failures: list[Exception] = []

        async def be_frozen() -> None:
            try:
                await handle.run(run_id="r", durable=True)
            except WorkflowError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_frozen)
            await reached.wait()
            with pytest.raises(WorkflowError, match="somebody runs it"):
                await workflows.resume("r")
            output = await workflows.resume("r", take_over=True)
            go_on.set()

        details = await workflows.run_details("r")

    assert output.status == "completed"
    assert effects.done == ["b", "late"]
    assert "taken it over" in str(failures[0])
    assert details is not None
    assert (details.info.status, details.info.fence) == ("completed", 2)


def kept(folder: Path) -> dict[str, Any]:
    return {"storage": {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.db")}}}


async def test_functions_are_not_kept_so_their_workflow_has_to_be_there(tmp_path: Path) -> None:
    ran: list[str] = []

    def definition(second: str) -> dict[str, Any]:
        def fail(context: Any) -> Any:
            ran.append(second)
            if second == "fails":
                raise ValueError("not now")
            return second

        return {
            "name": "w",
            "stages": [{"name": "a", "function": lambda context: ran.append("a")}, {"name": "b", "function": fail}],
        }

    async with opened(settings=kept(tmp_path)) as host:
        with pytest.raises(WorkflowError, match="not now"):
            await (await host.get(Workflows).create(definition("fails"))).run(run_id="r", durable=True)
    async with opened(settings=kept(tmp_path)) as host:
        workflows = host.get(Workflows)
        with pytest.raises(ComponentNotFoundError, match="functions of w are not kept"):
            await workflows.resume("r")
        await workflows.create(definition("works"))
        output = await workflows.resume("r")

    assert output.output == "works"
    assert ran == ["a", "fails", "works"]


async def test_what_was_decided_is_not_decided_again(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    branches = [
        {
            "name": "yes",
            "condition": {"type": "shared_data_equals", "key": "n", "value": 0},
            "stages": [acting("keyed", "b")],
        },
        {"name": "no", "default": True, "stages": [acting("once", "c")]},
    ]
    asked: list[str] = []
    definition = {"name": "w", "pattern": "conditional", "shared": {"n": 0}, "branches": branches}
    effects.dies_at, effects.scope = "b", trio.CancelScope()
    for verdict in (True, False):
        async with effects.host() as host:
            host.hooks.register("condition_evaluation", lambda c: asked.append(c.subject.branch), kind="observe")
            if verdict:
                with effects.scope:
                    await (await host.get(Workflows).create(definition)).run(run_id="r", durable=True)
                effects.dies_at = ""
            else:
                await host.get(Workflows).resume("r", take_over=True)

    assert asked == ["yes"]
    assert effects.done == ["b", "b"]


async def test_an_undoing_that_was_cut_off_goes_on_and_nothing_else_begins(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    stages = [
        {**acting("once", "a"), "compensate": {"tool": "keyed", "input": {"name": "undo a"}}},
        {**acting("once", "b"), "compensate": {"tool": "keyed", "input": {"name": "undo b"}}},
        {"name": "c", "tool": "missing"},
        acting("once", "d"),
    ]

    await crash(effects, {"name": "w", "stages": stages, "on_error": "compensate"}, "undo a")
    with pytest.raises(WorkflowError, match="compensated"):
        await resume(effects)
    ended = await resume(effects)

    assert effects.done == ["a", "b", "undo b", "undo a", "undo a"]
    assert ended.status == "compensated"


async def test_a_nested_workflow_goes_on_where_it_was(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    effects.dies_at, effects.scope = "y", trio.CancelScope()
    for died in (True, False):
        async with effects.host() as host:
            workflows = host.get(Workflows)
            await workflows.create({"name": "inner", "stages": [acting("once", "x"), acting("keyed", "y")]})
            outer = await workflows.create(
                {"name": "outer", "stages": [acting("once", "a"), {"name": "i", "workflow": "inner"}]}
            )
            if died:
                with effects.scope:
                    await outer.run(run_id="r", durable=True)
                effects.dies_at = ""
            else:
                output = await workflows.resume("r", take_over=True)

    assert effects.done == ["a", "x", "y", "y"]
    assert output.status == "completed"


async def test_a_guard_denies_inside_a_resumed_run(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("once", "a"), acting("keyed", "b")]}, "b")
    async with effects.host() as host:
        host.hooks.register("before_tool_execution", lambda c: Cancel("not now"), kind="guard", match="keyed")
        with pytest.raises(Exception, match="not now"):
            await host.get(Workflows).resume("r", take_over=True)

    output = await resume(effects)

    assert effects.done == ["a", "b", "b"]
    assert output.status == "completed"


async def test_runs_are_listed_cancelled_and_deleted(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("once", "a"), acting("once", "b")]}, "b")
    async with effects.host() as host:
        workflows = host.get(Workflows)
        handle = await workflows.create({"name": "w", "stages": [acting("once", "a")]})
        await handle.run(run_id="r-2", durable=True)
        listed = [(info.run_id, info.status) for info in await workflows.runs()]
        unfinished = [info.run_id for info in await workflows.runs(unfinished=True)]
        await workflows.resume("r", take_over=True)
        details = await workflows.run_details("r")
        cancelled = await workflows.cancel_run("r"), await workflows.cancel_run("r-2")
        deleted = await workflows.delete_run("r"), await workflows.delete_run("r")
        left = [info.run_id for info in await workflows.runs()]

    assert listed == [("r-2", "completed"), ("r", "cancelled")]
    assert unfinished == ["r"]
    assert details is not None
    assert [(stage.path, stage.status) for stage in details.stages] == [("a", "done"), ("b", "interrupted")]
    assert (details.info.status, details.info.waiting) == ("paused", ("b",))
    assert (cancelled, deleted, left) == ((True, False), (True, False), ["r-2"])


@pytest.mark.parametrize(
    ("kept", "left"),
    [
        ({"keep_runs": 2}, ["r-3", "r-4", "new"]),
        ({"keep_days": 0}, ["new"]),
        ({}, ["r-0", "r-1", "r-2", "r-3", "r-4", "new"]),
    ],
)
async def test_runs_that_ended_are_forgotten_by_age_and_number(
    tmp_path: Path, kept: dict[str, Any], left: list[str]
) -> None:
    stage = {"name": "a", "function": lambda context: 1}
    storage = {"backend": "sqlite", "sqlite": {"path": str(tmp_path / "kept.db")}}
    for names in (["r-0", "r-1", "r-2", "r-3", "r-4"], ["new"]):
        async with opened(settings={"storage": storage, "plugins": {"workflow": kept}}) as host:
            made = await host.get(Workflows).create({"name": "w", "stages": [stage]})
            for name in names:
                await made.run(run_id=name, durable=True)
            found = [info.run_id for info in await host.get(Workflows).runs()]

    assert sorted(found) == sorted(left)


async def test_a_run_that_goes_on_says_so(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    await crash(effects, {"name": "w", "stages": [acting("again", "a"), acting("again", "b")]}, "b")
    async with effects.host() as host, host.events.subscribe("workflow.resumed") as events:
        await host.get(Workflows).resume("r", take_over=True)
        event = await events.receive()

    assert event is not None
    assert (event.type, dict(event.data)) == ("workflow.resumed", {"name": "w", "run_id": "r"})


async def test_an_id_belongs_to_one_run() -> None:
    async with opened() as host:
        handle = await host.get(Workflows).create({"name": "w", "stages": [{"name": "a", "function": lambda c: 1}]})
        await handle.run(run_id="r", durable=True)
        with pytest.raises(WorkflowError, match="there is a run of this id"):
            await handle.run(run_id="r", durable=True)
        with pytest.raises(InvalidInputError, match="is no id"):
            await handle.run(run_id="a/b", durable=True)


async def test_ten_stages_are_eleven_writes_and_each_tells_a_checkpoint() -> None:
    bench = Bench()
    bench.counting = "write"
    told: list[Any] = []
    async with opened(Counted(bench)) as host:
        stages = [{"name": f"s{n}", "function": lambda context: 1} for n in range(10)]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        host.hooks.register("workflow_checkpoint", lambda c: told.append(c.subject), kind="observe")
        await handle.run(durable=True)

    assert len(bench.runs) == 11
    assert [checkpoint.sequence for checkpoint in told] == list(range(1, 12))


def each_item(tools: list[str]) -> list[dict[str, Any]]:
    return [
        {"name": f"s{n}", "tool": tool, "input": {"name": f"l{{{{loop:current_item}}}}.{n}"}}
        for n, tool in enumerate(tools)
    ]


PLANS: list[Callable[[Any], dict[str, Any]]] = [
    lambda tools: {"stages": [acting(tool, f"s{n}") for n, tool in enumerate(tools)]},
    lambda tools: {
        "pattern": "parallel",
        "fail_fast": False,
        "branches": [
            {"name": f"b{n}", "stages": [acting(tool, f"p{n}"), acting("again", f"q{n}")]}
            for n, tool in enumerate(tools)
        ],
    },
    lambda tools: {
        "pattern": "loop",
        "range": {"end": 2},
        "stages": [
            {"name": f"s{n}", "tool": tool, "input": {"name": f"l{{{{loop_index}}}}.{n}"}}
            for n, tool in enumerate(tools)
        ],
    },
    lambda tools: {
        "pattern": "graph",
        "fail_fast": False,
        "stages": [{**acting(tool, f"s{n}"), "needs": [f"s{n // 2}"] if n else []} for n, tool in enumerate(tools)],
    },
    lambda tools: {"pattern": "adaptive", "stages": [acting(tool, f"s{n}") for n, tool in enumerate(tools)]},
    lambda tools: {"pattern": "pipeline", "items": [0, 1], "stages": each_item(tools)},
    lambda tools: {"pattern": "map_reduce", "fail_fast": False, "items": [0, 1], "stages": each_item(tools)},
]


@settings(max_examples=40, deadline=None)
@given(
    tools=strategies.lists(strategies.sampled_from(["again", "keyed", "once"]), min_size=1, max_size=4),
    plan=strategies.sampled_from(PLANS),
    deaths=strategies.lists(strategies.tuples(strategies.integers(0, 9), strategies.booleans()), max_size=3),
)
def test_wherever_it_is_cut_off_a_run_ends_as_if_it_never_was(
    tmp_path_factory: pytest.TempPathFactory, tools: list[str], plan: Any, deaths: list[tuple[int, bool]]
) -> None:
    async def main() -> None:
        names = names_of(plan, tools)
        whole, cut = (Effects(tmp_path_factory.mktemp("run")) for _ in range(2))
        async with whole.host() as host:
            expected = await (await host.get(Workflows).create({"name": "w", **plan(tools)})).run(
                run_id="r", durable=True
            )
        output = await cut_off(cut, plan(tools), [(names[place % len(names)], before) for place, before in deaths])

        assert (output.status, output.output, output.outputs) == (expected.status, expected.output, expected.outputs)
        assert set(cut.done) == set(whole.done)
        for name in cut.done:
            assert sort_of(names, plan, tools, name) != "once" or cut.done.count(name) == 1
            assert sort_of(names, plan, tools, name) != "keyed" or len(cut.keys[name]) == 1

    run(main)


def names_of(plan: Any, tools: list[str]) -> list[str]:
    stages, items = [f"s{n}" for n, _ in enumerate(tools)], [f"l{i}.{n}" for i in range(2) for n, _ in enumerate(tools)]
    branches = [f"{c}{n}" for n, _ in enumerate(tools) for c in "pq"]
    return [stages, branches, items, stages, stages, items, items][PLANS.index(plan)]


def sort_of(names: list[str], plan: Any, tools: list[str], name: str) -> str:
    return "again" if name.startswith("q") else tools[int(name[1:].rpartition(".")[2])]


async def cut_off(effects: Effects, definition: dict[str, Any], deaths: list[tuple[str, bool]]) -> WorkflowOutput:
    """Run it, dying where it is said, and say of what was interrupted what the list of effects says."""
    begun = False
    for name, before in [*deaths, ("", False)]:
        for _ in range(10):
            effects.dies_at, effects.dies_before, effects.scope = name, before, trio.CancelScope()
            output = None
            async with effects.host() as host:
                workflows = host.get(Workflows)
                with effects.scope:
                    if not begun:
                        begun = True
                        output = await (await workflows.create({"name": "w", **definition})).run(
                            run_id="r", durable=True
                        )
                    else:
                        details = await workflows.run_details("r")
                        assert details is not None
                        verdicts = {
                            stage.path: Verdict("done", {"result": stage.input["name"]})
                            if stage.input["name"] in effects.done
                            else Verdict("again")
                            for stage in details.stages
                            if stage.status == "interrupted"
                        }
                        output = await workflows.resume("r", take_over=True, verdicts=verdicts)
            if output is None or output.status == "completed":
                break
    assert output is not None
    return output
