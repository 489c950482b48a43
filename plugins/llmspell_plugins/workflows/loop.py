"""The pattern loop: the stages once for each item of a range or a collection, or while a condition holds.

An iteration's stages lie below ``loop.N/``, and what it yields is the last one's output. Whatever hooks and conditions
say, ``max_iterations`` ends it.
"""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs.workflow import LoopIteration, LoopTermination
from llmspell_hookspecs.workflows import WorkflowDefinition, WorkflowRun

from .items import listed

__all__ = ["Loop", "LoopOptions", "Span"]

_FARTHEST: Final = 2**53
"""What every language counts to without a gap."""


class Span(BaseModel):
    """A range of numbers: from ``start``, by ``step``, to before ``end``."""

    model_config = ConfigDict(extra="forbid")

    start: int = Field(default=0, ge=-_FARTHEST, le=_FARTHEST)
    end: int = Field(ge=-_FARTHEST, le=_FARTHEST)
    step: int = Field(default=1, ge=-_FARTHEST, le=_FARTHEST)

    @model_validator(mode="after")
    def _moves(self) -> Span:
        if self.step == 0:
            raise ValueError("a step of 0 leads nowhere")
        return self


class LoopOptions(BaseModel):
    """What ``loop`` takes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    range: Span | None = Field(default=None, description="Numbers: start, end (exclusive), step.")
    items: Any = Field(default=None, description="A list, or a reference to one.")
    while_: Any = Field(default=None, alias="while", description="A condition that is asked before each iteration.")
    break_when: list[Any] = Field(default=[], description="Conditions that end the loop after an iteration.")
    aggregation: Literal["collect_all", "last", "first_n", "last_n", "none"] = Field(
        default="collect_all", description="What the run yields of the iterations."
    )
    n: int = Field(default=1, ge=1, le=1_000_000, description="How many of them, for first_n and last_n.")
    max_iterations: int = Field(default=1000, ge=1, description="The hard limit.")


class Loop:
    """Implements the contract's `Pattern`; yields what ``aggregation`` says."""

    name: ClassVar[str] = "loop"
    description: ClassVar[str] = "The stages again and again: over a range, a collection, or while a condition holds."
    Options: ClassVar[type[BaseModel] | None] = LoopOptions
    ordered: ClassVar[bool] = True

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: LoopOptions, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.stages or definition.branches:
            return "it is a loop; write stages, which are its body, and no branches"
        if definition.reduce is not None:
            return "it is a loop and has a reduce; leave it out"
        given = [name for name in ("range", "items", "while_") if getattr(options, name) is not None]
        return "" if len(given) == 1 else "it is a loop; write one of range, items and while"

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run the iterations."""
        options: LoopOptions = run.options
        items = await _items(run, options)
        total = None if items is None else len(items)
        kept: deque[Any] = deque(maxlen=_room(options))
        output: Any = None
        index, reason = 0, ""
        while index < options.max_iterations:
            reason = await _exhausted(run, options, items, index, output)
            if reason:
                break
            item = _item(options, items, index)
            output = await _iteration(run, index, item, total, output)
            if options.aggregation != "first_n" or len(kept) < options.n:
                kept.append(output)
            index += 1
            reason = await _broken(run, options, index, output)
            if reason:
                break
        if not reason:
            reason = "exhausted" if total is not None and index >= total else "max_iterations"
            await run.decide("loop_termination", LoopTermination(run.id, index, reason), f"loop.{index}/end")
        run.details.update({"total_iterations": total, "completed_iterations": index, "break_reason": reason})
        if options.aggregation == "none":
            return None
        return (kept[-1] if kept else None) if options.aggregation == "last" else list(kept)


async def _items(run: WorkflowRun, options: LoopOptions) -> Any:
    if options.range is not None:
        return range(options.range.start, options.range.end, options.range.step)
    if options.items is None:
        return None
    return listed(await run.value(options.items), run)


async def _iteration(run: WorkflowRun, index: int, item: Any, total: int | None, previous: Any) -> Any:
    """Run one iteration and return what it yields."""
    prefix = f"loop.{index}/"
    started = LoopIteration(run.id, index, item, total)
    begun = await run.decide("loop_iteration_start", started, f"{prefix}start")
    output = begun.output
    if not begun.done:
        output = await run.sequence(run.definition.stages, prefix, _locals(index, begun.item, total, previous))
    ended = LoopIteration(run.id, index, begun.item, total, output, True)
    ended = await run.decide("loop_iteration_complete", ended, f"{prefix}complete")
    return ended.output


def _item(options: LoopOptions, items: Any, index: int) -> Any:
    """Return what an iteration is about; behind the end, where a hook lets the loop go on, a range goes on, too."""
    if options.range is not None:
        return options.range.start + index * options.range.step
    if items is None:
        return index
    return items[index] if index < len(items) else None


async def _exhausted(run: WorkflowRun, options: LoopOptions, items: Any, index: int, previous: Any) -> str:
    """Return why the loop ends before an iteration, an empty text if it goes on."""
    reason = ""
    if items is not None:
        reason = "exhausted" if index >= len(items) else ""
    elif not await run.condition(options.while_, f"loop.{index}/while", _locals(index, None, None, previous)):
        reason = "while"
    if not reason:
        return ""
    answer = LoopTermination(run.id, index, reason)
    return reason if (await run.decide("loop_termination", answer, f"loop.{index}/termination")).stop else ""


async def _broken(run: WorkflowRun, options: LoopOptions, index: int, output: Any) -> str:
    """Return why the loop ends after an iteration, an empty text if it goes on."""
    prefix = f"loop.{index - 1}/"
    for place, condition in enumerate(options.break_when):
        if not await run.condition(condition, f"{prefix}break.{place}", _locals(index - 1, None, None, output)):
            continue
        reason = f"break: {_word_of(condition)}"
        answer = LoopTermination(run.id, index, reason)
        if (await run.decide("loop_termination", answer, f"{prefix}termination.{place}")).stop:
            return reason
    if options.aggregation in ("last", "none", "last_n"):
        run.forget(prefix)
    return ""


def _word_of(condition: Any) -> str:
    given = condition.get("type", condition) if isinstance(condition, dict) else condition
    return str(getattr(given, "__name__", given))


def _locals(index: int, item: Any, total: int | None, previous: Any) -> dict[str, Any]:
    return {"current_item": item, "current_index": index, "total_iterations": total, "previous": previous}


def _room(options: LoopOptions) -> int | None:
    return {"last": 1, "none": 0, "last_n": options.n}.get(options.aggregation)
