"""What a run came to, for people and for programs.

Invariant: a bar is judged by what was measured beside it in the same run; without the peer it names, it is not judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .timing import OURS, Bar, Run, Timing

__all__ = ["ratios", "to_json", "to_table"]


def to_json(run: Run) -> str:
    """Return the run as JSON: ``{"rows": [{"row", "contender", "median_ns"}], "absent": [...], "notes": [...]}``."""
    rows = [{"row": t.row, "contender": t.contender, "median_ns": round(t.median_ns, 1)} for t in run.timings]
    return json.dumps({"rows": rows, "absent": list(run.absent), "notes": list(run.notes)}, indent=2)


def to_table(run: Run) -> str:
    """Return the run as a table: medians, and how many times another contender's time ours is."""
    lines = [f"{'':38} {'median':>10}  {OURS} is"]
    for row, medians in _by_row(run.timings).items():
        lines.append(f"{row}{_verdict(run.bars.get(row), medians)}")
        ours = medians.get(OURS)
        for contender, median_ns in medians.items():
            ratio = "" if ours is None or contender == OURS or median_ns <= 0 else f"{ours / median_ns:.2f} x"
            lines.append(f"  {contender:36} {_human(median_ns):>10}  {ratio}".rstrip())
    lines += [f"absent: {name} is not installed" for name in run.absent]
    return "\n".join([*lines, *run.notes])


def ratios(timings: Iterable[Timing]) -> dict[str, dict[str, float]]:
    """Return, for each row and each other contender, how many times its time ours is."""
    answer: dict[str, dict[str, float]] = {}
    for row, medians in _by_row(timings).items():
        ours = medians.get(OURS)
        if ours is not None and ours > 0:
            answer[row] = {name: ours / ns for name, ns in medians.items() if name != OURS and ns > 0}
    return answer


def _by_row(timings: Iterable[Timing]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for timing in timings:
        rows.setdefault(timing.row, {})[timing.contender] = timing.median_ns
    return rows


def _verdict(bar: Bar | None, medians: Mapping[str, float]) -> str:
    if bar is None:
        return ""
    if bar.against and bar.against not in medians:
        return f"  [bar: {bar.text}: not judged]"
    limit = bar.factor * medians.get(bar.against, 0.0) + bar.plus_ns
    verdict = "kept" if medians[OURS] <= limit else f"MISSED, {medians[OURS] / limit:.2f} x"
    return f"  [bar: {bar.text}, {_human(limit)}: {verdict}]"


def _human(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(ns) >= size:
            return f"{ns / size:.2f} {unit}"
    return f"{ns:.0f} ns"
