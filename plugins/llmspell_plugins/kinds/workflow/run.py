"""One run of a workflow: what a pattern orders stages through; implements the contract's `WorkflowRun`.

Invariant: a stage whose record says done does not run, and a decision that was recorded is not asked again. Whatever
runs beside something else has ended before the run does. Of a durable run whatever is noted is written before anything
that may wait: a stage, a hook, a function, the others of those beside each other.

It is longer than most because what a stage goes through, durable or not, is to be read in one place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, Final

import msgspec
import trio
from msgspec import structs

from llmspell_hookspecs.approvals import APPROVAL_REQUIRED
from llmspell_hookspecs.bounds import ATOMS, has_many
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import InvalidInputError, WorkflowError, text_of_error
from llmspell_hookspecs.foreign import Blamed, as_error
from llmspell_hookspecs.operation import Ended, Operation, Operations
from llmspell_hookspecs.runs import StageInfo
from llmspell_hookspecs.services import Calls
from llmspell_hookspecs.workflow import (
    Checkpoint,
    ConditionEvaluation,
    Rollback,
    StageCall,
    StageTransition,
    StateChange,
)
from llmspell_hookspecs.workflows import Stage, StageRecord, WorkflowDefinition
from llmspell_plugins.kinds.hiding import exact, hide_fields, hide_value, reveal_fields

from .archive import LACKING
from .definition import CompiledStage, Plan, needed
from .durable import Durable, copied, is_settled
from .reference import compile_value
from .shared import Shared, held_still
from .stage import STAGE, PausedError, Place, body_of, key_of

__all__ = ["Run", "check_plan"]

_DONE: Final = "done"
_ROLLBACK: Final = "rollback/"
"""What the paths of undoings begin with; the rest is the path of what they undo."""
_ROLLBACK_CHOICE: Final = "workflow_rollback:rollback"
"""The decision about what is undone, as `Run.decide` keeps it."""
_INTERRUPTED: Final = "it was under way when the run was cut off, and nobody said that it may run twice"
Undo = tuple[int, str, CompiledStage, Mapping[str, Any] | None]


def check_plan(workflow: str, asked: StageTransition, answer: StageTransition) -> None:
    """Check that a hook left the plan of a pattern that goes by none.

    Raises:
        InvalidInputError: It did not.
    """
    if (answer.following, tuple(answer.plan)) != (asked.following, asked.plan):
        message = f"workflow {workflow}: a hook changed what follows {asked.previous}; only adaptive goes by a plan"
        raise InvalidInputError(message, field="plan")


class Run:
    """A run.

    Args:
        plan: What it runs.
        run_id: Its id.
        input: What it is given.
        operations: Runs its stages.
        calls: Runs what they name.
        durable: Keeps what becomes of it; None if nobody does.

    Attributes:
        plan: What it runs.
        definition: The same as it was defined.
        options: The pattern's own.
        id: Its id.
        input: What it is given.
        details: What the pattern counts.
        records: What became of its stages, by path.
        choices: What was decided, by path.
        shared: What its stages share.
        failed: The paths of stages that failed.
        skipped: The paths of stages that were left out.
        ran: How many stages ended.
        culprit: The path of the stage with which it failed.
        status: What it is.
        compensates: Whether what completed is undone if it fails.
        durable: Keeps what becomes of it.
        waiting: The paths of stages that wait for a person.
        under_way: The stages that run, by path.
    """

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        input: Any,
        operations: Operations,
        calls: Calls,
        durable: Durable | None = None,
    ) -> None:
        definition = plan.definition
        self.plan = plan
        self.definition: WorkflowDefinition = definition
        self.options: Any = plan.options
        self.id = run_id
        self.input = input
        self.details: dict[str, Any] = {}
        self.records: dict[str, StageRecord] = {}
        self.choices: dict[str, Any] = {}
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.ran = 0
        self.culprit = ""
        self.status = "pending"
        self.compensates = definition.on_error == "compensate"
        self.durable = durable
        self.waiting: list[str] = []
        self.under_way: dict[str, CompiledStage] = {}
        self._component = ComponentRef("workflow", definition.name, f"workflow:{definition.name}")
        self._data = dict(definition.shared) if durable is None else durable.shared_of(definition)
        self.shared = Shared(self._data, operations, self._component, run_id, copies=durable is not None)
        self._operations, self._calls = operations, calls
        self._undo: list[Undo] = []
        self._sequence = 0
        if durable is not None:
            self.records, self.choices = durable.records, durable.choices
            self._sequence = durable.sequence
            durable.writer.told = self._written
            durable.writer.is_watched = partial(self.asks, "workflow_checkpoint")

    # Stages.

    async def stage(self, stage: Stage, path: str = "", locals: Mapping[str, Any] | None = None, /) -> StageRecord:
        """Run a stage, unless it is done; see the contract's `WorkflowRun`."""
        await trio.lowlevel.checkpoint_if_cancelled()  # the stage before may have made an answer of that
        path = path or stage.name
        compiled = self.plan.compiled(stage)
        record = self.records.get(path)
        if record is None and self.durable is not None:
            record = await self._found(self.durable, compiled, path)
        if record is not None and (record.status == _DONE or self.durable is not None):
            if record.status != "skipped":
                self._ended(compiled, record, locals)
            elif path not in self.skipped:
                self.skipped.append(path)
            return record if self.durable is None else await self._handed_over(record)
        scope = path.rpartition("/")[0]
        if (self.failed or self.skipped) and self._lacks(compiled, Place(self, scope, locals)):
            return self.skip(path, "a stage that it needs did not complete")
        record, error = await self._run(compiled, path, scope, locals)
        self.records[path] = record
        self._ended(compiled, record, locals)
        if error is not None:
            if compiled.on_error == "compensate":
                self.compensates = True
            if compiled.on_error != "continue":
                self.culprit = self.culprit or path
                raise error
        return record if self.durable is None else await self._handed_over(record)

    async def _found(self, durable: Durable, compiled: CompiledStage, path: str) -> StageRecord | None:
        """Return what became of a stage earlier, None if it is to run."""
        info = durable.found(path)
        if info is None:
            return None
        if info.status == "failed" and durable.undoes:
            self.culprit = self.culprit or path
            raise WorkflowError(info.error, stage=path)
        if (settled := durable.settled(compiled, info, self._sequence + 1)) is not None:
            self._sequence += 1
            record = settled
        elif info.status == "failed":
            if compiled.on_error != "continue" or path in durable.verdicts:
                return None
            record = durable.record_of(info)
        elif not durable.may_repeat(compiled, info):
            durable.note(structs.replace(info, status="interrupted", error=_INTERRUPTED))
            await durable.writer.flush()
            self.waiting.append(path)
            raise PausedError(f"{path}: {_INTERRUPTED}", component=compiled.component.name)
        else:
            return None
        self.records[path] = record
        return record

    async def _run(
        self, compiled: CompiledStage, path: str, scope: str, locals: Mapping[str, Any] | None
    ) -> tuple[StageRecord, Exception | None]:
        """Run a stage as an operation, and return what became of it."""
        durable = self.durable
        attempts = 0
        unkept = False

        def ran() -> None:
            nonlocal attempts
            attempts += 1

        began = perf_counter()
        output: Any = None
        failure: Exception | None = None
        place = Place(self, scope, locals, path)
        given: Any = None
        try:
            given = compiled.stage.input if compiled.resolve is None else compiled.resolve(place)
        except Exception as error:
            failure = error
        if failure is None and durable is not None:
            if durable.undoes and not path.startswith(_ROLLBACK):
                raise WorkflowError(f"{path}: it did not run before the run failed", stage=path)
            place.written = {}
            given = durable.input_of(path, given)
            failure = await self._intend(durable, compiled, path, given)
        if failure is None:
            self.under_way[path] = compiled
            try:
                hidden = given if given is None else await self.hidden(given)
                output = (await self._operations.execute(self._operation(compiled, place, hidden, ran))).output
                if place.hides:
                    with trio.CancelScope(shield=True):
                        output = await self._operations.beside(output, exact, output)
            except PausedError as error:
                self.wait(compiled, path, error)
                raise
            except Exception as error:
                failure = error
                if durable is not None and getattr(error, "code", "") == APPROVAL_REQUIRED:
                    began_it = attempts > 0 and getattr(error, "component", "") != compiled.stage.address
                    self.wait(compiled, path, error, began=began_it)
                    raise PausedError(text_of_error(error), component=compiled.component.name) from error
            finally:
                del self.under_way[path]
        self._sequence += 1
        elapsed_ms = (perf_counter() - began) * 1000
        if durable is not None and failure is None:
            info = StageInfo(
                path,
                _DONE,
                compiled.kind,
                compiled.target,
                output=output,
                elapsed_ms=elapsed_ms,
                attempts=max(1, attempts),
                sequence=self._sequence,
            )
            try:
                output = await self._done(durable, info, place)
            except Exception as caught:  # it is none that can be kept, or what it wrote is not as it was
                if durable.writer.lost:
                    raise
                failure, output = as_error(caught, path), None
                unkept = place.transaction is None and durable.safety(compiled) == "unknown"
        status, told = (_DONE, "") if failure is None else ("failed", text_of_error(failure))
        record = StageRecord(path, status, output, told, elapsed_ms, max(1, attempts), self._sequence)
        if durable is not None and failure is not None:
            durable.fail(compiled, record, place.written, "interrupted" if unkept else "failed")
        return record, failure

    async def hidden(self, value: Any) -> Any:
        """Return a value as hooks are shown it: itself, unless it holds a secret."""
        return await self._operations.beside(value, hide_value, value)

    async def _intend(self, durable: Durable, compiled: CompiledStage, path: str, given: Any) -> Exception | None:
        """Write that a stage is about to begin; returns why it cannot."""
        intent = durable.intent(compiled, path, given)
        if intent is not None:
            try:
                durable.writer.put(intent, (await self._encoded(durable, intent))[0])
            except Exception as error:
                return as_error(error, path)
        await durable.writer.flush()
        return None

    async def _done(self, durable: Durable, info: StageInfo, place: Place) -> Any:
        """Note that a stage is done, with what it wrote if that is kept back; returns its output as it is kept."""
        entries, output = await self._encoded(durable, info, place.written)
        if place.transaction is None:
            durable.writer.put(info, entries)
        else:
            await durable.writer.commit(info, entries, place.transaction)
        return output

    async def _encoded(
        self, durable: Durable, info: StageInfo, shared: Mapping[str, Any] | None = None
    ) -> tuple[Mapping[str, bytes], Any]:
        """Return what is written of a stage, and its output as a value of its own; a large one holds up nobody."""
        if type(info.output) in ATOMS and type(info.input) in ATOMS and not shared:
            return durable.writer.encoded(info, shared)
        bare = structs.replace(info, input=None, output=None)

        def encoded(input: Any, output: Any, shared: Any) -> tuple[Mapping[str, bytes], Any]:
            return durable.writer.encoded(structs.replace(bare, input=input, output=output), shared)

        found: tuple[Mapping[str, bytes], Any] = await self._apart(encoded, info.input, info.output, shared)
        return found

    async def _apart(self, walk: Callable[..., Any], *values: Any) -> Any:
        """Call what walks values: of large ones as they are now, in a thread, and as a whole if it is cancelled."""
        if not has_many(values):
            return walk(*values)
        held = held_still(values)
        if held is None:
            return walk(*values)
        with trio.CancelScope(shield=True):  # what has ended is noted, whoever wants to hear of it
            return await self._operations.beside(values, lambda: walk(*held()))

    def _operation(self, compiled: CompiledStage, place: Place, given: Any, ran: Callable[[], None]) -> Operation:
        """Return the operation of a stage."""
        key = "" if compiled.kind == "function" else key_of(self.id, place.path)
        call = StageCall(
            self.definition.name, self.id, place.path, compiled.stage.name, compiled.kind, compiled.target, given, key
        )
        return Operation(
            STAGE,
            compiled.component,
            call,
            body_of(compiled, place, self._calls, ran),
            deadline_s=compiled.stage.timeout_s,
            repeatable=compiled.retry is not None or compiled.stage.repeatable is True,
            baggage=None if self.durable is None else {"workflow_run": self.id, "workflow_path": place.path},
        )

    async def _handed_over(self, record: StageRecord) -> StageRecord:
        """Return a record as others see it: of a durable run its output is a value of their own."""
        if self.durable is None or type(record.output) in ATOMS:
            return record
        return structs.replace(record, output=await self._operations.beside(record.output, copied, record.output))

    def share(self, place: Place) -> Shared:
        """Return what stages share as one of them sees it, which notes what that one writes."""
        return Shared(self._data, self._operations, self._component, self.id, place.wrote, copies=True)

    def wait(self, compiled: CompiledStage, path: str, error: Exception, *, began: bool = True) -> None:
        """Note that a stage waits for a person."""
        self.waiting.append(path)
        if self.durable is not None:
            told = text_of_error(error)
            self.durable.note(StageInfo(path, "waiting", compiled.kind, compiled.target, error=told, began=began))

    async def _settle(self) -> None:
        """Write what is noted, before something waits."""
        if self.durable is not None:
            await self.durable.writer.flush()

    async def _written(self, checkpoint: Checkpoint) -> None:
        await self._operations.ask("workflow_checkpoint", checkpoint, self._component)

    def _ended(self, compiled: CompiledStage, record: StageRecord, locals: Mapping[str, Any] | None) -> None:
        self.ran += 1
        if record.status != _DONE:
            self.failed.append(record.path)
        elif compiled.undo is not None:
            self._undo.append((record.sequence, record.path, compiled.undo, locals))

    def _lacks(self, compiled: CompiledStage, place: Place) -> bool:
        """Whether a stage needs the output of one that did not complete."""
        records = [place.kept(step) for step in compiled.uses]
        return any(record is not None and record.status != _DONE for record in records)

    def skip(self, path: str, reason: str = "", /) -> StageRecord:
        """Note that a stage is left out."""
        self.skipped.append(path)
        record = self.records[path] = StageRecord(path, "skipped", None, reason)
        if self.durable is not None:
            self.durable.note(StageInfo(path, "skipped", error=reason))
        return record

    def lack(self, path: str, reason: str = "", /) -> None:
        """Note that a part failed without which the run goes on."""
        below = [self.records.get(failed) for failed in self.failed if failed.startswith(f"{path}/")]
        if not any(record is not None and record.error == reason for record in below):
            self.failed.append(path)
            self.details.setdefault(LACKING, {})[path] = reason

    async def sequence(self, stages: Sequence[Stage], prefix: str = "", locals: Mapping[str, Any] | None = None) -> Any:
        """Run stages one after the other and return the last one's output."""
        output = None
        last = len(stages) - 1
        for place, stage in enumerate(stages):
            path = f"{prefix}{stage.name}"
            record = await self.stage(stage, path, locals)
            if record.status == _DONE:
                output = record.output
            if place != last and self.asks("workflow_stage_transition"):
                plan = tuple(each.name for each in stages[place + 1 :])
                subject = StageTransition(self.id, path, plan[0], plan)
                answer = await self.decide("workflow_stage_transition", subject, path)
                check_plan(self.definition.name, subject, answer)
        return output

    def record(self, path: str, /) -> StageRecord | None:
        """Return what became of a stage."""
        return self.records.get(path)

    def forget(self, prefix: str, /) -> None:
        """Keep no longer in memory what the stages below a path yielded."""
        for path in [path for path in self.records if path.startswith(prefix)]:
            del self.records[path]
        if self.durable is not None:
            for name in [name for name in self.choices if name.partition(":")[2].startswith(prefix)]:
                del self.choices[name]

    # Decisions.

    def asks(self, point: str) -> bool:
        """Return whether anybody stands at a point."""
        return self._operations.asks((point,), self.definition.name)

    async def decide(self, point: str, subject: Any, path: str, /) -> Any:
        """Ask a decision point, once for each path; see the contract's `WorkflowRun`."""
        name = f"{point}:{path}"
        if name in self.choices:
            found = self.choices[name]
            if type(found) is dict:  # as it was kept
                found = self.choices[name] = msgspec.convert(found, type(subject))
            return found
        if not self.asks(point):
            return subject
        await self._settle()
        answer = self.choices[name] = await self._ask(point, subject)
        if self.durable is not None:
            writer = self.durable.writer
            with trio.CancelScope(shield=True):  # what was decided is noted, whoever wants to hear of it
                writer.choice(name, await self._operations.beside(answer, writer.encoded_choice, name, answer))
        return answer

    async def notice(self, point: str, subject: Any, /) -> None:
        """Give a notice."""
        if self.asks(point):
            await self._settle()
            await self._ask(point, subject)

    async def _ask(self, point: str, subject: Any) -> Any:
        """Ask a point whose hooks see no secret."""
        hidden = await self._operations.beside(subject, hide_fields, subject)
        return reveal_fields(await self._operations.ask(point, hidden, self._component))

    async def condition(self, condition: Any, path: str, locals: Mapping[str, Any] | None = None) -> bool:
        """Return whether a condition holds, asked once for each path."""
        name = f"condition:{path}"
        if name in self.choices:
            return bool(self.choices[name])
        compiled = self.plan.condition(condition, f"workflow {self.definition.name}: {path}")
        place = Place(self, path.rpartition("/")[0], locals, path)
        inputs = compiled.gather(place)
        verdict: bool | None = None
        if self.asks("condition_evaluation"):
            await self._settle()
            branch = path.rpartition("/")[2]
            subject = ConditionEvaluation(self.id, branch, compiled.text, inputs)
            answer = await self._ask("condition_evaluation", subject)
            verdict, inputs = answer.verdict, answer.inputs
        if verdict is None and compiled.function is not None:
            await self._settle()
            where = f"workflow {self.definition.name}: condition {path}"
            with Blamed(lambda error: as_error(error, where), spares=Exception):
                answered = compiled.function(place)
                verdict = bool(await answered if isawaitable(answered) else answered)
        if verdict is None:
            verdict = bool(compiled.decide(inputs))
        if self.durable is not None:  # what it was decided from may be otherwise when the run is resumed
            self.choices[name] = verdict
            self.durable.writer.choice(name, self.durable.writer.encoded_choice(name, verdict))
        elif compiled.function is not None or self.asks("condition_evaluation"):
            self.choices[name] = verdict
        return verdict

    async def value(self, value: Any, locals: Mapping[str, Any] | None = None, scope: str = "") -> Any:
        """Return a value with the references in its texts replaced."""
        resolve = compile_value(value, f"workflow {self.definition.name}")
        if resolve is None:
            return value
        place = Place(self, scope, locals)
        for step in needed(value):
            record = place.kept(step)
            if record is not None and record.status != _DONE:
                return None
        return resolve(place)

    # Beside each other.

    async def together(
        self, calls: Sequence[Callable[[], Awaitable[Any]]], limit: int, *, fail_fast: bool = False
    ) -> list[Ended]:
        """Run functions beside each other; see the contract's `WorkflowRun`."""

        async def settled(call: Callable[[], Awaitable[Any]]) -> Any:
            value = await call()
            await self._settle()
            return value

        def stops(error: Exception) -> bool:
            return fail_fast and not isinstance(error, PausedError)

        if self.durable is not None:
            calls = [partial(settled, call) for call in calls]
        ended = await self._operations.together(calls, limit, stops=stops)
        await self._settle()
        if self.waiting and not any(each.error and not isinstance(each.error, PausedError) for each in ended):
            raise PausedError(f"{', '.join(self.waiting)}: it waits", component=self._component.name)
        return ended

    # The end.

    @property
    def lost(self) -> bool:
        """Whether somebody else has taken it over."""
        return self.durable is not None and self.durable.writer.lost

    async def become(self, status: str, *, resumed: bool = False, output: Any = None, error: str = "") -> None:
        """Be in another state, which is kept before anybody is told.

        Raises:
            LlmspellError: Its output cannot be kept; it is what it was.
        """
        durable = self.durable
        encoded: bytes | None = None
        if durable is not None and status in ("completed", "partial"):
            encoded = await self._apart(durable.writer.encoded_result, output, self.details)
        previous, self.status = self.status, status
        if durable is not None and status == "running":  # it is written with its first stage
            durable.become(status, error, tuple(self.waiting))
        elif durable is not None:
            with trio.CancelScope(shield=True):  # else a run that has ended would be taken for one that goes on
                if encoded is not None:
                    durable.writer.result(encoded)
                durable.become(status, error, tuple(self.waiting))
                await self._settle()
        await self.notice("workflow_state_change", StateChange(self.id, previous, status, resumed))

    def begin_again(self) -> None:
        """Forget how the last attempt ended: what failed runs again, what is done does not."""
        if self.status in ("completed", "partial") and self.durable is None:
            self.records.clear()
            self.choices.clear()
        self.records = {path: record for path, record in self.records.items() if is_settled(record)}
        undone = [path for path in self.records if path.startswith(_ROLLBACK)]
        undone += [path.removeprefix(_ROLLBACK) for path in undone]
        for path in undone:
            del self.records[path]
        self.choices.pop(_ROLLBACK_CHOICE, None)
        if self.durable is not None:
            self.durable.begin_again(undone, _ROLLBACK_CHOICE)
        self.failed, self.skipped, self._undo = [], [], []
        self.ran, self.culprit, self.failure = 0, "", None
        self.details.clear()

    async def roll_back(self, error: str) -> str:
        """Undo what completed, the last first, and return what the run is then."""
        self._undo.sort(key=lambda undo: undo[0], reverse=True)
        steps = {path: (undo, locals) for _, path, undo, locals in self._undo}
        if not steps:
            return "failed"
        if self.durable is not None:
            self.durable.begin_undoing(error)
        approved = await self.decide("workflow_rollback", Rollback(self.id, error, tuple(steps)), "rollback")
        wrong = False
        for path in dict.fromkeys(approved.paths):
            if path not in steps:
                continue
            undo, locals = steps[path]
            name = f"{_ROLLBACK}{path}"
            record = self.records.get(name)
            if record is None or record.status != _DONE:
                record = await self._undo_again(undo, name)
                if record is None:
                    record, _ = await self._run(undo, name, path.rpartition("/")[0], locals)
                self.records[name] = record
                self.ran += 1
            if record.status != _DONE:
                self.failed.append(name)
                wrong = True
        return "compensation_failed" if wrong else "compensated"

    async def _undo_again(self, undo: CompiledStage, path: str) -> StageRecord | None:
        """Return what became of an undoing that was cut off, None if it is to run."""
        durable = self.durable
        info = None if durable is None else durable.found(path)
        if durable is None or info is None or info.status == "failed" or durable.may_repeat(undo, info):
            return None
        info = structs.replace(info, status="interrupted", error=_INTERRUPTED)
        durable.note(info)
        return durable.record_of(info)
