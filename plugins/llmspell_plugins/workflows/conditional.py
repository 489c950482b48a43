"""The pattern conditional: the branches whose conditions hold.

``stages``, if there are any, run first, so that conditions have something to decide from. With ``short_circuit`` the
first condition that holds ends the evaluation, unless all that match are to run.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.workflow import BranchSelection
from llmspell_hookspecs.workflows import WorkflowDefinition, WorkflowRun

from .beside import named_once, steps_of

__all__ = ["Conditional", "ConditionalOptions"]


class ConditionalOptions(BaseModel):
    """What ``conditional`` takes."""

    model_config = ConfigDict(extra="forbid")

    execute_all_matching: bool = Field(default=False, description="Whether every branch that matches runs.")
    execute_default_on_no_match: bool = Field(default=True, description="Whether the default branch runs if none does.")
    short_circuit: bool = Field(default=True, description="Whether the first condition that holds is the last asked.")
    max_branches_to_evaluate: int = Field(default=100, ge=1, description="How many conditions are asked.")
    default_branch: str = Field(default="", description="The branch that runs if no condition holds.")


class Conditional:
    """Implements the contract's `Pattern`; yields the branch's output, or each by name if all that match run."""

    name: ClassVar[str] = "conditional"
    description: ClassVar[str] = "The branches whose conditions hold."
    Options: ClassVar[type[BaseModel] | None] = ConditionalOptions
    ordered: ClassVar[bool] = True

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: ConditionalOptions, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.branches:
            return "it is conditional; write branches, each with a condition"
        if definition.reduce is not None:
            return "it is conditional and has a reduce; leave it out"
        names = [branch.name for branch in definition.branches]
        if options.default_branch and options.default_branch not in names:
            return f"its default_branch {options.default_branch!r} is none of {', '.join(names)}"
        bare = [
            branch.name
            for branch in definition.branches
            if branch.condition is None and not branch.default and branch.name != options.default_branch
        ]
        if bare:
            return f"branch {bare[0]} has no condition; write one, or default = true"
        spare = [branch.name for branch in definition.branches if not branch.required]
        remedy = "only parallel does without one; leave that out, or let its stages say on_error = continue"
        return f"branch {spare[0]} is not required: {remedy}" if spare else ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Choose the branches, and run them in order."""
        definition, options = run.definition, run.options
        before = await run.sequence(definition.stages) if definition.stages else None
        matched = []
        asked = [branch for branch in definition.branches if branch.condition is not None]
        for branch in asked[: options.max_branches_to_evaluate]:
            if await run.condition(branch.condition, branch.name):
                matched.append(branch.name)
                if options.short_circuit and not options.execute_all_matching:
                    break
        chosen = matched if options.execute_all_matching else matched[:1]
        if not matched and options.execute_default_on_no_match:
            chosen = [
                branch.name for branch in definition.branches if branch.default or branch.name == options.default_branch
            ][:1]
        candidates = tuple(branch.name for branch in definition.branches)
        selection = BranchSelection(run.id, candidates, tuple(chosen))
        selection = await run.decide("branch_selection", selection, "selection")
        branches = {branch.name: branch for branch in definition.branches}
        names = named_once(run, "branch_selection", selection.chosen, branches)
        outputs = {name: await steps_of(run, branches[name])() for name in names}
        run.details.update({"matched_branches": matched, "executed_branches": list(outputs)})
        if options.execute_all_matching:
            return outputs
        return next(iter(outputs.values())) if outputs else before
