"""Timing contenders against each other.

Invariant: all contenders of a run are timed in one process, round by round, in an order that turns with each round; the
collector runs before each row and is off within it, and every batch is warmed up. Nanoseconds for one call, always.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns
from typing import Any, Final

import trio
from msgspec import Struct

__all__ = ["OURS", "Bar", "Contender", "Difference", "Row", "Run", "Timing", "measure"]

OURS: Final = "llmspell"
_BATCH_NS: Final = 250_000
"""Shorter than a time slice, so that on a busy machine most batches are not interrupted."""


class Bar(Struct, frozen=True):
    """What our own contender of a row must keep to: ``factor`` times another contender, plus ``plus_ns``.

    Attributes:
        text: For people.
        against: The other contender; empty for none.
        factor: Of its median.
        plus_ns: On top.
    """

    text: str
    against: str = ""
    factor: float = 0.0
    plus_ns: float = 0.0


class Contender(Struct, frozen=True):
    """Who is timed in a row.

    Attributes:
        name: `OURS`, a peer's, or what the floor does.
        call: Does it once.
        waits: Whether what it answers must be awaited.
        loop: Where it is awaited and timed, if not in trio. It runs in a worker thread, where nothing is trio's.
    """

    name: str
    call: Callable[[], Any]
    waits: bool = False
    loop: asyncio.Runner | None = None


class Row(Struct, frozen=True):
    """One thing that all contenders do."""

    name: str
    contenders: Sequence[Contender]
    bar: Bar | None = None


class Difference(Struct, frozen=True):
    """A row that is worked out: what ``more`` takes beyond ``fewer``, divided."""

    name: str
    more: str
    fewer: str
    divisor: int
    bar: Bar | None = None


class Timing(Struct, frozen=True):
    """What came of one contender in one row."""

    row: str
    contender: str
    median_ns: float


class Run(Struct, frozen=True):
    """What was found.

    Attributes:
        timings: What was measured, in order.
        bars: By the name of the row.
        absent: The peers that are not installed.
        notes: Further findings, one sentence each.
    """

    timings: tuple[Timing, ...] = ()
    bars: dict[str, Bar] = {}
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def joined(self, other: Run) -> Run:
        """Return both in one."""
        return Run(
            self.timings + other.timings,
            {**self.bars, **other.bars},
            self.absent + other.absent,
            self.notes + other.notes,
        )


_Samples = dict[tuple[str, str], list[float]]


async def measure(rows: Sequence[Row], rounds: int, differences: Sequence[Difference] = ()) -> Run:
    """Time every contender of every row and return the medians.

    Args:
        rows: Their names are unique.
        rounds: How often each is timed, from 1.
        differences: What is worked out from the rows, round by round.
    """
    gc.collect()
    gc.freeze()
    try:
        sizes = {(row.name, contender.name): await _size(contender) for row in rows for contender in row.contenders}
        samples: _Samples = {key: [] for key in sizes}
        for number in range(rounds):
            for row in rows:
                gc.collect()
                gc.disable()
                for contender in _turned(row.contenders, number):
                    key = (row.name, contender.name)
                    samples[key].append(await _time(contender, sizes[key]))
                gc.enable()
    finally:
        gc.enable()
        gc.unfreeze()
    for difference in differences:
        samples.update(_worked_out(difference, samples))
    timings = (Timing(row, contender, statistics.median(values)) for (row, contender), values in samples.items())
    judged: list[Row | Difference] = [*rows, *differences]
    return Run(tuple(timings), {row.name: row.bar for row in judged if row.bar is not None})


def _turned(contenders: Sequence[Contender], number: int) -> list[Contender]:
    start = number % len(contenders)
    return [*contenders[start:], *contenders[:start]]


async def _size(contender: Contender) -> int:
    """Return how many calls make a batch; what is done only at the first call is done here."""
    size = 1
    await _time(contender, size)
    while True:
        took = await _time(contender, size) * size
        if took >= _BATCH_NS or size >= 1 << 20:
            return size
        size *= 2


async def _time(contender: Contender, size: int) -> float:
    if contender.loop is not None:
        return await trio.to_thread.run_sync(contender.loop.run, _time_here(contender, size))
    return await _time_here(contender, size)


async def _time_here(contender: Contender, size: int) -> float:
    run = _await_often if contender.waits else _call_often
    await run(contender.call, 1 + size // 8)
    started = perf_counter_ns()
    await run(contender.call, size)
    return (perf_counter_ns() - started) / size


async def _call_often(call: Callable[[], Any], size: int) -> None:
    for _ in range(size):
        call()


async def _await_often(call: Callable[[], Awaitable[Any]], size: int) -> None:
    for _ in range(size):
        await call()


def _worked_out(difference: Difference, samples: _Samples) -> _Samples:
    answer: _Samples = {}
    for (row, contender), more in samples.items():
        fewer = samples.get((difference.fewer, contender))
        if row == difference.more and fewer is not None:
            per_round = zip(more, fewer, strict=True)
            answer[difference.name, contender] = [(m - f) / difference.divisor for m, f in per_round]
    return answer
