"""The builder of workflows: ``Workflow.builder():name("report"):sequential():add_step{...}:build()``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llmspell_hookspecs import InvalidInputError, script_method
from llmspell_hookspecs.language import ScriptObject

__all__ = ["WorkflowBuilder"]

Make = Callable[[str, str, Mapping[str, Any]], Awaitable[Any]]


class WorkflowBuilder(ScriptObject):
    """Collects what a workflow is made from; each setter answers the builder."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._pattern = ""
        self._table: dict[str, Any] = {}
        self._steps: list[Any] = []
        self._branches: list[dict[str, Any]] = []
        self._then: list[Any] = []
        self._else: list[Any] = []

    def _with(self, **values: Any) -> WorkflowBuilder:
        self._table |= values
        return self

    def _of(self, pattern: str) -> WorkflowBuilder:
        self._pattern = pattern
        return self

    @script_method()
    def name(self, name: str) -> WorkflowBuilder:
        """Set its name."""
        return self._with(name=name)

    @script_method()
    def description(self, text: str) -> WorkflowBuilder:
        """Set what it is for."""
        return self._with(description=text)

    # Patterns.

    @script_method("type")
    def pattern(self, name: str) -> WorkflowBuilder:
        """Let the pattern of this name order its steps."""
        return self._of(name)

    @script_method()
    def sequential(self) -> WorkflowBuilder:
        """Let its steps run one after the other."""
        return self._of("sequential")

    @script_method()
    def parallel(self) -> WorkflowBuilder:
        """Let its steps, or branches, run beside each other."""
        return self._of("parallel")

    @script_method()
    def conditional(self) -> WorkflowBuilder:
        """Let a condition choose what runs."""
        return self._of("conditional")

    @script_method("loop_workflow")
    def loop(self) -> WorkflowBuilder:
        """Let its steps run again and again."""
        return self._of("loop")

    @script_method("mapreduce")
    def map_reduce(self) -> WorkflowBuilder:
        """Let its steps run for each item, and one more for all results."""
        return self._of("map_reduce")

    @script_method()
    def pipeline(self) -> WorkflowBuilder:
        """Let items stream through its steps."""
        return self._of("pipeline")

    @script_method("dag")
    def graph(self) -> WorkflowBuilder:
        """Let its steps run as soon as those that they need have."""
        return self._of("graph")

    # Steps.

    @script_method("step")
    def add_step(self, step: Mapping[str, Any]) -> WorkflowBuilder:
        """Add a step: name, type, and what runs: tool, agent, workflow, model or execute; input, timeout_ms ..."""
        self._steps.append(step)
        return self

    @script_method()
    def add_then_step(self, step: Mapping[str, Any]) -> WorkflowBuilder:
        """Add a step that runs if the condition holds."""
        self._then.append(step)
        return self

    @script_method()
    def add_else_step(self, step: Mapping[str, Any]) -> WorkflowBuilder:
        """Add a step that runs if no condition holds."""
        self._else.append(step)
        return self

    @script_method()
    def add_branch(self, condition: Any, steps: Any = None) -> WorkflowBuilder:
        """Add a branch: a condition and its steps; or, beside others, a name and its steps, or a table of all."""
        number = len(self._branches) + 1
        if steps is None and isinstance(condition, Mapping):
            self._branches.append({"name": f"branch_{number}", **condition})
        elif self._pattern == "parallel" and isinstance(condition, str):
            self._branches.append({"name": condition, "steps": steps})
        else:
            self._branches.append({"name": f"branch_{number}", "condition": condition, "steps": steps or ()})
        return self

    @script_method("reducer")
    def reduce(self, step: Mapping[str, Any]) -> WorkflowBuilder:
        """Set the step that makes one of all results."""
        return self._with(reduce=step)

    # How they run.

    @script_method()
    def condition(self, condition: Any) -> WorkflowBuilder:
        """Set what decides between ``add_then_step`` and ``add_else_step``: a table, a text or a function."""
        return self._with(condition=condition)

    @script_method()
    def error_strategy(self, strategy: str) -> WorkflowBuilder:
        """Set what becomes of the run if a step fails: fail_fast, continue, retry or compensate."""
        return self._with(error_strategy=strategy)

    @script_method()
    def timeout_ms(self, milliseconds: float) -> WorkflowBuilder:
        """Set how long a run may take, in milliseconds."""
        return self._with(timeout_ms=milliseconds)

    @script_method()
    def max_concurrency(self, count: int) -> WorkflowBuilder:
        """Set how many run at once."""
        return self._with(max_concurrency=count)

    @script_method()
    def fail_fast(self, wanted: bool = True) -> WorkflowBuilder:
        """Set whether one that fails cuts off the others."""
        return self._with(fail_fast=wanted)

    @script_method("range")
    def with_range(self, span: Mapping[str, Any]) -> WorkflowBuilder:
        """Run the steps for each number from ``start`` to before ``end``, by ``step``."""
        return self._with(range=span)

    @script_method("with_items", "collection", "items")
    def with_collection(self, items: Any) -> WorkflowBuilder:
        """Run the steps for each of these items."""
        return self._with(items=items)

    @script_method("loop_condition", "while_condition")
    def with_while(self, condition: Any) -> WorkflowBuilder:
        """Run the steps as long as a condition holds: a function, a table, or a text such as ``count < 3``."""
        return self._with(**{"while": condition})

    @script_method()
    def max_iterations(self, count: int) -> WorkflowBuilder:
        """Set the hard limit of a loop."""
        return self._with(max_iterations=count)

    @script_method("add_break_condition")
    def break_when(self, condition: Any) -> WorkflowBuilder:
        """End the loop after an iteration in which this holds."""
        return self._with(break_conditions=[*self._table.get("break_conditions", ()), condition])

    @script_method("aggregation_strategy")
    def aggregation(self, strategy: str) -> WorkflowBuilder:
        """Set what the loop yields: collect_all, last, first_n, last_n or none."""
        return self._with(aggregation=strategy)

    @script_method("set_shared_data")
    def shared(self, key: str, value: Any) -> WorkflowBuilder:
        """Set what its steps share when it begins."""
        return self._with(shared={**self._table.get("shared", {}), key: value})

    @script_method()
    def durable(self, wanted: bool = True) -> WorkflowBuilder:
        """Set whether its runs are kept, so that they may be resumed."""
        return self._with(durable=wanted)

    @script_method("create")
    async def build(self) -> Any:
        """Make the workflow.

        Raises:
            InvalidInputError: No pattern was chosen, or something of it is wrong.
        """
        if not self._pattern:
            message = "Workflow.builder: Workflow type not specified; call sequential(), parallel(), loop() ..."
            raise InvalidInputError(message, field="type")
        return await self._make("Workflow.builder", self._pattern, self._whole())

    def _whole(self) -> dict[str, Any]:
        parts: dict[str, Sequence[Any]] = {
            "steps": self._steps,
            "branches": self._branches,
            "then_steps": self._then,
            "else_steps": self._else,
        }
        return {**self._table, **{key: list(part) for key, part in parts.items() if part}}
