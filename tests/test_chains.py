"""Compiled chains: kept by all that they depend on, and never longer than they are right."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kernel import Bench, opened
from llmspell import Host
from llmspell.hooks import HookRegistry
from llmspell_hookspecs import Cancel, Event, HookContext, OperationCancelledError, Retry, ToolCall
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.topics import own_points

BEFORE, AFTER, ERROR = "before_tool_execution", "after_tool_execution", "tool_error"


def withhold(context: HookContext[Any]) -> Cancel:
    """Deny."""
    return Cancel("withheld")


async def body(subject: Any) -> Any:
    """Do nothing."""
    return subject


@pytest.mark.parametrize("shared", ["before", "after", "around", "error"])
async def test_two_kinds_that_share_a_point_do_not_share_their_chains(shared: str) -> None:
    points: dict[str, Any] = {"before": BEFORE, "after": AFTER, "around": "around_tool_execution", "error": ERROR}
    component, call = ComponentRef("tool", "echo"), ToolCall("echo", {})
    only: dict[str, Any] = {shared: points[shared]}
    seen: list[str] = []

    async with opened(*Bench().plugins) as host:
        operations: Operations = host._services.get(Operations)
        host.hooks.register(BEFORE, lambda context: seen.append("before"), kind="observe")
        host.hooks.register(AFTER, lambda context: seen.append("after"), kind="observe")
        await operations.run(OperationKind("mine", **only), component, call, body)
        few = list(seen)
        seen.clear()
        await operations.run(OperationKind("whole", **points), component, call, body)

    assert few == ([shared] if shared in ("before", "after") else [])
    assert seen == ["before", "after"]


async def test_two_kinds_with_the_same_points_tell_of_themselves_under_their_own_names() -> None:
    component, call = ComponentRef("tool", "echo"), ToolCall("echo", {})
    told: list[str] = []

    async with opened(*Bench().plugins) as host:
        operations: Operations = host._services.get(Operations)
        await operations.run(OperationKind("quiet", before=BEFORE), component, call, body)
        async with host.events.subscribe("*") as events:
            for name in ("quiet", "told", "quiet"):
                kind = OperationKind(name, before=BEFORE, events=name == "told")
                await operations.run(kind, component, call, body)
            while (event := events.receive_nowait()) is not None:
                told.append(event.type)

    assert told == ["told.started", "told.completed"]


@pytest.mark.parametrize("hooked", [None, "observe", "transform"])
@pytest.mark.parametrize("deadline_s", [None, 5.0])
async def test_a_guard_that_comes_while_an_operation_runs_judges_what_leaves(
    hooked: str | None, deadline_s: float | None
) -> None:
    async with opened(*Bench().plugins) as host:
        operations: Operations = host._services.get(Operations)

        async def register(subject: Any) -> Any:
            host.hooks.register(AFTER, withhold, kind="guard")
            return subject

        if hooked is not None:
            host.hooks.register(BEFORE, lambda context: None, kind=hooked)
        kind = OperationKind("mine", before=BEFORE, after=AFTER)
        with pytest.raises(OperationCancelledError, match="withheld"):
            component = ComponentRef("tool", "echo")
            await operations.run(kind, component, ToolCall("echo", {}), register, deadline_s=deadline_s)


async def test_a_guard_that_comes_with_a_transform_judges_the_call_that_this_one_proposed() -> None:
    bench = Bench()

    async with opened(*bench.plugins) as host:

        def register(context: HookContext[Any]) -> None:
            host.hooks.register(BEFORE, withhold, kind="guard")

        host.hooks.register(BEFORE, register)
        with pytest.raises(OperationCancelledError, match="withheld"):
            await host.call("tool:echo")

    assert bench.runs == []


async def test_who_comes_to_the_failure_while_the_body_fails_is_asked_about_it() -> None:
    seen: list[str] = []

    async with opened(*Bench().plugins) as host:
        operations: Operations = host._services.get(Operations)

        async def register(subject: Any) -> Any:
            host.hooks.register(ERROR, lambda context: Retry(0, 2))
            host.hooks.register(ERROR, lambda context: seen.append(context.subject.message), kind="observe")
            raise ValueError("broken")

        kind = OperationKind("mine", before=BEFORE, error=ERROR)
        with pytest.raises(ValueError, match="broken"):
            await operations.run(kind, ComponentRef("tool", "echo"), ToolCall("echo", {}), register)

    assert seen == ["broken"]


async def test_a_guard_that_is_taken_out_while_an_operation_runs_still_judges_it() -> None:
    async with opened(*Bench().plugins) as host:
        operations: Operations = host._services.get(Operations)
        guard = host.hooks.register(AFTER, withhold, kind="guard")

        async def take_out(subject: Any) -> Any:
            guard.unregister()
            return subject

        kind, component = OperationKind("mine", before=BEFORE, after=AFTER), ComponentRef("tool", "echo")
        with pytest.raises(OperationCancelledError, match="withheld"):
            await operations.run(kind, component, ToolCall("echo", {}), take_out)
        left = await operations.run(kind, component, ToolCall("echo", {}), body)

    assert left == ToolCall("echo", {})


class Interrupted(PointCatalog):
    """A catalogue that lets another thread do something in the middle of a compilation, once."""

    act: Callable[[], object] | None = None

    def get(self, name: str) -> Any:
        """Return the point, later."""
        act, self.act = self.act, None
        if act is not None:
            thread = threading.Thread(target=act)
            thread.start()
            thread.join()
        return super().get(name)


def test_a_hook_that_another_thread_registers_while_a_chain_is_compiled_is_in_the_next_one() -> None:
    catalog = Interrupted(own_points())
    registry = HookRegistry(catalog)
    registry.register(BEFORE, lambda context: None)
    catalog.act = lambda: registry.register(BEFORE, withhold, kind="guard")

    before = registry.chain(BEFORE, "echo")
    after = registry.chain(BEFORE, "echo")

    assert before is not None and len(before.guards) == 0
    assert after is not None and len(after.guards) == 1


@pytest.mark.parametrize("known", [False, True])
async def test_a_guard_that_another_thread_registers_while_an_operation_looks_judges_from_then_on(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(*Bench().plugins) as host:
        if known:
            await host.call("tool:echo", {"text": "known"})
            host.hooks.register(BEFORE, lambda context: None, kind="observe")
        look, registry = HookRegistry.chain, host._registry
        waiting = [lambda: host.hooks.register(AFTER, withhold, kind="guard")]

        def chain(self: HookRegistry, point: str, component: str) -> Any:
            found = look(self, point, component)
            if point == AFTER and waiting:  # it was looked up, and is not kept yet
                thread = threading.Thread(target=waiting.pop())
                thread.start()
                thread.join()
            return found

        monkeypatch.setattr(HookRegistry, "chain", chain)
        for _ in range(2):
            with pytest.raises(OperationCancelledError, match="withheld"):
                await host.call("tool:echo", {"text": "x"})

    assert registry.hooked(AFTER)


async def test_a_registration_drops_the_chains_of_its_own_point_and_no_others() -> None:
    async with opened(*Bench().plugins) as host:
        registry, runner = host._registry, host._runner
        for point in (BEFORE, AFTER, "before_state_write"):
            host.hooks.register(point, lambda context: None)
        await host.call("tool:echo", {"text": "x"})
        await host.state.set("a", 1)
        chains = {point: registry.chain(point, "echo") for point in (BEFORE, AFTER)}
        kept = {kind.name: plans for kind, plans in runner._kept.items()}

        handle = host.hooks.register(AFTER, lambda context: None)
        after = registry.chain(AFTER, "echo")
        handle.unregister()

        assert registry.chain(BEFORE, "echo") is chains[BEFORE]
        assert after is not chains[AFTER] and registry.chain(AFTER, "echo") is not after
        now = {kind.name: plans for kind, plans in runner._kept.items()}
        assert "tool" not in now
        assert now["state_write"] is kept["state_write"]


def effort(act: Callable[[], object]) -> int:
    """Return how many calls of functions something takes."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return calls


PLACES: list[Callable[[int], dict[str, Any]]] = [
    lambda number: {},
    lambda number: {"name": f"k{number}"},
    lambda number: {"name": f"k{number}", "priority": (number * 7919) % 1000},
    lambda number: {"name": f"k{number}", "after": f"k{number - 1}"},
    lambda number: {"name": f"k{number}", "before": f"k{number - 1}"},
    lambda number: {"name": f"k{number}", "after": "k0"} if number else {"name": "k0", "after": "nobody"},
    lambda number: {"name": f"k{number}", "before": "audit"} if number else {"name": "k0", "plugin": "audit"},
]


@pytest.mark.parametrize("place", range(len(PLACES)))
async def test_the_thousandth_hook_costs_what_the_first_does_to_register_and_to_take_out(place: int) -> None:
    def register(host: Host, number: int) -> Any:
        return host.hooks.register(AFTER, lambda context: None, kind="observe", scope="s", **PLACES[place](number))

    async with opened(*Bench().plugins) as host:
        handles = [register(host, 0)]
        first = effort(lambda: handles.append(register(host, 1)))
        handles += [register(host, number) for number in range(2, 1000)]
        last = effort(lambda: handles.append(register(host, 1000)))
        out = effort(handles[500].unregister)
        count = len(host.hooks.list(AFTER))
        rest = effort(lambda: host.hooks.unregister_scope("s"))

    assert last < 2 * first + 200
    assert out < first + 200
    assert count == 1000
    assert rest < 1000 * 100


@pytest.mark.parametrize(
    "options",
    [
        lambda number: {},
        lambda number: {"match": f"some{number}*"},
        lambda number: {"name": f"h{number}", "after": (f"h{number - 1}",)},
    ],
)
def test_the_first_call_does_little_for_each_hook_that_stands_there(options: Callable[[int], dict[str, Any]]) -> None:
    registry = HookRegistry(PointCatalog(point for point in own_points() if point.name == BEFORE))
    for number in range(1000):
        registry.register(BEFORE, withhold, **options(number))

    assert effort(lambda: registry.chain(BEFORE, "other")) < 1000 * 15


async def test_a_hook_at_events_hears_of_operations_from_its_registration_until_it_goes() -> None:
    heard: list[str] = []

    async with opened(*Bench().plugins) as host:

        def hear(context: HookContext[Event]) -> None:
            heard.append(context.subject.type)

        await host.call("tool:echo", {"text": "x"})
        handle = host.hooks.register("before_event_emit", hear, kind="observe", match="tool.*")
        await host.call("tool:echo", {"text": "x"})
        handle.unregister()
        await host.call("tool:echo", {"text": "x"})

    assert heard == ["tool.started", "tool.completed"]
