"""The pattern pipeline: items stream through the stages, each of which deals with one while the others do theirs.

An item's stages lie below ``item.N/``; ``{{loop:current_item}}`` is the item and ``{{loop:previous}}`` what the stage
before made of it. Invariant: between two stages at most ``buffer`` items wait, so a slow stage holds up those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import trio
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.workflow import StageTransition
from llmspell_hookspecs.workflows import Stage, WorkflowDefinition, WorkflowRun
from llmspell_plugins.kinds.workflow.run import check_plan
from llmspell_plugins.kinds.workflow.stage import PausedError

from .items import items_of, place_of

__all__ = ["Pipeline", "PipelineOptions"]


class PipelineOptions(BaseModel):
    """What ``pipeline`` takes."""

    model_config = ConfigDict(extra="forbid")

    items: Any = Field(description="A list, or a reference to one.")
    max_items: int = Field(default=10_000, ge=1, le=100_000, description="How many items there may be.")
    buffer: int = Field(default=1, ge=0, le=1000, description="How many items wait between two stages.")


class Pipeline:
    """Implements the contract's `Pattern`; yields what the last stage made of each item, None where a stage failed."""

    name: ClassVar[str] = "pipeline"
    description: ClassVar[str] = "Items that stream through the stages."
    Options: ClassVar[type[BaseModel] | None] = PipelineOptions
    ordered: ClassVar[bool] = True

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.stages or definition.branches or definition.reduce:
            return "it is a pipeline; write stages, and neither branches nor reduce"
        return ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Let the items through."""
        items = await items_of(run, run.options.items, run.options.max_items)
        stages = run.definition.stages
        values = list(items)
        lost: set[int] = set()
        waiting: set[int] = set()
        pipes = [trio.open_memory_channel[int](run.options.buffer) for _ in stages[1:]]
        ways_in = [None, *(receive for _, receive in pipes)]
        ways_out = [*(send for send, _ in pipes), None]

        async def deal(number: int, index: int) -> None:
            stage, path = stages[number], f"item.{index}/{stages[number].name}"
            if index in waiting:
                return
            if index in lost:
                run.skip(path, "a stage before did not complete")
                return
            try:
                record = await run.stage(stage, path, {**place_of(items, index), "previous": values[index]})
            except PausedError:  # the others go through, then the run waits
                waiting.add(index)
                return
            values[index] = record.output
            if record.status != "done":
                lost.add(index)

        async def work(number: int) -> None:
            way_in, way_out = ways_in[number], ways_out[number]
            for turn in range(len(items)):
                index = turn if way_in is None else await way_in.receive()
                await deal(number, index)
                if way_out is not None:
                    await way_out.send(index)
            await _ended(run, stages, number)

        calls = [partial(work, number) for number in range(len(stages))]
        for ended in await run.together(calls, len(calls), fail_fast=True):
            if ended.error is not None:
                raise ended.error
        return values


async def _ended(run: WorkflowRun, stages: Sequence[Stage], number: int) -> None:
    """Tell once for each stage, not for each item, that the next one is the last to have work."""
    following = tuple(stage.name for stage in stages[number + 1 :])
    if following:
        name = stages[number].name
        moved = StageTransition(run.id, name, following[0], following)
        answer = await run.decide("workflow_stage_transition", moved, f"pipeline/{name}")
        check_plan(run.definition.name, moved, answer)
