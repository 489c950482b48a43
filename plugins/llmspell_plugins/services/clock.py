"""The service Clock: the time, in seconds."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import trio

from llmspell_hookspecs.services import Clock

__all__ = ["HostClock"]


class HostClock:
    """The time; monotonic time is trio's, so that a test's clock counts."""

    name: ClassVar[str] = "clock"
    provides: ClassVar[type[Any]] = Clock

    def now_s(self) -> float:
        """Return the seconds since the epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""
        return trio.current_time()
