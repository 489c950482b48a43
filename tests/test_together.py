"""Functions beside each other within an operation: all end, each in its turn, and nobody else is held up."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import opened
from llmspell import Host
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import LlmspellError
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.workflows import Workflows
from llmspell_testing import loop_steps
from waiting import PATIENCE_S

PLACE = ComponentRef("agent", "crowd")
KIND = OperationKind("agent", "before_agent_execution", "", "after_agent_execution", "agent_error")
STEP_S = 0.02


async def within(host: Host, act: Callable[[Operations], Any]) -> Any:
    """Run a function within an operation."""
    operations = host.get(Operations)

    async def body(subject: Any) -> Any:
        return await act(operations)

    return await operations.execute(Operation(KIND, PLACE, {}, body))


@settings(max_examples=60, deadline=None)
@given(
    behaviours=st.lists(st.sampled_from(["returns", "waits", "fails", "sleeps"]), max_size=30),
    limit=st.integers(1, 40),
    fail_fast=st.booleans(),
)
def test_each_ends_once_and_no_more_run_than_may(behaviours: list[str], limit: int, fail_fast: bool) -> None:
    running = most = 0

    async def one(behaviour: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            if behaviour != "returns":
                await trio.lowlevel.checkpoint()
            if behaviour == "fails":
                raise ValueError("it broke")
            if behaviour == "sleeps":
                await trio.sleep(1)
            return behaviour
        finally:
            running -= 1

    async def main() -> None:
        async with opened() as host:

            async def crowd(operations: Operations) -> Any:
                calls = [partial(one, behaviour) for behaviour in behaviours]
                return await operations.together(calls, limit, stops=lambda error: fail_fast)

            ended = await within(host, crowd)
        assert len(ended) == len(behaviours)
        assert running == 0
        assert most <= limit
        for behaviour, each in zip(behaviours, ended, strict=True):
            if not each.cancelled:
                assert (each.value, each.error is None) == (
                    (None, False) if behaviour == "fails" else (behaviour, True)
                )
        if not (fail_fast and "fails" in behaviours):
            assert not any(each.cancelled for each in ended)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_caller_that_is_cancelled_takes_all_of_them_along(depth: int) -> None:
    alive = 0

    async def crowd(operations: Operations, left: int) -> None:
        nonlocal alive
        alive += 1
        try:
            if not left:
                await trio.sleep_forever()
            await operations.together([partial(crowd, operations, left - 1)] * 6, 6)
        finally:
            alive -= 1

    async with opened() as host:
        with trio.move_on_after(0.3) as scope:
            await within(host, lambda operations: crowd(operations, depth))

        assert scope.cancelled_caught
        assert alive == 0


async def test_one_that_ends_the_program_has_failed_like_any_other() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async with opened() as host:
        ended = await within(
            host, lambda operations: operations.together([leave, trio.sleep_forever], 2, stops=lambda error: True)
        )

    assert "SystemExit" in str(ended[0].error)
    assert ended[1].cancelled


@pytest.mark.parametrize("fail_fast", [True, False])
@pytest.mark.parametrize("cut_s", [0.1, 10.0])
async def test_a_workflow_that_calls_itself_beside_itself_holds_nobody_up(fail_fast: bool, cut_s: float) -> None:
    stage = {"name": "again", "workflow": "bomb", "input": "{{input}}"}
    branches = [{"name": f"b{number}", "stages": [stage]} for number in range(16)]
    given = {"name": "bomb", "pattern": "parallel", "branches": branches, "fail_fast": fail_fast, "timeout_s": 1}
    async with Host.open({"storage": {"backend": "memory"}}) as host:
        await host.get(Workflows).create(given)
        gc.collect()
        gc.disable()  # Python's collector walks all that lives, which is another matter
        try:
            with loop_steps() as steps, trio.move_on_after(cut_s), suppress(LlmspellError):
                await host.call("workflow:bomb", {})
        finally:
            gc.enable()
        assert (await host.call("tool:calculator", {"operation": "evaluate", "input": "1 + 1"})).success

    assert steps.longest_s < STEP_S, steps.longest_task


async def test_what_outlives_its_host_is_cancelled_all_the_same() -> None:
    begun = 0

    async def wait() -> None:
        nonlocal begun
        begun += 1
        await trio.sleep_forever()

    async def crowd(operations: Operations) -> Any:
        return await operations.together([wait] * 20, 20)

    with trio.move_on_after(PATIENCE_S) as patience:
        async with trio.open_nursery() as outer:
            async with opened() as host:
                outer.start_soon(within, host, crowd)
                while begun < 20:
                    await trio.lowlevel.checkpoint()
            outer.cancel_scope.cancel()

    assert not patience.cancelled_caught


async def test_what_does_not_wait_shares_a_task_and_the_first_that_waits_lets_all_others_begin() -> None:
    tasks: list[tuple[int, trio.lowlevel.Task]] = []
    running = most = 0

    async def one(number: int) -> int:
        nonlocal running, most
        tasks.append((number, trio.lowlevel.current_task()))
        running += 1
        most = max(most, running)
        if number >= 3:
            await trio.testing.wait_all_tasks_blocked()
        running -= 1
        return number

    async with opened() as host:
        ended = await within(host, lambda operations: operations.together([partial(one, n) for n in range(8)], 8))

    of = dict(tasks)
    assert [each.value for each in ended] == list(range(8))
    assert of[0] is of[1] is of[2] is of[3]
    assert len({of[number] for number in range(3, 8)}) == most == 5


async def test_what_begins_as_another_waits_stands_where_that_one_does() -> None:
    parents: list[str] = []

    async with opened() as host:
        operations = host.get(Operations)

        async def waits(subject: Any) -> None:
            await trio.lowlevel.checkpoint()
            parents.append(operations.current().parent_id)

        async def crowd(operations: Operations) -> Any:
            own = operations.current().id
            calls = [partial(operations.execute, Operation(KIND, PLACE, {}, waits)) for _ in range(4)]
            return own, await operations.together(calls, 4)

        own, ended = await within(host, crowd)

    assert [each.error for each in ended] == [None] * 4
    assert parents == [own] * 4


async def test_what_waits_for_something_foreign_fails_by_itself() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a trap of another loop"

    async def foreign() -> None:
        await Foreign()

    async def own() -> str:
        return "well"

    async with opened() as host:
        ended = await within(host, lambda operations: operations.together([foreign, own], 2))

    assert isinstance(ended[0].error, TypeError)
    assert ended[1].value == "well"
