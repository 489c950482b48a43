"""The bus in a host: what comes first, what a burst loses, requests, filters, batches, and how long things take."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
import trio.testing

from kernel import make_plugin, opened
from llmspell import Host
from llmspell_hookspecs import Event, HookContext, InvalidInputError, Modified
from llmspell_hookspecs.errors import NoResponseError
from llmspell_hookspecs.selection import EventFilter
from test_bus import adds_up, in_host, waiting

# Priority.


def test_the_more_urgent_comes_first_and_events_of_one_priority_in_the_order_of_publishing() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a") as events, host.events.subscribe("a", as_published=True) as record:
            for number, priority in enumerate((0, 5, -1, 0, -7, -1, 5, 0)):
                host.events.publish_nowait("a", number, priority=priority)
            taken = [event.data for event in waiting(events)]
            return taken, [event.data for event in waiting(record)], events.info

    taken, recorded, info = in_host(main)

    assert taken == [4, 2, 5, 0, 3, 7, 1, 6]
    assert recorded == [*range(8)]
    assert adds_up(info) and info.delivered == 8


@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_oldest", [3, 4, 1, 2]), ("drop_newest", [3, 4, 0, 1]), ("sample(1)", [3, 4, 1, 2])]
)
def test_the_least_urgent_makes_room(overflow: str, kept: list[int]) -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=4, overflow=overflow) as events:
            for number, priority in ((0, 0), (1, 0), (2, 0), (3, -1), (4, -1), (5, 9)):
                host.events.publish_nowait("a", number, priority=priority)
            return [event.data for event in waiting(events)], events.info

    taken, info = in_host(main)

    assert taken == kept
    assert adds_up(info) and info.dropped == 2


def test_of_publishers_that_wait_for_room_the_more_urgent_is_let_in_first() -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=1, overflow="block") as events, trio.open_nursery() as nursery:

            async def publish(number: int, priority: int) -> None:
                await host.events.publish("a", number, priority=priority)

            for number, priority in ((0, 0), (1, 0), (2, -1), (3, -1)):
                nursery.start_soon(publish, number, priority)
                await trio.testing.wait_all_tasks_blocked()
            taken = [await events.receive() for _ in range(4)]
        return [event.data for event in taken if event]

    assert in_host(main) == [0, 2, 3, 1]


# Bursts.


async def consume(how: str, events: Any, seen: list[Any]) -> None:
    """Take what comes, in one of the ways there are."""
    if how == "loop":
        seen.extend([event.data async for event in events])
    elif how == "receive":
        while (event := await events.receive()) is not None:
            seen.append(event.data)
    else:
        async for batch in events.batches(50):
            seen.extend(event.data for event in batch)


@pytest.mark.parametrize(
    ("how", "burst"), [("loop", 1000), ("receive", 1000), ("batches", 1000), ("loop", 150), ("handler", 500)]
)
async def test_bursts_of_up_to_half_the_mailbox_of_an_idle_subscriber_lose_nothing(how: str, burst: int) -> None:
    seen: list[int] = []
    total = 40 * burst
    async with opened() as host, trio.open_nursery() as nursery:
        if how == "handler":
            events = host.events.on("a", lambda event: seen.append(event.data), capacity=2000)
        else:
            events = host.events.subscribe("a", capacity=2000)
            events.open()
            nursery.start_soon(consume, how, events, seen)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(total):
            host.events.publish_nowait("a", number)
            if number % burst == burst - 1:
                await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        info = events.info
        events.close()

    assert info.dropped == 0
    assert seen == [*range(total)]


async def test_a_consumer_that_is_behind_still_lets_others_run() -> None:
    """It does nothing but take time, and its mailbox is never less than full."""
    turns = 0

    async def tick() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened() as host, trio.open_nursery() as nursery:
        async with host.events.subscribe("a", capacity=1000) as events:
            for number in range(1000):
                host.events.publish_nowait("a", number)
            nursery.start_soon(tick)
            taken = 0
            async for event in events:
                taken += 1
                host.events.publish_nowait("a", event.data)
                sum(range(2000))
                if taken == 10_000:
                    break
        nursery.cancel_scope.cancel()

    assert turns >= 5


# Requests.


def test_a_request_gets_the_answer_to_it_and_not_to_another() -> None:
    async def main(host: Host) -> Any:
        asked: list[Event] = []
        answers: dict[str, Any] = {}

        def answer(event: Event) -> None:
            asked.append(event)
            if len(asked) == 3:
                for each in reversed(asked):
                    host.events.respond(each, each.data * 2)

        host.events.on("double", answer)

        async def ask(number: int) -> None:
            answers[str(number)] = await host.events.request("double", number, correlation_id=f"c{number}")

        async with host.events.subscribe("double.response") as others, trio.open_nursery() as nursery:
            for number in (1, 2, 3):
                nursery.start_soon(ask, number)
        return answers, asked, others.info.matched

    answers, asked, seen_by_others = in_host(main)

    assert {number: answer.data for number, answer in answers.items()} == {"1": 2, "2": 4, "3": 6}
    for each in asked:
        answer = answers[str(each.data)]
        assert (answer.correlation_id, answer.causation_id) == (f"c{each.data}", each.id)
    assert seen_by_others == 3


def test_whatever_a_handler_publishes_under_the_topic_of_the_answer_is_the_answer() -> None:
    async def main(host: Host) -> Any:
        host.events.on("who:is", lambda event: host.events.publish_nowait("who:is.response", "me"))
        return await host.events.request("who:is")

    assert in_host(main).data == "me"


async def test_a_request_that_nobody_answers_is_one_clear_error(autojump_clock: trio.abc.Clock) -> None:
    async with opened() as host:
        with pytest.raises(NoResponseError) as unheard:
            await host.events.request("a")
        async with host.events.subscribe("**", as_published=True):
            with pytest.raises(NoResponseError, match="nobody is subscribed to it"):
                await host.events.request("a")
        async with host.events.subscribe("a"):
            with pytest.raises(NoResponseError) as late:
                await host.events.request("a", timeout_s=3)
        with pytest.raises(InvalidInputError, match="timeout_s must be 0 or more"):
            await host.events.request("a", timeout_s=-1)

    assert str(unheard.value) == "event a: nobody is subscribed to it, so nobody answers; subscribe who does before"
    assert str(late.value) == "event a: nobody answered within 3 s; let a subscriber respond, or wait longer"
    assert (late.value.topic, late.value.limit_s) == ("a", 3)


def test_an_answer_passes_the_hooks_before_it_is_given() -> None:
    def redact(context: HookContext[Event]) -> Modified | None:
        return Modified({"data": "hidden"}) if context.subject.type == "a.response" else None

    async def main(host: Host) -> Any:
        host.events.on("a", lambda event: host.events.respond(event, "secret"))
        return await host.events.request("a")

    assert in_host(main, make_plugin("redacting", ("before_event_emit", redact, {}))).data == "hidden"


# Filters and batches.


def test_a_filter_takes_in_only_what_it_accepts_and_the_account_is_about_that() -> None:
    async def main(host: Host) -> Any:
        wanted = EventFilter(source="script:*", tags=("x",), priority=0)
        async with host.events.subscribe("**", where=wanted, capacity=2) as events:
            host.events.publish_nowait("plain")
            for number, (source, tags, priority) in enumerate(
                (("script:a", ["x"], 0), ("code", ["x"], 0), ("script:b", ["y"], 0), ("script:c", ["x", "y"], -1))
            ):
                host.events.publish_nowait("a", number, source=source, tags=tags, priority=priority)
            host.events.publish_nowait("a", 9, source="script:a", tags=["x"], priority=1)
            return [event.data for event in waiting(events)], events.info

    taken, info = in_host(main)

    assert taken == [3, 0]
    assert adds_up(info) and info.matched == info.delivered == 2


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [("target", "me", "you"), ("correlation_id", "a", "b"), ("language", "lua", "python"), ("source", "a*", "ba")],
)
def test_each_field_of_a_filter_counts(field: str, value: str, other: str) -> None:
    wanted = EventFilter(**{field: value})  # type: ignore[arg-type]

    assert wanted.accepts(Event("t", **{field: value.replace("*", "b")}))  # type: ignore[arg-type]
    assert not wanted.accepts(Event("t", **{field: other}))  # type: ignore[arg-type]


async def test_batches_hold_what_waits_up_to_their_size_and_wait_for_more_only_as_long_as_they_may(
    autojump_clock: trio.abc.Clock,
) -> None:
    found: list[tuple[int, list[int]]] = []
    began_s = trio.current_time()

    async def consume_batches(events: Any) -> None:
        async for batch in events.batches(3, 2.0):
            found.append((round(trio.current_time() - began_s), [event.data for event in batch]))  # noqa: PERF401 - which time it is counts

    async with opened() as host, trio.open_nursery() as nursery, host.events.subscribe("a") as events:
        for number in range(4):
            host.events.publish_nowait("a", number)
        nursery.start_soon(consume_batches, events)
        await trio.sleep(1)
        host.events.publish_nowait("a", 4)
        await trio.sleep(9)
        host.events.publish_nowait("a", 5)
        await trio.sleep(1)
        events.close()
        info = events.info

    assert found == [(0, [0, 1, 2]), (2, [3, 4]), (11, [5])]
    assert adds_up(info) and info.delivered == 6


async def test_wrong_batches_are_refused_by_name() -> None:
    async with opened() as host, host.events.subscribe("a") as events:
        with pytest.raises(InvalidInputError, match="1 or more events, not 0"):
            events.batches(0)
        with pytest.raises(InvalidInputError, match="0 s or more, not -1"):
            events.batches(1, -1)


# How long things take.


def test_delivery_and_handling_are_told_in_percentiles_also_of_subscriptions_that_are_closed() -> None:
    async def main(host: Host) -> Any:
        taken = host.events.on("a", lambda event: None)
        for _ in range(10):
            host.events.publish_nowait("a")
            await trio.testing.wait_all_tasks_blocked()
        info, before = taken.info, host.events.stats()
        taken.close()
        return info, before, host.events.stats()

    info, before, after = in_host(main)

    assert info.handling.count == info.delivered == 10
    assert 0 < info.handling.p50_s <= info.handling.p95_s <= info.handling.p99_s <= info.handling.max_s
    assert 1 <= info.delivery.count <= 10 and 0 < info.delivery.p50_s <= info.delivery.max_s
    assert before.handling == after.handling == info.handling
    assert before.delivery == after.delivery == info.delivery


def test_what_was_replayed_says_nothing_about_delivery() -> None:
    async def main(host: Host) -> Any:
        taken = host.events.on("a", lambda event: None)
        host.events.publish_nowait(Event("a", timestamp=5.0, replayed=True))
        await trio.testing.wait_all_tasks_blocked()
        return taken.info

    info = in_host(main)

    assert (info.delivered, info.delivery.count) == (1, 0)


async def test_nobody_can_guess_the_id_of_a_request() -> None:
    seen: list[str] = []

    async with opened() as host:

        def answer(event: Event) -> None:
            seen.append(event.id)
            host.events.publish_nowait(f"{event.type}.response", 1, causation_id=event.id)

        host.events.on("ask", answer)
        for _ in range(3):
            await host.events.request("ask", timeout_s=5)

    assert all(re.fullmatch(r"\w+-?r[0-9a-f]{16}", each) for each in seen), seen
    assert len(set(seen)) == 3


# What scripts publish.


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "sample(1)"])
@pytest.mark.parametrize("priority", [-1000, 0, 1000])
def test_what_a_script_publishes_drops_nothing_of_others_and_of_its_own_what_any_would(
    overflow: str, priority: int
) -> None:
    async def main(host: Host) -> Any:
        async with host.events.subscribe("a", capacity=4, overflow=overflow) as events:
            for number, source in enumerate(("", "tool", "script:b", "")):
                host.events.publish_nowait("a", number, source=source)
            for number in range(10, 20):
                host.events.publish_nowait("a", number, source="script:a", priority=priority)
            others = [event.data for event in waiting(events)]
            for number in range(20, 30):
                host.events.publish_nowait("a", number, source="script:a", priority=priority)
            return others, [event.data for event in waiting(events)], events.info

    others, own, info = in_host(main)

    assert others == [0, 1, 2, 3]
    assert own == ([20, 21, 22, 23] if overflow == "drop_newest" else [26, 27, 28, 29])
    assert adds_up(info) and info.dropped == 16
