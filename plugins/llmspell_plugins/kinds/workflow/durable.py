"""What makes a run durable: what is known of it from before, what is noted of it now, and what may run twice.

Invariant: a stage that was under way when its run was cut off runs again only if that does no harm: it is repeatable,
what it writes is written with its record, or what it does happens once for its key. Of anything else nobody knows, so a
person is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import structs

from llmspell_hookspecs.runs import StageInfo, Verdict
from llmspell_hookspecs.services import Tools
from llmspell_hookspecs.transaction import Transaction
from llmspell_hookspecs.workflows import StageRecord, WorkflowDefinition

from .definition import CompiledStage
from .reading import Loaded
from .records import Records
from .shared import copied
from .stage import key_of

__all__ = ["Durable", "copied", "is_settled"]

Safety = Literal["transactional", "repeatable", "keyed", "unknown"]


def is_settled(record: StageRecord) -> bool:
    """Return whether a stage does not run any more: it is done, or a person left it out, as its sequence shows."""
    return record.status == "done" or (record.status == "skipped" and record.sequence > 0)


class Durable:
    """A durable run's past and its writer.

    Args:
        writer: Writes what becomes of it.
        run_id: Its id.
        tools: What tools say of what they do.
        loaded: What was kept of it before; None if it begins.
        verdicts: What a person said of stages that were interrupted.

    Attributes:
        writer: Writes what becomes of it.
        verdicts: What a person said of stages that were interrupted.
        records: What became of the stages that are done, or that a person left out, by path.
        choices: What was decided.
        sequence: How many stages have ended.
        undoes: Whether what completed is being undone, so that no stage begins any more.
    """

    def __init__(
        self,
        writer: Records,
        run_id: str,
        tools: Tools,
        loaded: Loaded | None = None,
        verdicts: Mapping[str, Verdict] | None = None,
    ) -> None:
        self.writer = writer
        self.verdicts = verdicts or {}
        self.records: dict[str, StageRecord] = {}
        self.choices: dict[str, Any] = {}
        self.sequence = 0
        self.undoes = writer.head.status == "compensating"
        self._run_id, self._tools = run_id, tools
        self._found: dict[str, StageInfo] = {}
        self._inputs: dict[str, Any] = {}
        self._shared: Mapping[str, Mapping[str, Any]] = {}
        if loaded is not None:
            self._take(loaded)

    def _take(self, loaded: Loaded) -> None:
        self.choices, self._shared = loaded.choices, loaded.shared
        for path, info in loaded.stages.items():
            self.sequence = max(self.sequence, info.sequence)
            record = self.record_of(info)
            if is_settled(record):
                self.records[path] = record
            elif info.status not in ("skipped", "undone"):
                self._found[path] = info

    def shared_of(self, definition: WorkflowDefinition) -> dict[str, Any]:
        """Return what its stages share as it goes on."""
        data = copied(definition.shared)
        for key, held in self._shared.items():
            if "value" in held:
                data[key] = held["value"]
            else:
                data.pop(key, None)
        return dict(data)

    def found(self, path: str) -> StageInfo | None:
        """Return what was kept of a stage that is not done; once."""
        return self._found.pop(path, None) if self._found else None

    @staticmethod
    def record_of(info: StageInfo) -> StageRecord:
        """Return what became of a stage as patterns see it."""
        figures = info.elapsed_ms, info.attempts, info.sequence
        return StageRecord(info.path, info.status, info.output, info.error, *figures)

    def settled(self, compiled: CompiledStage, info: StageInfo, sequence: int) -> StageRecord | None:
        """Return what a person said became of a stage, None if it may run."""
        verdict = self.verdicts.get(info.path)
        if verdict is None or verdict.action == "again":
            return None
        done = verdict.action == "done"
        status, error = ("done", "") if done else ("skipped", "a person left it out")
        told = structs.replace(info, status=status, error=error, sequence=sequence, kind=compiled.kind)
        output = self.writer.stage(structs.replace(told, output=verdict.output if done else None))
        return self.record_of(structs.replace(told, output=output))

    def may_repeat(self, compiled: CompiledStage, info: StageInfo) -> bool:
        """Whether a stage that was under way may run."""
        if info.path in self.verdicts or (info.status == "waiting" and not info.began):
            return True
        safety = self.safety(compiled)
        if safety == "keyed":  # whoever knows its key may refuse another input
            self._inputs[info.path] = info.input
        return safety != "unknown"

    def safety(self, compiled: CompiledStage) -> Safety:
        """Return what becomes of a stage that runs twice."""
        found: Safety | None = compiled.safety
        if found is None:
            found = compiled.safety = self._safety(compiled)
        return found

    def _safety(self, compiled: CompiledStage) -> Safety:
        stage = compiled.stage
        may_repeat = stage.repeatable is not False and compiled.kind == "tool"
        if may_repeat and self._tools.describe(compiled.target)["effects"] == "transactional":
            return "transactional"
        if stage.repeatable is not None:
            return "repeatable" if stage.repeatable else "unknown"
        if (
            compiled.retry is not None or compiled.kind == "workflow"
        ):  # that one is durable itself, under this one's key
            return "repeatable"
        if compiled.kind != "tool":
            return "unknown"
        described = self._tools.describe(compiled.target)
        if described["repeatable"]:
            return "repeatable"
        return "keyed" if described["effects"] == "keyed" else "unknown"

    def input_of(self, path: str, given: Any) -> Any:
        """Return what a stage is given: what it was given before it was cut off, if that has to be the same."""
        return self._inputs.pop(path, given)

    def intent(self, compiled: CompiledStage, path: str, given: Any) -> StageInfo | None:
        """Return what is to be noted of a stage before it begins, None if that need not be known."""
        if self.safety(compiled) in ("transactional", "repeatable"):
            return None
        return StageInfo(path, "intent", compiled.kind, compiled.target, given, key=key_of(self._run_id, path))

    def transaction(self, compiled: CompiledStage) -> Transaction | None:
        """Return what keeps back the writes of a stage until it is done, None if they are not."""
        return Transaction(self.writer.storage) if self.safety(compiled) == "transactional" else None

    def note(self, info: StageInfo) -> None:
        """Note what is known of a stage."""
        self.writer.stage(info)

    def fail(
        self,
        compiled: CompiledStage,
        record: StageRecord,
        shared: Mapping[str, Any] | None,
        status: Literal["failed", "interrupted"],
    ) -> None:
        """Note that a stage failed, or that what it did cannot be kept: then it does not run again by itself."""
        info = StageInfo(record.path, status, compiled.kind, compiled.target, error=record.error)
        figures = {"elapsed_ms": record.elapsed_ms, "attempts": record.attempts, "sequence": record.sequence}
        self.writer.stage(structs.replace(info, **figures), shared)

    def begin_undoing(self, error: str) -> None:
        """Note that what completed is undone from here on."""
        self.undoes = True
        self.writer.become("compensating", error=error)

    def begin_again(self, undone: Iterable[str], choice: str) -> None:
        """Note that stages which were undone, and what undid them, are to run again.

        Args:
            undone: The paths of both.
            choice: The decision about what was undone; the next time more may have completed.
        """
        self.undoes = False
        self.writer.forget_choice(choice)
        for path in undone:
            self.writer.stage(StageInfo(path, "undone"))

    def become(self, status: str, error: str, waiting: tuple[str, ...]) -> None:
        """Note what the run is now."""
        if status == "running" and self.undoes:
            return
        self.writer.become(status, error=error, waiting=waiting)
