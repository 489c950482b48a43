"""One run of a workflow: what a pattern orders stages through; implements the contract's `WorkflowRun`.

Invariant: a stage whose record says done does not run, and a decision that was recorded is not asked again. Whatever
runs beside something else has ended before the run does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from time import perf_counter
from typing import Any, Final

import trio

from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.operation import Operation, Operations
from llmspell_hookspecs.services import Calls
from llmspell_hookspecs.workflow import (
    ConditionEvaluation,
    Rollback,
    StageCall,
    StageTransition,
    StateChange,
)
from llmspell_hookspecs.workflows import Ended, Stage, StageRecord, WorkflowDefinition

from .definition import CompiledStage, Plan, needed
from .reference import compile_value
from .shared import Shared
from .stage import STAGE, Place, body_of, key_of

__all__ = ["Run"]

_DONE: Final = "done"
Undo = tuple[int, str, CompiledStage, Mapping[str, Any] | None]


class Run:
    """A run.

    Args:
        plan: What it runs.
        run_id: Its id.
        input: What it is given.
        operations: Runs its stages.
        calls: Runs what they name.

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
    """

    def __init__(self, plan: Plan, run_id: str, input: Any, operations: Operations, calls: Calls) -> None:
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
        self._component = ComponentRef("workflow", definition.name, f"workflow:{definition.name}")
        self.shared = Shared(dict(definition.shared), operations, self._component, run_id)
        self._operations, self._calls = operations, calls
        self._undo: list[Undo] = []
        self._sequence = 0

    # Stages.

    async def stage(self, stage: Stage, path: str = "", locals: Mapping[str, Any] | None = None, /) -> StageRecord:
        """Run a stage, unless it is done; see the contract's `WorkflowRun`."""
        path = path or stage.name
        compiled = self.plan.compiled(stage)
        record = self.records.get(path)
        if record is not None and record.status == _DONE:
            self._ended(compiled, record, locals)
            return record
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
        return record

    async def _run(
        self, compiled: CompiledStage, path: str, scope: str, locals: Mapping[str, Any] | None
    ) -> tuple[StageRecord, Exception | None]:
        """Run a stage as an operation, and return what became of it."""
        attempts = 0

        def ran() -> None:
            nonlocal attempts
            attempts += 1

        began = perf_counter()
        output: Any = None
        failure: Exception | None = None
        place = Place(self, scope, locals, path)
        try:
            given = compiled.stage.input if compiled.resolve is None else compiled.resolve(place)
            key = "" if compiled.kind == "function" else key_of(self.id, path)
            name, target = compiled.stage.name, compiled.target
            call = StageCall(self.definition.name, self.id, path, name, compiled.kind, target, given, key)
            operation = Operation(
                STAGE,
                compiled.component,
                call,
                body_of(compiled, place, self._calls, ran),
                deadline_s=compiled.stage.timeout_s,
                repeatable=compiled.retry is not None or compiled.stage.repeatable is True,
            )
            output = (await self._operations.execute(operation)).output
        except Exception as error:
            failure = error
        self._sequence += 1
        elapsed_ms = (perf_counter() - began) * 1000
        status, told = (_DONE, "") if failure is None else ("failed", text_of_error(failure))
        return StageRecord(path, status, output, told, elapsed_ms, max(1, attempts), self._sequence), failure

    def _ended(self, compiled: CompiledStage, record: StageRecord, locals: Mapping[str, Any] | None) -> None:
        self.ran += 1
        if record.status != _DONE:
            self.failed.append(record.path)
        elif compiled.undo is not None:
            self._undo.append((record.sequence, record.path, compiled.undo, locals))

    def _lacks(self, compiled: CompiledStage, place: Place) -> bool:
        """Whether a stage needs the output of one that did not complete."""
        records = [place.record(step) for step in compiled.uses]
        return any(record is not None and record.status != _DONE for record in records)

    def skip(self, path: str, reason: str = "", /) -> StageRecord:
        """Note that a stage is left out."""
        self.skipped.append(path)
        record = self.records[path] = StageRecord(path, "skipped", None, reason)
        return record

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
                await self.decide("workflow_stage_transition", StageTransition(self.id, path, plan[0], plan), path)
        return output

    def record(self, path: str, /) -> StageRecord | None:
        """Return what became of a stage."""
        return self.records.get(path)

    def forget(self, prefix: str, /) -> None:
        """Keep no longer in memory what the stages below a path yielded."""
        for path in [path for path in self.records if path.startswith(prefix)]:
            del self.records[path]

    # Decisions.

    def asks(self, point: str) -> bool:
        """Return whether anybody stands at a point."""
        return self._operations.asks((point,), self.definition.name)

    async def decide(self, point: str, subject: Any, path: str, /) -> Any:
        """Ask a decision point, once for each path; see the contract's `WorkflowRun`."""
        name = f"{point}:{path}"
        if name in self.choices:
            return self.choices[name]
        if not self.asks(point):
            return subject
        answer = self.choices[name] = await self._operations.ask(point, subject, self._component)
        return answer

    async def notice(self, point: str, subject: Any, /) -> None:
        """Give a notice."""
        if self.asks(point):
            await self._operations.ask(point, subject, self._component)

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
            branch = path.rpartition("/")[2]
            subject = ConditionEvaluation(self.id, branch, compiled.text, inputs)
            answer = await self._operations.ask("condition_evaluation", subject, self._component)
            verdict, inputs = answer.verdict, answer.inputs
        if verdict is None and compiled.function is not None:
            answered = compiled.function(place)
            verdict = bool(await answered if isawaitable(answered) else answered)
        if verdict is None:
            verdict = bool(compiled.decide(inputs))
        if compiled.function is not None or self.asks("condition_evaluation"):
            self.choices[name] = verdict
        return verdict

    async def value(self, value: Any, locals: Mapping[str, Any] | None = None, scope: str = "") -> Any:
        """Return a value with the references in its texts replaced."""
        resolve = compile_value(value, f"workflow {self.definition.name}")
        if resolve is None:
            return value
        place = Place(self, scope, locals)
        for step in needed(value):
            record = place.record(step)
            if record is not None and record.status != _DONE:
                return None
        return resolve(place)

    # Beside each other.

    async def together(
        self, calls: Sequence[Callable[[], Awaitable[Any]]], limit: int, *, fail_fast: bool = False
    ) -> list[Ended]:
        """Run functions beside each other; see the contract's `WorkflowRun`."""
        ended = [Ended(cancelled=True)] * len(calls)
        waiting = iter(range(len(calls)))

        async def work(nursery: trio.Nursery) -> None:
            for place in waiting:  # shared by all workers
                try:
                    ended[place] = Ended(await calls[place]())
                except Exception as error:
                    ended[place] = Ended(None, error)
                    if fail_fast:
                        nursery.cancel_scope.cancel()
                        return

        async with trio.open_nursery() as nursery:
            for _ in range(min(max(1, limit), len(calls))):
                nursery.start_soon(partial(work, nursery))
        return ended

    # The end.

    async def become(self, status: str, *, resumed: bool = False) -> None:
        """Be in another state."""
        previous, self.status = self.status, status
        await self.notice("workflow_state_change", StateChange(self.id, previous, status, resumed))

    def begin_again(self) -> None:
        """Forget how the last attempt ended: what failed runs again, what is done does not."""
        if self.status in ("completed", "partial"):
            self.records.clear()
            self.choices.clear()
        self.records = {path: record for path, record in self.records.items() if record.status == _DONE}
        self.failed, self.skipped, self._undo = [], [], []
        self.ran, self.culprit = 0, ""
        self.details.clear()

    async def roll_back(self, error: str) -> str:
        """Undo what completed, the last first, and return what the run is then."""
        self._undo.sort(key=lambda undo: undo[0], reverse=True)
        steps = {path: (undo, locals) for _, path, undo, locals in self._undo}
        if not steps:
            return "failed"
        approved = await self.decide("workflow_rollback", Rollback(self.id, error, tuple(steps)), "rollback")
        wrong = False
        for path in approved.paths:
            if path not in steps:
                continue
            undo, locals = steps[path]
            name = f"rollback/{path}"
            record = self.records.get(name)
            if record is None or record.status != _DONE:
                record, _ = await self._run(undo, name, path.rpartition("/")[0], locals)
                self.records[name] = record
                self.ran += 1
            if record.status != _DONE:
                self.failed.append(name)
                wrong = True
        return "compensation_failed" if wrong else "compensated"
