"""The pattern graph: each stage as soon as those that it needs have ended.

A stage needs those that its ``needs`` names, and those that its input refers to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.workflows import Stage, WorkflowDefinition, WorkflowRun
from llmspell_plugins.kinds.workflow.reference import references_of

from .beside import MOST_AT_ONCE, join

__all__ = ["Graph", "GraphOptions"]

Needs = Mapping[str, Sequence[str]]


class GraphOptions(BaseModel):
    """What ``graph`` takes."""

    model_config = ConfigDict(extra="forbid")

    max_concurrency: int = Field(default=16, ge=1, le=MOST_AT_ONCE, description="How many stages run at once.")
    fail_fast: bool = Field(default=True, description="Whether a stage that fails cuts off the others.")


class Graph:
    """Implements the contract's `Pattern`; yields the outputs of the stages that no other needs, by name."""

    name: ClassVar[str] = "graph"
    description: ClassVar[str] = "Each stage as soon as those that it needs have ended."
    Options: ClassVar[type[BaseModel] | None] = GraphOptions
    ordered: ClassVar[bool] = False

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.stages or definition.branches or definition.reduce:
            return "it is a graph; write stages, and neither branches nor reduce"
        cycle = _cycle({stage.name: _needs(stage) for stage in definition.stages})
        return f"its stages wait for each other: {' needs '.join(cycle)}; break the cycle" if cycle else ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run the stages."""
        stages = run.definition.stages
        needs = {stage.name: _needs(stage) for stage in stages}
        calls = {stage.name: partial(run.stage, stage, stage.name) for stage in stages}
        outcomes = await join(run, "", calls, run.options.max_concurrency, run.options.fail_fast, waits=needs)
        needed = {name for each in needs.values() for name in each}
        done = {o.name: o.output.output for o in outcomes if o.output is not None and o.output.status == "done"}
        return {name: output for name, output in done.items() if name not in needed}


def _needs(stage: Stage) -> Sequence[str]:
    implied = [each.names[0] for each in references_of(stage.input) if each.root == "step"]
    return list(dict.fromkeys([*stage.needs, *implied]))


def _cycle(needs: Needs) -> list[str]:
    """Return the names along a cycle, the first one again at the end; none if there is no cycle."""
    clear: set[str] = set()
    for first in needs:
        trail: dict[str, Sequence[str]] = {}
        waiting = [first]
        while waiting:
            name = waiting[-1]
            trail.setdefault(name, [each for each in needs.get(name, ()) if each not in clear])
            following = next((each for each in trail[name] if each not in clear), None)
            if following is None:
                clear.add(name)
                del trail[name]
                waiting.pop()
            elif following in trail:
                names = [*trail]
                return [*names[names.index(following) :], following]
            else:
                waiting.append(following)
    return []
