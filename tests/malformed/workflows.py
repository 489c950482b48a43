"""Definitions of workflows of every pattern, as plain data: made, and run if they can be."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell_hookspecs.workflows import Workflows

from .mutation import Mutation
from .oracle import Case, Watch, faults_of_message

__all__ = ["make", "run"]

_LONGEST_S: Final = 0.5
_SUM: Final[dict[str, Any]] = {
    "name": "sum",
    "tool": "calculator",
    "input": {"operation": "evaluate", "input": "1 + {{input.n}}"},
    "timeout_s": 1,
    "retry": {"attempts": 2, "delay_s": 0, "backoff": 2, "max_delay_s": 0, "jitter": 0.5},
}
_AGAIN: Final[dict[str, Any]] = {
    "name": "again",
    "address": "tool:calculator",
    "input": {"operation": "evaluate", "input": "{{step:sum:output.result|default:0}} * 2"},
    "needs": ["sum"],
    "on_error": "continue",
    "repeatable": True,
    "compensate": {"tool": "calculator", "input": {"operation": "evaluate", "input": "3"}},
}
_OTHER: Final[dict[str, Any]] = {**_SUM, "name": "other"}
_CONDITION: Final[dict[str, Any]] = {
    "type": "and",
    "conditions": ["always", {"type": "not", "condition": {"type": "shared_data_equals", "key": "k", "value": 2}}],
}
_BRANCHES: Final[list[dict[str, Any]]] = [
    {"name": "left", "stages": [_SUM], "required": False, "timeout_s": 1},
    {"name": "right", "stages": [_OTHER], "default": True},
]
_SOUND: Final[tuple[dict[str, Any], ...]] = (
    {"pattern": "sequential", "stages": [_SUM, _AGAIN], "on_error": "compensate", "on_cancel": "compensate"},
    {"pattern": "parallel", "branches": _BRANCHES, "max_concurrency": 2, "fail_fast": False},
    {"pattern": "conditional", "branches": [{**_BRANCHES[0], "condition": _CONDITION}, _BRANCHES[1]]},
    {"pattern": "loop", "stages": [_SUM], "range": {"start": 0, "end": 3, "step": 1}, "break_when": ["never"]},
    {"pattern": "loop", "stages": [_SUM], "items": [1, 2], "aggregation": "last_n", "n": 1, "max_iterations": 5},
    {"pattern": "loop", "stages": [_SUM], "while": _CONDITION, "max_iterations": 2},
    {"pattern": "map_reduce", "stages": [_SUM], "items": [1, 2], "reduce": _OTHER, "max_concurrency": 2},
    {"pattern": "pipeline", "stages": [_SUM, _OTHER], "items": [1, 2]},
    {"pattern": "graph", "stages": [_SUM, _AGAIN, _OTHER], "max_concurrency": 2},
)


def make(draw: Mutation) -> tuple[Any, Any]:
    """Return a definition, and what its run is given."""
    sound = draw.random.choice(_SOUND)
    given: Any = {"name": "w", "shared": {"k": 1}, "description": "Adds.", "timeout_s": 5, "durable": False, **sound}
    for _ in range(draw.random.randint(1, 3)):
        given = draw.leaf(given) if draw.random.random() < 0.5 else draw.value(given)
    return given, draw.some((4, lambda: {"n": 2}), (1, draw.odd))


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Make each, and run it for a moment."""
    trio.run(_run, cases, watch)


async def _run(cases: Iterable[Case], watch: Watch) -> None:
    async with Host.open(False) as host:
        workflows = host.get(Workflows)
        for case in cases:
            value: Any = case.value
            definition, given = value
            with watch.trying(case), trio.move_on_after(_LONGEST_S):
                made = await workflows.create(definition)
                try:
                    await made.run(given)
                finally:
                    made.remove()
            for problem in host.problems:
                for fault in faults_of_message(str(problem)):
                    watch.complain(case, f"problem: {fault}")
        if workflows.list():
            watch.complain(Case(0, None), f"left behind: {workflows.list()!r:.200}")
