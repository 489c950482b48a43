"""Reports about timers: as text, as JSON, and as folded stacks for a flame graph. Durations in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .timer import Timer

__all__ = ["flame_graph", "json_report", "performance_report"]


def performance_report(timers: Iterable[Timer]) -> str:
    """Return a table: for each name how often, total, mean, least, most; below it laps and events."""
    groups = _groups(timers)
    if not groups:
        return "Performance report: no timers"
    width = max(len("timer"), *(len(name) for name in groups))
    lines = ["Performance report", f"{'timer':<{width}} {'count':>6} {'total ms':>12} {'mean ms':>12} {'max ms':>12}"]
    for name, members in groups.items():
        times = [timer.elapsed_ms for timer in members]
        mean = sum(times) / len(times)
        lines.append(f"{name:<{width}} {len(times):>6} {sum(times):>12.3f} {mean:>12.3f} {max(times):>12.3f}")
        lines += [
            f"  {mark.kind} {mark.name}: {mark.at_ms:.3f} ms{f' {mark.metadata}' if mark.metadata else ''}"
            for timer in members
            for mark in timer.marks
        ]
    return "\n".join(lines)


def json_report(timers: Iterable[Timer]) -> str:
    """Return all timers as JSON text."""
    return json.dumps({"timers": [_described(timer) for timer in timers]}, ensure_ascii=False)


def flame_graph(timers: Iterable[Timer]) -> str:
    """Return folded stacks: ``outer;inner microseconds`` a line, each with its own time only."""
    known = list(timers)
    inner_ms: dict[str, float] = {}
    for timer in known:
        if timer.parent is not None:
            inner_ms[timer.parent.id] = inner_ms.get(timer.parent.id, 0.0) + timer.elapsed_ms
    folded: dict[str, int] = {}
    for timer in known:
        own_us = round(max(0.0, timer.elapsed_ms - inner_ms.get(timer.id, 0.0)) * 1000)
        stack = _stack(timer)
        folded[stack] = folded.get(stack, 0) + own_us
    return "\n".join(f"{stack} {own_us}" for stack, own_us in sorted(folded.items()))


def _groups(timers: Iterable[Timer]) -> dict[str, list[Timer]]:
    groups: dict[str, list[Timer]] = {}
    for timer in timers:
        groups.setdefault(timer.name, []).append(timer)
    return groups


def _described(timer: Timer) -> dict[str, Any]:
    return {
        "id": timer.id,
        "name": timer.name,
        "parent": timer.parent.id if timer.parent else None,
        "running": timer.running,
        "duration_ms": timer.elapsed_ms,
        "marks": [
            {"kind": mark.kind, "name": mark.name, "at_ms": mark.at_ms, "metadata": mark.metadata}
            for mark in timer.marks
        ],
    }


def _stack(timer: Timer) -> str:
    names: list[str] = []
    here: Timer | None = timer
    while here is not None:
        names.append(here.name.replace(";", ",").replace("\n", " "))
        here = here.parent
    return ";".join(reversed(names))
