"""Durable stages that wait for a person, and those whose end cannot be kept as it was: what runs, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError, WorkflowError
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.runs import Verdict
from llmspell_hookspecs.workflows import Workflows

ASK = Cancel("somebody looks first", "approval_required")
HOLD = "hold"
"""The input of a stage about which somebody is asked."""
BAD = "bad"
"""The input of a stage that fails."""


def stage(name: str, given: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "tool": "act", "input": {"name": name if given is None else given}, **more}


def waiting(name: str = "m", **more: Any) -> dict[str, Any]:
    return stage(name, HOLD, **more)


ITEM = "{{loop:current_item}}"
PLANS: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "a sequence": ({"stages": [stage("a"), waiting(), stage("b")]}, {"a"}, {"a", HOLD, "b"}),
    "branches": (
        {
            "pattern": "parallel",
            "branches": [
                {"name": "l", "stages": [waiting(), stage("b")]},
                {"name": "k", "stages": [stage("a")]},
            ],
        },
        {"a"},
        {"a", HOLD, "b"},
    ),
    "a graph": (
        {
            "pattern": "graph",
            "stages": [waiting(), stage("b", needs=["m"]), stage("c", needs=["b"]), stage("a")],
        },
        {"a"},
        {"a", HOLD, "b", "c"},
    ),
    "a graph by references": (
        {
            "pattern": "graph",
            "stages": [
                waiting(),
                stage("b", '{{step:m:output|default:"there was none"}}'),
                stage("c", "{{step:m:output}}"),
            ],
        },
        set(),
        {HOLD},
    ),
    "a graph that goes on": (
        {"pattern": "graph", "on_error": "continue", "stages": [waiting(), stage("b", needs=["m"])]},
        set(),
        {HOLD, "b"},
    ),
    "a pipeline": (
        {"pattern": "pipeline", "items": ["x", HOLD, "y"], "stages": [stage("m", ITEM), stage("n", f"{ITEM}2")]},
        {"x", "x2", "y", "y2"},
        {"x", "x2", "y", "y2", HOLD, f"{HOLD}2"},
    ),
    "a map": (
        {"pattern": "map_reduce", "items": ["x", HOLD], "stages": [stage("m", ITEM)], "reduce": stage("sum")},
        {"x"},
        {"x", HOLD, "sum"},
    ),
    "a loop": (
        {"pattern": "loop", "items": ["x", HOLD, "y"], "stages": [stage("m", ITEM)]},
        {"x"},
        {"x", HOLD, "y"},
    ),
    "a condition": (
        {
            "pattern": "conditional",
            "branches": [{"name": "l", "condition": "always", "stages": [waiting(), stage("b")]}],
        },
        set(),
        {HOLD, "b"},
    ),
    "an adaptive run": ({"pattern": "adaptive", "stages": [waiting(), stage("b")]}, set(), {HOLD, "b"}),
    "one within another": (
        {"pattern": "graph", "stages": [{"name": "w", "workflow": "inner"}, stage("b", needs=["w"])]},
        set(),
        {HOLD, "after", "b"},
    ),
}


class Desk:
    """A tool that writes down what it does, and a guard that asks about one input."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def act(self, parameters: Mapping[str, Any], context: Any) -> Any:
        name = str(parameters["name"] if isinstance(parameters["name"], str) else parameters["name"]["result"])
        if name == BAD:
            raise ValueError("it broke")
        self.done.append(name)
        return {"result": name}

    def opened(self) -> Any:
        tools = [make_tool("act", self.act, repeatable=False)]
        return opened(*tools, settings={"storage": {"backend": "memory"}})

    def ask(self, host: Host) -> None:
        def judge(context: Any) -> Any:
            return ASK if context.subject.parameters.get("name") == HOLD else None

        host.hooks.register("before_tool_execution", judge, kind="guard", match="act", name="ask")


@pytest.mark.parametrize("plan", PLANS)
async def test_nothing_that_needs_what_waits_runs_before_it_and_all_of_it_once_afterwards(plan: str) -> None:
    desk = Desk()
    definition, before, after = PLANS[plan]
    async with desk.opened() as host:
        desk.ask(host)
        workflows, approvals = host.get(Workflows), host.get(Approvals)
        await workflows.create({"name": "inner", "stages": [waiting(), stage("after")]})
        made = await workflows.create({"name": "w", **definition})
        output = await made.run(run_id="r", durable=True)
        paused, first = output.status, list(desk.done)
        for question in await approvals.list(status="pending"):
            await approvals.allow(question.id)
        ended = await workflows.resume("r")

    assert paused == "paused"
    assert set(first) == before
    assert ended.status == "completed"
    assert set(desk.done) == after
    assert all(desk.done.count(name) == 1 for name in after if name != HOLD or "references" not in plan)


@pytest.mark.parametrize("on_error", ["fail_fast", "compensate"])
async def test_an_optional_branch_that_fails_lets_a_run_wait_and_undoes_nothing(on_error: str) -> None:
    desk = Desk()
    branches = [
        {"name": "l", "stages": [stage("pay", compensate=stage("refund")), waiting()]},
        {"name": "k", "required": False, "stages": [stage("n", BAD)]},
    ]
    async with desk.opened() as host:
        desk.ask(host)
        made = await host.get(Workflows).create(
            {"name": "w", "pattern": "parallel", "fail_fast": False, "on_error": on_error, "branches": branches}
        )
        output = await made.run(durable=True)

    assert output.status == "paused"
    assert desk.done == ["pay"]


async def test_a_required_branch_that_fails_fails_the_run_though_another_waits() -> None:
    desk = Desk()
    branches = [{"name": "l", "stages": [waiting()]}, {"name": "k", "stages": [stage("n", BAD)]}]
    async with desk.opened() as host:
        desk.ask(host)
        made = await host.get(Workflows).create(
            {"name": "w", "pattern": "parallel", "fail_fast": False, "branches": branches}
        )
        with pytest.raises(WorkflowError, match="it broke"):
            await made.run(durable=True)


@pytest.mark.parametrize(("action", "runs"), [("done", 0), ("skip", 0), ("again", 1)])
async def test_what_a_person_says_of_a_stage_that_failed_counts(action: Any, runs: int) -> None:
    desk = Desk()
    broken = True

    async def pay(context: Any) -> Any:
        desk.done.append("pay")
        if broken:
            raise ValueError("connection lost")
        return {"receipt": 2}

    async with desk.opened() as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "stages": [{"name": "pay", "function": pay}]})
        with pytest.raises(WorkflowError):
            await made.run(run_id="r", durable=True)
        broken = False
        desk.done.clear()
        output = await workflows.resume("r", verdicts={"pay": Verdict(action, {"receipt": 1})})
        with pytest.raises(InvalidInputError, match="it is completed"):
            await workflows.resume("r", verdicts={"pay": Verdict("again")})

    assert output.status == "completed"
    assert desk.done == ["pay"] * runs
    assert output.output == {"done": {"receipt": 1}, "skip": None, "again": {"receipt": 2}}[action]


async def test_a_stage_that_is_done_is_nothing_to_decide_about() -> None:
    desk = Desk()
    async with desk.opened() as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "stages": [stage("a"), stage("b", BAD)]})
        with pytest.raises(WorkflowError):
            await made.run(run_id="r", durable=True)
        with pytest.raises(InvalidInputError, match="no stage 'a' to decide about; there are b"):
            await workflows.resume("r", verdicts={"a": Verdict("again")})


@pytest.mark.parametrize("rows", [1, 3_000])
async def test_what_ended_as_its_run_was_cancelled_is_undone(rows: int) -> None:
    """The checkpoint at which it might be lost comes every so many turns, so it is tried often."""
    undone: list[int] = []
    times = 80
    async with Desk().opened() as host:
        workflows = host.get(Workflows)
        for number in range(times):
            scope = trio.CancelScope()

            def pay(context: Any, scope: trio.CancelScope = scope) -> Any:
                scope.cancel()
                return {"rows": [[each] for each in range(rows)]}

            undo = {"name": "refund", "function": lambda context, number=number: undone.append(number)}
            stages = [{"name": "pay", "function": pay, "compensate": undo}, {"name": "z", "function": lambda c: 1}]
            made = await workflows.create({"name": f"w{number}", "on_cancel": "compensate", "stages": stages})
            with scope:
                await made.run(durable=True)

    assert undone == list(range(times))


async def test_what_is_kept_of_a_large_value_is_what_it_was_at_one_moment() -> None:
    book = [{"id": number, "held": [0]} for number in range(20_000)]

    async def show(context: Any) -> Any:
        return book

    async def move(context: Any) -> None:
        for _ in range(40):  # what one loses the other has, whenever anybody looks
            book[0]["held"], book[-1]["held"] = [book[0]["held"][0] - 1], [book[-1]["held"][0] + 1]  # type: ignore[index]
            await trio.sleep(0.001)

    stages = [{"name": "show", "function": show}, {"name": "move", "function": move}]
    async with Desk().opened() as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "pattern": "parallel", "stages": stages})
        await made.run(run_id="r", durable=True)
        details = await workflows.run_details("r")

    assert details is not None
    (kept,) = [each.output for each in details.stages if each.path.endswith("show")]
    assert sum(row["held"][0] for row in kept) == 0


async def test_what_is_shared_while_a_stage_is_written_harms_nobody() -> None:
    async with Desk().opened() as host, trio.open_nursery() as nursery:

        async def share(context: Any) -> int:
            async def later() -> None:
                for number in range(40):
                    context.shared[f"later{number}"] = number
                    await trio.sleep(0.0005)

            nursery.start_soon(later)
            for number in range(3):
                context.shared[f"s{number}"] = [[each] for each in range(3_000)]
            return 1

        made = await host.get(Workflows).create({"name": "w", "stages": [{"name": "a", "function": share}]})
        output = await made.run(durable=True)

    assert output.status == "completed"


async def test_a_run_whose_result_is_too_large_to_keep_fails_and_can_be_deleted(tmp_path: Path) -> None:
    stage_of = {"name": "s", "function": lambda context: "x" * 4_000_000}
    async with Desk().opened() as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "pattern": "loop", "range": {"end": 3}, "stages": [stage_of]})
        with pytest.raises((ResourceLimitError, WorkflowError), match="keep at most 10000000"):
            await made.run(run_id="r", durable=True)
        details = await workflows.run_details("r")
        deleted = await workflows.delete_run("r")

    assert details is not None
    assert (details.info.status, details.info.live) == ("failed", False)
    assert [each.status for each in details.stages] == ["done"] * 3
    assert deleted


class Stubborn(dict[str, Any]):
    """A mapping that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("not now")


@pytest.mark.parametrize("rows", [1, 3_000])
async def test_what_cannot_be_kept_is_its_stages_failure_and_that_stage_is_asked_about(rows: int) -> None:
    ran: list[str] = []

    async def pay(context: Any) -> Any:
        ran.append("pay")
        return {"held": Stubborn(a=1), "rows": [[each] for each in range(rows)]}

    async with Desk().opened() as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "stages": [{"name": "pay", "function": pay}]})
        with pytest.raises(WorkflowError, match=r"stage pay: .*not now") as failed:
            await made.run(run_id="r", durable=True)
        output = await workflows.resume("r")

    assert failed.value.stage == "pay"
    assert output.status == "paused"
    assert ran == ["pay"]


async def test_an_input_that_cannot_be_kept_is_its_stages_failure() -> None:
    desk = Desk()
    twice = {"name": "x", "more": ["{{step:long:output}}", "{{step:long:output}}"]}
    stages = [
        {"name": "long", "function": lambda context: "x" * 6_000_000},
        {"name": "a", "tool": "act", "input": twice, "on_error": "continue"},
        stage("b"),
    ]
    async with desk.opened() as host:
        made = await host.get(Workflows).create({"name": "w", "stages": stages})
        output = await made.run(durable=True)

    assert (output.status, output.failed) == ("partial", ("a",))
    assert desk.done == ["b"]


async def test_who_comes_while_branches_run_is_told_of_each() -> None:
    told: list[str] = []
    async with Desk().opened() as host:

        async def come(context: Any) -> None:
            host.hooks.register(
                "parallel_synchronization", lambda context: told.append(context.subject.branch), kind="observe"
            )

        stages = [{"name": "a", "function": come}, {"name": "b", "function": lambda context: 1}]
        made = await host.get(Workflows).create({"name": "w", "pattern": "parallel", "stages": stages})
        await made.run()

    assert sorted(told) == ["a", "b"]


@pytest.mark.parametrize("rows", [1, 3_000])
async def test_a_run_that_is_cancelled_as_it_ends_has_ended_and_did_not_fail(rows: int) -> None:
    """The secrets of a large output are hidden beside the loop, which must be no place to lose it at."""
    async with Desk().opened() as host:
        scope = trio.CancelScope()

        def pay(context: Any) -> Any:
            scope.cancel()
            return {"password": "p", "rows": [[each] for each in range(rows)]}

        made = await host.get(Workflows).create({"name": "w", "stages": [{"name": "pay", "function": pay}]})
        with scope:
            output = await made.run()

    assert output.status == "completed" and output.output["password"] == "p"
    assert (made.info.runs, made.info.failed) == (1, 0)
