"""The pattern map_reduce: the stages once for each item, beside each other, and a stage that makes one of the results.

An item's stages lie below ``map.N/``; ``{{loop:current_item}}`` is the item. The stage ``reduce`` has
``{{loop:results}}``: what the items yielded, in their order, None where one failed that may.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.workflows import WorkflowDefinition, WorkflowRun

from .beside import MOST_AT_ONCE, join
from .items import items_of, place_of

__all__ = ["MapReduce", "MapReduceOptions"]


class MapReduceOptions(BaseModel):
    """What ``map_reduce`` takes."""

    model_config = ConfigDict(extra="forbid")

    items: Any = Field(description="A list, or a reference to one.")
    max_items: int = Field(default=10_000, ge=1, le=100_000, description="How many items there may be.")
    max_concurrency: int = Field(
        default=16, ge=1, le=MOST_AT_ONCE, description="How many items are dealt with at once."
    )
    fail_fast: bool = Field(default=True, description="Whether an item that fails cuts off the others.")


class MapReduce:
    """Implements the contract's `Pattern`; yields what ``reduce`` yields, without one the results."""

    name: ClassVar[str] = "map_reduce"
    description: ClassVar[str] = "The stages once for each item, beside each other, then one that reduces the results."
    Options: ClassVar[type[BaseModel] | None] = MapReduceOptions
    ordered: ClassVar[bool] = True

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.stages or definition.branches:
            return "it is map_reduce; write stages, which each item goes through, and no branches"
        return ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Map, then reduce."""
        definition, options = run.definition, run.options
        items = await items_of(run, options.items, options.max_items)
        calls = {
            str(index): partial(run.sequence, definition.stages, f"map.{index}/", place_of(items, index))
            for index in range(len(items))
        }
        outcomes = await join(run, "", calls, options.max_concurrency, options.fail_fast)
        results = [outcome.output for outcome in outcomes]
        if definition.reduce is None:
            return results
        last = await run.stage(definition.reduce, definition.reduce.name, {"results": results})
        return last.output
