"""What a host tells of its hooks to whoever asks for the event by its name, which ``llmspell hook stats`` does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from llmspell_hookspecs.services import HookInfo

__all__ = ["HOOK_STATS", "stats_of"]

HOOK_STATS: Final = "llmspell.hook_stats"
"""What a tail names to be told; nothing is published, so nobody else sees it."""
_MOST: Final = 500


def stats_of(hooks: Iterable[HookInfo]) -> dict[str, Any]:
    """Return what has become of the hooks that were called or left out, those that took longest first."""
    chosen = [info for info in hooks if info.calls or info.failures or info.breaker in ("open", "half_open")]
    chosen.sort(key=lambda info: -info.total_ns)
    return {"hooks": [_row(info) for info in chosen[:_MOST]], "left_out": max(0, len(chosen) - _MOST)}


def _row(info: HookInfo) -> dict[str, Any]:
    return {
        "point": info.point,
        "plugin": info.plugin,
        "hook": f"{info.plugin}.{info.name}",
        "kind": info.kind,
        "calls": info.calls,
        "failures": info.failures,
        "mean_us": round(info.total_ns / info.calls / 1000, 3) if info.calls else 0.0,
        "total_us": round(info.total_ns / 1000, 3),
        "breaker": info.breaker,
        "enabled": info.enabled,
    }
