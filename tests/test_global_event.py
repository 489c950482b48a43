"""The global Event, as scripts call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from kernel import run
from llmspell import Host
from llmspell_hookspecs import Cancel, Event, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import ResourceLimitError
from puppet import Body, Puppet, Script


def run_script(body: Body, watch: Callable[[Host], Any] | None = None) -> Any:
    async def main() -> Any:
        async with Host.open(False, plugins=[Puppet(main=body)], discover=False) as host:
            if watch is not None:
                watch(host)
            return await host.run_source("main", "puppet", name="tour.puppet")

    return run(main)


def run_lua(source: str) -> Any:
    async def main() -> Any:
        async with Host.open(False, discover=False) as host:
            return await host.run_source(source, "lua", name="tour.lua")

    return run(main)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("publish", ("user.created", {"id": 1})),
        ("emit", ("user:created", {"id": 1})),
        ("emit", ({"event_type": "user.created", "payload": {"id": 1}},)),
        ("publish", ({"event_type": "user.created", "data": {"id": 1}, "metadata": {"target": "you"}},)),
        ("publish", ("user.created", {"id": 1}, {"ttl_seconds": 5, "correlation_id": "c", "tags": "x", "priority": 1})),
        ("publish", ("user.created", {"id": 1}, {"metadata": {"tags": ["x"]}, "persistent": True})),
        ("publish", ("user.created", {"id": 1}, {})),
    ],
)
def test_every_spelling_publishes_and_a_poll_receives(method: str, arguments: tuple[Any, ...]) -> None:
    async def body(script: Script) -> Any:
        subscription = await script("Event.subscribe", "user.*")
        answered = await script(f"Event.{method}", *arguments)
        return answered, await script("Event.receive", subscription, 100)

    answered, event = run_script(body)

    assert answered is True
    assert event["event_type"].replace(":", ".") == "user.created"
    assert event["data"] == event["payload"] == {"id": 1}
    assert event["language"] == "puppet"
    assert event["metadata"]["source"] == event["source"] == "script:tour.puppet"
    assert event["timestamp"].endswith("+00:00")
    assert event["sequence"] == 1


def test_options_reach_the_event_and_the_source_stays_the_scripts_own() -> None:
    async def body(script: Script) -> Any:
        subscription = await script("Event.subscribe", "a")
        options = {"ttl_seconds": 5, "correlation_id": "c", "target": "you", "source": "part", "tags": ["x"]}
        await script("Event.publish", "a", None, {**options, "persistent": True, "language": "klingon"})
        return await script("Event.receive", subscription)

    event = run_script(body)

    assert (event["ttl"], event["correlation_id"], event["target"]) == (5, "c", "you")
    assert (event["source"], event["tags"], event["language"]) == (
        "script:tour.puppet/part",
        ["x", "persistent"],
        "klingon",
    )
    assert event["data"] is None


def test_events_of_one_script_share_the_correlation_of_its_run() -> None:
    async def body(script: Script) -> Any:
        subscription = await script("Event.subscribe", "*")
        await script("Event.publish", "a")
        await script("Event.publish", "b")
        return await script("Event.receive_batch", subscription, {"max_events": 5, "timeout_ms": 10})

    first, second = run_script(body)

    assert first["correlation_id"] == second["correlation_id"] != ""
    assert first["causation_id"] == second["causation_id"] != ""


@pytest.mark.parametrize(
    "subscribe",
    [
        lambda fn: ("Event.subscribe", "user.*", fn),
        lambda fn: ("Event.on", "user.created", fn),
        lambda fn: ("Event.on", "user.created", fn, {"max_queue_size": 5}),
        lambda fn: ("Event.subscribe", ["user.*", "order.*"], fn, {"backpressure": "DropNewest"}),
        lambda fn: ("Event.subscribe", {"pattern": "user.*", "handler": fn, "overflow": "block"}),
        lambda fn: ("Event.on", {"event_type": "user.*", "callback": fn}),
    ],
)
def test_a_function_is_called_with_each_event(subscribe: Callable[[Any], tuple[Any, ...]]) -> None:
    seen: list[Any] = []

    async def handler(event: Any) -> None:
        seen.append(event["data"])

    async def body(script: Script) -> Any:
        await script(*subscribe(handler))
        for number in range(3):
            await script("Event.publish", "user.created", number)
        await trio.testing.wait_all_tasks_blocked()

    run_script(body)

    assert seen == [0, 1, 2]


def test_nothing_comes_within_the_time_and_a_batch_takes_what_waits() -> None:
    async def body(script: Script) -> Any:
        subscription = await script("Event.subscribe", {"patterns": ["a", "b"]})
        nothing = (
            await script("Event.receive", subscription, 0),
            await script("Event.receive_batch", subscription, {"timeout_ms": 1}),
        )
        for number in range(5):
            await script("Event.publish", "ab"[number % 2], number)
        first = await script("Event.receive_batch", subscription, {"max_events": 2})
        rest = await script("Event.receiveBatch", subscription, 10)
        return nothing, [event["data"] for event in first], [event["data"] for event in rest]

    assert run_script(body) == ((None, []), [0, 1], [2, 3, 4])


def test_subscriptions_are_listed_counted_and_ended() -> None:
    async def body(script: Script) -> Any:
        first = await script("Event.subscribe", "a.*", {"max_queue_size": 2, "backpressure": "drop_newest"})
        await script("Event.subscribe", "b.*", {"language": "other"})
        await script("Event.subscribe", "b.*")
        for _ in range(3):
            await script("Event.publish", "a.x")
        listed = await script("Event.list_subscriptions")
        stats = await script("Event.subscription_stats", first)
        totals = await script("Event.getStats")
        ended = [await script("Event.unsubscribe", first), await script("Event.unsubscribe", first)]
        ended += [await script("Event.unsubscribe_pattern", "b.*"), await script("Event.unsubscribe", 5)]
        with pytest.raises(InvalidInputError, match="No active subscription found"):
            await script("Event.receive", first)
        return listed, stats, totals, ended, await script("Event.list_subscriptions")

    listed, stats, totals, ended, left = run_script(body)

    assert [(each["pattern"], each["language"], each["capacity"]) for each in listed] == [
        ("a.*", "puppet", 2),
        ("b.*", "other", 1000),
        ("b.*", "puppet", 1000),
    ]
    assert (stats["matched"], stats["dropped"], stats["queue_size"], stats["owner"]) == (3, 1, 2, "script:tour.puppet")
    assert totals["event_bus_stats"]["total_published"] == totals["event_bus_stats"]["events_processed"] == 3
    assert totals["bridge_stats"] == {"active_subscriptions": 3, "subscriptions_by_language": {"puppet": 2, "other": 1}}
    assert ended == [True, False, 2, False]
    assert left == []


def test_a_script_neither_sees_nor_ends_anybody_elses_subscriptions_and_its_own_go_with_it() -> None:
    hosts: list[Host] = []

    def watch(host: Host) -> None:
        hosts.append(host)
        host.events.subscribe("somebody.*").open()

    async def body(script: Script) -> Any:
        await script("Event.subscribe", "a")
        await script("Event.on", "a", body)
        foreign = hosts[0].events.subscriptions()[0].id
        return await script("Event.unsubscribe", foreign), len(await script("Event.list_subscriptions"))

    answered = run_script(body, watch)

    assert answered == (False, 2)
    assert hosts[0].events.stats().discarded == 0
    assert [info.owner for info in hosts[0].events.subscriptions()] == []


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (("Event.publish", ""), "event type is missing"),
        (("Event.publish", {"data": 1}), "event type is missing"),
        (("Event.publish", "a", 1, {"ttl": "soon"}), "ttl = 'soon' is wrong; give a number"),
        (("Event.publish", "a", 1, {"ttl": -1}), "ttl = -1 is wrong; give 0 or more"),
        (("Event.publish", "a", 1, {"colour": 1}), "no option 'colour'; there are .*language"),
        (("Event.publish", "a", 1, {"priorty": 1}), "no option 'priorty'; did you mean 'priority'"),
        (("Event.publish", "a", 1, {"priority": "urgent"}), "priority = 'urgent' is wrong; use a number or one"),
        (("Event.publish", "a", 1, {"priority": 1e300}), "priority = 1e.300 is wrong; give 2147483648 or less"),
        (("Event.publish", "a", 1, {"tags": 3}), "tags = 3 is wrong; give a list"),
        (("Event.publish", "a", 1, {"tags": ["t"] * 65}), "tags = .* is wrong; give 64 or fewer"),
        (("Event.publish", "a", 1, {"tags": ["t" * 513]}), "tags.0 = .* is wrong; give 512 characters or fewer"),
        (("Event.publish", "a", 1, {"correlation_id": "x" * 513}), "correlation_id = .*; give 512 characters or fewer"),
        (("Event.publish", "a", 1, {"source": "x" * 513}), "source = .* is wrong; give 512 characters or fewer"),
        (("Event.publish", "a", 1, {"metadata": 5}), "metadata = 5 is wrong; give a table"),
        (("Event.publish", {"type": "a", "metadata": "x"}), "metadata = 'x' is wrong; give a table"),
        (("Event.subscribe", "a", {"filter": {"colour": 1}}), "no option 'filter.colour'; there are .*source"),
        (("Event.publish", "a", object()), "not plain"),
        (("Event.publish", "a", "x" * 300_000), "publish at most 262144"),
        (("Event.subscribe", ""), "pattern is missing"),
        (("Event.subscribe", {}), "pattern is missing"),
        (("Event.subscribe", "a.[b"), "encloses nothing"),
        (("Event.subscribe", "a", {"overflow": "explode"}), "explode"),
        (("Event.subscribe", "a", {"max_queue_size": 0}), "max_queue_size|capacity"),
        (("Event.subscribe", "a", "b"), "give a table"),
        (("Event.on", "a"), "handler is missing"),
        (("Event.on", "a", "b", {}), "is no function"),
        (("Event.receive", "nobody"), "No active subscription found"),
        (("Event.subscription_stats", 5), "No active subscription found"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: tuple[Any, ...], problem: str) -> None:
    async def body(script: Script) -> Any:
        await script(*call)

    with pytest.raises(InvalidInputError, match=problem):
        run_script(body)


def test_a_refused_event_is_an_error_of_the_script() -> None:
    def watch(host: Host) -> None:
        host.hooks.register("before_event_emit", lambda context: Cancel("quiet"), match="secret.*", kind="guard")
        host.events.subscribe("full", capacity=1, overflow="reject").open()

    async def body(script: Script) -> Any:
        with pytest.raises(OperationCancelledError, match="quiet"):
            await script("Event.publish", "secret.plan")
        await script("Event.publish", "full")
        with pytest.raises(ResourceLimitError, match="no room"):
            await script("Event.publish", "full")

    run_script(body, watch)


def test_what_waits_for_a_script_is_bounded_and_not_what_could_wait() -> None:
    async def body(script: Script) -> Any:
        for _ in range(20):
            await script("Event.subscribe", "a", {"max_queue_size": 10_000})
        published = 0
        with pytest.raises(ResourceLimitError, match=r"Event\.publish: 100000 events wait for this script"):
            while published < 10_000:
                await script("Event.publish", "a")
                published += 1
        with pytest.raises(ResourceLimitError, match=r"Event\.subscribe: 100000 events wait"):
            await script("Event.subscribe", "a")
        return published

    assert 5_000 <= run_script(body) < 5_064 + 64


def test_a_lua_script_publishes_and_receives_by_callback_and_by_polling() -> None:
    source = """
    local seen = {}
    Event.subscribe("user.*", function(event) seen[#seen + 1] = event.data.list[2] end)
    local poll = Event.subscribe("*.created")
    Event.publish("user.created", {list = {1, 2, 3}})
    Event.emit({event_type = "user.deleted", payload = {list = {4, 5}}})
    local event = Event.receive(poll, 1000)
    for _ = 1, 10000 do if #seen < 2 then Event.receive(poll, 5) end end
    return {seen = seen, type = event.event_type, length = #event.data.list, none = Event.receive(poll, 0) == nil,
            active = #Event.list_subscriptions(), gone = Event.unsubscribe(poll)}
    """

    assert run_lua(source) == {
        "seen": [2, 5],
        "type": "user.created",
        "length": 3,
        "none": True,
        "active": 2,
        "gone": True,
    }


def test_a_lua_handler_that_fails_is_told_and_does_not_end_the_script() -> None:
    failures: list[Any] = []
    source = """
    Event.on("a", function(event) error("no " .. event.data) end)
    Event.publish("a", "way")
    local poll = Event.subscribe("never")
    Event.receive(poll, 50)
    return "done"
    """

    async def main() -> Any:
        async with Host.open(False, discover=False) as host:
            host.hooks.register("event_handler_error", failures.append, kind="observe")
            return await host.run_source(source, "lua", name="tour.lua")

    assert run(main) == "done"
    assert "no way" in failures[0].subject.failure.message


def test_a_handler_of_a_script_that_fails_again_and_again_is_told_once_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = """
    Event.on("a", function(event) error("no") end)
    for i = 1, 9 do Event.publish("a", i) end
    """

    async def main() -> Any:
        async with Host.open(False, discover=False) as host:
            return await host.run_source(source, "lua", name="tour.lua")

    run(main)
    [first, last] = caplog.messages
    assert first.startswith("event a: the handler of sub-")
    assert last.endswith("it failed 8 times more; see the lines above")


def test_events_of_the_host_reach_a_script_and_those_of_a_script_the_host(tmp_path: Path) -> None:
    received: list[Event] = []

    async def main() -> Any:
        async with Host.open(False, discover=False) as host, trio.open_nursery() as nursery:
            host.events.on("script.ready", received.append)

            async def publish() -> None:
                while not received:
                    await trio.sleep(0.001)
                host.events.publish_nowait("host.answer", {"n": 42})

            nursery.start_soon(publish)
            source = """
            local answers = Event.subscribe("host.*")
            Event.publish("script.ready")
            return Event.receive(answers, 5000).data.n
            """
            return await host.run_source(source, "lua")

    assert run(main) == 42
    assert received[0].language == "lua"


ENDINGS = {
    "one event": ('Event.publish("a", 1)', ["1"]),
    "many events": ('for i = 1, 100 do Event.publish("a", i) end', [str(number) for number in range(1, 101)]),
    "events of handlers": (
        'Event.subscribe("b", function(event) print(event.data) end) '
        'Event.subscribe("c", function() Tool.invoke("calculator", {input = "1"}) Event.publish("b", 7) end) '
        'Event.publish("c")',
        ["7"],
    ),
    "none for who left": ('Event.unsubscribe(mine) Event.publish("a", 1)', []),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_handlers_have_what_was_published_before_the_script_ended(name: str, caplog: pytest.LogCaptureFixture) -> None:
    source, expected = ENDINGS[name]
    written: list[str] = []

    async def main() -> None:
        async with Host.open(False, discover=False, write=written.append) as host:
            await host.run_source(f'mine = Event.subscribe("a", function(event) print(event.data) end) {source}')

    for _ in range(5):
        written.clear()
        run(main)
        assert "".join(written).split() == expected
    assert not caplog.records


@pytest.mark.long
@pytest.mark.timing
def test_a_handler_that_never_has_enough_holds_the_end_of_its_script_for_two_seconds() -> None:
    async def main() -> float:
        async with Host.open(False, discover=False) as host:
            began = trio.current_time()
            await host.run_source(
                'Event.subscribe("a", function() Event.publish("a") Event.receive(Event.subscribe("none"), 10) end) '
                'Event.publish("a")'
            )
            return trio.current_time() - began

    assert 1.9 < run(main) < 4
