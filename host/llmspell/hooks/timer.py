"""The one timer that brings hooks with an open breaker back, half open."""

from __future__ import annotations

import heapq
import itertools

import trio

from llmspell_hookspecs.breaker import Breaker

__all__ = ["BreakerTimer"]


class BreakerTimer:
    """Probes breakers when their time is up; runs as a task of the host's nursery."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Breaker, int]] = []
        self._ties = itertools.count()
        self._news = trio.Event()

    def schedule(self, breaker: Breaker) -> None:
        """Probe this breaker when its ``open_s`` have passed."""
        heapq.heappush(self._due, (trio.current_time() + breaker.open_s, next(self._ties), breaker, breaker.openings))
        self._news.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            self._news = trio.Event()
            with trio.CancelScope(deadline=self._due[0][0] if self._due else float("inf")):
                await self._news.wait()
            while self._due and self._due[0][0] <= trio.current_time():
                _, _, breaker, opening = heapq.heappop(self._due)
                if breaker.openings == opening:  # or it was reset meanwhile, and has a later date
                    breaker.probe()
