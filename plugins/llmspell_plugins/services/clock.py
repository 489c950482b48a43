"""The service Clock: the time, in seconds."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import trio

from llmspell_hookspecs import Services
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.services import Clock

__all__ = ["HostClock"]


class HostClock:
    """The time; monotonic time is trio's, so that a test's clock counts."""

    name: ClassVar[str] = "clock"
    provides: ClassVar[type[Any]] = Clock

    def __init__(self, settings: None, services: Services) -> None:
        self._entropy = services.get(Entropy)

    def now_s(self) -> float:
        """Return the seconds since the epoch; in a replay those on record."""
        return self._entropy.draw("now_s", time.time)

    def monotonic_s(self) -> float:
        """Return seconds that only grow."""
        return trio.current_time()
