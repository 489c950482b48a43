"""The pattern sequential: one stage after the other."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from llmspell_hookspecs.workflows import WorkflowDefinition, WorkflowRun

__all__ = ["Sequential"]


class Sequential:
    """Implements the contract's `Pattern`; yields the last stage's output."""

    name: ClassVar[str] = "sequential"
    description: ClassVar[str] = "One stage after the other."
    Options: ClassVar[type[BaseModel] | None] = None
    ordered: ClassVar[bool] = True

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if definition.branches or definition.reduce:
            return "it is sequential and has branches; write stages"
        return "" if definition.stages else "it has no stages; write some"

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run the stages in order."""
        return await run.sequence(run.definition.stages)
