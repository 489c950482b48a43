"""What the process holds, from the operating system and the garbage collector. Sizes in bytes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .timer import Timer

__all__ = ["memory_snapshot", "memory_stats", "resident_bytes"]


def memory_stats() -> dict[str, int]:
    """Return what the whole process holds.

    ``resident_bytes`` is in memory now, ``used_bytes`` is the part of it that no other process shares,
    ``allocated_bytes`` is the data and stack it asked for, ``collections`` counts the garbage collector's runs. Where
    ``/proc`` is missing, the three sizes are the largest resident size there was.
    """
    size = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    pages = _pages()
    collections = sum(generation["collections"] for generation in gc.get_stats())
    if pages is None:
        peak = _peak_bytes()
        return {"used_bytes": peak, "allocated_bytes": peak, "resident_bytes": peak, "collections": collections}
    resident, shared, data = pages
    return {
        "used_bytes": (resident - shared) * size,
        "allocated_bytes": data * size,
        "resident_bytes": resident * size,
        "collections": collections,
    }


def resident_bytes() -> int:
    """Return what the process has in memory now."""
    return memory_stats()["resident_bytes"]


def memory_snapshot(timers: Iterable[Timer], now_s: float) -> dict[str, Any]:
    """Return how the process has grown since each running timer started.

    Args:
        timers: Those of the run.
        now_s: Seconds since the epoch.
    """
    now = resident_bytes()
    running = [timer for timer in timers if timer.running]
    usage = {timer.name: now - timer.memory_before for timer in running}
    return {
        "timestamp_secs": now_s,
        "active_trackers": len(running),
        "total_memory_delta_bytes": now - running[0].memory_before if running else 0,
        "tracker_memory_usage": usage,
        **memory_stats(),
    }


def _pages() -> tuple[int, int, int] | None:
    """Resident, shared and data pages, or None where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            _, resident, shared, _, _, data, *_ = (int(part) for part in file.read().split())
    except OSError:
        return None
    return resident, shared, data


def _peak_bytes() -> int:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
