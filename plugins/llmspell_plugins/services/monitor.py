"""The plugin monitor: the process's memory and processor use, sampled, with a notice at each crossing of a threshold.

Invariant: nothing is sampled unless a threshold is set; a notice comes once for each crossing, not for each sample.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import trio

from llmspell_hookspecs import Services
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.system import LoadSample

__all__ = ["Monitor", "memory_bytes"]

Notify = Callable[[str, LoadSample], Awaitable[None]]


def memory_bytes() -> int:
    """Return the memory that the process holds now; where that cannot be told, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Monitor:
    """Samples while the host runs; gives ``memory_usage_high`` and ``cpu_usage_high``."""

    def __init__(self, settings: None, services: Services) -> None:
        self._settings = services.get(SettingsAccess)
        self._notify = services.get(Operations).notify

    async def run(self) -> None:
        """Sample until cancelled, if there is a threshold."""
        wanted = self._settings.plain("performance")
        if wanted["memory_high_bytes"] is None and wanted["cpu_high_percent"] is None:
            return
        memory = _Threshold("memory_usage_high", "memory_bytes", wanted["memory_high_bytes"], self._notify)
        processor = _Threshold("cpu_usage_high", "cpu_percent", wanted["cpu_high_percent"], self._notify)
        busy_s, at_s = time.process_time(), time.monotonic()
        while True:
            await memory.sample(memory_bytes())
            await trio.sleep(wanted["sample_interval_s"])
            then_busy_s, then_s = time.process_time(), time.monotonic()
            await processor.sample(100 * (then_busy_s - busy_s) / max(then_s - at_s, 1e-9))
            busy_s, at_s = then_busy_s, then_s


class _Threshold:
    """One threshold; remembers on which side of it the last sample was."""

    def __init__(
        self,
        point: str,
        resource_name: Literal["memory_bytes", "cpu_percent"],
        threshold: float | None,
        notify: Notify,
    ) -> None:
        self._point = point
        self._resource: Literal["memory_bytes", "cpu_percent"] = resource_name
        self._threshold = threshold
        self._notify = notify
        self._above = False

    async def sample(self, value: float) -> None:
        """Give notice if the value has risen above the threshold."""
        if self._threshold is None:
            return
        was_above, self._above = self._above, value > self._threshold
        if self._above and not was_above:
            await self._notify(self._point, LoadSample(self._resource, value, self._threshold))
