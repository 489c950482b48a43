"""Events of operations: each that somebody listens to begins and ends once, with its cause; nobody else pays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from kernel import Bench, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    Event,
    HookContext,
    LlmspellError,
    Replace,
    Retry,
    ToolCall,
    ToolContext,
    ToolError,
)
from llmspell_hookspecs.errors import OperationTimeoutError
from llmspell_hookspecs.operation import EndedOperation, Operations, RunningBody
from scripted_model import ScriptedModel, asks, says


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any, **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins, **options) as host:
            return await main(host)

    return run(opening)


def heard(events: Any) -> list[Event]:
    """Return what waits in a mailbox."""
    found = []
    while (event := events.receive_nowait()) is not None:
        found.append(event)
    return found


def test_a_tool_call_is_told_of_as_it_starts_and_as_it_completes() -> None:
    bench = Bench()

    async def main(host: Host) -> list[Event]:
        async with host.events.subscribe("tool.*") as events:
            await host.call("tool:echo", {"text": "x"})
            return heard(events)

    started, completed = in_host(main, *bench.plugins)

    assert (started.type, completed.type) == ("tool.started", "tool.completed")
    assert started.source == completed.source == "tool:echo"
    assert completed.data["component"] == {"kind": "tool", "name": "echo", "id": "tool:echo"}
    assert completed.data["duration_ms"] > 0
    assert completed.data["success"] is True
    assert completed.data["attempts"] == 1
    assert started.correlation_id == completed.correlation_id
    assert started.causation_id == completed.causation_id == completed.data["operation_id"]


def test_failures_denials_and_deadlines_end_as_failed_and_cancelled() -> None:
    bench = Bench()

    async def main(host: Host) -> list[Event]:
        async with host.events.subscribe("tool.*") as events:
            bench.failing = 1
            with pytest.raises(ToolError):
                await host.call("tool:echo", {})
            with pytest.raises(OperationTimeoutError):
                await host.call("tool:echo", {"do": "sleep"}, deadline_s=0.01)
            host.hooks.register("before_tool_execution", lambda context: Cancel("no"), kind="guard")
            with pytest.raises(Exception, match="no"):
                await host.call("tool:echo", {})
            return heard(events)

    ends = [event for event in in_host(main, *bench.plugins) if event.type != "tool.started"]

    assert [event.type for event in ends] == ["tool.failed", "tool.failed", "tool.cancelled"]
    assert [event.data["error"]["code"] for event in ends] == ["broken", "timeout", "denied"]
    assert ends[0].data["error"] == {"type": "ToolError", "code": "broken", "message": "it broke"}


def test_a_callers_cancellation_is_told_of_too() -> None:
    bench = Bench()

    async def main(host: Host) -> list[str]:
        async with host.events.subscribe("tool.*") as events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(host.call, "tool:echo", {"do": "sleep"})
                first = await anext(aiter(events))
                nursery.cancel_scope.cancel()
            return [first.type, *(event.type for event in heard(events))]

    assert in_host(main, *bench.plugins) == ["tool.started", "tool.cancelled"]


def test_one_turn_of_an_agent_tells_its_whole_story_under_one_correlation() -> None:
    model = ScriptedModel(asks(("echo", {"text": "x"})), says("done"))

    async def main(host: Host) -> list[Event]:
        agent = await host.agents.create(name="writer", model="scripted/play", tools=["echo"])
        async with host.events.subscribe(["agent.*", "model.*", "tool.*"]) as events:
            await agent.run("go")
            return heard(events)

    events = in_host(main, model, *Bench().plugins)

    assert [event.type for event in events] == [
        "agent.started",
        *["model.started", "model.completed"],
        *["tool.started", "tool.completed"],
        *["model.started", "model.completed"],
        "agent.completed",
    ]
    assert len({event.correlation_id for event in events}) == 1
    agent_id = events[0].data["operation_id"]
    assert {event.data["parent_id"] for event in events[1:-1]} == {agent_id}
    assert events[2].data["finish_reason"] == "tool_use"
    assert events[-1].data["tool_calls"] == 1
    assert events[-1].data["input_tokens"] == 6


def test_scripts_are_told_of_and_hear_of_what_they_cause() -> None:
    source = """
        local seen = {}
        Event.subscribe("tool.completed", function(event) seen[#seen + 1] = event.data.component.name end)
        Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
        local polled = Event.subscribe("tool.*")
        Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
        Event.publish("done")
        return {seen = seen, polled = Event.receive(polled, 100).event_type}
    """

    async def main(host: Host) -> Any:
        async with host.events.subscribe("script.*") as events:
            value = await host.run_source(source, "lua")
            return value, [event.type for event in heard(events)]

    value, types = in_host(main)

    assert value["seen"] == ["calculator", "calculator"]
    assert value["polled"] == "tool.started"
    assert types == ["script.started", "script.completed"]


def test_events_and_their_handlers_tell_of_no_events() -> None:
    async def main(host: Host) -> list[str]:
        async with host.events.subscribe("**") as events:
            host.events.publish_nowait("user.created")
            host.hooks.register("before_event_emit", lambda context: None)
            host.events.publish_nowait("user.created")
            return [event.type for event in heard(events)]

    assert in_host(main) == ["user.created", "user.created"]


def test_what_a_handler_sets_off_names_its_event_as_the_parent() -> None:
    bench = Bench()

    async def main(host: Host) -> tuple[Event, list[Event]]:
        async with host.events.subscribe("{tool.started,said}") as events:

            async def handle(event: Event) -> None:
                await host.call("tool:echo", {})
                host.events.publish_nowait("said")

            host.events.on("user.created", handle)
            event = host.events.publish_nowait("user.created")
            await trio.testing.wait_all_tasks_blocked()
            return event, heard(events)

    event, (started, said) = in_host(main, *bench.plugins)

    assert started.data["parent_id"] == said.causation_id == event.id
    assert started.correlation_id == said.correlation_id == event.correlation_id


def test_what_a_scripts_handler_sets_off_names_its_event_as_the_parent_too() -> None:
    bench = Bench()
    script = 'Event.on("user.created", function() Tool.invoke("echo", {}) Event.publish("said") end)'

    async def main(host: Host) -> list[Event]:
        async with host.events.subscribe("{tool.started,said,user.created}") as events:
            await host.run_source(script + ' Event.publish("user.created")', "lua")
            return heard(events)

    event, started, said = in_host(main, *bench.plugins)

    assert started.data["parent_id"] == said.causation_id == event.id


def test_what_a_scripts_hook_calls_belongs_to_the_operation_that_it_is_asked_about() -> None:
    bench = Bench()
    script = (
        'Hook.register("BeforeToolExecution", function(c) if c.data.parameters.x then Tool.invoke("echo", {}) end end)'
        ' Tool.invoke("echo", {x = 1})'
    )

    async def main(host: Host) -> list[Event]:
        async with host.events.subscribe("tool.started") as events:
            await host.run_source(script, "lua")
            return heard(events)

    outer, inner = in_host(main, *bench.plugins)

    assert inner.data["parent_id"] == outer.data["operation_id"]


def test_a_handler_that_does_what_it_handles_does_not_keep_itself_going() -> None:
    bench = Bench()

    async def main(host: Host) -> None:
        async def again(event: Event) -> None:
            await host.call("tool:echo", {"text": "from the handler"})

        host.events.on("tool.completed", again)
        await host.call("tool:echo", {"text": "first"})
        await trio.testing.wait_all_tasks_blocked()

    in_host(main, *bench.plugins)

    assert [given["text"] for given in bench.runs] == ["first", "from the handler"]


def test_listening_may_begin_and_end_at_any_time() -> None:
    async def main(host: Host) -> list[int]:
        counts = []
        for _ in range(2):
            await host.call("tool:echo", {})
            async with host.events.subscribe("tool.completed") as events:
                await host.call("tool:echo", {})
                counts.append(len(heard(events)))
            await host.call("tool:echo", {})
        return [*counts, host.events.stats().published]

    assert in_host(main, *Bench().plugins) == [1, 1, 4]


def test_with_no_listener_nothing_is_published() -> None:
    async def main(host: Host) -> int:
        async with host.events.subscribe("user.*"):
            await host.call("tool:echo", {})
        return host.events.stats().published

    assert in_host(main, *Bench().plugins) == 0


def test_a_mailbox_that_refuses_does_not_fail_the_operation() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("tool.*", capacity=1, overflow="reject"):
            result = await host.call("tool:echo", {"text": "x"})
        return result.result, [type(problem).__name__ for problem in host.problems]

    result, problems = in_host(main, *Bench().plugins)

    assert result == {"text": "x"}
    assert problems == ["ResourceLimitError"]


def test_attempts_are_told_and_a_replaced_result_completes() -> None:
    async def slow(parameters: dict[str, Any], context: ToolContext) -> Any:
        raise ToolError("it broke", code="broken")

    async def main(host: Host) -> Event:
        host.hooks.register("tool_error", lambda context: Replace({"result": "fixed"}))
        async with host.events.subscribe("tool.completed") as events:
            await host.call("tool:slow", {})
            return heard(events)[0]

    event = in_host(main, make_tool("slow", slow))

    assert event.data["success"] is True
    assert "error" not in event.data


async def test_a_tap_is_handed_each_operation_once_as_it_ended() -> None:
    seen: list[EndedOperation] = []

    async def body(parameters: Any, context: ToolContext) -> Any:
        if parameters["how"] == "fails":
            raise ToolError("torn")
        if parameters["how"] == "waits":
            await trio.sleep_forever()
        return parameters["how"]

    async with opened(make_tool("echo", body)) as host:
        leave = host.get(Operations).tap(seen.append)
        deny = host.hooks.register("before_tool_execution", no_to("denied"), kind="guard", name="deny")
        for how in ("fine", "fails", "denied"):
            with suppress(LlmspellError):
                await host.call("tool:echo", {"how": how})
        with trio.move_on_after(0):
            await host.call("tool:echo", {"how": "waits"})
        deny.unregister()
        leave()
        await host.call("tool:echo", {"how": "fine"})

    assert [ended.status for ended in seen] == ["completed", "failed", "cancelled", "cancelled"]
    assert [ended.asked.parameters["how"] for ended in seen] == ["fine", "fails", "denied", "waits"]
    assert seen[0].value.result == "fine"
    assert seen[1].value.message == "torn"
    assert seen[2].outcome.hook == "code.deny"
    assert len({ended.operation.id for ended in seen}) == 4
    assert {(ended.kind, ended.component.name, ended.language) for ended in seen} == {("tool", "echo", "python")}
    with pytest.raises(TypeError):
        seen[0].asked.parameters["how"] = "changed"


def no_to(how: str) -> Any:
    def deny(context: HookContext[ToolCall]) -> Cancel | None:
        return Cancel("no") if context.subject.parameters["how"] == how else None

    return deny


async def test_a_tap_that_fails_harms_nobody_and_is_told() -> None:
    def tap(ended: EndedOperation) -> None:
        raise SystemExit("full")

    async def body(parameters: Any, context: ToolContext) -> Any:
        return "fine"

    async with opened(make_tool("echo", body)) as host:
        host.get(Operations).tap(tap)
        assert (await host.call("tool:echo")).result == "fine"
        assert any("a tap of operations" in str(problem) for problem in host.problems)


async def test_a_tap_is_told_what_the_hooks_answered_around_the_body() -> None:
    seen: list[EndedOperation] = []

    async def body(parameters: Any, context: ToolContext) -> Any:
        return parameters["how"]

    async with opened(make_tool("echo", body)) as host:
        host.get(Operations).tap(seen.append)
        host.hooks.register(
            "before_tool_execution", lambda context: context.modify(parameters={"how": "well"}), name="better"
        )
        host.hooks.register("after_tool_execution", lambda context: Cancel("no"), kind="guard", name="deny")
        with suppress(LlmspellError):
            await host.call("tool:echo", {"how": "fine"})

    assert [(each.point, each.hook, type(each.answer).__name__) for each in seen[0].answers] == [
        ("before_tool_execution", "code.better", "Modified"),
        ("after_tool_execution", "code.deny", "Cancel"),
    ]


async def test_a_stand_in_is_asked_in_place_of_the_body_at_each_attempt() -> None:
    ran: list[str] = []
    asked: list[tuple[str, Any, int]] = []

    async def body(parameters: Any, context: ToolContext) -> Any:
        ran.append(parameters["how"])
        return "the body"

    async def stand_in(running: RunningBody) -> Any:
        asked.append((running.kind.name, running.subject.parameters["how"], running.operation.attempt))
        if len(asked) == 1:
            raise ToolError("torn")
        return await running.run() if running.subject.parameters["how"] == "live" else {"result": "recorded"}

    async with opened(make_tool("echo", body)) as host:
        leave = host.get(Operations).stand_in(stand_in)
        host.hooks.register("tool_error", lambda context: Retry(max_attempts=2))
        served = await host.call("tool:echo", {"how": "served"})
        live = await host.call("tool:echo", {"how": "live"})
        leave()
        await host.call("tool:echo", {"how": "later"})

    assert asked == [("tool", "served", 1), ("tool", "served", 2), ("tool", "live", 1)]
    assert (served.result, live.result) == ("recorded", "the body")
    assert ran == ["live", "later"]


async def test_the_stand_in_that_came_last_is_asked_first() -> None:
    order: list[str] = []

    async def body(parameters: Any, context: ToolContext) -> Any:
        return "body"

    def passing(name: str) -> Any:
        async def stand_in(running: RunningBody) -> Any:
            order.append(name)
            return await running.run()

        return stand_in

    async with opened(make_tool("echo", body)) as host:
        host.get(Operations).stand_in(passing("first"))
        host.get(Operations).stand_in(passing("last"))
        result = await host.call("tool:echo", {})

    assert order == ["last", "first"]
    assert result.result == "body"
