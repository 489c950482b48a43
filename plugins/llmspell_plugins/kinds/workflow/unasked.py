"""Hooks whose pattern names a stage that their workflow has not: a line for people each, as the workflow is made.

Invariant: what may fit something else is not told of: only a pattern without wildcards, near the name of a stage.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Final

from llmspell_hookspecs.services import Hooks

from .definition import Plan, stages_of

__all__ = ["unasked"]

_POINTS: Final = ("before_workflow_stage", "around_workflow_stage", "after_workflow_stage")
_WILD: Final = frozenset("*?[")


def unasked(plan: Plan, hooks: Hooks) -> Iterator[str]:
    """Yield a line for each hook at a point of stages that waits for a stage that this workflow has not."""
    start = f"{plan.definition.name}."
    names = {stage.name for stage in stages_of(plan.definition)}
    names |= {stage.compensate.name for stage in stages_of(plan.definition) if stage.compensate is not None}
    for point in _POINTS:
        for info in hooks.list(point):
            match = info.match
            if match is None or not match.startswith(start) or _WILD.intersection(match):
                continue
            stage = match.removeprefix(start)
            if "." in stage:  # it may be one of a workflow called so
                continue
            near = () if stage in names else difflib.get_close_matches(stage, sorted(names), 1)
            if near:
                hook = f"hook {info.plugin}.{info.name} at {point}"
                what = f"match={match[:80]!r} fits no stage of workflow {plan.definition.name}"
                yield f"{hook}: {what}, so it is not asked; did you mean {start}{near[0]}?"
