"""Deadlines: an operation's time, wherever it goes by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Calls, HookContext, InvalidInputError, Modified, Redirect, Replace, ToolContext
from llmspell_hookspecs.errors import OperationTimeoutError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.tool import ToolLimits

BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"


def calling(
    prepare: Callable[[Host], Any],
    *,
    body_s: float = 0.0,
    settings: dict[str, Any] | None = None,
    limits: ToolLimits | None = None,
    **options: Any,
) -> Any:
    """Call a tool that takes this long; returns its result and how long the call took."""

    async def body(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep(body_s)
        return "done"

    async def quick(parameters: dict[str, Any], context: ToolContext) -> Any:
        return "quick"

    async def main() -> Any:
        tool = make_tool("slow", body, limits=limits or ToolLimits())
        async with opened(tool, make_tool("quick", quick), settings=settings) as host:
            prepare(host)
            began = trio.current_time()
            try:
                result = (await host.call("tool:slow", **options)).result
            except OperationTimeoutError as error:
                result = error
            return result, trio.current_time() - began

    return run(main, virtual=True)


async def dawdle(context: HookContext[Any]) -> None:
    await trio.sleep(100)


def test_a_body_that_takes_too_long_is_told_and_then_an_error() -> None:
    told: list[str] = []

    def prepare(host: Host) -> None:
        for point in ("tool_timeout", ERROR):
            host.hooks.register(point, lambda context: told.append(context.point))

    error, elapsed_s = calling(prepare, body_s=100, deadline_s=5)

    assert isinstance(error, OperationTimeoutError)
    assert (error.limit_s, error.component) == (5, "tool:slow")
    assert "longer than 5 s" in str(error)
    assert elapsed_s == pytest.approx(5)
    assert told == ["tool_timeout", ERROR]


@pytest.mark.parametrize("point", [BEFORE, "tool_parameter_validation", "tool_resource_allocated", AFTER])
@pytest.mark.parametrize("kind", ["transform", "guard"])
def test_time_that_hooks_take_counts(point: str, kind: str) -> None:
    told: list[str] = []

    def prepare(host: Host) -> None:
        host.hooks.register(point, dawdle, kind=kind)
        host.hooks.register("tool_timeout", lambda context: told.append(context.point))

    error, elapsed_s = calling(prepare, deadline_s=5)

    assert isinstance(error, OperationTimeoutError)
    assert elapsed_s == pytest.approx(5)
    assert told == ["tool_timeout"]


def test_time_that_error_hooks_take_counts_unless_the_deadline_has_passed_already() -> None:
    async def fallback(context: HookContext[Any]) -> Replace:
        await trio.sleep(3)
        return Replace({"result": "late but there"})

    result, elapsed_s = calling(lambda host: host.hooks.register(ERROR, fallback), body_s=100, deadline_s=5)

    assert result == "late but there"
    assert elapsed_s == pytest.approx(8)


def test_an_error_hook_cannot_outlast_the_deadline() -> None:
    told: list[str] = []

    def fail(context: HookContext[Any]) -> None:
        raise ValueError("broken")

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, fail, on_error="raise")
        host.hooks.register(ERROR, dawdle)
        host.hooks.register("tool_timeout", lambda context: told.append(context.point))

    error, elapsed_s = calling(prepare, deadline_s=5)

    assert isinstance(error, OperationTimeoutError)
    assert elapsed_s == pytest.approx(5)
    assert told == ["tool_timeout"]


def test_a_fallback_runs_after_the_deadline_with_time_of_its_own() -> None:
    result, _ = calling(lambda host: host.hooks.register(ERROR, lambda c: Redirect("quick")), body_s=9, deadline_s=5)

    assert result == "quick"


@pytest.mark.parametrize(
    ("limits", "settings", "options", "expected_s"),
    [
        (ToolLimits(time_s=3), None, {}, 3),
        (ToolLimits(time_s=3), None, {"deadline_s": 2}, 2),
        (ToolLimits(time_s=3), None, {"deadline_s": 9}, 3),
        (ToolLimits(time_s=3), {"tools": {"time_s": 1}}, {}, 1),
        (ToolLimits(time_s=3), {"limits": {"operation_time_s": 0.5}}, {}, 0.5),
    ],
)
def test_the_shortest_of_all_limits_counts(
    limits: ToolLimits, settings: dict[str, Any] | None, options: dict[str, Any], expected_s: float
) -> None:
    error, elapsed_s = calling(lambda host: None, body_s=100, limits=limits, settings=settings, **options)

    assert isinstance(error, OperationTimeoutError)
    assert elapsed_s == pytest.approx(expected_s)


def lowering(time_s: float) -> Callable[[Host], Any]:
    def prepare(host: Host) -> None:
        host.hooks.register("tool_resource_allocated", lambda context: Modified({"limits": {"time_s": time_s}}))

    return prepare


def test_a_hook_that_lowers_the_time_at_allocation_shortens_the_deadline() -> None:
    error, elapsed_s = calling(lowering(2), body_s=100, limits=ToolLimits(time_s=3))

    assert isinstance(error, OperationTimeoutError)
    assert error.limit_s == 2
    assert elapsed_s == pytest.approx(2)


def test_a_hook_cannot_raise_a_limit_or_change_the_call_at_allocation() -> None:
    with pytest.raises(InvalidInputError, match=r"a hook raised limits.time_s above 3"):
        calling(lowering(4), limits=ToolLimits(time_s=3))
    with pytest.raises(InvalidInputError, match="changed the call at its allocation"):
        calling(
            lambda host: host.hooks.register(
                "tool_resource_allocated", lambda context: Modified({"call": {"name": "slow", "parameters": {"x": 1}}})
            )
        )


def test_the_deadline_of_the_operation_around_cuts_the_nested_one_as_a_cancellation() -> None:
    endings: list[Any] = []

    async def outer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return await context.services.get(Calls).call("tool:inner")

    async def inner(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep_forever()

    def note(context: HookContext[Any]) -> None:
        assert context.outcome is not None
        endings.append((context.component.name, context.outcome.status, context.subject.code))

    async def main() -> None:
        async with opened(make_tool("outer", outer), make_tool("inner", inner)) as host:
            host.hooks.register(ERROR, note, kind="observe")
            await host.call("tool:outer", deadline_s=2)

    with pytest.raises(OperationTimeoutError) as caught:
        run(main, virtual=True)

    assert caught.value.component == "tool:outer"
    assert endings == [("inner", "cancelled", "cancelled"), ("outer", "failed", "timeout")]


def test_the_callers_own_scope_is_a_cancellation_and_no_error() -> None:
    told: list[Any] = []

    async def main() -> bool:
        async def body(parameters: dict[str, Any], context: ToolContext) -> Any:
            await trio.sleep_forever()

        async with opened(make_tool("slow", body)) as host:
            host.hooks.register("tool_timeout", told.append)
            host.hooks.register(ERROR, told.append)
            with trio.move_on_after(1) as scope:
                await host.call("tool:slow", deadline_s=5)
            return scope.cancelled_caught

    assert run(main, virtual=True)
    assert told == []


PATIENT = ToolLimits(time_s=10.0)


@pytest.mark.parametrize("hooked", [False, True], ids=["straight", "full course"])
async def test_time_in_which_an_operation_is_paused_counts_against_no_deadline_around_it(
    hooked: bool, autojump_clock: Any
) -> None:
    async def inner(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep(6)
        with context.services.get(Operations).running().paused():
            await trio.sleep(100)
        await trio.sleep(parameters["then_s"])
        return "answered"

    async def outer(parameters: dict[str, Any], context: ToolContext) -> Any:
        return (await context.services.get(Calls).call("tool:inner", parameters)).result

    tools = make_tool("inner", inner, limits=PATIENT), make_tool("outer", outer, limits=PATIENT)
    async with opened(*tools) as host:
        if hooked:
            host.hooks.register("around_tool_execution", enclose, kind="wrap")
        assert (await host.call("tool:outer", {"then_s": 3})).result == "answered"
        with pytest.raises(OperationTimeoutError, match="longer than 10 s"):
            await host.call("tool:outer", {"then_s": 5})


async def enclose(context: HookContext[Any]) -> Any:
    yield


async def test_pauses_of_two_at_once_are_counted_once(autojump_clock: Any) -> None:
    async def inner(parameters: dict[str, Any], context: ToolContext) -> Any:
        with context.services.get(Operations).running().paused():
            await trio.sleep(parameters["for_s"])

    async def outer(parameters: dict[str, Any], context: ToolContext) -> Any:
        call = context.services.get(Calls).call
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "tool:inner", {"for_s": 100})
            nursery.start_soon(call, "tool:inner", {"for_s": 50})
        await trio.sleep(parameters["then_s"])

    async with opened(make_tool("inner", inner), make_tool("outer", outer, limits=PATIENT)) as host:
        await host.call("tool:outer", {"then_s": 9})
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:outer", {"then_s": 11})


async def test_a_pause_that_is_cancelled_ends(autojump_clock: Any) -> None:
    async def body(parameters: dict[str, Any], context: ToolContext) -> Any:
        with (
            trio.move_on_after(5),
            context.services.get(Operations).running().paused(),
        ):
            await trio.sleep_forever()
        await trio.sleep_forever()

    async with opened(make_tool("waits", body, limits=PATIENT)) as host:
        with pytest.raises(OperationTimeoutError):
            await host.call("tool:waits")
        assert trio.current_time() < 20
