"""How long the trio loop is held: by one step, in processor time, and by anything, beside an idle loop.

A busy machine stretches what a clock shows, not what a step costs. So `loop_steps` counts processor time, and may be
asserted on in any test; `held_beyond_idle_s` reads a clock, and is for tests that run alone. Durations in seconds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import trio

__all__ = ["LoopSteps", "held_beyond_idle_s", "loop_steps"]

TICK_S = 0.001


class LoopSteps(trio.abc.Instrument):
    """What the steps of the loop cost; see `loop_steps`.

    Attributes:
        count: How many there were.
        longest_s: The processor time of the longest.
        longest_task: Whose it was.
    """

    def __init__(self) -> None:
        self.count = 0
        self.longest_s = 0.0
        self.longest_task = ""
        self._began_s: float | None = None  # None: this step began before we looked

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when it begins."""
        self._began_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note what it cost."""
        if self._began_s is None:
            return
        self.count += 1
        cost_s = time.thread_time() - self._began_s
        if cost_s > self.longest_s:
            self.longest_s, self.longest_task = cost_s, task.name


@contextmanager
def loop_steps() -> Iterator[LoopSteps]:
    """Return what the steps of the loop cost while the block runs.

    Only the loop's own thread counts, not what it waits for. What the process holds already is taken out of the
    reach of the garbage collector meanwhile: in a long test run that alone would cost more than a step may.
    """
    steps = LoopSteps()
    gc.collect()
    gc.freeze()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
        gc.unfreeze()


async def held_beyond_idle_s(work: Callable[[], Awaitable[object]], *, rounds: int = 3) -> float:
    """Return how much longer others wait for their turn beside ``work`` than beside an idle loop.

    A ticker runs beside the work, and then as long beside nothing. The best of the rounds counts on either side, since
    what the work does it does each time, and what the machine does it does now and then. For tests marked ``timing``.
    """
    beside_work, beside_nothing = [], []
    for _ in range(rounds):
        began_s = time.perf_counter()
        beside_work.append(await _longest_tick_s(work))
        took_s = time.perf_counter() - began_s
        beside_nothing.append(await _longest_tick_s(partial(trio.sleep, took_s)))
    return min(beside_work) - min(beside_nothing)


async def _longest_tick_s(work: Callable[[], Awaitable[object]]) -> float:
    longest_s = 0.0

    async def tick(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal longest_s
        last_s = time.perf_counter()
        task_status.started()
        while True:
            await trio.sleep(TICK_S)
            longest_s, last_s = max(longest_s, time.perf_counter() - last_s), time.perf_counter()

    async with trio.open_nursery() as nursery:
        await nursery.start(tick)
        await work()
        await trio.sleep(TICK_S)  # so that a step at the end of the work is seen, too
        nursery.cancel_scope.cancel()
    return longest_s
