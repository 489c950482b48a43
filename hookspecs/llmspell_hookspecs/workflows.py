"""What a workflow is made from, for who writes one; what a pattern is, for who writes one; and the workflows of a host.

A workflow is data: stages, which a pattern orders. A pattern runs, retries, times and records nothing itself: it asks
its `WorkflowRun`, and keeps no clock, random or I/O of its own, so that a run may be gone through again.

Invariant: a path names one stage of one run, and is the same whatever the timing: ``fetch``, ``branch.a/fetch``,
``loop.12/fetch``. Durations in seconds.

It is longer than most because what a workflow is made from stands beside what runs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from msgspec import Struct
from pydantic import BaseModel

from .operation import Ended
from .runs import RunDetails, RunInfo, Verdict
from .workflow import WorkflowOutput

__all__ = [
    "Branch",
    "Pattern",
    "Retries",
    "Stage",
    "StageContext",
    "StageRecord",
    "Strategy",
    "WorkflowDefinition",
    "WorkflowHandle",
    "WorkflowInfo",
    "WorkflowRun",
    "Workflows",
]

Strategy = Literal["", "fail_fast", "continue", "retry", "compensate"]


class Retries(Struct, frozen=True, forbid_unknown_fields=True):
    """How often a stage that fails is tried again; these defaults hold where only ``on_error`` says ``retry``.

    Attributes:
        attempts: How often it runs in all, from 1.
        delay_s: The wait before the second attempt.
        backoff: By what each wait is longer than the one before.
        max_delay_s: The longest wait.
        jitter: How much of a wait is left to chance, from 0 to 1.
    """

    attempts: int = 3
    delay_s: float = 1.0
    backoff: float = 2.0
    max_delay_s: float = 60.0
    jitter: float = 0.0


class Stage(Struct, frozen=True, eq=False):
    """One stage.

    Attributes:
        name: Of letters, digits, blanks and ``_-.``.
        address: What runs: ``tool:calculator``, ``agent:writer``, ``workflow:report``; empty for a function.
        function: Called with a `StageContext`, sync or async; returns the output.
        input: What it is given; references in its texts (``{{step:fetch:output.title}}``) become values.
        timeout_s: How long it may take, with its retries; None for as long as the workflow.
        retry: How often it is tried again.
        on_error: What becomes of the run if it fails; empty for what the workflow says.
        compensate: What undoes it, should the run fail later; its input may name this stage's output.
        needs: Stages before it, beside those that its input names; where one did not complete, this one is skipped.
        repeatable: Whether a hook may have it run again after it ran; one with ``retry`` always may.
    """

    name: str
    address: str = ""
    function: Callable[..., Any] | None = None
    input: Any = None
    timeout_s: float | None = None
    retry: Retries | None = None
    on_error: Strategy = ""
    compensate: Stage | None = None
    needs: tuple[str, ...] = ()
    repeatable: bool | None = None


class Branch(Struct, frozen=True, eq=False):
    """Stages that run one after the other, beside or instead of other branches.

    Attributes:
        name: Unique within the workflow.
        stages: What it runs.
        condition: When it runs, where the pattern is ``conditional``: ``{"type": "step_succeeded", "step": "fetch"}``,
            a short form such as ``"always"``, or a function of a `StageContext`.
        default: Whether it runs if no condition holds.
        required: Whether the run fails with it.
        timeout_s: How long it may take; None for as long as the workflow.
    """

    name: str
    stages: tuple[Stage, ...] = ()
    condition: Any = None
    default: bool = False
    required: bool = True
    timeout_s: float | None = None


class WorkflowDefinition(Struct, frozen=True, eq=False):
    """A workflow.

    Attributes:
        name: Unique within the host.
        pattern: What orders its stages: ``sequential``, ``parallel``, ``conditional``, ``loop`` ...
        description: For people and models.
        stages: What it runs.
        branches: What it runs beside, or instead of, each other.
        reduce: What makes one of the results, for patterns that take one, such as ``map_reduce``.
        options: The pattern's own.
        shared: What its stages share when it begins.
        on_error: What becomes of a run if a stage fails.
        on_cancel: ``compensate`` to undo what completed if the caller cancels.
        timeout_s: How long a run may take.
        durable: Whether its runs are kept, so that they may be resumed.
    """

    name: str
    pattern: str = "sequential"
    description: str = ""
    stages: tuple[Stage, ...] = ()
    branches: tuple[Branch, ...] = ()
    reduce: Stage | None = None
    options: Mapping[str, Any] = {}
    shared: Mapping[str, Any] = {}
    on_error: Strategy = "fail_fast"
    on_cancel: Literal["", "compensate"] = ""
    timeout_s: float = 300.0
    durable: bool = False


class StageRecord(Struct, frozen=True):
    """What became of a stage.

    Attributes:
        path: Where in the run.
        status: ``done``, ``failed`` or ``skipped``.
        output: What it yields.
        error: Why it failed.
        elapsed_ms: How long it took.
        attempts: How often it ran.
        sequence: Which of the run's stages it was, in the order in which they ended.
    """

    path: str
    status: str
    output: Any = None
    error: str = ""
    elapsed_ms: float = 0.0
    attempts: int = 1
    sequence: int = 0


class StageContext(Protocol):
    """What a function of a stage or of a condition is given."""

    @property
    def input(self) -> Any:
        """What the stage is given; of a condition, what the workflow is given."""

    @property
    def shared(self) -> MutableMapping[str, Any]:
        """What the stages of the run share."""

    @property
    def locals(self) -> Mapping[str, Any]:
        """What belongs to the place: in a loop ``current_item``, ``current_index``, ``total_iterations``."""

    @property
    def workflow(self) -> str:
        """The workflow's name."""

    @property
    def run_id(self) -> str:
        """The run's."""

    @property
    def path(self) -> str:
        """Where in the run."""

    @property
    def key(self) -> str:
        """What stands for the stage wherever its effect must happen once: the same when it runs again."""

    def record(self, step: str, /) -> StageRecord | None:
        """Return what became of a stage that ran before, None if it did not."""

    def output(self, step: str, /) -> Any:
        """Return what a stage that ran before yielded, None if it yielded nothing."""


class WorkflowRun(Protocol):
    """What a pattern is given: one run, to order the stages of.

    Attributes:
        definition: What it runs.
        options: The pattern's own, as its model has them; None if it has none.
        input: What the run is given.
        details: What the pattern counts, for the output.
    """

    definition: WorkflowDefinition
    options: Any
    input: Any
    details: dict[str, Any]

    @property
    def id(self) -> str:
        """The run's."""

    @property
    def shared(self) -> MutableMapping[str, Any]:
        """What its stages share."""

    async def stage(self, stage: Stage, path: str = "", locals: Mapping[str, Any] | None = None, /) -> StageRecord:
        """Run a stage, unless it is done, and return what became of it.

        Args:
            stage: Of the definition.
            path: Where in the run; the stage's name if empty.
            locals: What ``{{loop:...}}`` names.

        Raises:
            Exception: It failed, and the run may not go on without it.
        """

    async def sequence(self, stages: Sequence[Stage], prefix: str = "", locals: Mapping[str, Any] | None = None) -> Any:
        """Run stages one after the other and return the last one's output; ``prefix`` ends with a slash."""

    async def condition(self, condition: Any, path: str, locals: Mapping[str, Any] | None = None) -> bool:
        """Return whether a condition holds, asked once for each path."""

    async def decide(self, point: str, subject: Any, path: str, /) -> Any:
        """Ask a decision point, once for each path, and return the subject as its hooks leave it."""

    def asks(self, point: str) -> bool:
        """Return whether anybody stands at a point, so that a subject need not be made for nobody."""

    async def notice(self, point: str, subject: Any, /) -> None:
        """Give a notice."""

    async def together(
        self, calls: Sequence[Callable[[], Awaitable[Any]]], limit: int, *, fail_fast: bool = False
    ) -> list[Ended]:
        """Run functions beside each other, so many at once, and return how each ended, in their order.

        Args:
            calls: What runs.
            limit: How many at once.
            fail_fast: Whether the first that fails cuts off the others.
        """

    async def value(self, value: Any, locals: Mapping[str, Any] | None = None, scope: str = "") -> Any:
        """Return a value with the references in its texts replaced."""

    def record(self, path: str, /) -> StageRecord | None:
        """Return what became of a stage."""

    def skip(self, path: str, reason: str = "", /) -> StageRecord:
        """Note that a stage is left out."""

    def lack(self, path: str, reason: str = "", /) -> None:
        """Note that a part failed without which the run goes on, unless a stage below it is named that failed so."""

    def forget(self, prefix: str, /) -> None:
        """Keep no longer in memory what the stages below a path yielded."""


@runtime_checkable
class Pattern(Protocol):
    """An order of stages; a class in the group ``llmspell.workflows``, constructed with ``(settings, services)``.

    Attributes:
        name: As its entry point is called.
        description: One sentence.
        Options: The pydantic model of its options; None if it has none.
        ordered: Whether a stage may name only those before it.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    Options: ClassVar[type[BaseModel] | None]
    ordered: ClassVar[bool]

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition, an empty text if nothing is.

        It looks at the definition only, since a long one is checked in a worker thread.
        """

    async def run(self, run: WorkflowRun, /) -> Any:
        """Order the stages, and return what the run yields."""


class WorkflowInfo(Struct, frozen=True):
    """What is known of a workflow.

    Attributes:
        name: Unique within the host.
        pattern: What orders its stages.
        description: For people and models.
        stages: The names of its stages, branches included.
        runs: How often it ran.
        failed: How often it failed.
        scope: The script that it goes with; empty if it stays.
    """

    name: str
    pattern: str
    description: str = ""
    stages: tuple[str, ...] = ()
    runs: int = 0
    failed: int = 0
    scope: str = ""


class WorkflowHandle(Protocol):
    """A workflow of a host."""

    @property
    def name(self) -> str:
        """Unique within the host."""

    @property
    def definition(self) -> WorkflowDefinition:
        """What it was made from."""

    @property
    def info(self) -> WorkflowInfo:
        """What is known of it now."""

    async def run(
        self,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        run_id: str = "",
        durable: bool | None = None,
    ) -> WorkflowOutput:
        """Run it.

        Args:
            input: What it is given.
            deadline_s: How long it may take.
            run_id: Unique to the run; made up if empty.
            durable: Whether it is kept, so that it may be resumed; what the definition says if None.

        Raises:
            WorkflowError: A stage failed; ``error.output`` tells how far it came.
            OperationCancelledError: A hook cancelled it, or a stage.
            OperationTimeoutError: A deadline passed.
        """

    async def resume(
        self,
        run_id: str,
        /,
        *,
        verdicts: Mapping[str, Verdict] | None = None,
        take_over: bool = False,
        accept_changed: bool = False,
        deadline_s: float | None = None,
    ) -> WorkflowOutput:
        """Go on with a durable run of this workflow, with its functions; arguments as those of `Workflows.resume`.

        Raises:
            ComponentNotFoundError: There is no such run of a workflow of this name and origin.
            WorkflowError: It is another workflow than it was; somebody runs it; or a stage failed.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, which `Workflows.create` takes; functions by their names."""

    def remove(self) -> None:
        """Forget it; what runs goes on."""


@runtime_checkable
class Workflows(Protocol):
    """The workflows of a host."""

    async def create(
        self, definition: WorkflowDefinition | Mapping[str, Any], /, *, scope: str = "", origin: str = ""
    ) -> WorkflowHandle:
        """Make a workflow, which is then ``workflow:NAME``.

        Args:
            definition: It, or the same as plain data.
            scope: A script's id; it goes when that ends.
            origin: The script itself, the same whenever it runs; kept with its durable runs, which are nobody else's.

        Raises:
            InvalidInputError: Something of it is wrong; ``field`` says where.
            ComponentNotFoundError: There is no such pattern.
        """

    def get(self, name: str, /) -> WorkflowHandle | None:
        """Return the workflow of this name, or None."""

    def list(self) -> Sequence[WorkflowInfo]:
        """Return what is known of each, in the order in which they were made."""

    def patterns(self) -> Mapping[str, str]:
        """Return what each pattern is, by name."""

    def close_scope(self, scope: str, /) -> int:
        """Forget the workflows of a script; returns how many."""

    # Durable runs.

    async def resume(
        self,
        run_id: str,
        /,
        *,
        verdicts: Mapping[str, Verdict] | None = None,
        take_over: bool = False,
        accept_changed: bool = False,
        deadline_s: float | None = None,
    ) -> WorkflowOutput:
        """Go on with a durable run, and return how it ended; what it yielded, if it ended before.

        Args:
            run_id: Its id.
            verdicts: What is said of stages that were interrupted, by path.
            take_over: Whether it is taken from whoever seems to run it; that one can write no more.
            accept_changed: Whether the workflow may be another one than it was.
            deadline_s: How long it may take.

        Raises:
            ComponentNotFoundError: There is no such run, or its functions are gone.
            WorkflowError: Somebody runs it; or a stage failed.
        """

    async def runs(self, *, limit: int = 1000, unfinished: bool = False) -> Sequence[RunInfo]:
        """Return what is known of durable runs, those that began last first."""

    async def run_details(self, run_id: str, /) -> RunDetails | None:
        """Return a durable run with its stages, or None."""

    async def cancel_run(self, run_id: str, /) -> bool:
        """Let a durable run not go on, wherever it runs; False if it has ended."""

    async def delete_run(self, run_id: str, /) -> bool:
        """Forget a durable run that nobody runs; False if there is none.

        Raises:
            WorkflowError: Somebody runs it.
        """
