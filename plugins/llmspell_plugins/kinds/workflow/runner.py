"""The kind workflow: how workflows are made, kept by name, and run.

Invariant: a run is an operation and ends once; before it ends, whatever it set off has ended.

It is longer than most because how a run begins, goes on and ends is one story.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Annotated, Any, ClassVar, Final, NoReturn

import trio
from msgspec import Struct, structs
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    HookError,
    InvalidInputError,
    LlmspellError,
    OperationCancelledError,
    ResourceLimitError,
    WorkflowError,
    line_of_error,
    text_of_error,
)
from llmspell_hookspecs.event import Events
from llmspell_hookspecs.fit import plain
from llmspell_hookspecs.foreign import Blamed, as_error, passes
from llmspell_hookspecs.kind import CallOptions, ComponentKind, Declared, Registries
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.plugin import Services
from llmspell_hookspecs.policy import Policy
from llmspell_hookspecs.runs import RunDetails, RunInfo, Verdict
from llmspell_hookspecs.services import Calls, HookHandle, Hooks, Tools
from llmspell_hookspecs.workflow import StageCall, WorkflowCall, WorkflowOutput
from llmspell_hookspecs.workflows import Retries, WorkflowDefinition, WorkflowInfo, Workflows
from llmspell_plugins.kinds.hiding import exact, hide_value

from .archive import UNDECIDED, Archive, no_run, output_of, print_of
from .asked import check_resume, check_run, encoded, input_of
from .definition import CompiledStage, Plan, compile_definition, defined, endless, stages_of, to_dict
from .durable import Durable
from .group import PATTERNS
from .reading import Loaded
from .records import ENDED, Head, Records
from .run import Run
from .stage import PausedError, again
from .unasked import unasked

__all__ = ["WORKFLOW", "Handle", "WorkflowRunner", "WorkflowSettings"]


def _facts(output: WorkflowOutput) -> Mapping[str, Any]:
    return {"run_id": output.run_id, "status": output.status, "stages": output.stages, "failed": len(output.failed)}


WORKFLOW: Final = OperationKind(
    "workflow",
    "before_workflow_start",
    "around_workflow",
    "after_workflow_complete",
    "workflow_error",
    result=WorkflowOutput,
    to_result=WorkflowOutput.of,
    identity=lambda call: (call.name, call.input),
    events=True,
    facts=_facts,
    composes=True,
)
RESUMED: Final = OperationKind(
    "workflow",
    "",
    "around_workflow",
    "after_workflow_complete",
    "workflow_error",
    result=WorkflowOutput,
    to_result=WorkflowOutput.of,
    identity=lambda call: (call.name, call.run_id),
    events=True,
    facts=_facts,
    composes=True,
)
"""A durable run that goes on: it began before."""
_log: Final = logging.getLogger("llmspell.workflow")
_LONG: Final = 100
"""How many stages are compiled on the loop, at 50 us each."""
_YIELDED: Final = ("output", "outputs", "details")
"""What of an output its stages told."""
_LAST_MOMENTS_S: Final = 0.1
_UNDOING_S: Final = 5.0


class WorkflowSettings(BaseModel):
    """``[plugins.workflow]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: Annotated[int, Policy.LOWER_ONLY] = Field(default=1000, ge=1, description="How many workflows there may be.")
    script_count: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=100, ge=1, description="How many workflows of one script there may be."
    )
    time_s: Annotated[float, Policy.LOWER_ONLY] = Field(default=3600.0, gt=0, description="How long a run may take.")
    lease_s: float = Field(
        default=30.0, ge=1, le=3600, description="How long a durable run belongs to who wrote of it last."
    )
    keep_days: float = Field(default=30.0, ge=0, description="For how many days a durable run is kept once it ended.")
    keep_runs: int = Field(default=10_000, ge=0, description="How many durable runs that ended are kept at most.")


class Said(Struct, frozen=True):
    """What is said of a run that is to go on.

    Attributes:
        verdicts: Of stages that were interrupted, by path.
        take_over: Whether it is taken from whoever seems to run it.
        accept_changed: Whether the workflow may be another one than it was.
    """

    verdicts: Mapping[str, Verdict] = {}
    take_over: bool = False
    accept_changed: bool = False


class Handle:
    """A workflow of a host; implements the contract's `WorkflowHandle`.

    Attributes:
        plan: What it runs.
        scope: The script that it goes with; empty if it stays.
        runs: How often it ran.
        failed: How often it failed.
        origin: The script that made it; empty if none did.
    """

    def __init__(
        self, runner: WorkflowRunner, plan: Plan, scope: str, hooks: Sequence[HookHandle], origin: str = ""
    ) -> None:
        self.plan, self.scope, self.origin = plan, scope, origin
        self.runs = self.failed = 0
        self._runner, self._hooks = runner, hooks

    @property
    def name(self) -> str:
        """Unique within the host."""
        return self.plan.definition.name

    @property
    def definition(self) -> WorkflowDefinition:
        """What it was made from."""
        return self.plan.definition

    @property
    def info(self) -> WorkflowInfo:
        """What is known of it now."""
        definition = self.definition
        names, counts = self.plan.names, (self.runs, self.failed)
        return WorkflowInfo(definition.name, definition.pattern, definition.description, names, *counts, self.scope)

    async def run(
        self,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        run_id: str = "",
        durable: bool | None = None,
    ) -> WorkflowOutput:
        """Run it; see the contract's `WorkflowHandle`."""
        check_run(self.name, run_id, durable)
        return await self._runner.execute(self, input, CallOptions(deadline_s), run_id, durable)

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
        """Go on with one of its durable runs; see the contract's `WorkflowHandle`."""
        check_resume(run_id, verdicts, take_over=take_over, accept_changed=accept_changed)
        options, said = CallOptions(deadline_s), Said(verdicts or {}, take_over, accept_changed)
        return await self._runner.resume_own(self, run_id, options, said)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return to_dict(self.definition)

    def remove(self) -> None:
        """Forget it; what runs goes on, without its retries."""
        self._runner.drop(self)
        for hook in self._hooks:
            hook.unregister()


class WorkflowRunner(ComponentKind):
    """The workflows of a host; implements the contract's `Workflows`."""

    name = "workflow"
    group = PATTERNS
    provides = Workflows
    Settings: ClassVar[type[WorkflowSettings]] = WorkflowSettings

    def __init__(self, settings: WorkflowSettings, services: Services) -> None:
        self._settings, self._services = settings, services
        self._archive = Archive(services, settings.lease_s)
        self._patterns = services.get(Registries).of(PATTERNS.name)
        self._operations = services.get(Operations)
        self._calls = services.get(Calls)
        self._hooks = services.get(Hooks)
        self._handles: dict[str, Handle] = {}
        self._runs: list[Run] = []

    # Making.

    async def create(
        self, definition: WorkflowDefinition | Mapping[str, Any], /, *, scope: str = "", origin: str = ""
    ) -> Handle:
        """Make a workflow; see the contract's `Workflows`."""
        given = defined(definition)
        plan = await self._compiled(given)
        self._check_room(given.name, scope)
        for line in (*endless(plan), *unasked(plan, self._hooks)):
            _log.warning("%s", line)
        handle = Handle(self, plan, scope, self._retries(plan), origin)
        self._handles[given.name] = handle
        return handle

    async def _compiled(self, given: WorkflowDefinition) -> Plan:
        """Return a definition as it runs, made beside the loop if it is long."""
        pattern = await self._patterns.enter(given.pattern)
        if sum(1 for _ in stages_of(given)) > _LONG:
            return await trio.to_thread.run_sync(compile_definition, given, pattern)
        return compile_definition(given, pattern)

    def get(self, name: str, /) -> Handle | None:
        """Return the workflow of this name, or None."""
        return self._handles.get(name)

    def list(self) -> Sequence[WorkflowInfo]:
        """Return what is known of each, in the order in which they were made."""
        return [handle.info for handle in self._handles.values()]

    def declared(self) -> Mapping[str, Iterator[Declared]]:
        """Return what the stages of each workflow call, and what undoes them; see `ComponentKind`."""
        return {name: _declared(handle.plan.definition) for name, handle in self._handles.items()}

    def patterns(self) -> Mapping[str, str]:
        """Return what each pattern is, by name."""
        return {name: pattern.description for name, pattern in self._patterns.loadable()}

    def close_scope(self, scope: str, /) -> int:
        """Forget the workflows of a script; returns how many."""
        gone = [handle for handle in self._handles.values() if scope and handle.scope == scope]
        for handle in gone:
            handle.remove()
        return len(gone)

    def drop(self, handle: Handle) -> None:
        """Let a name be free again."""
        if self._handles.get(handle.name) is handle:
            del self._handles[handle.name]

    def _check_room(self, name: str, scope: str) -> None:
        if name in self._handles:
            message = f"workflow {name}: there is one of this name; choose another, or remove that one"
            raise InvalidInputError(message, field="name")
        most, own = self._settings.count, self._settings.script_count
        if len(self._handles) >= most:
            message = f"workflow {name}: there are {most}, which is the most; remove some (plugins.workflow.count)"
            raise ResourceLimitError(message, resource="workflows", limit=most)
        if scope and sum(handle.scope == scope for handle in self._handles.values()) >= own:
            message = f"workflow {name}: its script has {own}; remove some (plugins.workflow.script_count)"
            raise ResourceLimitError(message, resource="workflows", limit=own)

    def _retries(self, plan: Plan) -> Sequence[HookHandle]:
        """Register the hooks that let stages run again: last among the transforms, so that any other comes first."""
        stages: list[CompiledStage] = list(plan.stages.values())
        stages += [stage.undo for stage in stages if stage.undo is not None]
        return [
            self._hooks.register(
                "workflow_error",
                again(self._retries_of),
                plugin="workflow",
                name=f"retry {plan.definition.name}/{name}",
                priority="lowest",
                match=f"{plan.definition.name}.{name}",
            )
            for name in dict.fromkeys(stage.stage.name for stage in stages if stage.retry is not None)
        ]

    def _retries_of(self, call: StageCall) -> Retries | None:
        """Return how often the stage that runs as this call is tried."""
        stages = (run.under_way.get(call.path) for run in self._runs if run.id == call.run_id)
        return next((stage.retry for stage in stages if stage is not None), None)

    # Running.

    async def run(self, name: str, input: Any, options: CallOptions, /) -> WorkflowOutput:
        """Run a workflow by its address; see `ComponentKind`."""
        handle = self._handles.get(name)
        if handle is None or not self._sees(options.scope, handle):
            seen = [other for other, each in self._handles.items() if self._sees(options.scope, each)]
            names = ", ".join(seen) or "none"
            raise ComponentNotFoundError(
                f"workflow {name!r}: there is none; there are {names}", address=f"workflow:{name}"
            )
        return await self.execute(handle, input, options)

    def _sees(self, scope: str, handle: Handle) -> bool:
        """Whether a hook of this script, or what runs here, may have the workflow run."""
        return (not scope or handle.scope in ("", scope)) and self._operations.reaches(handle.scope)

    async def execute(
        self, handle: Handle, input: Any, options: CallOptions, run_id: str = "", durable: bool | None = None
    ) -> WorkflowOutput:
        """Run a workflow, and count the run."""
        definition = handle.plan.definition
        run_id = run_id or options.key or secrets.token_hex(16)
        if self._is_durable(definition, options, durable):
            return await self._execute_durable(handle, input, options, run_id)
        return await self._execute(handle, input, options, run_id, WORKFLOW, None)

    async def _execute(
        self,
        handle: Handle,
        input: Any,
        options: CallOptions,
        run_id: str,
        kind: OperationKind,
        durable: Durable | None,
    ) -> WorkflowOutput:
        plan = handle.plan
        definition = plan.definition
        hidden = input if input is None else await self._operations.beside(input, hide_value, input)
        given = definition.name, run_id, definition.pattern, hidden, handle.plan.shown
        run: Run | None = None
        hides = False

        async def body(approved: WorkflowCall) -> WorkflowOutput:
            nonlocal run, hides
            if (approved.name, approved.run_id) != (definition.name, run_id):
                message = f"workflow {definition.name}: a hook changed its name or run_id; leave them"
                raise InvalidInputError(message, field="name")
            if run is None:
                asked = input_of(definition.name, approved.input)
                if durable is not None and kind is WORKFLOW:
                    parts = durable.writer, definition.name, plan.plain, asked
                    durable.writer.begin(await self._operations.beside(asked, encoded, *parts))
                run = Run(plan, run_id, asked, self._operations, self._calls, durable)
            else:
                run.begin_again()
            self._runs.append(run)
            try:
                resumed = kind is RESUMED
                output = await (_go(run, resumed) if durable is None else _go_durably(run, durable, resumed))
                with trio.CancelScope(shield=True):  # it has ended, and is not to be told as cancelled any more
                    shown = await self._shown(output)
                hides = shown is not output
                return shown
            finally:
                self._runs.remove(run)

        operation = options.operation(
            kind,
            ComponentRef("workflow", definition.name, f"workflow:{definition.name}"),
            WorkflowCall(*given),
            body,
            time_s=min(definition.timeout_s, self._settings.time_s),
            repeatable=True,
            baggage=None if durable is None else {"workflow_run": run_id},
        )
        handle.runs += 1
        try:
            output: WorkflowOutput = await self._operations.execute(operation)
        except BaseException:
            handle.failed += 1
            raise
        if hides:
            with trio.CancelScope(shield=True):
                output = await self._operations.beside(output, _revealed, output)
        return output

    async def _shown(self, output: WorkflowOutput) -> WorkflowOutput:
        """Return what a run yields as hooks are shown it: itself, unless it holds a secret."""
        changed: dict[str, Any] = {}
        for name in _YIELDED:
            value = getattr(output, name)
            hidden = value if value is None else await self._operations.beside(value, hide_value, value)
            if hidden is not value:
                changed[name] = hidden
        return structs.replace(output, **changed) if changed else output

    # Durable runs.

    def _is_durable(self, definition: WorkflowDefinition, options: CallOptions, asked: bool | None) -> bool:
        if asked is not None or definition.durable:
            return definition.durable if asked is None else asked
        if not options.key:
            return False
        try:
            return "workflow_run" in self._operations.current().baggage  # it is a stage of a durable run
        except LookupError:
            return False

    async def _execute_durable(self, handle: Handle, input: Any, options: CallOptions, run_id: str) -> WorkflowOutput:
        if options.key and await self._archive.has(run_id):  # a stage of a run that is resumed
            return await self._resume(run_id, CallOptions(options.deadline_s), Said(take_over=True), handle)
        await self._archive.tidy(self._settings.keep_days, self._settings.keep_runs)
        writer = await self._archive.begin(run_id, handle.name, handle.origin)
        return await self._execute(handle, input, options, run_id, WORKFLOW, self._durable(writer, run_id, None, {}))

    def _durable(self, writer: Records, run_id: str, loaded: Loaded | None, verdicts: Mapping[str, Verdict]) -> Durable:
        return Durable(writer, run_id, self._services.get(Tools), loaded, verdicts)

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
        """Go on with a durable run; see the contract's `Workflows`."""
        check_resume(run_id, verdicts, take_over=take_over, accept_changed=accept_changed)
        return await self._resume(run_id, CallOptions(deadline_s), Said(verdicts or {}, take_over, accept_changed))

    async def resume_own(self, handle: Handle, run_id: str, options: CallOptions, said: Said) -> WorkflowOutput:
        """Go on with a durable run of this workflow; another's is none, whatever is said of it."""
        head, loaded = await self._archive.read(run_id)
        if (head.name, head.origin) != (handle.name, handle.origin):
            raise no_run(run_id)
        if not said.accept_changed and print_of(handle.plan.plain) != loaded.print_:
            raise _changed(run_id, head.name)
        return await self._resume(run_id, options, said, handle)

    async def _resume(
        self, run_id: str, options: CallOptions, said: Said, handle: Handle | None = None
    ) -> WorkflowOutput:
        head, loaded = await self._archive.read(run_id)
        if head.status in ENDED:
            if said.verdicts:
                message = f"workflow run {run_id}: it is {head.status}; there is nothing left to decide about"
                raise InvalidInputError(message, field="verdicts")
            return output_of(run_id, head, loaded)
        open_ = [path for path, info in loaded.stages.items() if info.status in UNDECIDED]
        unknown = [path for path in said.verdicts if path not in open_]
        if unknown:
            known = ", ".join(open_)[:200] or "none"
            message = f"workflow run {run_id}: there is no stage {unknown[0]!r:.80} to decide about; there are {known}"
            raise InvalidInputError(message, field="verdicts")
        handle = handle or await self._handle_of(run_id, head, loaded, said.accept_changed)
        writer = await self._archive.claim(run_id, take_over=said.take_over)
        loaded = (await self._archive.read(run_id))[1]
        durable = self._durable(writer, run_id, loaded, said.verdicts)
        with suppress(LlmspellError):  # a mailbox that is full: the run goes on all the same
            self._services.get(Events).publish_nowait("workflow.resumed", {"name": head.name, "run_id": run_id})
        return await self._execute(handle, loaded.input, options, run_id, RESUMED, durable)

    async def _handle_of(self, run_id: str, head: Head, loaded: Loaded, accept_changed: bool) -> Handle:
        """Return the workflow that a run goes on with: the one that there is, if it is the same; else as it was."""
        handle = self._handles.get(head.name)
        if handle is not None:
            is_same = handle.origin == head.origin and print_of(handle.plan.plain) == loaded.print_
            if is_same or accept_changed:
                return handle
        try:
            given = defined(loaded.definition)
            plan = await self._compiled(given)
        except InvalidInputError as error:
            if handle is not None and handle.origin == head.origin:
                raise _changed(run_id, head.name) from error
            remedy = "make it again first, in the program that did"
            if head.origin:
                remedy = f"make it again in the script that did ({head.origin}), and call its resume there"
            told = f"workflow run {run_id}: the functions of {head.name} are not kept; {remedy}"
            raise ComponentNotFoundError(told, address=f"workflow:{head.name}") from error
        return Handle(self, plan, "", self._retries(plan), head.origin)

    async def runs(self, *, limit: int = 1000, unfinished: bool = False) -> Sequence[RunInfo]:
        """Return what is known of durable runs."""
        return await self._archive.list(limit, unfinished)

    async def run_details(self, run_id: str, /) -> RunDetails | None:
        """Return a durable run with its stages, or None."""
        return await self._archive.details(run_id)

    async def cancel_run(self, run_id: str, /) -> bool:
        """Let a durable run not go on; False if it has ended."""
        return await self._archive.cancel(run_id)

    async def delete_run(self, run_id: str, /) -> bool:
        """Forget a durable run that nobody runs; False if there is none."""
        return await self._archive.delete(run_id)


def _changed(run_id: str, name: str) -> WorkflowError:
    told = f"workflow run {run_id}: {name} is another one than it was; bring the old one back, or accept that"
    return WorkflowError(f"{told} (accept_changed)")


def _declared(definition: WorkflowDefinition) -> Iterator[Declared]:
    for stage in stages_of(definition):
        yield Declared(stage.address, stage.name)
        if stage.compensate is not None:
            yield Declared(stage.compensate.address, stage.compensate.name)


async def _go_durably(run: Run, durable: Durable, resumed: bool) -> WorkflowOutput:
    """Run a pattern to its end, and keep what becomes of it."""
    output: WorkflowOutput | None = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(durable.writer.beat, nursery.cancel_scope)
        try:
            output = await _go(run, resumed)
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if durable.writer.lost:
        raise durable.writer.reason() from failure
    if failure is not None:
        raise failure
    if output is None:
        raise RuntimeError("a run has ended without an output")
    return output


def _revealed(output: WorkflowOutput) -> WorkflowOutput:
    """Return what a run yields with its secrets as they are."""
    return structs.replace(output, **{name: exact(getattr(output, name)) for name in _YIELDED})


async def _go(run: Run, resumed: bool) -> WorkflowOutput:
    """Run a pattern to its end, whatever that is."""
    began = perf_counter()
    resumed = resumed or run.status != "pending"
    await run.become("running", resumed=resumed)
    try:
        with Blamed(lambda error: as_error(error, f"workflow {run.definition.name}"), spares=Exception):
            value = await run.plan.pattern.run(run)
        if run.waiting:
            raise PausedError(f"{', '.join(run.waiting)}: it waits")
    except (trio.Cancelled, BaseExceptionGroup) as caught:  # a group where stages run beside each other
        if run.lost:
            raise
        if not passes(caught):
            return await _fail(run, as_error(caught, f"workflow {run.definition.name}"), began)
        await _cancel(run)
        raise
    except Exception as caught:
        if run.lost:
            raise
        if isinstance(caught, PausedError):
            return await _pause(run, began)
        return await _fail(run, caught, began)
    status = "partial" if run.failed else "completed"
    try:
        await run.become(status, output=value)
    except Exception as error:  # what it yields cannot be kept
        if run.lost or run.status == status:
            raise
        return await _fail(run, as_error(error, f"workflow {run.definition.name}"), began)
    return _output(run, status, value, "", began)


async def _cancel(run: Run) -> None:
    """End a run that is cancelled: undo what completed if it asks for that, and keep what it is then."""
    status = "cancelled"
    if run.definition.on_cancel == "compensate":
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _UNDOING_S):
            status = await run.roll_back("cancelled")
            status = "cancelled" if status == "failed" else status
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _LAST_MOMENTS_S):
        await run.become(status)


async def _pause(run: Run, began: float) -> WorkflowOutput:
    waiting = ", ".join(run.waiting[:10])
    told = f"{waiting}: it waits for a person; 'llmspell workflow show {run.id}' tells for what"
    await run.become("paused", error=told)
    return _output(run, "paused", None, told, began)


async def _fail(run: Run, error: Exception, began: float) -> NoReturn:
    """End a run that has failed."""
    undoes = run.compensates or (run.durable is not None and run.durable.undoes)
    status = await run.roll_back(text_of_error(error)) if undoes else "failed"
    await run.become(status, error=text_of_error(error))
    if isinstance(error, OperationCancelledError | WorkflowError | HookError) and status == "failed":
        raise error
    output = _output(run, status, None, text_of_error(error), began)
    where = f"workflow {run.definition.name}"
    told = f"{where}: {line_of_error(error).removeprefix(f'{where}: ')}"
    if run.culprit:
        told = f"{where}: stage {run.culprit}: {text_of_error(error)}"
    if status != "failed":
        told = f"{told} ({status.replace('_', ' ')})"
    raise WorkflowError(told, stage=run.culprit, output=output, component=f"workflow:{run.definition.name}") from error


def _output(run: Run, status: str, value: Any, error: str, began: float) -> WorkflowOutput:
    outputs = {path: record.output for path, record in run.records.items() if record.status == "done"}
    name = run.definition.name
    summary = f"workflow {name}: {status}, {run.ran} {'stage' if run.ran == 1 else 'stages'}"
    if run.failed:
        summary += f", failed: {', '.join(run.failed[:10])}"
    return WorkflowOutput(
        name,
        run.id,
        run.definition.pattern,
        status,
        value,
        outputs,
        summary,
        tuple(run.failed),
        tuple(run.skipped),
        run.ran,
        error,
        (perf_counter() - began) * 1000,
        plain(run.details),
    )
