"""The patterns map_reduce, pipeline and graph through a host: order, bounds, cycles, guards, and any interleaving."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kernel import opened
from llmspell_hookspecs import Cancel, Modified
from llmspell_hookspecs.errors import InvalidInputError, OperationCancelledError, WorkflowError
from llmspell_hookspecs.workflows import Workflows

ITEM = "{{loop:current_item}}"


async def run(definition: dict[str, Any], given: Any = None, **hooks: Any) -> Any:
    async with opened() as host:
        for point, hook in hooks.items():
            host.hooks.register(point, hook)
        return await (await host.get(Workflows).create({"name": "w", **definition})).run(given)


def waiting(delays: list[int]) -> Any:
    """Return a function that yields what it is given, later or sooner as the delays say."""
    left = list(delays)

    async def function(context: Any) -> Any:
        for _ in range(left.pop() if left else 0):
            await trio.lowlevel.checkpoint()
        return context.input

    return function


def shapes(function: Any) -> list[dict[str, Any]]:
    items = [1, 2, 3, 4]
    first = {"name": "a", "function": function, "input": ITEM}
    then = {"name": "b", "function": function, "input": [ITEM, "{{step:a}}"]}
    reduce = {"name": "sum", "function": lambda context: sum(context.input), "input": "{{loop:results}}"}
    graph = [
        {"name": "d", "function": function, "input": ["{{step:b}}", "{{step:c}}"]},
        {"name": "b", "function": function, "input": ["b", "{{step:a}}"]},
        {"name": "c", "function": function, "input": "c", "needs": ["a"]},
        {"name": "a", "function": function, "input": 1},
        {"name": "e", "function": function, "input": "e"},
    ]
    return [
        {"pattern": "map_reduce", "items": items, "stages": [first], "reduce": reduce},
        {"pattern": "map_reduce", "items": items, "stages": [first, then]},
        {"pattern": "pipeline", "items": items, "stages": [first, then]},
        {"pattern": "graph", "stages": graph, "max_concurrency": 2},
    ]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, 10),
        (1, [[n, n] for n in (1, 2, 3, 4)]),
        (2, [[n, n] for n in (1, 2, 3, 4)]),
        (3, {"d": [["b", 1], "c"], "e": "e"}),
    ],
)
@given(delays=st.lists(st.integers(0, 5), max_size=9))
def test_any_interleaving_gives_the_same_result(number: int, expected: Any, delays: list[int]) -> None:
    output = trio.run(run, shapes(waiting(delays))[number])

    assert (output.status, output.output) == ("completed", expected)


@pytest.mark.parametrize("stages", [["a", "b", "c"], ["c", "a", "b"]])
async def test_a_cycle_is_named_when_the_workflow_is_made(stages: list[str]) -> None:
    given: dict[str, dict[str, Any]] = {
        "a": {"input": "{{step:b:status}}"},
        "b": {"needs": ["c"]},
        "c": {"input": ["{{step:a}}"]},
    }
    definition = [{"name": name, "function": print, **given[name]} for name in stages]

    with pytest.raises(InvalidInputError, match=r"(a needs b needs c needs a|c needs a needs b needs c); break"):
        await run({"pattern": "graph", "stages": definition})


async def test_a_stage_of_a_graph_whose_need_failed_is_left_out_and_the_others_run() -> None:
    stages = [
        {"name": "a", "function": lambda context: 1 / 0, "on_error": "continue"},
        {"name": "b", "function": lambda context: 2, "needs": ["a"]},
        {"name": "c", "function": lambda context: 3},
    ]

    output = await run({"pattern": "graph", "stages": stages})

    assert (output.status, output.output, output.skipped) == ("partial", {"c": 3}, ("b",))


async def test_a_slow_stage_of_a_pipeline_holds_up_those_before() -> None:
    begun: list[int] = []
    free = trio.Event()

    async def hold(context: Any) -> None:
        await free.wait()

    async def look() -> None:
        await trio.testing.wait_all_tasks_blocked(0.01)
        seen.extend(begun)
        free.set()

    seen: list[int] = []
    stages = [
        {"name": "a", "function": lambda context: begun.append(context.locals["current_item"])},
        {"name": "b", "function": hold},
    ]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await run({"pattern": "pipeline", "items": list(range(50)), "buffer": 2, "stages": stages})

    assert len(begun) == 50
    assert len(seen) == 4  # one in b, two that wait, one that a cannot hand on


async def test_an_item_that_fails_leaves_its_pipeline_and_the_others_go_on() -> None:
    stages = [
        {"name": "a", "function": lambda context: 6 / context.input, "input": ITEM, "on_error": "continue"},
        {"name": "b", "function": lambda context: context.input + 1, "input": "{{loop:previous}}"},
    ]

    output = await run({"pattern": "pipeline", "items": [1, 0, 2], "stages": stages})

    assert output.output == [7, None, 4]
    assert (output.failed, output.skipped) == (("item.1/a",), ("item.1/b",))


@pytest.mark.parametrize("number", range(4))
async def test_a_guard_denies_within_each_pattern(number: int) -> None:
    async with opened() as host:
        made = await host.get(Workflows).create({"name": "w", **shapes(lambda context: context.input)[number]})
        host.hooks.register("before_workflow_stage", lambda c: Cancel("no"), kind="guard", match="w.a")

        with pytest.raises(OperationCancelledError, match="no"):
            await made.run()


@pytest.mark.parametrize(("number", "left"), [(1, [[1, 1]]), (3, {"e": "e"})])
async def test_a_hook_at_the_fork_leaves_some_out(number: int, left: Any) -> None:
    definition = shapes(lambda context: context.input)[number]
    names = ("0",) if number == 1 else ("e",)

    output = await run(definition, parallel_fork=lambda context: Modified({"branches": names}))

    assert output.output == left


@pytest.mark.parametrize("pattern", ["map_reduce", "pipeline"])
@pytest.mark.parametrize(("items", "told"), [("text", "give a list"), ([1, 2, 3], "the most is 2")])
async def test_items_are_a_list_of_bounded_length(pattern: str, items: Any, told: str) -> None:
    definition = {
        "pattern": pattern,
        "items": "{{input}}",
        "max_items": 2,
        "stages": [{"name": "a", "function": print}],
    }

    with pytest.raises(WorkflowError, match=told):
        await run(definition, items)
