"""Holding a run against the stored ratios of the last release.

Invariant: only ratios are stored, because machines differ. A row got slower if it lost ground against every contender
that both runs know: a floor or a peer that was disturbed by itself names nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .report import ratios
from .timing import Timing

__all__ = ["BASELINE", "TOLERANCE", "find_slower", "read_ratios", "read_run", "store"]

BASELINE: Final = Path(__file__).with_name("baseline.json")
TOLERANCE: Final = 0.3
"""By which part a ratio may grow: two runs on one busy machine differ by up to a quarter."""

Ratios = Mapping[str, Mapping[str, float]]


def find_slower(now: Ratios, before: Ratios, tolerance: float = TOLERANCE) -> list[str]:
    """Return one sentence for each row that got slower beyond the tolerance."""
    slower = []
    for row, contenders in now.items():
        known = before.get(row, {})
        growth = {name: ratio / known[name] for name, ratio in contenders.items() if name in known}
        if growth and min(growth.values()) > 1 + tolerance:
            name = min(growth, key=growth.__getitem__)
            slower.append(f"{row}: {contenders[name]:.2f} x {name}, was {known[name]:.2f} x")
    return slower


def read_run(file: Path) -> dict[str, dict[str, float]]:
    """Return the ratios of a run that was printed with ``--json``.

    Raises:
        ValueError: The file holds no such run.
    """
    try:
        rows = json.loads(file.read_text())["rows"]
        return ratios(Timing(row["row"], row["contender"], row["median_ns"]) for row in rows)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{file}: it holds no run; give what --json printed") from error


def read_ratios(file: Path = BASELINE) -> dict[str, dict[str, float]]:
    """Return the stored ratios."""
    stored: dict[str, dict[str, float]] = json.loads(file.read_text())
    return stored


def store(now: Ratios, file: Path = BASELINE) -> None:
    """Keep these ratios as those of a release; rows that the run does not have stay as they are."""
    rounded = {row: {name: round(ratio, 3) for name, ratio in others.items()} for row, others in now.items()}
    kept = read_ratios(file) if file.exists() else {}
    file.write_text(json.dumps({**kept, **rounded}, indent=2, sort_keys=True) + "\n")
