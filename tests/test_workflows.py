"""Workflows through a host: patterns, references, retries, compensation, guards, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell_hookspecs.errors import InvalidInputError, OperationCancelledError, WorkflowError
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.workflows import Workflows


def say(name: str, value: Any) -> dict[str, Any]:
    """Return a stage that yields a value."""
    return {"name": name, "function": lambda context: value}


def negated(condition: Any, times: int) -> Any:
    """Return the condition that says so many times that another one does not hold."""
    for _ in range(times):
        condition = {"type": "not", "condition": condition}
    return condition


async def run(definition: dict[str, Any], given: Any = None) -> Any:
    """Run a workflow in a host of its own."""
    async with opened() as host:
        return await (await host.get(Workflows).create({"name": "w", **definition})).run(given)


async def test_a_reference_alone_keeps_its_type_and_within_a_text_it_is_json() -> None:
    given = ["{{step:rows:output.n}}", "n={{step:rows}}"]
    stages = [
        say("rows", {"n": [1, {"a.b": 2}]}),
        {
            "name": "see",
            "function": lambda context: context.input,
            "input": given,
        },
    ]

    output = await run({"stages": stages})

    assert output.output == [[1, {"a.b": 2}], 'n={"n":[1,{"a.b":2}]}']


async def test_what_a_reference_brings_is_never_looked_at_again() -> None:
    stages = [
        say("model", "{{input}}"),
        {"name": "see", "function": lambda context: context.input, "input": "{{step:model}}"},
    ]

    assert (await run({"stages": stages}, "secret")).output == "{{input}}"


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"stages": [{"name": "a", "function": print, "input": "{{step:b}}"}]}, "there is no stage 'b'"),
        ({"stages": [{"name": "a", "function": print, "input": "{{step:b}}"}, say("b", 1)]}, "does not come before"),
        ({"stages": [{"name": "a", "function": print, "input": "{{stop:b}}"}]}, "nothing to refer to"),
        ({"stages": [{"name": "a", "function": print, "input": "{{step:b"}]}, "does not end"),
        ({"stages": [say("a", 1), say("a", 2)]}, "two of the stage 'a'"),
        ({"stages": [{"name": "a"}]}, "say what runs"),
        ({"stages": [say("a", 1)], "speed": 3}, "takes no options"),
        ({"pattern": "loop", "stages": [say("a", 1)]}, "write one of range, items and while"),
        ({"pattern": "loop", "stages": [say("a", 1)], "items": [1], "reduce": say("r", 1)}, "has a reduce"),
        ({"pattern": "conditional", "branches": [{"name": "a", "condition": "maybe"}]}, "is no condition"),
        (
            {
                "pattern": "conditional",
                "branches": [{"name": "a", "default": True, "stages": [say("b", 1)]}],
                "reduce": say("r", 1),
            },
            "has a reduce",
        ),
    ],
)
async def test_what_is_wrong_is_said_when_it_is_made(definition: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await run(definition)


async def test_a_stage_that_fails_runs_again_as_often_as_it_says() -> None:
    attempts: list[int] = []

    def fail_twice(context: Any) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return len(attempts)

    stage = {"name": "a", "function": fail_twice, "retry": {"attempts": 3, "delay_s": 0}}
    output = await run({"stages": [stage]})

    assert output.output == 3


async def test_what_completed_is_undone_in_reverse_order() -> None:
    undone: list[Any] = []
    undo = {"function": lambda context: undone.append(context.input)}
    stages = [
        {**say("a", 1), "compensate": {**undo, "input": "{{step:a}}"}},
        {**say("b", 2), "compensate": {**undo, "input": "{{step:b}}"}},
        {"name": "c", "function": lambda context: 1 / 0},
    ]

    with pytest.raises(WorkflowError, match="stage c: division by zero") as caught:
        await run({"stages": stages, "on_error": "compensate"})

    assert undone == [2, 1]
    output: Any = caught.value.output
    assert output.status == "compensated"


@pytest.mark.parametrize("on_cancel", ["", "compensate"])
async def test_a_cancelled_run_is_undone_if_it_says_so(on_cancel: str) -> None:
    undone: list[Any] = []
    undo = {"function": lambda context: undone.append(context.input), "input": "{{step:a}}"}

    async def wait(context: Any) -> None:
        scope.cancel()
        await trio.sleep_forever()

    with trio.CancelScope() as scope:
        stages = [{**say("a", 1), "compensate": undo}, {"name": "b", "function": wait}]
        await run({"stages": stages, "on_cancel": on_cancel})

    assert scope.cancelled_caught
    assert undone == ([1] if on_cancel else [])


async def test_a_stage_that_may_fail_leaves_out_those_that_need_it() -> None:
    stages = [
        {"name": "a", "function": lambda context: 1 / 0, "on_error": "continue"},
        {"name": "b", "function": lambda context: context.input, "input": "{{step:a}}"},
        say("c", 3),
    ]

    output = await run({"stages": stages})

    assert (output.status, output.output, output.failed, output.skipped) == ("partial", 3, ("a",), ("b",))


async def test_branches_run_beside_each_other_and_one_that_fails_cuts_off_the_rest() -> None:
    async def wait(context: Any) -> None:
        await trio.sleep_forever()

    with pytest.raises(WorkflowError, match="division"):
        await run(
            {
                "pattern": "parallel",
                "stages": [{"name": "a", "function": wait}, {"name": "b", "function": lambda c: 1 / 0}],
            }
        )


async def test_a_guard_stops_a_stage_within_a_branch_a_loop_and_a_nested_workflow() -> None:
    ran: list[str] = []
    stage = {"name": "danger", "function": lambda context: ran.append(context.path)}
    definitions: list[dict[str, Any]] = [
        {"name": "p", "pattern": "parallel", "branches": [{"name": "a", "stages": [stage]}]},
        {"name": "l", "pattern": "loop", "range": {"end": 3}, "stages": [stage]},
        {"name": "n", "stages": [{"name": "inner", "workflow": "l"}]},
    ]
    async with opened() as host:
        workflows = host.get(Workflows)
        made = [await workflows.create(definition) for definition in definitions]
        host.hooks.register("before_workflow_stage", lambda c: Cancel("no"), kind="guard", match="*.danger")
        for each in made:
            with pytest.raises(OperationCancelledError, match="no"):
                await each.run()

    assert ran == []


async def test_a_loop_ends_at_its_hard_limit_whatever_its_condition_says() -> None:
    output = await run({"pattern": "loop", "while": "always", "max_iterations": 5, "stages": [say("a", 1)]})

    assert output.output == [1] * 5
    assert output.details["break_reason"] == "max_iterations"


WRONG_TYPES: dict[str, Any] = {
    "no table": [],
    "a pattern that is a list": {"pattern": []},
    "stages that are a text": {"stages": "ab"},
    "a stage that is a number": {"stages": [3]},
    "a tool that is a number": {"stages": [{"name": "a", "tool": 3}]},
    "needs of numbers": {"stages": [{**say("a", 1), "needs": [1]}]},
    "needs that are a text": {"stages": [{**say("a", 1), "needs": "a"}]},
    "a time that is true": {"stages": [{**say("a", 1), "timeout_s": True}]},
    "a time that is no number": {"timeout_s": float("nan")},
    "a time that no clock knows": {"timeout_s": 10**400},
    "endless time": {"timeout_s": None},
    "a backoff that is no number": {"stages": [{**say("a", 1), "retry": {"backoff": float("nan")}}]},
    "a jitter above 1": {"stages": [{**say("a", 1), "retry": {"jitter": 2.0}}]},
    "attempts without end": {"stages": [{**say("a", 1), "retry": {"attempts": 10**30}}]},
    "a description that is a number": {"description": 10**5000},
    "a switch that is a text": {"durable": "yes"},
    "shared that is a list": {"shared": [1]},
    "more at once than there may be": {"pattern": "map_reduce", "items": [1], "max_concurrency": 129},
    "a range without end": {"pattern": "loop", "range": {"end": 10**30}},
    "a branch that is a text": {"pattern": "parallel", "stages": [], "branches": ["a"]},
    "a condition that is deep": {
        "pattern": "conditional",
        "stages": [],
        "branches": [{"name": "a", "stages": [say("b", 1)], "condition": negated("always", 250)}],
    },
}


@pytest.mark.parametrize("name", WRONG_TYPES)
async def test_what_is_of_another_type_is_refused_in_one_line(name: str) -> None:
    wrong = WRONG_TYPES[name]
    given = {"name": "w", "stages": [say("a", 1)], **wrong} if isinstance(wrong, dict) else wrong

    async with opened() as host:
        with pytest.raises(InvalidInputError) as caught:
            await host.get(Workflows).create(given)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


async def test_stages_of_one_name_are_each_tried_as_often_as_they_say() -> None:
    attempts: Counter[str] = Counter()

    def fail(context: Any) -> None:
        attempts[context.path] += 1
        raise ValueError("it broke")

    def stage(name: str, times: int) -> dict[str, Any]:
        return {"name": name, "function": fail, "retry": {"attempts": times, "delay_s": 0}, "on_error": "continue"}

    branches = [
        {"name": "a", "stages": [stage("fetch", 2)]},
        {"name": "b", "stages": [stage("fetch", 5)]},
        {"name": "c", "stages": [{**stage("fetch", 1), "repeatable": True}]},
    ]
    await run({"pattern": "parallel", "branches": branches})

    assert attempts == {"branch.a/fetch": 2, "branch.b/fetch": 5, "branch.c/fetch": 1}


async def test_workflows_whose_names_run_together_keep_their_own_retries() -> None:
    attempts: Counter[str] = Counter()

    def fail(context: Any) -> None:
        attempts[f"{context.workflow} {context.path}"] += 1
        raise ValueError("it broke")

    def stage(name: str, times: int) -> dict[str, Any]:
        return {"name": name, "function": fail, "retry": {"attempts": times, "delay_s": 0}, "on_error": "continue"}

    async with opened() as host:
        workflows = host.get(Workflows)
        first = await workflows.create({"name": "a.b", "stages": [stage("c", 2)]})
        second = await workflows.create({"name": "a", "stages": [stage("b.c", 4)]})
        await first.run()
        await second.run()

    assert attempts == {"a.b c": 2, "a b.c": 4}


async def test_waits_that_have_grown_beyond_every_number_are_the_longest_one() -> None:
    attempts: list[int] = []

    def fail(context: Any) -> None:
        attempts.append(1)
        raise ValueError("it broke")

    retry = {"attempts": 40, "delay_s": 1, "backoff": 1e12, "max_delay_s": 0}
    with pytest.raises(WorkflowError):
        await run({"stages": [{"name": "a", "function": fail, "retry": retry}]})

    assert len(attempts) == 40


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), ValueError("odd")])
async def test_whatever_a_condition_raises_the_run_ends_and_is_undone(raised: BaseException) -> None:
    undone: list[str] = []
    states: list[str] = []

    def decide(context: Any) -> bool:
        raise raised

    undo = {"function": lambda context: undone.append("say")}
    given = {
        "pattern": "loop",
        "stages": [{**say("a", 1), "compensate": undo}],
        "range": {"end": 3},
        "break_when": [decide],
        "on_error": "compensate",
    }
    async with opened() as host:
        host.hooks.register(
            "workflow_state_change", lambda context: states.append(context.subject.status), kind="observe"
        )
        made = await host.get(Workflows).create({"name": "w", **given})
        with pytest.raises(WorkflowError):
            await made.run()

    assert undone == ["say"]
    assert states == ["running", "compensated"]
