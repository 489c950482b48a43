"""Slices: who runs the runtime when, and where.

A slice of the main script runs in a worker thread; a callback's runs on the loop, unless there is so much to copy or
to collect, or to collect slowly, that it could hold the loop.

Invariant: one slice at a time, under a lock; the loop never touches the runtime while a slice runs in a thread. A
cancellation ends a slice within milliseconds and is not lost. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

import trio
from msgspec import Struct

from .budget import Budget
from .engine import LOOP_STRIDE, THREAD_STRIDE, Engine, Outcome

if TYPE_CHECKING:
    import outcome

__all__ = ["Place", "Slices"]

_LIGHT_BYTES: Final = 2 * 1024 * 1024
_LOOP_BYTES: Final = 8 * 1024 * 1024


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


class Slices:
    """Runs the slices of one script."""

    def __init__(self, engine: Engine, budget: Budget, callback_s: float, inline: bool) -> None:
        self._engine = engine
        self._budget = budget
        self._callback_s = callback_s
        self._inline = inline

    def place(self, callback: bool, light: bool) -> Place:
        """Answer where the next slice runs.

        Args:
            callback: Whether it is one of a callback.
            light: Whether little is to be converted.
        """
        if not callback:
            return Place(self._inline, LOOP_STRIDE if self._inline else THREAD_STRIDE)
        used = self._engine.used_bytes
        if self._inline or (light and used < _LIGHT_BYTES and not self._engine.collects_slowly):
            return Place(True, LOOP_STRIDE, self._callback_s, used + _LOOP_BYTES)
        return Place(False, THREAD_STRIDE, self._callback_s)

    async def run(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        """Run a slice; only one at a time.

        Args:
            place: Where.
            work: Answers how it ended, from the stride.
        """
        if place.on_loop:
            return self._run_here(place, work)
        return await self._run_there(place, work)

    async def _run_there(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        """Run a slice in a thread of its own; a cancellation stops it, and counts when the thread is back.

        `trio.to_thread` cannot do that: it either waits for the thread untold, or leaves it behind.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        cancellations: list[Callable[[], NoReturn]] = []

        def deliver(ended: outcome.Outcome[Outcome]) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(trio.lowlevel.reschedule, task, ended)

        def stop(cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            cancellations.append(cancel)
            self._budget.stopped = True  # the count hook sees it
            self._engine.allow(0)  # whatever allocates sees that
            return trio.lowlevel.Abort.FAILED

        run = contextvars.copy_context().run
        trio.lowlevel.start_thread_soon(partial(run, self._within, place, work), deliver, "lua slice")
        try:
            ended: Outcome = await trio.lowlevel.wait_task_rescheduled(stop)
        finally:
            self._budget.stopped = False
        if cancellations:
            cancellations[0]()
        return ended

    @trio.lowlevel.enable_ki_protection
    def _run_here(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        return self._within(place, work)

    def _within(self, place: Place, work: Callable[[int], Outcome]) -> Outcome:
        self._engine.allow(place.memory_bytes)
        self._budget.begin(place.most_s)
        try:
            return work(place.stride)
        finally:
            self._budget.end()
            self._engine.allow(None)
