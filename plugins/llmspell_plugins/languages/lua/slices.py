"""Slices: who runs the runtime when, and where.

A slice of the main script runs in a worker thread; a callback's runs on the loop, unless there is so much to copy or
to collect that it could hold the loop.

Invariant: one slice at a time, under a lock; the loop never touches the runtime while a slice runs in a thread. A
cancellation ends a slice within milliseconds and is not lost. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from msgspec import Struct

from .budget import Budget
from .engine import LOOP_STRIDE, THREAD_STRIDE, Engine, Outcome

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
        self._limiter = trio.CapacityLimiter(1)

    def place(self, callback: bool, light: bool) -> Place:
        """Answer where the next slice runs.

        Args:
            callback: Whether it is one of a callback.
            light: Whether little is to be converted.
        """
        if not callback:
            return Place(self._inline, LOOP_STRIDE if self._inline else THREAD_STRIDE)
        used = self._engine.used_bytes
        if self._inline or (light and used < _LIGHT_BYTES):
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
        ended = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def run_there() -> Outcome:
            try:
                return self._within(place, work)
            finally:
                token.run_sync_soon(ended.set)

        try:
            return await trio.to_thread.run_sync(run_there, abandon_on_cancel=True, limiter=self._limiter)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._stop(ended)
            raise

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

    async def _stop(self, ended: trio.Event) -> None:
        """End the running slice: the count hook sees the flag, whatever allocates finds no memory."""
        self._budget.stopped = True
        self._engine.allow(0)
        await ended.wait()
        self._budget.stopped = False
