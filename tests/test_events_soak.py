"""A million events from several publishers through every kind of subscriber at once: account, order, memory."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from benchmarks.soak import soak

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import Event
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.event import SubscriptionInfo
from llmspell_plugins.services.monitor import memory_bytes

TOTAL = 1_000_000
PUBLISHERS = 4
TOPICS = ("load.even", "load.odd")
OUTCOMES = ("delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")


class Consumer:
    """Receives until its subscription ends, and sees that the order is kept.

    Attributes:
        count: How many it saw.
        info: The account, once the subscription has ended.
    """

    info: SubscriptionInfo

    def __init__(self, every: int = 0) -> None:
        self.count = 0
        self._last = 0
        self._by_publisher = [-1] * PUBLISHERS
        self._every = every

    def see(self, event: Event) -> None:
        publisher, number = event.data
        assert event.sequence > self._last
        assert number > self._by_publisher[publisher]
        self._last, self._by_publisher[publisher] = event.sequence, number
        self.count += 1

    async def receive(self, events: Any) -> None:
        async for event in events:
            self.see(event)
            if self._every and self.count % self._every == 0:
                await trio.sleep(0)
                await trio.sleep(0)


@asynccontextmanager
async def consuming(
    host: Host, nursery: trio.Nursery, *patterns: str, every: int = 0, **options: Any
) -> AsyncIterator[Consumer]:
    """Consume during the block, and after it what waits then."""
    consumer = Consumer(every)
    async with host.events.subscribe(patterns, **options) as events:
        nursery.start_soon(consumer.receive, events)
        yield consumer
        while events.info.pending:
            await trio.sleep(0)
    consumer.info = events.info


@asynccontextmanager
async def handling(host: Host, *patterns: str) -> AsyncIterator[Consumer]:
    """Let a handler see events during the block, and after it what waits then."""
    consumer = Consumer()
    events = host.events.on(patterns, consumer.see, overflow="block", capacity=64)
    yield consumer
    while events.info.pending:
        await trio.sleep(0)
    events.close()
    consumer.info = events.info


async def come_and_go(host: Host, gone: list[Consumer]) -> None:
    """Subscribe, see some events, and close while others wait, again and again."""
    while True:
        consumer = Consumer()
        events = host.events.subscribe("load.*", capacity=50, overflow="drop_newest")
        try:
            async with events:
                while consumer.count < 100:
                    event = await events.receive()
                    assert event is not None
                    consumer.see(event)
        finally:
            consumer.info = events.info
            gone.append(consumer)
        await trio.sleep(0)


async def publish(host: Host, publisher: int, refused: Callable[[], object], ended: Callable[[], object]) -> None:
    """Publish this publisher's share; every 100th event is too old at once, every 10th is published without waiting."""
    for number in range(TOTAL // PUBLISHERS):
        topic, data = TOPICS[number % 2], (publisher, number)
        try:
            if number % 100 == 99:
                await host.events.publish(topic, data, ttl_s=0.0)
            elif number % 10 == 5:
                host.events.publish_nowait(topic, data)
            else:
                await host.events.publish(topic, data)
        except ResourceLimitError:
            refused()
        ended()


@pytest.mark.long
async def test_a_million_events_through_slow_fast_blocking_and_closing_subscribers_add_up() -> None:
    gone: list[Consumer] = []
    sizes: list[int] = []
    counts = {"published": 0, "refused": 0}

    def refused() -> None:
        counts["refused"] += 1

    def ended() -> None:
        counts["published"] += 1
        if counts["published"] % 50_000 == 0:
            sizes.append(memory_bytes())

    gc.collect()
    async with opened() as host, trio.open_nursery() as nursery:
        async with (
            consuming(host, nursery, "load.*", overflow="block", capacity=256) as fast,
            consuming(host, nursery, *TOPICS, every=1, capacity=100) as slow,
            consuming(host, nursery, "*.even", every=16, overflow="block", capacity=64) as blocking,
            consuming(host, nursery, "load.odd", every=8, overflow="reject", capacity=200) as refusing,
            consuming(host, nursery, "load.**", every=4, overflow="sample(0.1)", capacity=128) as sampling,
            handling(host, "load.{even,odd}") as handler,
        ):
            churn = trio.CancelScope()

            async def churning() -> None:
                with churn:
                    await come_and_go(host, gone)

            async with trio.open_nursery() as publishers:
                nursery.start_soon(churning)
                for publisher in range(PUBLISHERS):
                    publishers.start_soon(publish, host, publisher, refused, ended)
            churn.cancel()
        stayed, stats = [fast, slow, blocking, refusing, sampling, handler], host.events.stats()

    for consumer in (*stayed, *gone):
        assert consumer.count == consumer.info.delivered
        assert consumer.info.pending == 0
        assert consumer.info.matched == sum(getattr(consumer.info, outcome) for outcome in OUTCOMES)
    for outcome in ("matched", *OUTCOMES):
        assert getattr(stats, outcome) == sum(getattr(consumer.info, outcome) for consumer in (*stayed, *gone))
    assert stats.published == counts["published"] == TOTAL
    assert stats.subscriptions == 0
    assert fast.info.matched == slow.info.matched == sampling.info.matched == handler.info.matched == TOTAL
    assert blocking.info.matched == refusing.info.matched == TOTAL // 2
    assert fast.info.delivered > TOTAL * 9 // 10
    assert (
        0
        < counts["refused"]
        <= fast.info.rejected + blocking.info.rejected + refusing.info.rejected + handler.info.rejected
    )
    assert min(slow.info.dropped, refusing.info.rejected, sampling.info.sampled, fast.info.expired, len(gone)) > 0
    assert sum(consumer.info.discarded for consumer in gone) > 0
    assert max(sizes) - sizes[1] < 20_000_000, sizes
    assert msgspec.json.encode(stats)


@pytest.mark.long
async def test_the_long_run_of_the_benchmarks_adds_up_over_three_hundred_thousand_events() -> None:
    done = await soak(300_000)

    assert done.problems == ()
    assert done.stats.published == 300_000
    assert {info.overflow for info in done.subscriptions} == {"block", "drop_oldest", "drop_newest", "sample(0.1)"}
    assert min(done.stats.dropped, done.stats.expired, done.stats.sampled, done.stats.discarded) > 0
