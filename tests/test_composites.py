"""Composites where they stand: what becomes of their answers, their guards, their names and their bounds."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    Fork,
    HookContext,
    HookResult,
    Modified,
    OperationCancelledError,
    Replace,
    hookimpl,
)
from llmspell_hookspecs.composites import Child, Composite, first_match, parallel, sequential, voting
from llmspell_hookspecs.errors import HookFailedError, HookRegistrationError
from llmspell_hookspecs.results import Call

POINT = "before_tool_execution"


def answering(result: HookResult | None, name: str = "", seen: list[Any] | None = None, **options: Any) -> Any:
    """Return a hook that answers this, and notes what it was asked about."""

    def hook(context: HookContext[Any]) -> HookResult | None:
        if seen is not None:
            seen.append(dict(context.subject.parameters))
        return result

    hook.__name__ = name or "hook"
    return hookimpl(**options)(hook) if options else hook


def adding(seen: list[Any] | None = None, **parameters: Any) -> Any:
    """Return a hook that adds these parameters."""

    async def hook(context: HookContext[Any]) -> HookResult | None:
        await trio.lowlevel.checkpoint()
        if seen is not None:
            seen.append(dict(context.subject.parameters))
        return context.modify(parameters={**context.subject.parameters, **parameters})

    hook.__name__ = "_".join(parameters)
    return hook


async def given(host: Host, bench: Bench) -> Any:
    """Call the tool, and return what its body was given."""
    await host.call("tool:echo", {"text": "x"})
    return dict(bench.runs[-1])


async def ran_with(*children: Child, make: Callable[..., Composite] = parallel, **options: Any) -> Any:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        host.hooks.register(POINT, make(*children, **options), name="both")
        return await given(host, bench)


async def test_each_child_of_a_sequence_sees_what_the_one_before_left() -> None:
    seen: list[Any] = []

    ran = await ran_with(adding(seen, a=1), adding(seen, b=2), answering(None, seen=seen), make=sequential)

    assert seen == [{"text": "x"}, {"text": "x", "a": 1}, {"text": "x", "a": 1, "b": 2}]
    assert ran == {"text": "x", "a": 1, "b": 2}


async def test_parallel_children_see_the_same_and_what_they_change_is_put_together() -> None:
    seen: list[Any] = []

    ran = await ran_with(adding(seen, a=1), answering(None, seen=seen), adding(seen, b=2))

    assert seen == [{"text": "x"}] * 3
    assert ran == {"text": "x", "a": 1, "b": 2}


async def test_lists_are_put_together_by_place_and_one_is_not_true() -> None:
    ran = await ran_with(sequential(adding(a=[1, 0])), parallel(), adding(b=1), make=sequential)

    assert ran == {"text": "x", "a": [1, 0], "b": 1}

    bench = Bench()
    async with opened(*bench.plugins) as host:
        host.hooks.register(POINT, adding(a=[1, 1]), priority="high")
        host.hooks.register(POINT, parallel(adding(a=[True, 1]), _second(a=[1, 2])))

        assert str(list((await given(host, bench))["a"])) == "[True, 2]"


def _second(**parameters: Any) -> Any:
    hook = adding(**parameters)
    hook.__name__ = "second"
    return hook


async def test_two_who_change_the_same_are_a_conflict_that_names_both_and_the_place() -> None:
    with pytest.raises(HookFailedError, match="a and second change /parameters/a in different ways; name the one"):
        await ran_with(adding(a=1), _second(a=2))

    assert (await ran_with(adding(a=1), _second(a=2), prefer=["second"]))["a"] == 2
    assert (await ran_with(adding(a=1), _second(a=1)))["a"] == 1
    assert await ran_with(adding(a=1), _second(a=2), on_error="continue") == {"text": "x"}


async def test_the_first_that_has_something_to_say_is_the_only_one_that_counts() -> None:
    seen: list[Any] = []

    ran = await ran_with(answering(None), adding(a=1), answering(Cancel("no"), seen=seen), make=first_match)

    assert ran == {"text": "x", "a": 1}
    assert seen == []


async def test_a_vote_is_by_the_results_name_and_wants_its_part() -> None:
    no, never = answering(Cancel("no")), answering(Cancel("never"))
    yes = answering(None)

    with pytest.raises(OperationCancelledError, match="no"):
        await ran_with(no, never, yes, make=voting, threshold=0.6)
    assert await ran_with(no, yes, yes, make=voting) == {"text": "x"}
    assert await ran_with(no, never, yes, make=voting, threshold=1.0) == {"text": "x"}


@pytest.mark.parametrize("children", [(), (sequential(), parallel(), voting(), first_match())])
async def test_an_empty_composite_lets_all_go_on(children: tuple[Child, ...]) -> None:
    for make in (sequential, parallel, first_match, voting):
        assert await ran_with(*children, make=make) == {"text": "x"}


@pytest.mark.parametrize("make", [sequential, parallel, first_match, voting])
@pytest.mark.parametrize("depth", [0, 1, 3])
async def test_nothing_outvotes_a_guard(make: Callable[..., Composite], depth: int) -> None:
    guard: Any = answering(Cancel("not this"), kind="guard")
    for _ in range(depth):
        guard = make(guard, answering(None))

    with pytest.raises(OperationCancelledError, match="not this"):
        await ran_with(guard, *[answering(Replace({"text": "instead"})) for _ in range(5)], make=make)


async def test_a_guard_in_a_composite_judges_what_runs_and_fails_closed() -> None:
    seen: list[Any] = []
    bench = Bench()
    async with opened(*bench.plugins) as host:
        host.hooks.register(POINT, sequential(answering(None, seen=seen, kind="guard"), adding(a=1)), name="inner")
        host.hooks.register(POINT, adding(b=2), priority="lowest")
        await given(host, bench)
        host.hooks.register(POINT, voting(adding(c=1), hookimpl(kind="guard")(lambda context: 1 / 0)), name="broken")

        with pytest.raises(OperationCancelledError, match="division by zero"):
            await given(host, bench)

    assert seen == [{"text": "x", "a": 1, "b": 2}, {"text": "x", "a": 1, "b": 2, "c": 1}]


async def test_an_observer_in_a_composite_is_told_of_what_others_cancelled() -> None:
    seen: list[Any] = []

    with pytest.raises(OperationCancelledError):
        await ran_with(answering(Cancel("no")), answering(None, seen=seen, kind="observe"), make=first_match)

    assert seen == [{"text": "x"}]


async def test_forks_of_parallel_children_all_run() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        fork = Fork((Call("tool:side", {}),), join=True)
        host.hooks.register(
            POINT, parallel(answering(fork), answering(fork, "second"), answering(Modified({}))), match="echo"
        )
        await given(host, bench)

    assert bench.side == 2


async def test_each_child_keeps_its_match_its_breaker_and_its_counts() -> None:
    def failing(context: HookContext[Any]) -> None:
        raise ValueError("it broke")

    bench = Bench()
    async with opened(*bench.plugins) as host:
        only = answering(Cancel("no"), "only", match="other")
        host.hooks.register(POINT, parallel(failing, only, adding(a=1)), name="three")
        for _ in range(5):
            await given(host, bench)
        with pytest.raises(OperationCancelledError):
            await host.call("tool:other")
        hooks = {info.name: info for info in host.hooks.list(POINT)}

    assert {name: (info.calls, info.failures, info.breaker) for name, info in hooks.items()} == {
        "three": (6, 0, "none"),
        "three/failing": (3, 3, "open"),
        "three/only": (1, 0, "closed"),
        "three/a": (6, 0, "closed"),
    }
    assert {info.within for info in hooks.values()} == {"", "code.three"}


async def test_a_timeout_of_a_child_and_of_the_whole_are_kept() -> None:
    async def forever(context: HookContext[Any]) -> None:
        await trio.sleep_forever()

    bench = Bench()
    async with opened(*bench.plugins) as host:
        child = hookimpl(timeout_s=0.01)(forever)
        handle = host.hooks.register(POINT, parallel(child, adding(a=1)), name="one")
        assert await given(host, bench) == {"text": "x", "a": 1}
        handle.unregister()

        host.hooks.register(POINT, parallel(forever, adding(a=1)), name="all", timeout_s=0.01)
        with pytest.raises(HookFailedError, match=r"it took longer than 0\.01 s"):
            await given(host, bench)


async def test_a_composite_leaves_with_all_that_came_with_it_and_is_switched_with_it() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        guard = answering(Cancel("no"), "guard", kind="guard")
        handle = host.hooks.register(POINT, sequential(adding(a=1), guard), name="both")
        with pytest.raises(OperationCancelledError):
            await given(host, bench)

        handle.enable(False)
        assert await given(host, bench) == {"text": "x"}
        handle.enable(True)
        with pytest.raises(OperationCancelledError):
            await given(host, bench)

        assert handle.unregister()
        assert host.hooks.list() == []
        assert await given(host, bench) == {"text": "x"}
        assert not handle.unregister()


async def test_a_point_that_is_asked_without_waiting_takes_sync_children_only() -> None:
    async with opened() as host:
        host.hooks.register("before_event_emit", parallel(answering(None), answering(Cancel("no"), "second")))
        with pytest.raises(OperationCancelledError):
            host.events.publish_nowait("some.event", {})
        with pytest.raises(HookRegistrationError, match="the point is asked without waiting"):
            host.hooks.register("before_event_emit", parallel(adding(a=1)))

        assert len(host.hooks.list()) == 3


async def test_at_error_points_the_changes_of_a_failure_are_put_together() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        code = lambda context: Modified({"code": "mine"})  # noqa: E731
        text = lambda context: Modified({"message": "withheld"})  # noqa: E731
        host.hooks.register("tool_error", parallel(code, text))
        bench.failing = 1

        with pytest.raises(Exception, match="withheld") as caught:
            await given(host, bench)

    assert getattr(caught.value, "code", "") == "mine"


async def test_at_after_points_a_bare_value_is_the_result_that_the_next_child_sees() -> None:
    def says(context: HookContext[Any]) -> HookResult:
        return Modified({"text": "bare"})

    def marks(context: HookContext[Any]) -> HookResult:
        return context.modify(message=str(context.subject.result["text"]))

    def seen(context: HookContext[Any]) -> HookResult:
        return Modified({"metadata": {"mine": context.subject.success}})

    bench = Bench()
    async with opened(*bench.plugins) as host:
        plain = lambda context: Modified(7)  # noqa: E731
        handle = host.hooks.register("after_tool_execution", sequential(plain, seen))
        one = await host.call("tool:echo", {"text": "x"})
        handle.unregister()
        host.hooks.register("after_tool_execution", parallel(sequential(says, marks), seen), name="all")
        host.hooks.register("after_tool_execution", says, priority="high")
        other = await host.call("tool:echo", {"text": "x"})

    assert (one.result, one.metadata["mine"]) == (7, True)
    assert (other.text, other.message, other.metadata["mine"]) == ("bare", "x", True)


# Plugins.


class Careful:
    """A plugin with a composite."""

    name = "careful"
    check = hookimpl(specname=POINT, name="check", match="echo")(
        sequential(adding(a=1), answering(Cancel("no"), "judge", kind="guard", match="echo"))
    )


async def test_a_plugin_may_have_composites_and_is_registered_with_all_or_nothing() -> None:
    broken = types.SimpleNamespace(
        name="broken", one=hookimpl(specname=POINT)(parallel(adding(a=1), lambda: None)), __name__="broken"
    )
    bench = Bench()
    async with opened(*bench.plugins, Careful, broken) as host:
        with pytest.raises(OperationCancelledError, match="no"):
            await given(host, bench)
        hooks = [f"{info.plugin}.{info.name}" for info in host.hooks.list(POINT)]

    assert len(host.plugins.failed) == 1
    assert sorted(hooks) == ["careful.check", "careful.check/a", "careful.check/judge"]


# Names.


async def named(host: Host, plugin: str, **parameters: Any) -> Any:
    return host.hooks.register(POINT, adding(**parameters), plugin=plugin, name="add")


async def test_named_hooks_are_asked_by_the_composite_once_and_by_the_chain_again_when_it_goes() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        await named(host, "one", a=1)
        handle = host.hooks.register(POINT, first_match("one", "two.add"), name="either")
        await named(host, "two", b=2)
        either = await given(host, bench)
        within = {f"{info.plugin}.{info.name}": info.within for info in host.hooks.list(POINT)}
        handle.unregister()
        both = await given(host, bench)

    assert either == {"text": "x", "a": 1}
    assert within == {"one.add": "code.either", "two.add": "code.either", "code.either": ""}
    assert both == {"text": "x", "a": 1, "b": 2}


@pytest.mark.parametrize("late", [False, True])
async def test_a_guard_and_an_observer_that_are_named_stay_where_they_are(late: bool) -> None:
    seen: list[Any] = []
    bench = Bench()
    async with opened(*bench.plugins) as host:
        if late:
            host.hooks.register(POINT, first_match("one"), name="both")
        host.hooks.register(POINT, answering(None, seen=seen), plugin="one", name="watch", kind="observe")
        host.hooks.register(POINT, adding(a=1), plugin="one", name="add")
        host.hooks.register(POINT, lambda context: Cancel("no"), plugin="one", name="deny", kind="guard")
        if not late:
            host.hooks.register(POINT, first_match("one"), name="both")
        within = {info.name: info.within for info in host.hooks.list(POINT)}

        with pytest.raises(OperationCancelledError, match="no"):
            await given(host, bench)

    assert within == {"both": "", "add": "code.both", "watch": "", "deny": ""}
    assert seen == [{"text": "x", "a": 1}]


async def test_the_hooks_of_scripts_are_nobodys_children_by_name() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host, host.session("lua", name="mine") as session:
        host.hooks.register(POINT, first_match("script:mine"), name="both")
        await session.evaluate("Hook.register('BeforeToolExecution', function() end, {name = 'own'})")

        assert {info.name: info.within for info in host.hooks.list(POINT)} == {"both": "", "own": ""}


async def test_where_a_composite_is_not_asked_what_it_names_is_asked_by_itself() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        await named(host, "one", a=1)
        await named(host, "two", b=2)
        host.hooks.register(POINT, first_match("one", "two"), name="either", match="other")
        elsewhere = await given(host, bench)
        handle = host.hooks.register("after_tool_execution", first_match("one"), name="either")
        handle.unregister()

    assert elsewhere == {"text": "x", "a": 1, "b": 2}


async def test_composites_that_name_each_other_nest_and_a_circle_is_named() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        await named(host, "one", a=1)
        await named(host, "two", b=2)
        host.hooks.register(POINT, voting("code.inner", "two", threshold=1.0), name="outer")
        host.hooks.register(POINT, first_match("one"), name="inner")
        nested = await given(host, bench)
        host.hooks.register(POINT, first_match("x.b"), name="a", plugin="x")

        with pytest.raises(HookRegistrationError, match=r"in a circle: x\.b -> x\.a -> x\.b; take one name out"):
            host.hooks.register(POINT, first_match("x.a"), name="b", plugin="x")
        with pytest.raises(HookRegistrationError, match=r"one\.add is asked by code\.inner already; name it in one"):
            host.hooks.register(POINT, first_match("one"), name="greedy")

        assert nested == {"text": "x", "a": 1, "b": 2}
        assert await given(host, bench) == nested
        assert "greedy" not in {info.name for info in host.hooks.list(POINT)}


async def test_settings_make_composites_of_what_they_name_and_tell_what_is_not_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = [
        {"name": "either", "point": "BeforeToolExecution", "mode": "first_match", "children": ["one", "two.add"]},
        {
            "name": "nested",
            "point": POINT,
            "mode": "parallel",
            "children": [{"mode": "sequential", "children": ["thre"]}, "composite.either"],
        },
    ]
    hooks = [make_hook("one", a=1), make_hook("two", b=2)]
    bench = Bench()
    async with opened(
        *bench.plugins, *hooks, settings={"plugins": {"composite": {"enabled": True, "hooks": entries}}}
    ) as host:
        assert host.plugins.failed == ()
        assert await given(host, bench) == {"text": "x", "a": 1}

    told = "hook composite.nested at before_tool_execution: no hook there is called 'thre', so nobody is asked"
    assert [record.getMessage()[: len(told)] for record in caplog.records if "composite" in record.getMessage()] == [
        told
    ]


def make_hook(plugin: str, **parameters: Any) -> Any:
    return types.new_class(
        plugin,
        (),
        {},
        lambda body: body.update(
            name=plugin, add=staticmethod(hookimpl(specname=POINT, name="add")(_context(adding(**parameters))))
        ),
    )


def _context(function: Any) -> Any:
    async def add(context: HookContext[Any]) -> Any:
        return await function(context)

    return add


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"mode": "voting", "threshold": 0}, "threshold"),
        ({"mode": "other"}, "mode"),
        ({"mode": "parallel", "prefer": ["x"]}, "prefer names 'x'"),
        ({"mode": "parallel", "point": "before_nothing"}, "before_nothing"),
        ({"mode": "parallel", "children": ["composite.it"]}, "it names itself"),
        ({"mode": "parallel", "children": ["one"] * 65}, "65 children, and 64 are the most"),
    ],
)
async def test_a_wrong_entry_is_a_plugin_that_failed_and_names_what_is_wrong(entry: Any, problem: str) -> None:
    whole = {"name": "it", "point": POINT, "children": ["one"], **entry}
    async with opened(settings={"plugins": {"composite": {"enabled": True, "hooks": [whole]}}}) as host:
        errors = [info.error for info in host.plugins.infos if info.name == "composite"]

    assert problem in errors[0]


# Bounds.


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: parallel(*[answering(None)] * 65), "65 children, and 64 are the most"),
        (lambda: parallel(*[parallel(*[answering(None)] * 60)] * 5), "300 children in all, and 256 are the most"),
        (lambda: _deep(9), "9 levels, and 8 are the most"),
        (lambda: voting(threshold=0), "the threshold 0 is none"),
        (lambda: voting(threshold=1.5), "the threshold 1.5 is none"),
        (lambda: voting(tie="last"), "tie='last' is none"),  # type: ignore[arg-type]
        (lambda: Composite("other"), "the mode 'other' is none; use one of sequential, parallel"),
        (lambda: parallel(7), "7 is no child"),  # type: ignore[arg-type]
        (lambda: parallel(""), "'' is no child"),
        (lambda: parallel(answering(None, kind="wrap")), "is a wrap"),
        (lambda: parallel(answering(None, priority="high")), "has a priority or an order"),
        (lambda: parallel(hookimpl(match="x")(parallel())), "has options; only the outermost"),
        (lambda: parallel(answering(None), prefer="other"), "prefer names 'other'; its children are hook"),
        (lambda: parallel()(None), "it is not called; register it at a point"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_composite_is_refused_as_it_is_made(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises(HookRegistrationError) as caught:
        make()

    assert problem in str(caught.value)


def _deep(levels: int) -> Composite:
    made = parallel()
    for _ in range(levels - 1):
        made = parallel(made)
    return made


@pytest.mark.parametrize(
    ("composite", "options", "problem"),
    [
        (parallel(), {"kind": "guard"}, "has not the kind guard itself; say it of its children"),
        (parallel(), {"thread": True}, "has not a thread itself"),
        (parallel(lambda: None), {}, "it is given one argument, the context"),
        (parallel(answering(None, specname="tool_error")), {}, "is for tool_error; register it there"),
        (parallel(answering(None, kind="guard", match="a")), {"match": "b"}, "have a match; say it of one of them"),
    ],
)
async def test_what_cannot_stand_there_is_refused_and_leaves_nothing(
    composite: Composite, options: dict[str, Any], problem: str
) -> None:
    async with opened() as host:
        with pytest.raises(HookRegistrationError) as caught:
            host.hooks.register(POINT, composite, **options)

        assert problem in str(caught.value)
        assert host.hooks.list() == []


async def test_a_child_that_answers_what_its_point_does_not_accept_is_named() -> None:
    async with opened(make_tool("echo", _nothing)) as host:
        host.hooks.register("tool_parameter_validation", parallel(answering(Replace(1), "odd"), answering(None)))

        with pytest.raises(HookFailedError, match="parallel/odd at tool_parameter_validation: it answered Replace"):
            await host.call("tool:echo")


async def _nothing(parameters: Any, context: Any) -> None:
    return None
