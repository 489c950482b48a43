"""The pattern adaptive: stages one after the other by a plan that hooks and planning stages change as the run goes.

The plan begins as ``plan`` says, or with all stages in order. After each stage ``workflow_stage_transition`` may answer
another one: names left out are skipped, others inserted, and those that ran already run again. A stage that
``planners`` names says the same by its output: a list of names, a mapping with ``plan``, or a text that holds such a
list as JSON, as a model answers it.

Invariant: a changed plan is recorded before it is followed, so a run that is resumed goes the same way. Whatever hooks
and planners say, ``max_changes`` and ``max_stages`` end it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflow import StageTransition
from llmspell_hookspecs.workflows import Stage, WorkflowDefinition, WorkflowRun

__all__ = ["Adaptive", "AdaptiveOptions"]

_POINT = "workflow_stage_transition"


class AdaptiveOptions(BaseModel):
    """What ``adaptive`` takes."""

    model_config = ConfigDict(extra="forbid")

    plan: tuple[str, ...] | None = Field(default=None, description="What runs at first; all stages if left out.")
    planners: tuple[str, ...] = Field(default=(), description="The stages whose outputs say what runs next.")
    max_changes: int = Field(default=100, ge=0, description="How often the plan may be changed.")
    max_stages: int = Field(default=1000, ge=1, description="How many stages may run in all.")


class Adaptive:
    """Implements the contract's `Pattern`; yields the output of the last stage that ran."""

    name: ClassVar[str] = "adaptive"
    description: ClassVar[str] = "One stage after the other, by a plan that changes as it goes."
    Options: ClassVar[type[BaseModel] | None] = AdaptiveOptions
    ordered: ClassVar[bool] = False

    def __init__(self, settings: Any = None, services: Any = None) -> None:
        """Take no settings."""

    def problem(self, definition: WorkflowDefinition, options: AdaptiveOptions, /) -> str:
        """Return what is wrong with a definition."""
        if not definition.stages or definition.branches or definition.reduce:
            return "it is adaptive; write stages, and neither branches nor reduce"
        names = [stage.name for stage in definition.stages]
        stray = [name for name in (*(options.plan or ()), *options.planners) if name not in names]
        return f"it names a stage {told(stray[0])}; there are {', '.join(names)}" if stray else ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run what the plan says until it is empty."""
        options: AdaptiveOptions = run.options
        stages = {stage.name: stage for stage in run.definition.stages}
        plan = list(stages if options.plan is None else options.plan)
        times: Counter[str] = Counter()
        results: dict[str, Any] = {}
        output: Any = None
        changes = ran = 0
        while plan:
            if ran >= options.max_stages:
                raise _limit(run, "stages ran", options.max_stages, "max_stages")
            name = plan.pop(0)
            path = _path_of(name, times)
            record = await run.stage(stages[name], path, _locals(ran, output, results))
            ran += 1
            if record.status == "done":
                output = results[name] = record.output
            before = after = tuple(plan)
            if name in options.planners and record.status == "done":
                after = _planned(run, stages, name, output)
            subject = StageTransition(run.id, path, after[0] if after else "", after)
            answer = await run.decide(_POINT, subject, path)
            after = _followed(run, stages, subject, answer)
            if after != before:
                changes += 1
                if changes > options.max_changes:
                    raise _limit(run, "changes of its plan", options.max_changes, "max_changes")
                plan = list(after)
        for name in stages:
            if not times[name]:
                run.skip(name, "the plan left it out")
        run.details.update({"stages_run": ran, "plan_changes": changes})
        return output


def _path_of(name: str, times: Counter[str]) -> str:
    """Return where in the run a stage runs, its first time and any further one."""
    times[name] += 1
    return name if times[name] == 1 else f"again.{times[name]}/{name}"


def _locals(index: int, previous: Any, results: Mapping[str, Any]) -> dict[str, Any]:
    return {"current_index": index, "previous": previous, "results": dict(results)}


def _planned(run: WorkflowRun, stages: Mapping[str, Stage], name: str, output: Any) -> tuple[str, ...]:
    """Return the plan that a planning stage answers."""
    given = output
    if isinstance(given, Mapping):
        given = given.get("plan", given.get("text", given))
    if isinstance(given, str):
        given = _parsed(given)
    if not isinstance(given, list | tuple):
        message = f"workflow {run.definition.name}: the stage {name} plans, and answers {told(output)}; give names"
        raise InvalidInputError(message, field="plan")
    return _known(run, stages, given, f"the stage {name}")


def _parsed(text: str) -> Any:
    """Return the list in a text, around which a model may have written words."""
    begin, end = text.find("["), text.rfind("]")
    try:
        return json.loads(text[begin : end + 1]) if 0 <= begin < end else None
    except (ValueError, RecursionError):
        return None


def _followed(
    run: WorkflowRun, stages: Mapping[str, Stage], subject: StageTransition, answer: StageTransition
) -> tuple[str, ...]:
    """Return the plan as the hooks of the transition leave it; ``following`` alone is put before the rest."""
    plan = tuple(answer.plan)
    if plan == subject.plan and answer.following != subject.following:
        plan = (answer.following, *plan) if answer.following else ()
    return _known(run, stages, plan, "a hook")


def _known(run: WorkflowRun, stages: Mapping[str, Stage], names: Sequence[Any], who: str) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str) or name not in stages:
            where = f"workflow {run.definition.name}: {who} plans {told(name)}"
            raise InvalidInputError(f"{where}, which is no stage; there are {', '.join(stages)}", field="plan")
    return tuple(names)


def _limit(run: WorkflowRun, what: str, limit: int, option: str) -> ResourceLimitError:
    message = f"workflow {run.definition.name}: more than {limit} {what}; see what changes its plan, or raise {option}"
    return ResourceLimitError(message, resource=option, limit=limit)
