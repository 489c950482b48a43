"""Observers are told whatever the others answer; wraps enclose the body and change nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    LlmspellError,
    OperationCancelledError,
    Redirect,
    Replace,
    Retry,
    ToolContext,
    ToolError,
)

BEFORE, AROUND, AFTER, ERROR = (
    "before_tool_execution",
    "around_tool_execution",
    "after_tool_execution",
    "tool_error",
)


def calling(prepare: Callable[[Host], None], *, failing: int = 0) -> tuple[Any, Bench]:
    """Call ``echo`` with these hooks; answer the outcome, errors as values."""
    bench = Bench()
    bench.failing = failing

    async def main() -> Any:
        async with opened(*bench.plugins) as host:
            prepare(host)
            try:
                return (await host.call("tool:echo", {"text": "plain"})).result
            except LlmspellError as error:
                return error

    return run(main), bench


class Endings:
    """Observers at every point, and what they saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.contexts: list[HookContext[Any]] = []

    def __call__(self, context: HookContext[Any]) -> Cancel:
        assert context.outcome is not None
        self.seen.append((context.point, context.outcome.status))
        self.contexts.append(context)
        return Cancel("nobody listens to this")

    def watch(self, host: Host) -> None:
        """Observe the points of a tool call."""
        for point in (BEFORE, AFTER, ERROR):
            host.hooks.register(point, self, kind="observe", match="echo")


def ending(prepare: Callable[[Host], None], *, failing: int = 0) -> Endings:
    endings = Endings()

    def both(host: Host) -> None:
        prepare(host)
        endings.watch(host)

    calling(both, failing=failing)
    return endings


def test_observers_are_told_of_a_call_that_completes() -> None:
    endings = ending(lambda host: None)

    assert endings.seen == [(BEFORE, "running"), (AFTER, "completed")]
    assert endings.contexts[1].request.parameters == {"text": "plain"}
    assert endings.contexts[1].elapsed_ns > 0


@pytest.mark.parametrize("kind", ["transform", "guard"])
def test_observers_behind_a_cancelled_chain_are_told(kind: str) -> None:
    endings = ending(lambda host: _register(host, BEFORE, lambda context: Cancel("no"), kind=kind, name="denier"))

    assert endings.seen == [(BEFORE, "cancelled"), (ERROR, "cancelled")]
    for context in endings.contexts:
        assert context.outcome is not None
        assert context.outcome.decision == Cancel("no")
        assert context.outcome.hook == "code.denier"
        assert context.outcome.error is not None
        assert context.outcome.error.code == "denied"


@pytest.mark.parametrize("kind", ["transform", "guard"])
def test_observers_are_told_of_a_result_that_is_withheld(kind: str) -> None:
    endings = ending(lambda host: _register(host, AFTER, lambda context: Cancel("no"), kind=kind))

    assert endings.seen == [(BEFORE, "running"), (AFTER, "cancelled")]
    assert endings.contexts[1].subject.result == {"text": "plain"}


def _register(host: Host, point: str, function: Callable[..., Any], **options: Any) -> None:
    host.hooks.register(point, function, **options)


def test_observers_are_told_of_a_call_cancelled_by_a_check() -> None:
    endings = ending(lambda host: _register(host, "tool_security_check", lambda context: Cancel("no")))

    assert endings.seen == [(BEFORE, "cancelled"), (ERROR, "cancelled")]


def test_observers_are_told_of_a_failure() -> None:
    endings = ending(lambda host: None, failing=1)

    assert endings.seen == [(BEFORE, "running"), (ERROR, "failed")]
    assert endings.contexts[1].subject.message == "it broke"
    assert isinstance(endings.contexts[1].subject.error, ToolError)


def test_observers_are_told_of_a_recovery_as_completed() -> None:
    endings = ending(lambda host: _register(host, ERROR, lambda context: Replace({"result": "fixed"})), failing=1)

    assert endings.seen == [(BEFORE, "running"), (AFTER, "completed")]
    assert endings.contexts[1].subject.result == "fixed"


def test_terminal_observers_are_told_once_however_many_attempts_there_were() -> None:
    endings = ending(lambda host: _register(host, ERROR, lambda context: Retry(0, 5)), failing=2)

    assert endings.seen == [(BEFORE, "running")] * 3 + [(AFTER, "completed")]


def test_observers_are_told_what_was_proposed() -> None:
    endings = ending(lambda host: _register(host, BEFORE, lambda context: Redirect("other"), match="echo", name="away"))

    assert endings.contexts[0].outcome is not None
    assert endings.contexts[0].outcome.decision == Redirect("other")
    assert endings.contexts[0].outcome.hook == "code.away"
    assert endings.seen[-1] == (AFTER, "completed")


def test_observers_are_told_of_a_failing_after_hook_as_a_failure() -> None:
    def fail(context: HookContext[Any]) -> None:
        raise ValueError("broken")

    endings = ending(lambda host: _register(host, AFTER, fail, on_error="raise"))

    assert endings.seen == [(BEFORE, "running"), (ERROR, "failed")]


def test_what_an_observer_answers_or_raises_changes_nothing() -> None:
    told: list[str] = []

    def fail(context: HookContext[Any]) -> None:
        raise ValueError("broken")

    handles: list[Any] = []

    def prepare(host: Host) -> None:
        for point in (BEFORE, AFTER):
            handles.append(host.hooks.register(point, fail, kind="observe", priority="high"))
            host.hooks.register(point, lambda context: Replace({"result": 0}), kind="observe", name="replacing")
            host.hooks.register(point, lambda context: told.append(context.point), kind="observe", priority="low")

    outcome, _ = calling(prepare)

    assert outcome == {"text": "plain"}
    assert told == [BEFORE, AFTER]
    assert [(handle.info.calls, handle.info.failures, handle.info.breaker) for handle in handles] == [
        (1, 1, "none")
    ] * 2


def test_metadata_lasts_from_before_to_after_of_one_operation() -> None:
    seen: list[Any] = []

    def begin(context: HookContext[Any]) -> None:
        context.metadata["mine"]["n"] = context.metadata["mine"].get("n", 0) + 1

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, begin)
        host.hooks.register(AFTER, lambda context: seen.append(dict(context.metadata["mine"])), kind="observe")

    calling(prepare)
    calling(prepare)

    assert seen == [{"n": 1}, {"n": 1}]


# Wraps.


def wrap(name: str, log: list[Any]) -> Callable[[HookContext[Any]], Any]:
    async def around(context: HookContext[Any]) -> Any:
        log.append(("enter", name, trio.lowlevel.current_task()))
        try:
            value = yield
        except Exception as error:
            log.append(("error", name, str(error)))
            raise
        else:
            log.append(("value", name, value))
        finally:
            log.append(("leave", name, trio.lowlevel.current_task()))

    return around


def test_wraps_are_left_last_in_first_out_in_one_task_and_are_sent_the_result() -> None:
    log: list[Any] = []

    def prepare(host: Host) -> None:
        for name in ("one", "two", "three"):
            host.hooks.register(AROUND, wrap(name, log), kind="wrap", name=name)

    calling(prepare)

    order = [(what, name) for what, name, _ in log if what in ("enter", "leave")]
    assert order == [
        ("enter", "one"),
        ("enter", "two"),
        ("enter", "three"),
        ("leave", "three"),
        ("leave", "two"),
        ("leave", "one"),
    ]
    assert len({task for what, _, task in log if what in ("enter", "leave")}) == 1
    assert [value.result for what, _, value in log if what == "value"] == [{"text": "plain"}] * 3


def test_wraps_are_thrown_the_exception() -> None:
    log: list[Any] = []

    outcome, _ = calling(lambda host: _register(host, AROUND, wrap("one", log), kind="wrap"), failing=1)

    assert isinstance(outcome, ToolError)
    assert ("error", "one", "it broke") in log


def test_wraps_are_entered_once_for_each_attempt() -> None:
    log: list[Any] = []

    def prepare(host: Host) -> None:
        host.hooks.register(AROUND, wrap("one", log), kind="wrap")
        host.hooks.register(ERROR, lambda context: Retry(0, 3))

    calling(prepare, failing=1)

    assert [what for what, _, _ in log] == ["enter", "error", "leave", "enter", "value", "leave"]


def test_wraps_are_not_entered_when_nothing_runs() -> None:
    log: list[Any] = []

    def prepare(host: Host) -> None:
        host.hooks.register(AROUND, wrap("one", log), kind="wrap")
        host.hooks.register(BEFORE, lambda context: Replace({"result": 1}))

    calling(prepare)

    assert log == []


async def swallowing(context: HookContext[Any]) -> Any:
    with contextlib.suppress(ToolError):
        yield


async def exchanging(context: HookContext[Any]) -> Any:
    try:
        yield
    except ToolError as error:
        raise ValueError("another error") from error


async def yielding_twice(context: HookContext[Any]) -> Any:
    yield
    yield


async def yielding_twice_for_an_error(context: HookContext[Any]) -> Any:
    try:
        yield
    except ToolError:
        yield


async def yielding_never(context: HookContext[Any]) -> Any:
    if context is None:
        yield


async def failing_first(context: HookContext[Any]) -> Any:
    raise ValueError("at the start")
    yield


async def failing_last(context: HookContext[Any]) -> Any:
    yield
    raise ValueError("at the end")


async def failing_at_its_close(context: HookContext[Any]) -> Any:
    yield
    try:
        yield
    finally:
        raise ValueError("at the close")


async def altering(context: HookContext[Any]) -> Any:
    value = yield
    if value is not None:
        value.result["text"] = "altered"


WRONG: list[tuple[Any, int]] = [
    (yielding_twice, 1),
    (yielding_never, 1),
    (failing_first, 1),
    (failing_last, 1),
    (failing_at_its_close, 2),
    (altering, 1),
]


@pytest.mark.parametrize(("wrong", "failures"), WRONG)
def test_what_a_wrap_does_wrong_is_counted_and_replaces_no_result(wrong: Any, failures: int) -> None:
    log: list[Any] = []
    handles: list[Any] = []

    def prepare(host: Host) -> None:
        host.hooks.register(AROUND, wrap("outer", log), kind="wrap", priority="high")
        handles.append(host.hooks.register(AROUND, wrong, kind="wrap"))
        host.hooks.register(AROUND, wrap("inner", log), kind="wrap", priority="low")

    outcome, bench = calling(prepare)

    assert outcome == {"text": "plain"}
    assert len(bench.runs) == 1
    assert handles[0].info.failures == failures
    assert [value.result for what, _, value in log if what == "value"] == [{"text": "plain"}] * 2


@pytest.mark.parametrize(
    "wrong", [swallowing, exchanging, yielding_twice, yielding_never, failing_first, yielding_twice_for_an_error]
)
def test_what_a_wrap_does_wrong_replaces_no_error(wrong: Any) -> None:
    log: list[Any] = []

    def prepare(host: Host) -> None:
        host.hooks.register(AROUND, wrap("outer", log), kind="wrap", priority="high")
        host.hooks.register(AROUND, wrong, kind="wrap")

    outcome, _ = calling(prepare, failing=1)

    assert isinstance(outcome, ToolError)
    assert ("error", "outer", "it broke") in log


def test_clean_up_in_a_wrap_is_shielded_from_the_cancellation_that_it_sees() -> None:
    log: list[str] = []

    async def cleaning(context: HookContext[Any]) -> Any:
        try:
            yield
        except trio.Cancelled:
            log.append("cancelled")
            raise
        finally:
            await trio.sleep(0.02)
            log.append("cleaned")

    async def sleeper(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep_forever()

    async def main() -> None:
        async with opened(make_tool("sleeper", sleeper)) as host:
            host.hooks.register(AROUND, cleaning, kind="wrap", name="one")
            host.hooks.register(AROUND, cleaning, kind="wrap", name="two")
            with trio.move_on_after(1):
                await host.call("tool:sleeper")

    run(main, virtual=True)

    assert log == ["cancelled", "cleaned", "cancelled", "cleaned"]


def test_a_wrap_that_swallows_a_cancellation_does_not_stop_it() -> None:
    async def swallowing_all(context: HookContext[Any]) -> Any:
        with contextlib.suppress(trio.Cancelled):
            yield

    async def sleeper(parameters: dict[str, Any], context: ToolContext) -> Any:
        await trio.sleep_forever()

    async def main() -> bool:
        async with opened(make_tool("sleeper", sleeper)) as host:
            host.hooks.register(AROUND, swallowing_all, kind="wrap")
            with trio.move_on_after(1) as scope:
                await host.call("tool:sleeper")
            return scope.cancelled_caught

    assert run(main, virtual=True)


def test_a_wrap_that_is_cancelled_as_it_leaves_does_not_keep_the_others_from_leaving() -> None:
    log: list[Any] = []

    async def slow(context: HookContext[Any]) -> Any:
        yield
        await trio.sleep_forever()

    async def main() -> None:
        bench = Bench()
        async with opened(*bench.plugins) as host:
            host.hooks.register(AROUND, wrap("outer", log), kind="wrap", priority="high")
            host.hooks.register(AROUND, slow, kind="wrap")
            with trio.move_on_after(1):
                await host.call("tool:echo")

    run(main, virtual=True)

    assert [what for what, _, _ in log] == ["enter", "leave"]


def test_hooks_that_are_taken_out_are_called_no_longer_by_an_operation_that_runs_but_guards_still_judge_it() -> None:
    called: list[str] = []
    taken_out: list[list[bool]] = []

    async def main() -> None:
        bench = Bench()
        async with opened(*bench.plugins) as host:
            handles = [
                host.hooks.register(AFTER, lambda context: called.append("after")),
                host.hooks.register(AFTER, lambda context: Cancel("dead"), kind="guard", name="dead"),
                host.hooks.register(AROUND, wrap("around", called), kind="wrap"),
            ]

            def leave(context: HookContext[Any]) -> None:
                taken_out.append([handle.unregister() for handle in handles])

            host.hooks.register(BEFORE, leave)
            with pytest.raises(OperationCancelledError, match="dead"):
                await host.call("tool:echo")
            await host.call("tool:echo")

    run(main)

    assert taken_out == [[True] * 3, [False] * 3]
    assert called == []


def test_a_hook_that_returns_the_class_of_a_result_is_told_which() -> None:
    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, lambda context: Cancel)

    outcome, _ = calling(prepare)

    assert "it answered the class Cancel itself; a transform may answer" in str(outcome)


def test_a_wrap_that_yields_twice_is_told_to_yield_once(caplog: pytest.LogCaptureFixture) -> None:
    def prepare(host: Host) -> None:
        host.hooks.register(AROUND, yielding_twice, kind="wrap")

    calling(prepare)

    assert caplog.messages == [f"hook code.yielding_twice at {AROUND}: it yielded twice; yield once"]


@pytest.mark.parametrize("point", [AFTER, "tool_parameter_validation"])
@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_observers_behind_one_that_is_cut_off_are_told(point: str, in_a_nursery: bool) -> None:
    seen: list[str] = []
    scope = trio.CancelScope()

    async def waits(context: Any) -> None:
        async with trio.open_nursery() as nursery:  # what is cancelled leaves it as a group
            scope.cancel()
            if in_a_nursery:
                nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    async def echo(parameters: Any, context: Any) -> Any:
        return dict(parameters)

    async with opened(make_tool("echo", echo)) as host:
        host.hooks.register(point, waits, kind="observe", priority="highest")
        host.hooks.register(point, lambda context: seen.append(context.point), kind="observe", priority="lowest")
        with scope:
            await host.call("tool:echo", {})

    assert seen == [point]
