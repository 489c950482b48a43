"""The bus, in a host: order, overflow, handlers, hooks, causes, and a million events accounted for."""

from __future__ import annotations

import gc
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from kernel import make_plugin, make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Event,
    Events,
    HookContext,
    InvalidInputError,
    OperationCancelledError,
    Replace,
    ToolContext,
)
from llmspell_hookspecs.errors import (
    DepthLimitError,
    HookFailedError,
    HookRegistrationError,
    PluginRequiredError,
    ResourceLimitError,
)


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any, **options: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins, **options) as host:
            return await main(host)

    return run(opening)


def waiting(events: Any) -> list[Event]:
    taken = []
    while (event := events.receive_nowait()) is not None:
        taken.append(event)
    return taken


def adds_up(info: Any) -> bool:
    parts = ("delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")
    return bool(info.matched == sum(getattr(info, part) for part in parts))


# Publishing and receiving.


def test_an_event_reaches_whoever_subscribed_to_its_topic_and_nobody_else() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("user.*") as users, host.events.subscribe("order.*") as orders:
            host.events.publish_nowait("user.created", {"id": 1})
            async for event in users:
                return event, waiting(orders)

    event, others = in_host(main)

    assert (event.type, event.data["id"], event.sequence, event.language) == ("user.created", 1, 1, "python")
    assert event.id
    assert event.correlation_id == event.id
    assert event.timestamp > 1e9
    assert others == []


def test_hooks_see_data_read_only_and_subscribers_get_plain_values_with_hooks_and_without() -> None:
    seen: list[Any] = []

    async def main(host: Host) -> Any:
        async with host.events.subscribe("a") as events:
            host.events.publish_nowait("a", {"list": [1], "inner": {"a": 1}})
            host.hooks.register("before_event_emit", lambda context: seen.append(context.subject.data))
            host.events.publish_nowait("a", {"list": [1], "inner": {"a": 1}})
            with pytest.raises(TypeError):
                seen[0]["inner"]["a"] = 5
            return [json.dumps(event.data) for event in waiting(events)]

    first, second = in_host(main)

    assert first == second == '{"list": [1], "inner": {"a": 1}}'
    assert seen[0]["list"] == (1,)


def test_fields_may_be_given_and_wrong_ones_are_named() -> None:
    async def main(host: Host) -> Any:
        event = host.events.publish_nowait("a", 1, source="me", tags=["x"], ttl_s=5, correlation_id="c", priority=2)
        again = host.events.publish_nowait(Event("b", 2, id="own", timestamp=7.0, source="you"))
        for wrong in ({"sauce": 1}, {"ttl_s": "soon"}):
            with pytest.raises(InvalidInputError, match=next(iter(wrong))):
                host.events.publish_nowait("a", 1, **wrong)
        with pytest.raises(InvalidInputError, match="1 to 512"):
            host.events.publish_nowait("")
        return event, again, host.events.stats().published

    event, again, published = in_host(main)

    assert (event.source, event.tags, event.ttl_s, event.correlation_id, event.priority) == ("me", ("x",), 5, "c", 2)
    assert (again.id, again.timestamp, again.sequence, again.correlation_id) == ("own", 7.0, 2, "own")
    assert published == 2


def test_plugins_ask_for_events_by_their_protocol() -> None:
    async def main(host: Host) -> Any:
        return host._services.get(Events) is host.events, isinstance(host.events, Events)

    assert in_host(main) == (True, True)


def test_a_loop_that_was_left_goes_on_and_one_that_was_cancelled_begins_anew() -> None:
    async def main(host: Host) -> Any:
        seen: list[int] = []
        async with host.events.subscribe("a") as events:
            for number in range(3):
                host.events.publish_nowait("a", number)
            async for event in events:
                seen.append(event.data)
                break
            with trio.move_on_after(0.01):
                async for later in events:
                    seen += [later.data]
            host.events.publish_nowait("a", 3)
            async for event in events:
                seen.append(event.data)
                break
        gc.collect()
        return seen

    assert in_host(main) == [0, 1, 2, 3]


def test_receive_answers_nothing_when_the_time_is_over_or_the_subscription_closed() -> None:
    async def main(host: Host) -> Any:
        events = host.events.subscribe("a")
        with pytest.raises(InvalidInputError, match="not open"):
            events.receive_nowait()
        events.open()
        answers = [await events.receive(0), await events.receive(0.01)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closing, events)
            answers.append(await events.receive())
        with pytest.raises(InvalidInputError, match="it is closed; subscribe again"):
            events.open()
        return answers, host.events.subscriptions()

    async def closing(events: Any) -> None:
        await trio.testing.wait_all_tasks_blocked()
        events.close()
        events.close()

    assert in_host(main) == ([None, None, None], [])


def test_a_closed_subscription_is_freed_and_its_account_stays_in_the_totals() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=2) as events:
            for number in range(5):
                host.events.publish_nowait("a", number)
            assert events.receive_nowait() is not None
        assert host.events._topics._root.empty
        return events.info, host.events.stats()

    info, stats = in_host(main)

    assert (info.matched, info.delivered, info.dropped, info.discarded) == (5, 1, 3, 1)
    assert (stats.published, stats.subscriptions, stats.matched, stats.dropped) == (5, 0, 5, 3)
    assert adds_up(info)
    assert adds_up(stats)


def test_an_event_that_is_too_old_is_not_delivered() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a") as events:
            host.events.publish_nowait("a", "old", ttl_s=1, timestamp=5.0)
            host.events.publish_nowait("a", "young", ttl_s=1000)
            return [event.data for event in waiting(events)], events.info.expired

    assert in_host(main) == (["young"], 1)


# Full mailboxes.


@pytest.mark.parametrize(
    ("overflow", "kept", "count"),
    [
        ("drop_oldest", [5, 6, 7, 8, 9], {"dropped": 5}),
        ("drop_newest", [0, 1, 2, 3, 4], {"dropped": 5}),
        ("sample(0.5)", [2, 3, 5, 7, 9], {"dropped": 2, "sampled": 3}),
    ],
)
def test_what_finds_a_mailbox_full_is_left_out_and_counted(
    overflow: str, kept: list[int], count: dict[str, int]
) -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=5, overflow=overflow) as events:
            for number in range(10):
                host.events.publish_nowait("a", number)
            return [event.data for event in waiting(events)], events.info

    data, info = in_host(main)

    assert data == kept
    assert {name: getattr(info, name) for name in count} == count
    assert info.overflow == overflow
    assert adds_up(info)


@pytest.mark.parametrize("overflow", ["reject", "block"])
def test_a_publisher_that_does_not_wait_is_told_and_the_others_have_the_event(overflow: str) -> None:
    async def main(host: Host) -> Any:
        subscribe = host.events.subscribe
        async with subscribe("a", capacity=1, overflow=overflow) as full, subscribe("?") as others:
            host.events.publish_nowait("a", 1)
            with pytest.raises(ResourceLimitError, match=r"sub-1 of code has no room for it, its 1 are taken"):
                host.events.publish_nowait("a", 2)
            return [event.data for event in waiting(others)], full.info.rejected

    assert in_host(main) == ([1, 2], 1)


def test_a_publisher_waits_for_room_in_order_and_later_ones_do_not_overtake_it() -> None:
    async def main(host: Host) -> Any:
        seen: list[int] = []
        async with host.events.subscribe("a", capacity=2, overflow="block") as events:
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(host.events.publish, "a", number)
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(ResourceLimitError):
                    host.events.publish_nowait("a", "overtaking")
                pending = events.info.pending
                for _ in range(6):
                    event = await events.receive()
                    assert event is not None
                    seen.append(event.data)
            return seen, pending, events.info

    seen, pending, info = in_host(main)

    assert seen == [0, 1, 2, 3, 4, 5]
    assert pending == 6
    assert (info.matched, info.delivered, info.rejected) == (7, 6, 1)


def test_a_waiting_publisher_that_is_cancelled_or_out_of_patience_takes_its_event_back() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=1, overflow="block", block_s=0.01) as events:
            await host.events.publish("a", 1)
            with pytest.raises(ResourceLimitError, match="no room"):
                await host.events.publish("a", 2)
        async with host.events.subscribe("a", capacity=1, overflow="block") as patient:
            await host.events.publish("a", 3)
            with trio.move_on_after(0.01):
                await host.events.publish("a", 4)
            return events.info, patient.info, [event.data for event in waiting(patient)]

    first, second, data = in_host(main)

    assert (first.rejected, second.rejected, data) == (1, 1, [3])
    assert adds_up(first)
    assert adds_up(second)


def test_closing_lets_waiting_publishers_go() -> None:
    async def main(host: Host) -> Any:
        subscribe = host.events.subscribe
        async with trio.open_nursery() as nursery, subscribe("a", capacity=1, overflow="block") as events:
            await host.events.publish("a", 1)
            nursery.start_soon(host.events.publish, "a", 2)
            await trio.testing.wait_all_tasks_blocked()
        return events.info

    info = in_host(main)

    assert (info.matched, info.discarded) == (2, 2)


def test_marks_are_told_to_others_once_for_each_crossing() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("event.mailbox.*") as marks, host.events.subscribe("**", capacity=20) as all_:
            for number in range(22):
                host.events.publish_nowait("a", number)
            taken = waiting(all_)
            return waiting(marks), taken, all_.info

    marks, taken, info = in_host(main)

    assert [(mark.type, mark.data["subscription"]) for mark in marks] == [
        ("event.mailbox.high", info.id),
        ("event.mailbox.low", info.id),
    ]
    assert marks[0].data["capacity"] == 20
    assert [mark.data["pending"] for mark in marks] == [17, 4]
    assert [event.data for event in taken] == list(range(2, 22))


def test_a_source_that_publishes_too_fast_is_refused_and_counted() -> None:
    async def main(host: Host) -> Any:
        for _ in range(2):
            host.events.publish_nowait("a", source="script:x")
        with pytest.raises(ResourceLimitError, match=r"script:x publishes more than 0.001 events a second"):
            host.events.publish_nowait("a", source="script:x")
        host.events.publish_nowait("a", source="script:y")
        await host.settings.change("events.source_burst", 1)
        host.events.publish_nowait("a", source="script:x")
        with pytest.raises(ResourceLimitError):
            host.events.publish_nowait("a", source="script:x")
        return host.events.stats()

    stats = in_host(main, settings={"events": {"source_rate": 0.001, "source_burst": 2}})

    assert (stats.published, stats.limited) == (4, 2)


# Handlers.


def test_handlers_are_called_in_order_sync_or_async_and_go_on_after_a_failure() -> None:
    seen: list[Any] = []
    failures: list[HookContext[Any]] = []

    def sync(event: Event) -> None:
        seen.append(("sync", event.data))

    async def waits(event: Event) -> None:
        await trio.lowlevel.checkpoint()
        if event.data == 1:
            raise ValueError("not this one")
        seen.append(("async", event.data))

    async def main(host: Host) -> Any:
        host.hooks.register("event:handler_error", failures.append, kind="observe")
        handlers = [host.events.on("a", sync), host.events.on("*", waits, owner="test")]
        for number in range(3):
            host.events.publish_nowait("a", number)
        await trio.testing.wait_all_tasks_blocked()
        infos = [handler.info for handler in handlers]
        for handler in handlers:
            handler.close()
        host.events.publish_nowait("a", 9)
        await trio.testing.wait_all_tasks_blocked()
        return infos

    infos = in_host(main)

    assert seen == [("sync", 0), ("sync", 1), ("sync", 2), ("async", 0), ("async", 2)]
    assert [(info.delivered, info.failed) for info in infos] == [(3, 0), (3, 1)]
    (failure,) = failures
    assert (failure.subject.event.data, failure.subject.failure.message) == (1, "not this one")
    assert failure.subject.patterns == ("*",)


def test_a_handler_that_waits_for_room_in_its_own_mailbox_is_refused_not_stuck() -> None:
    problems: list[str] = []

    async def main(host: Host) -> Any:
        def relay(topic: str) -> Callable[[Event], Awaitable[None]]:
            async def handler(event: Event) -> None:
                try:
                    for _ in range(3):
                        await host.events.publish(topic)
                except ResourceLimitError as error:
                    problems.append(f"{topic}: {error}")

            return handler

        host.events.on("self", relay("self"), capacity=1, overflow="block")
        host.events.on("ping", relay("pong"), capacity=1, overflow="block")
        host.events.on("pong", relay("ping"), capacity=1, overflow="block")
        await host.events.publish("self")
        await host.events.publish("ping")
        with trio.move_on_after(0.05):
            await trio.sleep_forever()
        return None

    in_host(main)

    assert any(problem.startswith("self: ") for problem in problems)
    assert any(problem.startswith(("ping: ", "pong: ")) for problem in problems)


def test_consumers_and_awaiting_publishers_leave_the_loop_to_others() -> None:
    turns: list[str] = []

    async def main(host: Host) -> Any:
        phase = "publishing"

        async def tick() -> None:
            while True:
                turns.append(phase)
                await trio.lowlevel.checkpoint()

        async with host.events.subscribe("a", capacity=10_000) as events, trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            for number in range(1280):
                await host.events.publish("a", number)
            phase, taken = "looping", 0
            async for _ in events:
                taken += 1
                if taken == 640:
                    break
            phase = "receiving"
            for _ in range(640):
                await events.receive()
            nursery.cancel_scope.cancel()

    in_host(main)

    assert turns.count("publishing") >= 1280 // 64 - 2
    assert turns.count("looping") >= 640 // 64 - 2
    assert turns.count("receiving") >= 640 // 64 - 2


# Hooks, causes.


def test_hooks_change_deny_answer_and_remember_events() -> None:
    def police(context: HookContext[Event]) -> Any:
        match context.subject.type:
            case "secret":
                return Cancel("not for you")
            case "old":
                return Replace(Event("old", "kept back"))
            case "twice":
                return Cache("twice", ttl_s=60)
            case "name":
                return context.modify(type="renamed", data={"new": True})

    async def main(host: Host) -> Any:
        host.hooks.register("BeforeEventEmit", police)
        async with host.events.subscribe("*") as events:
            with pytest.raises(OperationCancelledError, match=r"event:secret: denied by hook .*: not for you"):
                host.events.publish_nowait("secret")
            kept_back = host.events.publish_nowait("old", 1).data
            same = {(await host.events.publish("twice", 1)).id for _ in range(3)}
            host.events.publish_nowait("name", {"new": False})
            return kept_back, len(same), [(event.type, event.data, event.sequence) for event in waiting(events)]

    assert in_host(main) == ("kept back", 1, [("twice", 1, 1), ("renamed", {"new": True}, 2)])


def test_guards_see_what_goes_out_and_a_hook_may_match_topics() -> None:
    seen: list[Any] = []

    async def main(host: Host) -> Any:
        host.hooks.register("before_event_emit", lambda context: context.modify(data=2), match="a.*")
        host.hooks.register("before_event_emit", lambda context: seen.append(context.subject.data), kind="guard")
        host.events.publish_nowait("a.b", 1)
        host.events.publish_nowait("b.b", 1)

    in_host(main)

    assert seen == [2, 1]


def test_what_is_withheld_after_it_went_out_is_still_accounted_for() -> None:
    async def main(host: Host) -> Any:
        host.hooks.register("after_event_emit", lambda context: Cancel("withheld"))
        async with host.events.subscribe("a", capacity=1, overflow="block") as events:
            for _ in range(3):
                with pytest.raises(OperationCancelledError):
                    await host.events.publish("a")
            return events.info

    info = in_host(main)

    assert (info.matched, info.pending, info.rejected) == (3, 1, 2)


async def asynchronous(context: HookContext[Any]) -> None:
    return None


@pytest.mark.parametrize("point", ["before_event_emit", "after_event_emit", "event_handler_error"])
@pytest.mark.parametrize(
    ("function", "options"),
    [(asynchronous, {}), (asynchronous, {"kind": "guard"}), (lambda context: None, {"thread": True})],
)
def test_hooks_that_wait_are_refused_at_event_points(point: str, function: Any, options: dict[str, Any]) -> None:
    async def main(host: Host) -> Any:
        host.hooks.register(point, function, **options)

    with pytest.raises(HookRegistrationError):
        in_host(main)


def test_an_async_hook_in_a_plugin_is_refused_with_the_remedy() -> None:
    async def main(host: Host) -> Any:
        return [info.error for info in host.plugins.infos if info.error]

    (error,) = in_host(main, make_plugin("slow", ("before_event_emit", asynchronous, {})))

    assert "asked without waiting; write a sync function" in error


def test_a_hook_that_publishes_within_itself_ends_at_the_depth_limit() -> None:
    async def main(host: Host) -> Any:
        host.hooks.register("before_event_emit", lambda context: host.events.publish_nowait("again"), on_error="raise")
        with pytest.raises(HookFailedError) as failure:
            host.events.publish_nowait("a")
        error: BaseException = failure.value
        while error.__cause__ is not None:
            error = error.__cause__
        assert isinstance(error, DepthLimitError)
        assert "nested more than 32 times" in str(error)

    in_host(main)


def test_slow_events_hold_nobody_up_with_an_async_notice() -> None:
    async def main(host: Host) -> Any:
        host.hooks.register("performance_threshold_exceeded", asynchronous)
        host.hooks.register("before_event_emit", lambda context: None)
        return host.events.publish_nowait("a").sequence

    assert (
        in_host(main, settings={"performance": {"slow_operation_ms": 0.000001}, "limits": {"operation_time_s": 5}}) == 1
    )


def test_nothing_is_published_while_a_required_plugin_is_missing() -> None:
    async def main(host: Host) -> Any:
        with pytest.raises(PluginRequiredError):
            host.events.publish_nowait("a")

    in_host(main, settings={"plugins": {"required": ["nobodys"]}})


def test_causes_go_from_operations_to_events_to_handlers_to_operations() -> None:
    seen: dict[str, Any] = {}

    async def first(parameters: dict[str, Any], context: ToolContext) -> Any:
        events = context.services.get(Events)
        seen["first"] = context.operation
        seen["event"] = events.publish_nowait("step.one")
        return 1

    async def second(parameters: dict[str, Any], context: ToolContext) -> Any:
        seen["second"] = context.operation
        seen["later"] = context.services.get(Events).publish_nowait("step.three")
        return 2

    async def main(host: Host) -> Any:
        async def handler(event: Event) -> None:
            seen["direct"] = host.events.publish_nowait("step.two")
            await host.call("tool:second", {})

        host.events.on("step.one", handler)
        await host.call("tool:first", {})
        await trio.testing.wait_all_tasks_blocked()

    in_host(main, make_tool("first", first), make_tool("second", second))

    correlation = seen["first"].correlation_id
    assert seen["event"].causation_id == seen["first"].id
    assert seen["direct"].causation_id == seen["event"].id
    assert seen["later"].causation_id == seen["second"].id
    assert {seen[name].correlation_id for name in ("event", "direct", "second", "later")} == {correlation}


def test_the_bus_tells_whether_anybody_listens_to_a_topic() -> None:
    async def main(host: Host) -> Any:
        answers = [host.events.listens("tool.completed")]
        async with host.events.subscribe("tool.*"):
            answers += [host.events.listens("tool.completed"), host.events.listens("agent.failed")]
        hook = host.hooks.register("after_event_emit", lambda context: None)
        answers.append(host.events.listens("agent.failed"))
        hook.unregister()
        return [*answers, host.events.listens("agent.failed")]

    assert in_host(main) == [False, True, False, True, False]


@pytest.mark.parametrize("set_to_s", [1.0, 1e11], ids=["back", "forward"])
async def test_a_clock_that_is_set_makes_no_event_older_or_younger(
    set_to_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady_s = [100.0]

    async with Host.open() as host, host.events.subscribe("a") as events:
        monkeypatch.setattr(host.events._ages, "_clock", lambda: steady_s[0])
        host.events.publish_nowait("a", "short", ttl_s=1)
        host.events.publish_nowait("a", "long", ttl_s=1000)
        monkeypatch.setattr("time.time", lambda: set_to_s)
        steady_s[0] += 10

        assert [event.data for event in (events.receive_nowait(), events.receive_nowait()) if event] == ["long"]
        assert host.events.stats().expired == 1
