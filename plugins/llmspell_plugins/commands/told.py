"""How sizes and times are shown to people; programs get bytes and seconds."""

from __future__ import annotations

import time

__all__ = ["size_of", "time_of"]


def size_of(size_bytes: float) -> str:
    """Return a size as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def time_of(at_s: float) -> str:
    """Return a time, in seconds since the epoch, as this machine's zone writes it; empty for none."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s)) if at_s else ""
