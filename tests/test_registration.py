"""Registration: what is refused, with which remedy, and how registered hooks are then called."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import Bench, opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, Modified, OperationCancelledError, Replace, ToolCall, hookimpl
from llmspell_hookspecs.errors import HookFailedError, HookRegistrationError
from llmspell_hookspecs.script import ScriptRun

BEFORE = "before_tool_execution"


def refused(point: str, function: Any, **options: Any) -> str:
    """Register a hook that is refused; answer why."""

    async def main() -> None:
        async with opened() as host:
            host.hooks.register(point, function, **options)

    with pytest.raises(HookRegistrationError) as caught:
        run(main)
    return str(caught.value)


def failed(plugin: Any) -> str:
    """Hand over a plugin that is refused; answer why. Nothing of it is left."""

    async def main() -> str:
        async with opened(plugin) as host:
            assert set(host.plugins.loaded) == {"approval_gate", "event_tail", "journal", "monitor", "sessions"}
            assert host.hooks.list() == []
            (info,) = (each for each in host.plugins.infos if each.error)
            return info.error

    return run(main)


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("tryfirst", "priority='high'"),
        ("trylast", "priority='low'"),
        ("hookwrapper", "kind='wrap'"),
        ("wrapper", "kind='wrap'"),
        ("firstresult", "a Replace or a Cancel"),
        ("optionalhook", "@hookpoint"),
    ],
)
def test_pluggys_own_options_are_refused_with_ours(option: str, remedy: str) -> None:
    with pytest.raises(HookRegistrationError) as caught:
        hookimpl(None, **{option: True})

    assert f"pluggy's {option} is not used here" in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prio": 1}, "there is no option 'prio'"),
        ({"kind": "filter"}, "kind 'filter' is none; use one of transform, guard, wrap, observe"),
        ({"priority": "urgent"}, "'urgent' is none; use a number or one of highest, high, normal, low, lowest"),
        ({"on_error": "ignore"}, "on_error 'ignore' is none"),
        ({"timeout_s": 0}, "timeout_s must be above 0"),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HookRegistrationError, match=message):
        hookimpl(**options)(lambda context: None)
    assert message in refused(BEFORE, lambda context: None, **options)


class WrongArgument:
    @hookimpl
    def before_tool_execution(self, ctx: Any) -> None: ...


class TooManyArguments:
    @hookimpl
    def before_tool_execution(self, context: Any, more: Any) -> None: ...


class WrongSubject:
    @hookimpl
    def before_tool_execution(self, context: HookContext[ScriptRun]) -> None: ...


class UnknownPoint:
    @hookimpl
    def before_tool_executon(self, context: HookContext[ToolCall]) -> None: ...


class TimedSync:
    @hookimpl(timeout_s=1)
    def before_tool_execution(self, context: HookContext[ToolCall]) -> None: ...


class GoodAndBad:
    @hookimpl
    def after_tool_execution(self, context: HookContext[Any]) -> None: ...

    @hookimpl
    def before_tool_executon(self, context: HookContext[Any]) -> None: ...


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (WrongArgument, "its one argument is 'context'"),
        (TooManyArguments, "its one argument is 'context'"),
        (WrongSubject, "it expects HookContext[ScriptRun]; annotate it as HookContext[ToolCall]"),
        (UnknownPoint, "before_tool_execution"),
        (TimedSync, "make it async, or say thread=True"),
        (GoodAndBad, "before_tool_execution"),
    ],
)
def test_a_plugin_with_a_wrong_hook_is_refused_whole(plugin: type, message: str) -> None:
    assert message in failed(plugin)


async def generator(context: Any) -> Any:
    yield


async def coroutine(context: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("point", "function", "options", "message"),
    [
        ("nothing", coroutine, {}, "Unknown hook point: nothing; the nearest are"),
        (BEFORE, "text", {}, "cannot be called"),
        (BEFORE, lambda: None, {}, "it is given one argument, the context"),
        (BEFORE, lambda context, more: None, {}, "it takes (context, more)"),
        (BEFORE, lambda context: None, {"timeout_s": 1}, "make it async, or say thread=True"),
        (BEFORE, coroutine, {"thread": True}, "leave thread=True out"),
        (BEFORE, lambda context: None, {"quick": print}, "leave quick out"),
        ("around_tool_execution", generator, {"kind": "wrap", "quick": print}, "leave quick out"),
        (BEFORE, generator, {"kind": "wrap"}, "a wrap cannot stand here"),
        ("around_tool_execution", coroutine, {"kind": "wrap"}, "an async generator with one yield"),
        ("around_tool_execution", lambda context: None, {}, "say kind='wrap'"),
        ("around_tool_execution", generator, {"kind": "wrap", "timeout_s": 1}, "neither a thread nor a timeout"),
        ("around_tool_execution", generator, {"kind": "wrap", "thread": True}, "neither a thread nor a timeout"),
        ("system_startup", coroutine, {"kind": "guard"}, "a guard cannot stand here"),
        ("tool_timeout", coroutine, {"kind": "guard"}, "a guard cannot stand here"),
    ],
)
def test_a_hook_that_could_never_be_called_is_refused(
    point: str, function: Any, options: dict[str, Any], message: str
) -> None:
    assert message in refused(point, function, **options)


def test_a_hook_at_run_time_may_name_its_argument_as_it_likes_but_not_another_subject() -> None:
    def wrong(anything: HookContext[ScriptRun]) -> None: ...

    assert "it expects HookContext[ScriptRun]" in refused(BEFORE, wrong)
    assert calling(lambda host: host.hooks.register(BEFORE, lambda c: None)) == "plain"


def calling(prepare: Callable[[Host], Any], **options: Any) -> Any:
    async def main() -> Any:
        async with opened(*Bench().plugins, **options) as host:
            prepare(host)
            return (await host.call("tool:echo", {"text": "plain"})).result["text"]

    return run(main)


def test_a_handle_that_is_dropped_does_not_unregister() -> None:
    def prepare(host: Host) -> None:
        handle = host.hooks.register(BEFORE, lambda context: context.modify(parameters={"text": "new"}))
        del handle
        gc.collect()

    assert calling(prepare) == "new"


def test_a_handle_unregisters_once_and_turns_its_hook_off_and_on() -> None:
    texts: list[Any] = []

    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            handle = host.hooks.register(BEFORE, lambda context: context.modify(parameters={"text": "new"}))

            async def call() -> None:
                texts.append((await host.call("tool:echo", {"text": "plain"})).result["text"])

            await call()
            handle.enable(False)
            await call()
            handle.enable()
            await call()
            assert handle.info.calls == 2
            assert (handle.unregister(), handle.unregister()) == (True, False)
            await call()

    run(main)

    assert texts == ["new", "plain", "new", "plain"]


def test_two_hooks_of_one_name_are_numbered_unless_the_name_was_given() -> None:
    def same(context: HookContext[Any]) -> None: ...

    async def main() -> list[str]:
        async with opened() as host:
            for _ in range(3):
                host.hooks.register(BEFORE, same)
            host.hooks.register(BEFORE, same, plugin="another")
            host.hooks.register(BEFORE, same, name="given")
            with pytest.raises(HookRegistrationError, match="the name is taken"):
                host.hooks.register(BEFORE, same, name="given")
            return [info.name for info in host.hooks.list(BEFORE)]

    assert run(main) == ["same", "same_2", "same_3", "same", "given"]


def test_two_hooks_of_a_plugin_stand_at_one_point_by_specname() -> None:
    class Two:
        @hookimpl(specname=BEFORE, priority="low")
        def second(self, context: HookContext[ToolCall]) -> Modified:
            return context.modify(parameters={"text": context.subject.parameters["text"] + " second"})

        @hookimpl(specname="BeforeToolExecution")
        def first(self, context: HookContext[ToolCall]) -> Modified:
            return context.modify(parameters={"text": "first"})

    async def main() -> Any:
        async with opened(*Bench().plugins, Two) as host:
            return (await host.call("tool:echo")).result["text"]

    assert run(main) == "first second"


@pytest.mark.parametrize(("pattern", "matches"), [("ec*", True), ("echo", True), ("e?ho", True), ("x*", False)])
def test_match_is_a_pattern_for_the_components_name(pattern: str, matches: bool) -> None:
    new = calling(
        lambda host: host.hooks.register(
            BEFORE, lambda context: context.modify(parameters={"text": "new"}), match=pattern
        )
    )

    assert new == ("new" if matches else "plain")


def broken(context: HookContext[Any]) -> None:
    raise ValueError("broken")


async def broken_later(context: HookContext[Any]) -> None:
    raise ValueError("broken")


async def hanging(context: HookContext[Any]) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("hook", "options"), [(broken, {}), (broken_later, {}), (broken, {"thread": True}), (hanging, {"timeout_s": 0.02})]
)
@pytest.mark.parametrize("point", [BEFORE, "tool_security_check", "after_tool_execution", "tool_resource_released"])
def test_on_error_says_whether_a_failure_is_passed_over_or_raised(
    hook: Any, options: dict[str, Any], point: str
) -> None:
    assert calling(lambda host: host.hooks.register(point, hook, **options)) == "plain"
    with pytest.raises(HookFailedError, match="at " + point) as caught:
        calling(lambda host: host.hooks.register(point, hook, on_error="raise", **options))
    assert caught.value.__cause__ is not None


def test_a_default_timeout_holds_async_hooks_that_name_none() -> None:
    settings = {"hooks": {"timeout_s": 0.02}}

    assert calling(lambda host: host.hooks.register(BEFORE, hanging), settings=settings) == "plain"


def test_settings_may_leave_hooks_out_by_name() -> None:
    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, lambda context: Cancel("no"), name="strict", plugin="mine")

    with pytest.raises(OperationCancelledError):
        calling(prepare)
    assert calling(prepare, settings={"hooks": {"disabled": ["mine.*"]}}) == "plain"


def test_a_sync_hook_may_run_in_a_thread_where_it_knows_the_operation_and_may_register_hooks() -> None:
    threads: list[Any] = []

    async def main() -> list[str]:
        async with opened(*Bench().plugins) as host:

            def slow(context: HookContext[Any]) -> None:
                threads.append(threading.current_thread() is threading.main_thread())
                for number in range(20):
                    host.hooks.register("custom:x", lambda context: None, name=f"{context.operation.id} {number}")

            host.hooks.register(BEFORE, slow, thread=True)
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(host.call, "tool:echo")
            return [info.name for info in host.hooks.list("custom:x")]

    names = run(main)

    assert threads == [False] * 10
    assert len(names) == len(set(names)) == 200


@pytest.mark.parametrize("timeout_s", [None, 5])
def test_an_async_hook_is_awaited_only_where_it_cannot_answer_at_once(timeout_s: float | None) -> None:
    awaited: list[str] = []

    async def guard(context: HookContext[Any]) -> Cancel | None:
        await trio.sleep(0)
        awaited.append(context.subject.parameters["text"])
        return Cancel("not later") if context.subject.parameters["text"] == "later, no" else None

    def at_once(context: HookContext[Any]) -> Any:
        text = context.subject.parameters["text"]
        return NotImplemented if text.startswith("later") else Cancel("not now") if text == "no" else None

    async def main() -> list[str]:
        said = []
        async with opened(*Bench().plugins) as host:
            host.hooks.register(BEFORE, guard, kind="guard", quick=at_once, timeout_s=timeout_s)
            for text in ("yes", "no", "later", "later, no"):
                try:
                    said.append((await host.call("tool:echo", {"text": text})).result["text"])
                except OperationCancelledError as error:
                    said.append(error.reason)
        return said

    said = run(main)

    assert said == ["yes", "not now", "later", "not later"]
    assert awaited == ["later", "later, no"]


def test_async_hooks_come_in_every_shape() -> None:
    class Callable_:
        async def __call__(self, context: HookContext[Any]) -> Modified:
            return context.modify(parameters={"text": context.subject.parameters["text"] + " object"})

        async def method(self, context: HookContext[Any]) -> Modified:
            return context.modify(parameters={"text": context.subject.parameters["text"] + " method"})

    async def partly(word: str, context: HookContext[Any]) -> Modified:
        return context.modify(parameters={"text": context.subject.parameters["text"] + f" {word}"})

    def prepare(host: Host) -> None:
        host.hooks.register(BEFORE, Callable_())
        host.hooks.register(BEFORE, Callable_().method)
        host.hooks.register(BEFORE, functools.partial(partly, "partial"))

    assert calling(prepare) == "plain object method partial"


def test_the_hooks_of_a_scope_go_together() -> None:
    async def main() -> list[str]:
        async with opened() as host:
            host.hooks.register(BEFORE, lambda context: None, scope="s1", name="a")
            host.hooks.register("custom:x", lambda context: None, scope="s1", name="b")
            host.hooks.register(BEFORE, lambda context: None, scope="s2", name="c")
            assert host.hooks.unregister_scope("s1") == 2
            return [info.name for info in host.hooks.list()]

    assert run(main) == ["c"]


def test_chains_are_kept_within_bounds_however_many_names_there_are() -> None:
    async def main() -> int:
        async with opened() as host:
            host.hooks.register("custom:n0", lambda context: Replace(1))
            for number in range(3000):
                await host.hooks.fire(f"custom:n{number}", 0)
            value: int = await host.hooks.fire("custom:n0", 0)
            return value

    assert run(main) == 1
