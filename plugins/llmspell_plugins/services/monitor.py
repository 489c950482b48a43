"""The plugin monitor: memory and processor use of the process and times of components, with a notice where they rise.

Each measure is looked at once in ``performance.sample_interval_s``. A notice comes when a measure rises above its
threshold, and again only after it has fallen to ``performance.rearm_percent`` of it: one that swings around its
threshold is told once. Times are judged by what all but the slowest twentieth of a component's newest calls took, so
one slow call among them is not told; ``performance.slow_operation_ms`` is for that.

Invariant: no hook stands and no memory is read where there is no threshold; what settings say counts from the next
sample on.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from typing import Any, ClassVar, Final, Literal

import trio

from llmspell_hookspecs import HookContext, Services
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock, HookHandle, Hooks, SettingsAccess
from llmspell_hookspecs.system import LoadSample, SlowOperation
from llmspell_plugins.hooks.standing import POINTS

__all__ = ["Load", "Monitor", "Threshold", "memory_bytes"]

Resource = Literal["memory_bytes", "cpu_percent"]
_COMPONENTS: Final = 1000
_CALLS: Final = 100
"""How many of a component's newest calls are judged together."""
_LEAST: Final = 20
"""How many it takes to judge at all: the slowest of fewer is no twentieth."""
_AT_ONCE: Final = 32


def memory_bytes() -> int:
    """Return the memory that the process holds now; where that cannot be told, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Load:
    """Where the measures come from; a test gives others."""

    def memory_bytes(self) -> int:
        """Return the memory that the process holds now."""
        return memory_bytes()

    def processor_s(self) -> float:
        """Return how long the process has kept processors busy since it began."""
        return time.process_time()

    def took_ns(self, context: HookContext[Any]) -> int:
        """Return how long an operation took that has ended."""
        return context.elapsed_ns


class Threshold:
    """Which side of a threshold a measure is on, with a gap between rising above it and having fallen below it."""

    __slots__ = ("above",)

    def __init__(self) -> None:
        self.above = False

    def rises(self, value: float, threshold: float | None, rearm_percent: float) -> bool:
        """Take a measure in; return whether it has risen above the threshold since it was last below the gap."""
        if threshold is None or value <= threshold * rearm_percent / 100:
            self.above = False
            return False
        risen = value > threshold and not self.above
        self.above = self.above or risen
        return risen


class _Times:
    """The newest calls of one component."""

    __slots__ = ("fresh", "side", "took_ns")

    def __init__(self) -> None:
        self.took_ns: deque[int] = deque(maxlen=_CALLS)
        self.side = Threshold()
        self.fresh = False

    def p95_ms(self) -> float:
        """Return what all but the slowest twentieth took at most; 0 where there are too few to tell."""
        if len(self.took_ns) < _LEAST:
            return 0.0
        ordered = sorted(self.took_ns)
        return ordered[-(-len(ordered) * 95 // 100) - 1] / 1e6


class Monitor:
    """Gives ``memory_usage_high``, ``cpu_usage_high``, and ``performance_threshold_exceeded`` of many calls.

    Args:
        settings: None; it heeds ``[performance]``, as it is at each sample.
        services: What it may use of the host.
        load: Where the measures come from; the process if left out.
    """

    name: ClassVar[str] = "monitor"

    def __init__(self, settings: None, services: Services, load: Load | None = None) -> None:
        self._load = Load() if load is None else load
        self._settings = services.get(SettingsAccess)
        self._notify = services.get(Operations).notify
        self._hooks = services.get(Hooks)
        self._clock = services.get(Clock)
        self._memory, self._processor = Threshold(), Threshold()
        self._times: dict[str, _Times] = {}
        self._handles: list[HookHandle] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample until cancelled; where there is no threshold a sample measures nothing."""
        wanted = self._settings.section("performance")
        self._heed_times(wanted.slow_p95_ms)
        task_status.started()
        busy_s, at_s = self._load.processor_s(), self._clock.monotonic_s()
        while True:
            memory = self._load.memory_bytes() if wanted.memory_high_bytes is not None else 0
            await self._judge(self._memory, "memory_bytes", memory, wanted.memory_high_bytes, wanted.rearm_percent)
            await trio.sleep(wanted.sample_interval_s)
            wanted = self._settings.section("performance")
            then_busy_s, then_s = self._load.processor_s(), self._clock.monotonic_s()
            percent = 100 * (then_busy_s - busy_s) / max(then_s - at_s, 1e-9)
            busy_s, at_s = then_busy_s, then_s
            await self._judge(self._processor, "cpu_percent", percent, wanted.cpu_high_percent, wanted.rearm_percent)
            self._heed_times(wanted.slow_p95_ms)
            await self._judge_times(wanted.slow_p95_ms, wanted.rearm_percent)

    async def _judge(
        self, side: Threshold, measure: Resource, value: float, threshold: float | None, rearm_percent: float
    ) -> None:
        if side.rises(value, threshold, rearm_percent):
            point = "memory_usage_high" if measure == "memory_bytes" else "cpu_usage_high"
            await self._notify(point, LoadSample(measure, value, threshold or 0.0))

    # Times: an observer keeps each in a row of its component's, the loop judges those rows that have grown.

    def _heed_times(self, threshold_ms: float | None) -> None:
        """Watch operations end while there is a threshold, and only then."""
        if threshold_ms is not None and not self._handles:
            options: dict[str, Any] = {"kind": "observe", "plugin": self.name}
            ends = [end for _, *ends in POINTS.values() for end in ends]
            self._handles = [self._hooks.register(point, self._keep, name="time", **options) for point in ends]
        elif threshold_ms is None and self._handles:
            for handle in self._handles:
                handle.unregister()
            self._handles, self._times = [], {}

    def _keep(self, context: HookContext[Any]) -> None:
        component = f"{context.component.kind}:{context.component.name}"
        times = self._times.get(component)
        if times is None:
            if len(self._times) >= _COMPONENTS:
                del self._times[next(iter(self._times))]
            times = self._times[component] = _Times()
        times.took_ns.append(self._load.took_ns(context))
        times.fresh = True

    async def _judge_times(self, threshold_ms: float | None, rearm_percent: float) -> None:
        fresh = [(name, times) for name, times in self._times.items() if times.fresh]
        for number, (component, times) in enumerate(fresh):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
            times.fresh = False
            p95_ms = times.p95_ms()
            if times.side.rises(p95_ms, threshold_ms, rearm_percent):
                slow = SlowOperation(p95_ms, threshold_ms or 0.0, component, len(times.took_ns))
                await self._notify("performance_threshold_exceeded", slow)
