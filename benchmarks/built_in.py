"""The group built_in: what the eight built-in hooks cost an agent's turn, each alone and all together.

Invariant: each contender is a process of its own (`built_in_turns`), so that what a plugin does beside the turns, in
threads and when the host closes, is its own and is timed. They take turns, and the medians count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

from .agents import chat_server
from .built_in_turns import EIGHT
from .timing import OURS, Run, Timing

__all__ = ["measure_built_in", "run_turns"]

_NONE: Final = "floor: none of them"
_TURNS: Final = {"in process": 1000, "over HTTP": 200}
_ROOT: Final = Path(__file__).parent.parent


async def measure_built_in(rounds: int) -> Run:
    """Time the rows of the group."""
    contenders = {_NONE: "none", OURS: ",".join(EIGHT), **{f"only {name}": name for name in EIGHT}}
    timings, notes = list[Timing](), list[str]()
    with chat_server() as url:
        for where, turns in _TURNS.items():
            for tool in (False, True):
                row = f"{'one-tool' if tool else 'text'} turn, eight hooks, {where}"
                found = defaultdict[str, list[tuple[float, float]]](list)
                for number in range(rounds):
                    names = list(contenders)
                    start = number % len(names)
                    for name in [*names[start:], *names[:start]]:
                        at = url if where == "over HTTP" else ""
                        found[name].append(run_turns(contenders[name], turns, tool, at))
                medians = {name: statistics.median(took for took, _ in found[name]) for name in contenders}
                busy = {name: statistics.median(busy for _, busy in found[name]) for name in (_NONE, OURS)}
                timings += [Timing(row, name, medians[name]) for name in contenders]
                more = (medians[OURS] / medians[_NONE] - 1) * 100
                took, works = _us(medians[OURS] - medians[_NONE]), _us(busy[OURS] - busy[_NONE])
                notes.append(f"{row}: all eight cost {more:.1f} % of a turn ({took}; {works} of processors)")
    return Run(tuple(timings), notes=tuple(notes))


def run_turns(plugins: str, turns: int, tool: bool, url: str) -> tuple[float, float]:
    """Return how long a turn took, and how long it kept processors busy, in nanoseconds."""
    command = [sys.executable, "-m", "benchmarks.built_in_turns", plugins, str(turns), str(int(tool))]
    done = subprocess.run([*command, *([url] if url else [])], cwd=_ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{plugins}: it exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    return found["took_ns"] / found["turns"], found["busy_ns"] / found["turns"]


def _us(ns: float) -> str:
    return f"{ns / 1000:+.1f} us"
