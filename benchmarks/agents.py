"""The group agents: many agents at once in one process, against a server on loopback that speaks OpenAI's chat API.

Invariant: each contender is a process of its own (`crowd`), so that its memory is its own; the server is another, the
same for all. A row's time is that of one turn, of all that were taken at once: a second holds a billion by it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from .crowd import CONTENDERS
from .timing import Run, Timing

__all__ = ["chat_server", "measure_agents"]

_AGENTS: Final = 200
_TURNS: Final = 10
_ROW: Final = f"turn, {_AGENTS} agents at once over HTTP"
_SERVER: Final = Path(__file__).parent.parent / "tests" / "chat_server.py"
_MODULES: Final = {"strands-agents": "strands", "pydantic-ai": "pydantic_ai"}


async def measure_agents(rounds: int) -> Run:
    """Time the row of the group, one contender after the other in each round."""
    absent = [name for name, module in _MODULES.items() if find_spec(module) is None]
    present = [name for name in CONTENDERS if name not in absent]
    found = defaultdict[str, list[dict[str, Any]]](list)
    with chat_server() as url:
        for number in range(rounds):
            start = number % len(present)
            for name in [*present[start:], *present[:start]]:
                found[name].append(_run(name, url))
    timings = [Timing(_ROW, name, statistics.median(_ns_a_turn(found[name]))) for name in present]
    notes = [_note(timing, found[timing.contender]) for timing in timings]
    return Run(tuple(timings), absent=tuple(absent), notes=tuple(notes))


@contextmanager
def chat_server() -> Iterator[str]:
    """Run the server in a process of its own for the block; yields its URL."""
    with subprocess.Popen([sys.executable, str(_SERVER)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def _run(name: str, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.crowd", name, url, str(_AGENTS), str(_TURNS)]
    done = subprocess.run(command, cwd=_SERVER.parent.parent, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: it exited with {done.returncode}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _ns_a_turn(runs: list[dict[str, Any]]) -> list[float]:
    return [run["took_ns"] / run["turns"] for run in runs]


def _note(timing: Timing, runs: list[dict[str, Any]]) -> str:
    peak = max(run["peak_bytes"] for run in runs) / (1 << 20)
    return f"{timing.contender}: {1e9 / timing.median_ns:.0f} turns a second, at most {peak:.0f} MiB"
