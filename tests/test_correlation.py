"""Which operation belongs to which: ids, depth, hops, and hosts that share nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import Cache, Calls, Fork, HookContext, InvalidInputError, Redirect, ToolContext
from llmspell_hookspecs.context import ComponentRef, OperationRef
from llmspell_hookspecs.errors import DepthLimitError, HookFailedError
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.results import Call

BEFORE = "before_tool_execution"


class Family:
    """A tool that calls another, and the operations that hooks saw."""

    def __init__(self) -> None:
        self.seen: dict[str, OperationRef] = {}
        self.languages: dict[str, str] = {}

    async def outer(self, parameters: dict[str, Any], context: ToolContext) -> Any:
        await context.services.get(Calls).call("tool:echo")
        return context.operation

    def watch(self, host: Host) -> None:
        def note(context: HookContext[Any]) -> None:
            self.seen[context.component.name] = context.operation
            self.languages[context.component.name] = context.language

        host.hooks.register(BEFORE, note)
        host.hooks.register("before_script_run", note)


def test_a_nested_operation_knows_its_parent_its_root_and_its_cause() -> None:
    family = Family()

    async def main() -> None:
        async with opened(*Bench().plugins, make_tool("outer", family.outer)) as host:
            family.watch(host)
            await host.run_source("call tool:outer", "mini", name="tour.mini")

    run(main)

    script, outer, echo = (family.seen[name] for name in ("tour.mini", "outer", "echo"))
    assert len({script.id, outer.id, echo.id}) == 3
    assert (script.parent_id, outer.parent_id, echo.parent_id) == ("", script.id, outer.id)
    assert {script.root_id, outer.root_id, echo.root_id} == {script.id}
    assert len({script.correlation_id, outer.correlation_id, echo.correlation_id}) == 1
    assert (script.depth, outer.depth, echo.depth) == (0, 1, 2)
    assert set(family.languages.values()) == {"mini"}


def test_operations_side_by_side_have_causes_of_their_own() -> None:
    refs: list[OperationRef] = []

    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            host.hooks.register(BEFORE, lambda context: refs.append(context.operation))
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(host.call, "tool:echo")

    run(main)

    assert len({ref.id for ref in refs}) == len({ref.correlation_id for ref in refs}) == 5
    assert all(ref.parent_id == "" and ref.root_id == ref.id for ref in refs)


def test_redirects_and_forks_belong_to_the_operation_that_set_them_off() -> None:
    family = Family()

    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            family.watch(host)
            host.hooks.register(BEFORE, lambda context: Fork((Call("tool:side"),), join=True), match="echo", name="f")
            host.hooks.register(BEFORE, lambda context: Redirect("other"), match="echo", name="r")
            await host.call("tool:echo")

    run(main)

    echo, other, side = (family.seen[name] for name in ("echo", "other", "side"))
    assert other.parent_id == side.parent_id == echo.id
    assert other.correlation_id == side.correlation_id == echo.correlation_id
    assert (echo.hops, other.hops, side.hops) == (0, 1, 0)


def test_calls_from_hooks_and_threads_belong_to_their_operation() -> None:
    family = Family()

    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            family.watch(host)

            async def from_a_hook(context: HookContext[Any]) -> None:
                await host.call("tool:other")

            def from_a_thread(context: HookContext[Any]) -> None:
                trio.from_thread.run(host.call, "tool:side")

            host.hooks.register(BEFORE, from_a_hook, match="echo")
            host.hooks.register(BEFORE, from_a_thread, match="echo", thread=True)
            await host.call("tool:echo")

    run(main)

    assert family.seen["other"].parent_id == family.seen["side"].parent_id == family.seen["echo"].id


def test_a_tool_that_calls_itself_ends_at_the_depth_limit() -> None:
    depths: list[int] = []

    async def again(parameters: dict[str, Any], context: ToolContext) -> Any:
        depths.append(context.operation.depth)
        return await context.services.get(Calls).call("tool:again")

    async def main() -> None:
        async with opened(make_tool("again", again)) as host:
            await host.call("tool:again")

    with pytest.raises(DepthLimitError, match="nested more than 32 times") as caught:
        run(main)

    assert depths == list(range(33))
    assert caught.value.component == "tool:again"


def deepest(main: Callable[[], Awaitable[None]]) -> str:
    """Run what fails hook by hook, and return what the failures began with."""
    with pytest.raises(HookFailedError) as failure:
        run(main)
    error: BaseException = failure.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, DepthLimitError)
    return str(error)


def test_a_hook_that_fires_its_own_point_ends_at_the_depth_limit() -> None:
    async def main() -> None:
        async with opened(*Bench().plugins) as host:

            async def again(context: HookContext[Any]) -> None:
                await host.hooks.fire(context.point, context.subject)

            host.hooks.register("custom:x", again, on_error="raise")
            await host.hooks.fire("custom:x", 1)

    assert "nested more than 32 times" in deepest(main)


def test_a_hook_that_changes_what_it_is_asked_about_ends_at_the_depth_limit() -> None:
    async def main() -> None:
        async with opened() as host:

            async def again(context: HookContext[Any]) -> None:
                await host.settings.change("limits.hops", 3)

            host.hooks.register("configuration_change", again, on_error="raise")
            await host.settings.change("limits.hops", 3)

    assert "nested more than 32 times" in deepest(main)


def test_redirects_in_a_circle_end_at_the_limit_of_hops() -> None:
    async def main() -> None:
        async with opened(*Bench().plugins) as host:
            host.hooks.register(BEFORE, lambda context: Redirect("other"), match="echo", name="there")
            host.hooks.register(BEFORE, lambda context: Redirect("echo"), match="other", name="back")
            await host.call("tool:echo")

    with pytest.raises(DepthLimitError, match="redirected more than 8 times"):
        run(main)


def test_two_hosts_in_one_process_share_nothing() -> None:
    called: list[str] = []

    async def main() -> None:
        inner_bench, outer_bench = Bench(), Bench()
        async with opened(*outer_bench.plugins) as outer, opened(*inner_bench.plugins) as inner:

            async def cross(context: HookContext[Any]) -> None:
                called.append(f"outer depth {context.operation.depth}")
                await inner.call("tool:echo")

            outer.hooks.register(BEFORE, cross)
            inner.hooks.register(
                BEFORE,
                lambda context: called.append(f"inner depth {context.operation.depth} {context.operation.parent_id}"),
            )
            await outer.call("tool:echo")
            assert len(inner_bench.runs) == len(outer_bench.runs) == 1
            assert [info.plugin for info in inner.hooks.list()] == ["code"]
            await inner.settings.change("limits.hops", 1)
            assert outer.settings.plain("limits.hops") == 8

    run(main)

    assert called == ["outer depth 0", "inner depth 0 "]


async def test_baggage_is_carried_by_all_within_and_read_by_hooks() -> None:
    seen: list[tuple[str, str, dict[str, str]]] = []
    kind = OperationKind(name="visit")

    async def inner(parameters: Any, context: ToolContext) -> Any:
        return dict(context.operation.baggage)

    async with opened(make_tool("inner", inner)) as host:
        operations = host.get(Operations)

        def see(context: HookContext[Any]) -> None:
            ref = context.operation
            seen.append((context.component.name, ref.session_id, dict(ref.baggage)))

        async def body(subject: Any) -> Any:
            return (await host.call("tool:inner")).result

        async def around(subject: Any) -> Any:
            return await operations.execute(
                Operation(kind, ComponentRef("visit", "near"), None, body, baggage={"user": "ann", "session": "s2"})
            )

        host.hooks.register("before_tool_execution", see)
        far = Operation(kind, ComponentRef("visit", "far"), None, around, baggage={"session": "s1", "budget": "3"})
        assert await operations.execute(far) == {"session": "s2", "budget": "3", "user": "ann"}
        assert (await host.call("tool:inner")).result == {}

    assert seen == [("inner", "s2", {"session": "s2", "budget": "3", "user": "ann"}), ("inner", "", {})]


async def test_sessions_share_no_cached_result() -> None:
    kind, runs = OperationKind(name="visit"), []

    async def inner(parameters: Any, context: ToolContext) -> Any:
        runs.append(context.operation.session_id)
        return len(runs)

    async with opened(make_tool("inner", inner)) as host:
        host.hooks.register("before_tool_execution", lambda context: Cache("key", 60.0))

        async def body(subject: Any) -> Any:
            return (await host.call("tool:inner")).result

        async def visit(session: str) -> Any:
            visited = Operation(kind, ComponentRef("visit", "near"), None, body, baggage={"session": session})
            return await host.get(Operations).execute(visited)

        assert [await visit(session) for session in ("a", "b", "a", "b")] == [1, 2, 1, 2]


async def test_baggage_that_is_no_text_is_refused() -> None:
    async def body(subject: Any) -> None:
        """Do nothing."""

    async with opened() as host:
        wrong: Any = {"budget": 3}
        visit = Operation(OperationKind(name="visit"), ComponentRef("visit", "near"), None, body, baggage=wrong)
        with pytest.raises(InvalidInputError, match="give texts"):
            await host.get(Operations).execute(visit)
