"""The topic workflow: what its points carry, and the points around a run, its stages and its decisions.

A run is an operation, and so is each attempt of a stage within it. What a pattern decides (a condition, a branch, when
a loop ends) is asked at a decision point: ``Modified`` changes what it is decided from, ``Replace`` fixes the verdict,
``Cancel`` cancels the run. Durations in milliseconds where a name ends in ``_ms``.

It is longer than most because the structs stand before the points that carry them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct

from .context import Failure, HookContext
from .payload import payload_of
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "BranchOutcome",
    "BranchSelection",
    "Checkpoint",
    "ConditionEvaluation",
    "LoopIteration",
    "LoopTermination",
    "ParallelFork",
    "ParallelJoin",
    "ParallelSynchronization",
    "Rollback",
    "SharedAccess",
    "StageCall",
    "StageOutput",
    "StageTransition",
    "StateChange",
    "WorkflowCall",
    "WorkflowOutput",
    "after_workflow_complete",
    "after_workflow_stage",
    "around_workflow",
    "around_workflow_stage",
    "before_workflow_stage",
    "before_workflow_start",
    "branch_selection",
    "condition_evaluation",
    "loop_iteration_complete",
    "loop_iteration_start",
    "loop_termination",
    "parallel_fork",
    "parallel_join",
    "parallel_synchronization",
    "workflow_checkpoint",
    "workflow_error",
    "workflow_rollback",
    "workflow_shared_data",
    "workflow_stage_transition",
    "workflow_state_change",
]

_NEW: Final = frozenset({"run_id"})


class WorkflowCall(Struct, frozen=True):
    """A run of a workflow.

    Attributes:
        name: The workflow's.
        run_id: Unique to the run, and the same when it is resumed.
        pattern: What orders its stages.
        input: What it is given.
        definition: What it was made from, as plain data; a hook reads it and does not change it.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    name: str
    run_id: str = ""
    pattern: str = ""
    input: Any = None
    definition: Mapping[str, Any] = {}

    def payload(self) -> Any:
        """Return what it is given."""
        return self.input


class WorkflowOutput(Struct, frozen=True):
    """How a run ended.

    Attributes:
        name: The workflow's.
        run_id: The run's.
        pattern: What ordered its stages.
        status: ``completed``, or ``partial`` if a stage failed that may; ``paused``, ``failed``, ``compensated`` ...
        output: What its pattern yields: the last stage's output, those of all branches, what a loop gathered ...
        outputs: The outputs of the stages that completed, by path.
        summary: One sentence for people.
        failed: The paths of stages that failed.
        skipped: The paths of stages that were left out.
        stages: How many stages ran.
        error: Why it did not complete.
        elapsed_ms: How long it took.
        details: What its pattern counts: ``iterations``, ``branches`` ...
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"run_id", "elapsed_ms"})

    name: str = ""
    run_id: str = ""
    pattern: str = ""
    status: str = "completed"
    output: Any = None
    outputs: Mapping[str, Any] = {}
    summary: str = ""
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    stages: int = 0
    error: str = ""
    elapsed_ms: float = 0.0
    details: Mapping[str, Any] = {}

    def payload(self) -> Any:
        """Return what its pattern yields."""
        return self.output

    @classmethod
    def of(cls, value: Any) -> WorkflowOutput:
        """Return the output of a bare value, or of another kind of result."""
        return value if isinstance(value, WorkflowOutput) else WorkflowOutput(output=payload_of(value))


class StageCall(Struct, frozen=True):
    """A stage that is to run.

    Attributes:
        workflow: The workflow's name.
        run_id: The run's.
        path: Where in the run: ``fetch``, ``branch.a/fetch``, ``loop.12/fetch``.
        name: The stage's.
        kind: ``tool``, ``agent``, ``workflow`` ... or ``function``.
        target: The name of what runs.
        input: What it is given, with every reference replaced by its value.
        key: What stands for the stage wherever its effect must happen once, the same at every attempt.
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"key", "run_id"})
    workflow: str
    run_id: str = ""
    path: str = ""
    name: str = ""
    kind: str = ""
    target: str = ""
    input: Any = None
    key: str = ""

    def payload(self) -> Any:
        """Return what it is given."""
        return self.input


class StageOutput(Struct, frozen=True):
    """What a stage yields.

    Attributes:
        output: The payload.
    """

    output: Any = None

    def payload(self) -> Any:
        """Return the output itself."""
        return self.output

    @classmethod
    def of(cls, value: Any) -> StageOutput:
        """Return the output of a bare value, or of another kind of result."""
        return value if isinstance(value, StageOutput) else StageOutput(payload_of(value))


class StageTransition(Struct, frozen=True):
    """From one stage to the next.

    Attributes:
        run_id: The run's.
        previous: The path of the stage that ended.
        following: The name of the next one.
        plan: The names of all that are still to come.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    previous: str = ""
    following: str = ""
    plan: tuple[str, ...] = ()


class StateChange(Struct, frozen=True):
    """What a run is, and was.

    Attributes:
        run_id: The run's.
        previous: ``pending``, ``running`` ...
        status: ``running``, ``completed``, ``partial``, ``failed``, ``paused``, ``cancelled`` ...
        resumed: Whether the run goes on where an earlier process, or attempt, left it.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    previous: str = ""
    status: str = ""
    resumed: bool = False


class SharedAccess(Struct, frozen=True):
    """A stage reads or writes what the stages of a run share.

    Attributes:
        run_id: The run's.
        mode: What it does.
        key: Under which name.
        value: What is read or written; ``Modified`` changes it.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    mode: Literal["read", "write"] = "read"
    key: str = ""
    value: Any = None


class Checkpoint(Struct, frozen=True):
    """Something of a durable run was written.

    Attributes:
        run_id: The run's.
        sequence: Which of the run's writes it was, since it was last taken up.
        size_bytes: How much was written.
        paths: The stages whose records were written.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    sequence: int = 0
    size_bytes: int = 0
    paths: tuple[str, ...] = ()


class Rollback(Struct, frozen=True):
    """What completed is to be undone.

    Attributes:
        run_id: The run's.
        error: Why.
        paths: What is undone, in this order; ``Modified`` leaves some out.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    error: str = ""
    paths: tuple[str, ...] = ()


class ConditionEvaluation(Struct, frozen=True):
    """A condition.

    Attributes:
        run_id: The run's.
        branch: What depends on it.
        text: The condition, for people.
        inputs: What it is decided from, by name.
        verdict: Whether it holds; None until somebody said so.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    branch: str = ""
    text: str = ""
    inputs: Mapping[str, Any] = {}
    verdict: bool | None = None


class BranchSelection(Struct, frozen=True):
    """Which branches run.

    Attributes:
        run_id: The run's.
        candidates: All branches.
        chosen: Those that run, in order.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    candidates: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()


class LoopIteration(Struct, frozen=True):
    """One iteration of a loop.

    Attributes:
        run_id: The run's.
        index: From 0.
        item: What it is about.
        total: How many there are; None if nobody knows.
        output: What it yielded.
        done: Whether the output stands; at the start, ``Replace({"done": True, "output": ...})`` runs nothing.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    index: int = 0
    item: Any = None
    total: int | None = None
    output: Any = None
    done: bool = False


class LoopTermination(Struct, frozen=True):
    """A loop would end.

    Attributes:
        run_id: The run's.
        index: How many iterations there were.
        reason: ``exhausted``, ``while``, ``break: ...`` or ``max_iterations``.
        stop: Whether it ends; ``Replace({"stop": False})`` lets it go on, never past its hard limit.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    index: int = 0
    reason: str = ""
    stop: bool = True


class ParallelFork(Struct, frozen=True):
    """Branches are about to run beside each other.

    Attributes:
        run_id: The run's.
        branches: Their names; a hook may leave some out.
        limit: How many run at once; a hook may lower it.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    branches: tuple[str, ...] = ()
    limit: int = 1


class BranchOutcome(Struct, frozen=True):
    """How a branch ended.

    Attributes:
        name: The branch's.
        status: ``completed``, ``failed``, or ``cancelled`` because a sibling failed.
        output: What it yields.
        error: Why it did not complete.
        required: Whether the run fails with it.
    """

    name: str
    status: str = "completed"
    output: Any = None
    error: str = ""
    required: bool = True


class ParallelJoin(Struct, frozen=True):
    """All branches have ended.

    Attributes:
        run_id: The run's.
        outcomes: How, in the order of the branches.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    outcomes: tuple[BranchOutcome, ...] = ()


class ParallelSynchronization(Struct, frozen=True):
    """A branch has ended, and waits for the others.

    Attributes:
        run_id: The run's.
        branch: Its name.
        arrived: How many have ended.
        of: How many there are.
    """

    volatile: ClassVar[frozenset[str]] = _NEW
    run_id: str
    branch: str = ""
    arrived: int = 0
    of: int = 0


@hookpoint(phase=Phase.BEFORE, topic="workflow", form="workflow", aliases=("workflow_start", "WorkflowStart"))
def before_workflow_start(context: HookContext[WorkflowCall]) -> HookResult | None:
    """A workflow is about to run.

    When: once for each attempt; not when a run is resumed.
    Subject: the call; ``Modified`` changes its input, ``Redirect`` names another workflow.
    """


@hookpoint(phase=Phase.AROUND, topic="workflow", form="workflow")
def around_workflow(context: HookContext[WorkflowCall]) -> HookResult | None:
    """A workflow runs.

    When: once for each attempt, around the body; an async generator with one yield.
    Subject: the call.
    """


@hookpoint(phase=Phase.AFTER, topic="workflow", form="workflow", aliases=("workflow_complete", "WorkflowComplete"))
def after_workflow_complete(context: HookContext[WorkflowOutput]) -> HookResult | None:
    """A workflow has ended.

    When: once its outcome is known, before that leaves.
    Subject: the output.
    """


@hookpoint(phase=Phase.ERROR, topic="workflow", form="workflow", value=WorkflowOutput)
def workflow_error(context: HookContext[Failure]) -> HookResult | None:
    """A stage has failed, or the workflow.

    When: once for each attempt of a stage that failed, and again if the workflow fails; ``context.component.kind`` is
        ``workflow_stage`` or ``workflow``, and ``match`` fits ``workflow.stage`` or the workflow's name.
    Subject: the failure; ``Replace`` recovers with an output of the stage, or of the workflow.
    """


@hookpoint(phase=Phase.BEFORE, topic="workflow", form="workflow.stage")
def before_workflow_stage(context: HookContext[StageCall]) -> HookResult | None:
    """A stage is about to run.

    When: once for each attempt. Its component is called ``workflow.stage``, as ``order.charge`` or ``order.*``.
    Subject: the call; ``Redirect`` gives its input to another component.
    """


@hookpoint(phase=Phase.AROUND, topic="workflow", form="workflow.stage")
def around_workflow_stage(context: HookContext[StageCall]) -> HookResult | None:
    """A stage runs.

    When: once for each attempt, around the body; an async generator with one yield.
    Subject: the call.
    """


@hookpoint(phase=Phase.AFTER, topic="workflow", form="workflow.stage")
def after_workflow_stage(context: HookContext[StageOutput]) -> HookResult | None:
    """A stage has completed.

    When: once for each attempt that completed, or whose output was replaced.
    Subject: the output.
    """


@hookpoint(phase=Phase.DECISION, topic="workflow", form="workflow")
def workflow_stage_transition(context: HookContext[StageTransition]) -> HookResult | None:
    """A stage has ended, and another follows; in the pattern adaptive, what follows may be another plan.

    When: between two stages of a sequence; of an adaptive run, after each stage.
    Subject: from where to where.
    """


@hookpoint(phase=Phase.NOTICE, topic="workflow", form="workflow")
def workflow_state_change(context: HookContext[StateChange]) -> HookResult | None:
    """A run is in another state.

    When: after the state is kept, if the run is durable.
    Subject: from what to what.
    """


@hookpoint(phase=Phase.NOTICE, topic="workflow", form="workflow")
def workflow_checkpoint(context: HookContext[Checkpoint]) -> HookResult | None:
    """What became of stages of a durable run is written.

    When: after each write, once it lasts.
    Subject: what was written.
    """


@hookpoint(
    phase=Phase.DECISION,
    topic="workflow",
    form="workflow",
    accepts=("Continue", "Modified", "Cancel", "Skipped"),
    sync_only=True,
)
def workflow_shared_data(context: HookContext[SharedAccess]) -> HookResult | None:
    """A stage reads or writes shared data.

    When: each time; its hooks are sync.
    Subject: what is read or written.
    """


@hookpoint(
    phase=Phase.DECISION, topic="workflow", form="workflow", accepts=("Continue", "Modified", "Cancel", "Skipped")
)
def workflow_rollback(context: HookContext[Rollback]) -> HookResult | None:
    """A run has failed, and what completed is to be undone.

    When: once, before the first of it.
    Subject: what is undone, in reverse order of completion; ``Cancel`` leaves everything as it is.
    """


@hookpoint(phase=Phase.DECISION, topic="workflow", form="workflow")
def condition_evaluation(context: HookContext[ConditionEvaluation]) -> HookResult | None:
    """A condition is to be evaluated.

    When: before each evaluation.
    Subject: the condition; ``Modified`` changes its inputs, ``Replace({"verdict": True})`` answers it.
    """


@hookpoint(phase=Phase.DECISION, topic="workflow", form="workflow")
def branch_selection(context: HookContext[BranchSelection]) -> HookResult | None:
    """The branches that run are known.

    When: once, after the conditions.
    Subject: which; ``Modified`` and ``Replace`` choose others among the candidates.
    """


@hookpoint(phase=Phase.DECISION, topic="workflow", form="workflow")
def loop_iteration_start(context: HookContext[LoopIteration]) -> HookResult | None:
    """An iteration is about to begin.

    When: before each.
    Subject: the iteration; ``Modified`` changes its item, ``Replace`` with ``done`` gives its output.
    """


@hookpoint(
    phase=Phase.DECISION, topic="workflow", form="workflow", accepts=("Continue", "Modified", "Cancel", "Skipped")
)
def loop_iteration_complete(context: HookContext[LoopIteration]) -> HookResult | None:
    """An iteration has ended.

    When: after each.
    Subject: the iteration with its output, which ``Modified`` changes.
    """


@hookpoint(phase=Phase.DECISION, topic="workflow", form="workflow")
def loop_termination(context: HookContext[LoopTermination]) -> HookResult | None:
    """A loop would end.

    When: when nothing is left, and at each break condition that holds.
    Subject: why; ``Replace({"stop": False})`` lets it go on.
    """


@hookpoint(
    phase=Phase.DECISION, topic="workflow", form="workflow", accepts=("Continue", "Modified", "Cancel", "Skipped")
)
def parallel_fork(context: HookContext[ParallelFork]) -> HookResult | None:
    """Branches are about to run beside each other.

    When: once, before the first of them.
    Subject: which and how many at once; ``Modified`` may name fewer, and a lower limit.
    """


@hookpoint(
    phase=Phase.DECISION, topic="workflow", form="workflow", accepts=("Continue", "Modified", "Cancel", "Skipped")
)
def parallel_join(context: HookContext[ParallelJoin]) -> HookResult | None:
    """All branches have ended.

    When: once, whatever became of them.
    Subject: their outcomes, which ``Modified`` changes.
    """


@hookpoint(phase=Phase.NOTICE, topic="workflow", form="workflow")
def parallel_synchronization(context: HookContext[ParallelSynchronization]) -> HookResult | None:
    """A branch has ended, and waits for the others.

    When: at each arrival; who comes while they run is told of all of them when the last has arrived.
    Subject: which, and how many there are.
    """
