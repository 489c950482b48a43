"""A long run of the event bus: ``python -m benchmarks.soak [--events 10000000] [--json]``.

Several publishers, and a subscriber of every kind at once: a loop, a slow one that drops, a handler, one that blocks,
one that samples, batches, and one that comes and goes. Every 50th event is urgent, every 97th is too old at once.

Invariant: the run fails unless every account adds up, the sums over all subscriptions are those of the bus, each
consumer saw as many events as it was delivered, and the memory did not grow. Sizes in bytes.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct

from llmspell import Host
from llmspell_hookspecs import Event
from llmspell_hookspecs.event import EventStats, SubscriptionInfo
from llmspell_plugins.services.monitor import memory_bytes

__all__ = ["Soaked", "main", "soak"]

_PUBLISHERS: Final = 4
_SAMPLES: Final = 20
_GROWTH_BYTES: Final = 20_000_000
_PARTS: Final = ("delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")


class Soaked(Struct, frozen=True):
    """What a run came to.

    Attributes:
        events: How many were published.
        seconds: How long it took.
        processor_s: How long the processor worked for it.
        deliveries: How many times an event was handed to a consumer.
        memory: What the process held, at equal distances.
        stats: What the bus says.
        subscriptions: What each subscription says.
        problems: What does not add up.
    """

    events: int
    seconds: float
    processor_s: float
    deliveries: int
    memory: tuple[int, ...]
    stats: EventStats
    subscriptions: tuple[SubscriptionInfo, ...]
    problems: tuple[str, ...]


class _Consumer:
    """Counts what it sees, and that of one priority nothing overtakes.

    Attributes:
        seen: How many events it saw.
        disordered: How many came before one that was published earlier and is as urgent.
        subscription: Where they come from.
    """

    def __init__(self, subscription: Any) -> None:
        self.seen = self.disordered = 0
        self.subscription = subscription
        self._last: dict[int, int] = {}

    def see(self, event: Event) -> None:
        """Count an event."""
        self.seen += 1
        if event.sequence < self._last.get(event.priority, 0):
            self.disordered += 1
        self._last[event.priority] = event.sequence

    async def loop(self, every: int = 0) -> None:
        """Receive until the subscription is closed; pause after so many."""
        async for event in self.subscription:
            self.see(event)
            if every and self.seen % every == 0:
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()

    async def batches(self) -> None:
        """Receive batches until the subscription is closed."""
        async for batch in self.subscription.batches(100):
            for event in batch:
                self.see(event)


async def soak(count: int) -> Soaked:
    """Publish so many events, and return what became of them."""
    memory: list[int] = []
    gone: list[_Consumer] = []
    async with Host.open(False, discover=False) as host, trio.open_nursery() as nursery:
        consumers = _consumers(host, nursery)
        churning = await nursery.start(_come_and_go, host, gone)
        gc.collect()
        began_s, worked_s = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as publishers:
            for number in range(_PUBLISHERS):
                publishers.start_soon(_publish, host, number, count, memory)
        churning.cancel()
        while any(each.subscription.info.pending for each in consumers):
            await trio.lowlevel.checkpoint()
        seconds, processor_s = time.perf_counter() - began_s, time.process_time() - worked_s
        for each in consumers:
            each.subscription.close()
        await trio.lowlevel.checkpoint()
        stats = host.events.stats()
    everybody = [*consumers, *gone]
    infos = tuple(each.subscription.info for each in everybody)
    problems = (*_wrong(count, stats, infos), *_wrong_consumers(everybody), *_grown(memory))
    kept = infos[: len(consumers)]
    return Soaked(count, seconds, processor_s, stats.delivered, tuple(memory), stats, kept, problems)


def _consumers(host: Host, nursery: trio.Nursery) -> list[_Consumer]:
    subscribe = host.events.subscribe
    loop = _Consumer(subscribe("load.*", capacity=4096, overflow="block"))
    slow = _Consumer(subscribe("load.odd", capacity=256))
    blocking = _Consumer(subscribe("*.even", capacity=64, overflow="block"))
    sampling = _Consumer(subscribe("load.**", capacity=128, overflow="sample(0.1)"))
    batches = _Consumer(subscribe("load.even", capacity=2000, overflow="drop_newest"))
    record = _Consumer(subscribe("load.odd", capacity=2000, as_published=True))
    made = [loop, slow, blocking, sampling, batches, record]
    for each in made:
        each.subscription.open()
    for consume in (loop.loop, batches.batches, record.loop):
        nursery.start_soon(consume)
    for each, every in ((slow, 3), (blocking, 16), (sampling, 4)):
        nursery.start_soon(each.loop, every)
    handler = _Consumer(None)
    handler.subscription = host.events.on("load.{even,odd}", handler.see, capacity=1024, overflow="block")
    return [*made, handler]


async def _publish(host: Host, publisher: int, count: int, memory: list[int]) -> None:
    """Publish this publisher's share."""
    publish = host.events.publish
    for number in range(publisher, count, _PUBLISHERS):
        topic = ("load.even", "load.odd")[number // _PUBLISHERS % 2]
        if number % 50 == 0:
            await publish(topic, number, priority=-1)
        elif number % 97 == 0:
            await publish(topic, number, ttl_s=0.0)
        else:
            await publish(topic, number)
        if number % max(1, count // _SAMPLES) == 0:
            memory.append(memory_bytes())


async def _come_and_go(
    host: Host, gone: list[_Consumer], task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    """Subscribe, see some events, and close while others wait, again and again; a hundred of them are kept."""
    with trio.CancelScope() as scope:
        task_status.started(scope)
        while len(gone) < 100:
            consumer = _Consumer(host.events.subscribe("load.*", capacity=50, overflow="drop_newest"))
            gone.append(consumer)
            async with consumer.subscription as events:
                while consumer.seen < 1000 and (event := await events.receive()) is not None:
                    consumer.see(event)


def _wrong(count: int, stats: EventStats, infos: Sequence[SubscriptionInfo]) -> list[str]:
    """Return which accounts do not add up."""
    problems = [
        f"{info.id}: {info.matched} matched"
        for info in infos
        if info.matched != sum(getattr(info, part) for part in _PARTS)
    ]
    for part in ("matched", *_PARTS):
        told, summed = getattr(stats, part), sum(getattr(info, part) for info in infos)
        problems += [f"{part}: {told} told, {summed} in all"] if told != summed else []
    if stats.published != count:
        problems.append(f"{stats.published} published of {count}")
    return problems


def _wrong_consumers(consumers: Sequence[_Consumer]) -> list[str]:
    problems: list[str] = []
    for each in consumers:
        info = each.subscription.info
        if each.seen != info.delivered or each.disordered:
            problems.append(f"{info.id}: saw {each.seen} of {info.delivered}, {each.disordered} out of order")
        if info.overflow == "block" and info.delivered + info.expired != info.matched:
            problems.append(f"{info.id}: {info.delivered} delivered and {info.expired} too old of {info.matched}")
    return problems


def _grown(memory: Sequence[int]) -> list[str]:
    """Return whether the memory grew from the second tenth of the run on."""
    settled = memory[len(memory) // 5 :]
    grown = max(settled, default=0) - min(settled, default=0)
    return [f"the memory grew by {grown} bytes"] if grown > _GROWTH_BYTES else []


def main(arguments: Sequence[str] | None = None, write: Callable[[str], object] = print) -> int:
    """Run once and tell the figures; 1 if something does not add up."""
    parser = argparse.ArgumentParser("python -m benchmarks.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000_000, help="how many are published")
    parser.add_argument("--json", action="store_true", help="print everything for programs")
    options = parser.parse_args(arguments)
    done = trio.run(soak, options.events)
    if options.json:
        write(json.dumps(msgspec.to_builtins(done)))
        return bool(done.problems)
    write(f"{done.events:,} events, {done.deliveries:,} deliveries")
    write(f"{done.seconds:.1f} s, {done.processor_s:.1f} s of the processor")
    write(f"memory from {min(done.memory) / 1e6:.1f} to {max(done.memory) / 1e6:.1f} MB")
    for info in done.subscriptions:
        counts = ", ".join(f"{getattr(info, part):,} {part}" for part in _PARTS if getattr(info, part))
        took = f"p50 {info.delivery.p50_s * 1e6:.0f} us, p99 {info.delivery.p99_s * 1e6:.0f} us"
        write(f"{info.id} {info.overflow}: {info.matched:,} matched: {counts}; {took}")
    for problem in done.problems:
        write(f"wrong: {problem}")
    return bool(done.problems)


if __name__ == "__main__":
    sys.exit(main())
