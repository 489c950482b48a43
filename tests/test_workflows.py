"""Workflows through a host: patterns, references, retries, compensation, guards, and what is refused."""

from __future__ import annotations

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
