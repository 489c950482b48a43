"""The group events: from publishing to an async subscriber, with the event's creation.

Invariant: a call is over when its last event was received, and none was lost. Ours makes the whole event; the peers
carry a bare dict, which favours them. Those on asyncio run in a loop of their own, in the same thread.

It is longer than most because each peer's way from publishing to receiving is to be read beside ours.
"""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import trio

from llmspell import Host
from llmspell_hookspecs import Event

from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_events"]

_MANY: Final = 1000
_FEW: Final = 10
_SUSTAINED: Final = 30_000
_PAUSE: Final = 64
_TOPIC: Final = "user.created"
_ALONE: Final = f"{OURS}, no other pattern"
_BAR: Final = Bar("800,000 a second", plus_ns=_MANY * 1e9 / 800_000)
_STREAM: Final = Bar("800,000 a second", plus_ns=_SUSTAINED * 1e9 / 800_000)
_PATTERNS: Final = Bar("1.2 x as with no other pattern", _ALONE, 1.2)
Call = Callable[[], Any]


class _Count:
    """Who receives: wakes the one who waits for the last of so many."""

    def __init__(self, wanted: int, done: Callable[[], object]) -> None:
        self.wanted = wanted
        self.done = done
        self.received = 0

    def one(self) -> None:
        """Another event was received."""
        self.received += 1
        if self.received == self.wanted:
            self.received = 0
            self.done()


async def measure_events(rounds: int) -> Run:
    """Time the rows of the group, beside the peers that are installed."""
    absent: list[str] = []
    async with AsyncExitStack() as stack:
        loop = asyncio.new_event_loop()
        stack.callback(_close, loop)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        alone = await stack.enter_async_context(_host(0))
        crowded = await stack.enter_async_context(_host(1000))
        rows = [
            Row(f"{_MANY} events to one async subscriber", _many(nursery, alone, loop, absent), _BAR),
            Row(f"{_MANY} events, 1000 other patterns", _crowd(nursery, alone, crowded), _PATTERNS),
            Row(f"{_MANY} events, 50,000 topics", _topics(nursery, crowded)),
            Row(f"{_SUSTAINED} events, a pause after every {_PAUSE}", _sustained(nursery, alone, loop), _STREAM),
            Row(f"{_FEW} events to one async subscriber", _few(nursery, alone, loop, absent)),
        ]
        run = await measure(rows, rounds)
    return run.joined(Run(absent=tuple(absent)))


def _close(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()


@asynccontextmanager
async def _host(others: int) -> AsyncIterator[Host]:
    async with Host.open(False, discover=False) as host:
        for number in range(others):
            host.events.subscribe(f"other{number}.*").open()
        yield host


def _many(nursery: trio.Nursery, host: Host, loop: asyncio.AbstractEventLoop, absent: list[str]) -> Sequence[Contender]:
    contenders = [
        Contender("floor: deque, batched wake-up", _deque(nursery), waits=True),
        Contender(OURS, _publish_nowait(nursery, host, "many"), waits=True),
        Contender(f"{OURS}, awaited", _publish(nursery, host), waits=True),
        Contender("trio memory channel", _channel(nursery), waits=True),
        Contender("asyncio.Queue", _queue(loop)),
    ]
    for name, make in (("pyee", _pyee), ("blinker", _blinker)):
        try:
            contenders.append(Contender(name, make(loop)))
        except ImportError:
            absent.append(name)
    return contenders


def _few(nursery: trio.Nursery, host: Host, loop: asyncio.AbstractEventLoop, absent: list[str]) -> Sequence[Contender]:
    contenders = [Contender(OURS, _publish_nowait(nursery, host, "few", _FEW), waits=True)]
    try:
        contenders.append(Contender("bubus", _bubus(loop)))
    except ImportError:
        absent.append("bubus")
    return contenders


def _crowd(nursery: trio.Nursery, alone: Host, crowded: Host) -> Sequence[Contender]:
    return [
        Contender(_ALONE, _publish_nowait(nursery, alone, "crowd"), waits=True),
        Contender(OURS, _publish_nowait(nursery, crowded, "crowd"), waits=True),
    ]


def _sustained(nursery: trio.Nursery, host: Host, loop: asyncio.AbstractEventLoop) -> Sequence[Contender]:
    """A stream: a publisher that lets others run after every 64 events, beside one subscriber."""
    each, batched = (_receive(nursery, host, _SUSTAINED, f"{row}.*", row == "batched") for row in ("each", "batched"))
    return [
        Contender("floor: deque, batched wake-up", _deque_stream(nursery), waits=True),
        Contender(OURS, _stream(host, "each.created", each), waits=True),
        Contender(f"{OURS}, taken in batches", _stream(host, "batched.created", batched), waits=True),
        Contender("trio memory channel", _channel_stream(nursery), waits=True),
        Contender("asyncio.Queue", _queue_stream(loop)),
    ]


def _stream(host: Host, topic: str, finished: Callable[[], trio.Event]) -> Call:
    publish = host.events.publish_nowait

    async def call() -> None:
        done = finished()
        for number in range(_SUSTAINED):
            publish(topic, {"id": number})
            if number % _PAUSE == _PAUSE - 1:
                await trio.lowlevel.checkpoint()
        await done.wait()

    return call


def _topics(nursery: trio.Nursery, host: Host) -> Sequence[Contender]:
    return [Contender(OURS, _publish_nowait(nursery, host, "topics", names=50_000), waits=True)]


# Ours.


def _publish_nowait(nursery: trio.Nursery, host: Host, row: str, count: int = _MANY, names: int = 1) -> Call:
    finished = _receive(nursery, host, count, f"{row}.*")
    publish = host.events.publish_nowait
    topics = itertools.cycle([f"{row}.created{number}" for number in range(names)])
    topic = next(topics)

    async def call() -> None:
        done = finished()
        if names == 1:
            for number in range(count):
                publish(topic, {"id": number})
        else:
            for number, each in zip(range(count), topics, strict=False):
                publish(each, {"id": number})
        await done.wait()

    return call


def _publish(nursery: trio.Nursery, host: Host) -> Call:
    finished = _receive(nursery, host, _MANY, "awaited.*")
    publish = host.events.publish

    async def call() -> None:
        done = finished()
        for number in range(_MANY):
            await publish("awaited.created", {"id": number})
        await done.wait()

    return call


def _receive(
    nursery: trio.Nursery, host: Host, count: int, topics: str, batched: bool = False
) -> Callable[[], trio.Event]:
    """Subscribe; returns what begins a call and says when all of its events are received. A lost one is an error."""
    done = [trio.Event()]
    counted = _Count(count, lambda: done[0].set())
    events = host.events.subscribe(topics, capacity=2 * _MANY, overflow="reject")
    events.open()

    async def consume() -> None:
        async for _ in events:
            counted.one()

    async def consume_batches() -> None:
        async for batch in events.batches():
            for _ in batch:
                counted.one()

    def begin() -> trio.Event:
        done[0] = trio.Event()
        return done[0]

    nursery.start_soon(consume_batches if batched else consume)
    return begin


# The floor and the peers.


def _deque(nursery: trio.Nursery) -> Call:
    waiting, lot, begin = _waiting(nursery, _MANY)

    async def call() -> None:
        done = begin()
        for number in range(_MANY):
            waiting.append(Event(_TOPIC, {"id": number}))
        lot.unpark_all()
        await done.wait()

    return call


def _deque_stream(nursery: trio.Nursery) -> Call:
    waiting, lot, begin = _waiting(nursery, _SUSTAINED)

    async def call() -> None:
        done = begin()
        for number in range(_SUSTAINED):
            waiting.append(Event(_TOPIC, {"id": number}))
            if number % _PAUSE == _PAUSE - 1:
                lot.unpark_all()
                await trio.lowlevel.checkpoint()
        lot.unpark_all()
        await done.wait()

    return call


def _waiting(
    nursery: trio.Nursery, wanted: int
) -> tuple[deque[Event], trio.lowlevel.ParkingLot, Callable[[], trio.Event]]:
    """Return a deque with its consumer, what wakes that, and what begins a call."""
    waiting: deque[Event] = deque()
    lot = trio.lowlevel.ParkingLot()
    count = _Count(wanted, lambda: done[0].set())
    done = [trio.Event()]

    async def consume() -> None:
        while True:
            if not waiting:
                await lot.park()
            waiting.popleft()
            count.one()

    def begin() -> trio.Event:
        done[0] = trio.Event()
        return done[0]

    nursery.start_soon(consume)
    return waiting, lot, begin


def _channel(nursery: trio.Nursery) -> Call:
    send, receive = trio.open_memory_channel[dict[str, int]](_MANY)
    done = [trio.Event()]
    count = _Count(_MANY, lambda: done[0].set())

    async def consume() -> None:
        async for _ in receive:
            count.one()

    nursery.start_soon(consume)

    async def call() -> None:
        done[0] = trio.Event()
        for number in range(_MANY):
            send.send_nowait({"id": number})
        await done[0].wait()

    return call


def _channel_stream(nursery: trio.Nursery) -> Call:
    send, receive = trio.open_memory_channel[dict[str, int]](2 * _MANY)
    done = [trio.Event()]
    count = _Count(_SUSTAINED, lambda: done[0].set())

    async def consume() -> None:
        async for _ in receive:
            count.one()

    nursery.start_soon(consume)

    async def call() -> None:
        done[0] = trio.Event()
        for number in range(_SUSTAINED):
            await send.send({"id": number})  # its consumer takes one a turn, so it must hold the publisher up
        await done[0].wait()

    return call


def _on_asyncio(loop: asyncio.AbstractEventLoop, act: Callable[[], Awaitable[None]]) -> Call:
    async def main() -> None:
        await act()

    return lambda: loop.run_until_complete(main())


def _queue(loop: asyncio.AbstractEventLoop) -> Call:
    async def act() -> None:
        queue: asyncio.Queue[dict[str, int]] = asyncio.Queue(_MANY)

        async def consume() -> None:
            for _ in range(_MANY):
                await queue.get()

        consumer = loop.create_task(consume())
        for number in range(_MANY):
            queue.put_nowait({"id": number})
        await consumer

    return _on_asyncio(loop, act)


def _queue_stream(loop: asyncio.AbstractEventLoop) -> Call:
    async def act() -> None:
        queue: asyncio.Queue[dict[str, int]] = asyncio.Queue(2 * _MANY)

        async def consume() -> None:
            for _ in range(_SUSTAINED):
                await queue.get()

        consumer = loop.create_task(consume())
        for number in range(_SUSTAINED):
            queue.put_nowait({"id": number})
            if number % _PAUSE == _PAUSE - 1:
                await asyncio.sleep(0)
        await consumer

    return _on_asyncio(loop, act)


def _pyee(loop: asyncio.AbstractEventLoop) -> Call:
    from pyee.asyncio import AsyncIOEventEmitter

    emitter = AsyncIOEventEmitter(loop)
    done = [loop.create_future()]
    count = _Count(_MANY, lambda: done[0].set_result(None))

    async def handler(event: dict[str, int]) -> None:
        count.one()

    emitter.on(_TOPIC, handler)

    async def act() -> None:
        done[0] = loop.create_future()
        for number in range(_MANY):
            emitter.emit(_TOPIC, {"id": number})
        await done[0]

    return _on_asyncio(loop, act)


def _blinker(loop: asyncio.AbstractEventLoop) -> Call:
    from blinker import Signal

    signal = Signal()
    count = _Count(_MANY, lambda: None)

    async def handler(sender: object, event: dict[str, int]) -> None:
        count.one()

    signal.connect(handler, weak=False)

    async def act() -> None:
        for number in range(_MANY):
            await signal.send_async(None, event={"id": number})

    return _on_asyncio(loop, act)


def _bubus(loop: asyncio.AbstractEventLoop) -> Call:
    import logging

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bubus import BaseEvent, EventBus

    logging.getLogger("bubus").setLevel(logging.CRITICAL)

    class Created(BaseEvent):  # type: ignore[misc]  # untyped library
        number: int

    bus: list[Any] = []

    async def handler(event: Any) -> None:
        return None

    async def act() -> None:
        if not bus:
            bus.append(EventBus(name="bench", max_history_size=10))
            bus[0].on("Created", handler)
        events = [bus[0].dispatch(Created(number=number)) for number in range(_FEW)]
        for event in events:
            await event

    return _on_asyncio(loop, act)
