"""Whatever a plugin raises, of whatever class, is its failure, and what handles failures cannot fail itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened
from llmspell_hookspecs import Continue, HookContext, LlmspellError, OperationCancelledError, Replace
from llmspell_hookspecs.foreign import passes


class Panic(BaseException):
    """As Rust extensions panic."""


class NoText(Exception):
    """It cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class NoWord(Exception):
    """What it prints as is no text."""

    def __str__(self) -> str:
        return 3  # type: ignore[return-value]


class Endless(Exception):
    """It prints itself for ever."""

    def __str__(self) -> str:
        return str(self)


class Exiting(BaseException):
    """Printing it ends the process."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Bare(Exception):
    """It has no attribute that can be read."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class Numbered(Exception):
    """Its code is no word."""

    code = 404


def recurse() -> None:
    """Never come back."""
    recurse()


def raising(error: Callable[[], BaseException]) -> Callable[..., Any]:
    """Return a function that raises this."""

    def fail(*_: Any) -> Any:
        raise error()

    return fail


FAULTS: dict[str, Callable[..., Any]] = {
    "SystemExit": raising(lambda: SystemExit(4)),
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "CancelledError": raising(asyncio.CancelledError),
    "GeneratorExit": raising(GeneratorExit),
    "Panic": raising(lambda: Panic("rust")),
    "StopIteration": raising(StopIteration),
    "StopAsyncIteration": raising(StopAsyncIteration),
    "MemoryError": raising(MemoryError),
    "RecursionError": lambda *_: recurse(),
    "NoText": raising(NoText),
    "NoWord": raising(NoWord),
    "Endless": raising(Endless),
    "Exiting": raising(Exiting),
    "Bare": raising(Bare),
    "Numbered": raising(Numbered),
    "ExceptionGroup": raising(lambda: ExceptionGroup("many", [NoText(), ValueError("one")])),
    "BaseExceptionGroup": raising(lambda: BaseExceptionGroup("many", [SystemExit(2), NoText()])),
}
BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"
POINTS = [BEFORE, AFTER, "tool_parameter_validation", "tool_security_check", "tool_resource_released"]


async def fine(given: dict[str, Any], context: Any) -> str:
    """Run without a fault."""
    return "fine"


def as_hook(fault: Callable[..., Any], asynchronous: bool) -> Callable[[HookContext[Any]], Any]:
    """Return a hook with this fault, sync or async."""
    if not asynchronous:
        return lambda context: fault()

    async def hook(context: HookContext[Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return fault()

    return hook


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_guard_that_fails_in_any_way_denies_for_good(fault: str, asynchronous: bool) -> None:
    for point in POINTS[:4]:
        async with opened(make_tool("victim", fine), trace=True) as host:
            host.hooks.register(point, as_hook(FAULTS[fault], asynchronous), kind="guard")
            host.hooks.register(ERROR, lambda context: Replace({"text": "revived"}))
            with pytest.raises(OperationCancelledError) as denied:
                await host.call("tool:victim")

            assert denied.value.code == "guard_failed"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_an_observer_or_a_transform_that_fails_in_any_way_is_counted_and_passed_over(
    fault: str, asynchronous: bool
) -> None:
    async with opened(make_tool("victim", fine)) as host:
        for point in POINTS:
            host.hooks.register(point, as_hook(FAULTS[fault], asynchronous), kind="observe", name="seeing")
            if point in (BEFORE, AFTER):
                host.hooks.register(point, as_hook(FAULTS[fault], asynchronous), name="changing")

        answer = await host.call("tool:victim")

        assert answer.result == "fine"
        assert [info.failures for info in host.hooks.list()] == [1] * 7


@pytest.mark.parametrize("where", ["entered", "left"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_wrap_that_fails_in_any_way_changes_nothing(fault: str, where: str) -> None:
    async def wrap(context: HookContext[Any]) -> AsyncIterator[None]:
        if where == "entered":
            FAULTS[fault]()
        yield
        FAULTS[fault]()

    async with opened(make_tool("victim", fine)) as host:
        host.hooks.register("around_tool_execution", wrap, kind="wrap")

        answer = await host.call("tool:victim")

        assert answer.result == "fine"
        assert [info.failures for info in host.hooks.list()] == [1]


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_body_that_fails_in_any_way_fails_its_operation_and_nothing_else(fault: str, hooked: bool) -> None:
    seen: list[str] = []

    async def body(*_: Any) -> None:
        FAULTS[fault]()

    async with opened(make_tool("victim", body)) as host:
        if hooked:
            host.hooks.register(ERROR, lambda context: seen.append(context.subject.type), kind="observe")
        with pytest.raises(Exception) as failure:
            await host.call("tool:victim")

        assert not isinstance(failure.value, RecursionError)
        assert len(seen) == hooked


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_handler_of_events_that_fails_in_any_way_goes_on_with_the_next_event(fault: str) -> None:
    seen: list[Any] = []

    def handle(event: Any) -> None:
        seen.append(event.data)
        FAULTS[fault]()

    async with opened(*Bench().plugins) as host:
        told: list[str] = []
        host.hooks.register(
            "event_handler_error", lambda context: told.append(context.subject.failure.type), kind="observe"
        )
        host.events.on("user.*", handle)
        for number in (1, 2):
            await host.events.publish("user.created", number)
        await trio.testing.wait_all_tasks_blocked()

        assert seen == [1, 2]
        assert len(told) == 2


async def test_a_cancellation_that_a_hook_kept_and_raises_again_is_its_failure() -> None:
    kept: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except BaseException as error:
            kept.append(error)
            raise

    async with opened(make_tool("victim", fine)) as host:
        host.hooks.register(BEFORE, raising(lambda: kept[0]), kind="observe")

        answer = await host.call("tool:victim")

        assert answer.result == "fine"


async def test_a_hook_whose_tasks_fail_as_the_call_is_cancelled_leaves_the_cancellation_alone() -> None:
    async def hook(context: HookContext[Any]) -> None:
        async def fail_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise SystemExit(3)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_at_the_end)
            nursery.start_soon(trio.sleep_forever)

    async with opened(make_tool("victim", fine)) as host:
        host.hooks.register(AFTER, hook, kind="observe")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.call, "tool:victim")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()

        assert scope.cancelled_caught


@pytest.mark.parametrize("kind", ["guard", "observe", "transform"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_users_own_interrupt_in_a_hook_ends_the_run(kind: str, asynchronous: bool) -> None:
    with pytest.raises(BaseExceptionGroup) as ended:
        async with opened(make_tool("victim", fine)) as host:
            interrupt = as_hook(lambda: signal.raise_signal(signal.SIGINT), asynchronous)
            host.hooks.register(BEFORE, interrupt, kind=kind)
            await host.call("tool:victim")
            await trio.sleep(1)

    assert ended.value.subgroup(KeyboardInterrupt) is not None


@pytest.mark.parametrize("straight", [True, False])
async def test_the_users_own_interrupt_in_an_observer_is_told_to_those_at_the_end(straight: bool) -> None:
    told: list[str] = []

    with pytest.raises(BaseExceptionGroup):
        async with opened(make_tool("victim", fine)) as host:
            interrupt = as_hook(lambda: signal.raise_signal(signal.SIGINT), not straight)
            host.hooks.register(BEFORE, interrupt, kind="observe")
            host.hooks.register("tool_error", lambda context: told.append(context.outcome.status), kind="observe")
            await host.call("tool:victim")
            await trio.sleep(1)

    assert told == ["cancelled"]


@pytest.mark.parametrize("held", [KeyboardInterrupt(), GeneratorExit()], ids=["KeyboardInterrupt", "GeneratorExit"])
@pytest.mark.parametrize("kind", ["guard", "observe", "transform"])
async def test_a_group_that_a_plugin_makes_of_what_nobody_raised_is_its_failure(kind: str, held: BaseException) -> None:
    def hook(context: HookContext[Any]) -> None:
        raise BaseExceptionGroup("made", [held])

    async with opened(make_tool("victim", fine), make_tool("other", fine)) as host:
        host.hooks.register(BEFORE, hook, kind=kind, match="victim")
        with suppress(LlmspellError):
            await host.call("tool:victim")

        assert (await host.call("tool:other")).result == "fine"


def test_a_coroutine_that_is_closed_while_a_hook_waits_ends() -> None:
    ended: list[bool] = []

    async def hook(context: Any) -> None:
        try:
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)
        except GeneratorExit as error:
            ended.append(passes(error))
            raise

    coroutine = hook(None)
    coroutine.send(None)
    coroutine.close()

    assert ended == [True]


async def test_a_group_of_plain_errors_of_a_body_leaves_as_it_is() -> None:
    async def body(*_: Any) -> None:
        raise ExceptionGroup("many", [ValueError("one")])

    async with opened(make_tool("victim", body)) as host:
        with pytest.raises(ExceptionGroup):
            await host.call("tool:victim")


async def test_what_would_end_the_process_leaves_as_an_error_that_says_so() -> None:
    async def body(*_: Any) -> None:
        raise SystemExit(4)

    async with opened(make_tool("victim", body)) as host:
        host.hooks.register(BEFORE, lambda context: Continue())
        with pytest.raises(LlmspellError, match="SystemExit: 4"):
            await host.call("tool:victim")
