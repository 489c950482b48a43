"""The pattern parallel: branches beside each other, each a sequence of stages.

``stages`` without ``branches`` are a branch each. A required branch that fails fails the run; with ``fail_fast`` it
cuts off its siblings, else they are awaited.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.workflows import Branch, WorkflowDefinition, WorkflowRun

from .beside import MOST_AT_ONCE, run_branches

__all__ = ["Parallel", "ParallelOptions"]


class ParallelOptions(BaseModel):
    """What ``parallel`` takes."""

    model_config = ConfigDict(extra="forbid")

    max_concurrency: int = Field(default=16, ge=1, le=MOST_AT_ONCE, description="How many branches run at once.")
    fail_fast: bool = Field(default=True, description="Whether a required branch that fails cuts off the others.")


class Parallel:
    """Implements the contract's `Pattern`; yields the output of each branch by name."""

    name: ClassVar[str] = "parallel"
    description: ClassVar[str] = "Branches beside each other."
    Options: ClassVar[type[BaseModel] | None] = ParallelOptions
    ordered: ClassVar[bool] = True
    apart: ClassVar[bool] = True
    """Its stages, without branches, are a branch each: none is there for another."""

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if definition.reduce is not None:
            return "it is parallel and has a reduce; leave it out"
        if bool(definition.stages) == bool(definition.branches):
            return "it is parallel; write branches, or stages, which are a branch each"
        empty = [branch.name for branch in definition.branches if not branch.stages]
        if empty:
            return f"branch {empty[0]} has no stages; write some"
        chosen = [branch.name for branch in definition.branches if branch.condition is not None or branch.default]
        remedy = "all of parallel run; leave that out, or choose the pattern conditional"
        return f"branch {chosen[0]} has a condition, or is the default: {remedy}" if chosen else ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run the branches."""
        definition, options = run.definition, run.options
        branches = definition.branches or tuple(Branch(stage.name, (stage,)) for stage in definition.stages)
        outcomes = await run_branches(run, branches, options.max_concurrency, options.fail_fast)
        for outcome in outcomes:
            if outcome.status == "failed":
                run.lack(f"branch.{outcome.name}", outcome.error)
        return {outcome.name: outcome.output for outcome in outcomes if outcome.status == "completed"}
