"""One stage of a run: what runs it, and what its function is given."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from inspect import isawaitable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

import trio
from blake3 import blake3
from msgspec import msgpack, structs

from llmspell_hookspecs.bounds import ATOMS
from llmspell_hookspecs.context import Failure, HookContext
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    InvalidInputError,
    OperationCancelledError,
    OperationError,
    SecurityError,
)
from llmspell_hookspecs.operation import OperationKind
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.results import Retry
from llmspell_hookspecs.services import Calls
from llmspell_hookspecs.tool import ToolResult
from llmspell_hookspecs.transaction import Transaction
from llmspell_hookspecs.workflow import StageCall, StageOutput, WorkflowOutput
from llmspell_hookspecs.workflows import Retries, StageRecord
from llmspell_plugins.kinds.hiding import exact

from .definition import CompiledStage

if TYPE_CHECKING:
    from .run import Run

__all__ = ["STAGE", "PausedError", "Place", "again", "body_of", "key_of"]

STAGE: Final = OperationKind(
    "workflow_stage",
    "before_workflow_stage",
    "around_workflow_stage",
    "after_workflow_stage",
    "workflow_error",
    result=StageOutput,
    to_result=StageOutput.of,
    identity=lambda call: (call.workflow, call.name, call.input),
    events=True,
    composes=True,
)


class PausedError(OperationError):
    """A stage waits for a person, and the run with it."""

    code = "paused"


_FINAL: Final = (OperationCancelledError, SecurityError, ComponentNotFoundError, InvalidInputError, PausedError)
"""What is the same at every attempt."""
_NOTHING: Final[Mapping[str, Any]] = {}
_BARE: Final = ATOMS - {str, bytes}
"""What holds no secret."""


def key_of(run_id: str, path: str) -> str:
    """Return what stands for a stage of a run: 32 hex digits."""
    return blake3(f"{run_id}/{path}".encode()).hexdigest(16)


class Place:
    """A place in a run: what references are resolved against, and what a function is given.

    Attributes:
        input: What the stage is given; the workflow's own until that is known.
        locals: What belongs to the place.
        path: Where in the run.
        written: What it shared, of a durable run.
        transaction: What keeps back what its tool writes, of a durable run.
        hides: Whether a secret of its output is hidden.
    """

    __slots__ = ("_run", "_scope", "_shared", "hides", "input", "locals", "path", "transaction", "written")

    def __init__(self, run: Run, scope: str, locals: Mapping[str, Any] | None, path: str = "") -> None:
        self._run, self._scope, self.path = run, scope, path
        self.locals = _NOTHING if locals is None else locals
        self.input: Any = run.input
        self.written: dict[str, Any] | None = None
        self.transaction: Transaction | None = None
        self.hides = False
        self._shared: MutableMapping[str, Any] | None = None

    @property
    def shared(self) -> MutableMapping[str, Any]:
        """What the stages of the run share."""
        if self.written is None:
            return self._run.shared
        if self._shared is None:
            self._shared = self._run.share(self)
        return self._shared

    def begin(self, stage: CompiledStage) -> AbstractContextManager[None]:
        """Return a block for one attempt at its stage, whose writes are kept back if they can be."""
        durable = self._run.durable
        self.transaction = None if durable is None else durable.transaction(stage)
        return nullcontext() if self.transaction is None else self.transaction.around()

    async def output_of(self, value: Any) -> StageOutput:
        """Return what a stage yields as its hooks are shown it, without the secrets that it holds."""
        self.hides = False
        if type(value) in _BARE:
            return StageOutput(value)
        with trio.CancelScope(shield=True):  # it is done: who cancels the run now must find it among what ended
            hidden = await self._run.hidden(value)
        self.hides = hidden is not value
        return StageOutput(hidden)

    def wrote(self, key: str, value: Mapping[str, Any]) -> None:
        """Note what it shares."""
        if self.written is not None:
            self.written[key] = value

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self._run.definition.name

    @property
    def run_id(self) -> str:
        """The run's."""
        return self._run.id

    @property
    def key(self) -> str:
        """What stands for the stage, the same when it runs again."""
        return key_of(self._run.id, self.path)

    def kept(self, step: str, branch: str = "", /) -> StageRecord | None:
        """Return what became of a stage, or of one of a branch, as it is kept: the one nearest to this place."""
        records, scope = self._run.records, self._scope
        step = f"branch.{branch}/{step}" if branch else step
        while scope:
            found = records.get(f"{scope}/{step}")
            if found is not None:
                return found
            scope = scope.rpartition("/")[0]
        return records.get(step)

    def own(self, value: Any, /) -> Any:
        """Return what is kept as whoever asks may change it: of a durable run a value of its own."""
        if self._run.durable is None or type(value) in ATOMS:
            return value
        return msgpack.decode(msgpack.encode(value))  # it was kept so, and this takes a third of walking it

    def record(self, step: str, /) -> StageRecord | None:
        """Return what became of a stage: the one nearest to this place."""
        found = self.kept(step)
        return None if found is None else structs.replace(found, output=self.own(found.output))

    def in_branch(self, branch: str, step: str, /) -> StageRecord | None:
        """Return what became of a stage of a branch."""
        found = self.kept(step, branch)
        return None if found is None else structs.replace(found, output=self.own(found.output))

    def output(self, step: str, /) -> Any:
        """Return what a stage yielded, None if it yielded nothing."""
        found = self.record(step)
        return None if found is None else found.output


def body_of(stage: CompiledStage, place: Place, calls: Calls, ran: Callable[[], None]) -> Callable[[StageCall], Any]:
    """Return what runs a stage once, given the approved call."""
    function = stage.stage.function
    if function is not None:

        async def call_function(approved: StageCall) -> StageOutput:
            ran()
            place.input = exact(approved.input)
            value = function(place)
            if type(value) is CoroutineType or isawaitable(value):
                value = await value
            return await place.output_of(value.output if type(value) is StageOutput else value)

        return call_function
    address = stage.stage.address

    async def call_component(approved: StageCall) -> StageOutput:
        ran()
        with place.begin(stage):
            result = await calls.call(address, exact(approved.input), key=approved.key)
        if isinstance(result, ToolResult):
            if not result.success:
                told = result.message or str((result.error or {}).get("message") or "it says that it failed")
                raise OperationError(f"{address}: {told}", component=address)
            if result.result is None and result.text is not None:
                return await place.output_of(result.text)
        if isinstance(result, WorkflowOutput) and result.status == "paused":
            raise PausedError(f"{address}: {result.error or 'it waits'}", component=address)
        return await place.output_of(payload_of(result))

    return call_component


def again(retries_of: Callable[[StageCall], Retries | None]) -> Callable[[HookContext[Failure]], Retry | None]:
    """Return the hook that lets stages run again.

    Args:
        retries_of: Returns how often the stage that runs is tried; two of one name may differ in that.
    """

    def try_again(context: HookContext[Failure]) -> Retry | None:
        if context.component.kind != STAGE.name or isinstance(context.subject.error, _FINAL):
            return None
        retry = retries_of(context.request)
        attempt = context.operation.attempt
        if retry is None or attempt >= retry.attempts:
            return None
        delay_s = _delay_s(retry, attempt)
        if retry.jitter:
            delay_s *= 1 - retry.jitter * random.random()  # noqa: S311 - so that many do not come at once
        return Retry(delay_s, retry.attempts)

    return try_again


def _delay_s(retry: Retries, attempt: int) -> float:
    """Return the wait after an attempt, however often it grew."""
    try:
        return min(retry.max_delay_s, retry.delay_s * retry.backoff ** (attempt - 1))
    except OverflowError:
        return retry.max_delay_s if retry.delay_s else 0.0
