"""Slices: who runs the runtime when, and where.

A slice of the main script runs in a worker thread; a callback's runs on the loop once its function has shown itself
quick, unless there is so much to copy or to collect, or to collect slowly, that it could hold the loop.

Invariant: one slice at a time, under a lock; the loop never touches the runtime while a slice runs in a thread. A
cancellation ends a slice within milliseconds and is not lost. What nothing can end (Lua's collector at work on a
hostile heap, a write into a pipe that nobody reads) is abandoned two seconds later, with its thread and its runtime.
Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

import outcome
import trio
from msgspec import Struct

from .budget import Budget
from .engine import LOOP_STRIDE, THREAD_STRIDE, Engine, Outcome

__all__ = ["TIMED_OUT", "Place", "Slices"]

_LIGHT_BYTES: Final = 2 * 1024 * 1024
_LOOP_BYTES: Final = 8 * 1024 * 1024
_PATIENCE_S: Final = 2.0
_LOOK_S: Final = 0.25
_NOTICE_S: Final = 0.003
"""What it takes to notice that time is up; a slice on the loop is ended so much earlier."""
TIMED_OUT: Final[Outcome] = (b"limit", b"time", b"", b"")


class Place(Struct, frozen=True):
    """Where a slice runs, and how much it may use.

    Attributes:
        on_loop: On the loop, rather than in a worker thread.
        stride: Instructions between two counts.
        most_s: Processor time; None for all that the script has left.
        memory_bytes: What the script may hold during it; None for all that it may.
    """

    on_loop: bool
    stride: int
    most_s: float | None = None
    memory_bytes: int | None = None


class _Running:
    """A slice that runs in a thread."""

    def __init__(self) -> None:
        self.task = trio.lowlevel.current_task()
        self.over = False
        self.stopped_s: float | None = None

    def end(self, ended: outcome.Outcome[Outcome]) -> None:
        """Let the task go on; once."""
        if not self.over:
            self.over = True
            trio.lowlevel.reschedule(self.task, ended)


class Slices:
    """Runs the slices of one script.

    Attributes:
        abandoned: Whether a slice could not be ended; the runtime must never be touched again then.
    """

    def __init__(self, engine: Engine, budget: Budget, callback_s: float, inline: bool) -> None:
        self.abandoned = False
        self._engine = engine
        self._budget = budget
        self._callback_s = callback_s
        self._inline = inline
        self._running: _Running | None = None

    def place(self, callback: bool, light: bool) -> Place:
        """Return where the next slice runs.

        Args:
            callback: Whether it is one of a callback.
            light: Whether little is to be converted, and its function was quick so far.
        """
        if not callback:
            return Place(self._inline, LOOP_STRIDE if self._inline else THREAD_STRIDE)
        used = self._engine.used_bytes
        if self._inline or (light and used < _LIGHT_BYTES and not self._engine.collects_slowly):
            most_s = max(self._callback_s - _NOTICE_S, _NOTICE_S)
            return Place(True, LOOP_STRIDE, most_s, used + _LOOP_BYTES)
        return Place(False, THREAD_STRIDE, self._callback_s)

    async def run(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        """Run a slice; only one at a time.

        Args:
            place: Where.
            work: Returns how it ended, from the stride.
        """
        if place.on_loop:
            return self._run_here(place, work)
        return await self._run_there(place, work)

    async def _run_there(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        """Run a slice in a thread of its own; a cancellation stops it, and counts when the thread is back.

        `trio.to_thread` cannot do that: it either waits for the thread untold, or leaves it behind.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        token = trio.lowlevel.current_trio_token()
        running = self._running = _Running()
        cancellations: list[Callable[[], NoReturn]] = []

        def deliver(ended: outcome.Outcome[Outcome]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(running.end, ended)

        def stop(cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            cancellations.append(cancel)
            self._stop(running)
            return trio.lowlevel.Abort.FAILED

        run = contextvars.copy_context().run
        trio.lowlevel.start_thread_soon(partial(run, self._within, place, work), deliver, "lua slice")
        try:
            ended: Outcome = await trio.lowlevel.wait_task_rescheduled(stop)
        finally:
            self._running = None
            self._budget.stopped = self.abandoned
        if cancellations:
            cancellations[0]()
        return ended

    def _stop(self, running: _Running) -> None:
        if running.stopped_s is None:
            running.stopped_s = trio.current_time()
            self._budget.stopped = True  # the count hook sees it

    async def watch(self) -> None:
        """Look after slices in threads until cancelled: stop one that is long past its time, abandon what goes on."""
        while True:
            await trio.sleep(_LOOK_S)
            running = self._running
            if running is None or running.over:
                continue
            if running.stopped_s is not None and trio.current_time() - running.stopped_s > _PATIENCE_S:
                self.abandoned = True
                running.end(outcome.Value(TIMED_OUT))
            elif running.stopped_s is None and self._budget.overdue_s > _PATIENCE_S:
                self._stop(running)

    @trio.lowlevel.enable_ki_protection
    def _run_here(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        return self._within(place, work)

    def _within(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        if self._budget.left_s <= 0:  # slices too short for the count hook to look at the clock add up, too
            return TIMED_OUT
        self._engine.allow(place.memory_bytes)
        self._budget.begin(place.most_s)
        try:
            return work(place.stride)
        finally:
            self._budget.end()
            self._engine.allow(None)
