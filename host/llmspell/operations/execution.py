"""One operation with hooks, from proposal to end; the six steps of DESIGN.md, section 4.

Invariant: proposals take effect only after every guard has passed; a hook's Cancel is final; every value that leaves
passes the after-guards once; the operation ends exactly once, with its terminal observers and its release. The terminal
observers are those of the after point if it completed or was cancelled there, and those of the error point otherwise.

The module is longer than most because its steps share one state and are read together.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from math import inf
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal

import trio
from msgspec import Struct

from llmspell.hooks import Chain, Hook, advance, advance_waiting, judge, observe, unsupported
from llmspell_hookspecs import (
    Cache,
    Call,
    Cancel,
    Failure,
    Fork,
    ForkOutcome,
    HookContext,
    HookResult,
    Metadata,
    Modified,
    OperationCancelledError,
    OperationError,
    OperationTimeoutError,
    Outcome,
    Phase,
    Redirect,
    Replace,
    Retry,
    SlowOperation,
    freeze,
)

from .asking import ask_chain, cancellation, where
from .cache import CacheKey
from .correlation import Frame
from .fit import fit, freeze_fields, thaw_fields
from .forks import Forks, failure_of
from .kind import Operation
from .notices import notice_of
from .wraps import LAST_MOMENTS_S, enclose

if TYPE_CHECKING:
    from .runner import Chains, Runner

__all__ = ["Execution"]

_NOTHING: Any = object()
Status = Literal["completed", "failed", "cancelled"]


class _Proposal(Struct, frozen=True):
    """What ended the transforms."""

    hook: Hook
    answer: HookResult
    value: Any = _NOTHING


class _Again(Exception):  # noqa: N818 - control flow within this module
    """Run again, from the original subject or from the approved one."""

    def __init__(self, hook: Hook, retry: Retry, *, original: bool) -> None:
        super().__init__()
        self.hook = hook
        self.retry = retry
        self.original = original


class Execution:
    """One operation on its way through the six steps."""

    __slots__ = (
        "_approved",
        "_attempts_allowed",
        "_began_s",
        "_body_value",
        "_cancelled",
        "_chains",
        "_deadline",
        "_elapsed_ns",
        "_ended_after",
        "_forks",
        "_frame",
        "_late",
        "_limit_s",
        "_metadata",
        "_operation",
        "_outcome",
        "_proposed",
        "_questions",
        "_ref",
        "_runner",
        "_scope",
        "_stores",
        "_subject",
        "_until_s",
        "_wanted",
    )

    def __init__(self, runner: Runner, operation: Operation, frame: Frame, chains: Chains) -> None:
        self._runner = runner
        self._operation = operation
        self._frame = frame
        self._chains = chains
        self._metadata = Metadata()
        self._ref = frame.ref()
        self._limit_s = _least(operation.deadline_s, runner.limits.operation_time_s)
        self._began_s = trio.current_time()
        self._deadline = None if self._limit_s is None else self._began_s + self._limit_s
        self._scope: trio.CancelScope | None = None
        self._late: OperationTimeoutError | None = None
        self._until_s = inf
        self._attempts_allowed = 1 << 31
        self._approved: Any = _NOTHING
        self._proposed: Any = operation.subject
        self._subject: Any = operation.subject
        self._body_value: Any = _NOTHING
        self._cancelled: OperationCancelledError | None = None
        self._outcome: Outcome | None = None
        self._ended_after = False
        self._elapsed_ns = 0
        self._forks: Forks | None = None
        self._wanted: list[Fork] = []
        self._stores: list[tuple[CacheKey, float, Any]] = []
        self._questions: dict[tuple[str, str, str], Any] = {}

    async def run(self) -> Any:
        """Run it and answer its result."""
        started = perf_counter_ns()
        value: Any = _NOTHING
        try:
            value = await self._until_settled()
        finally:
            if value is _NOTHING:
                await self._end_without(sys.exception(), started)
        await self._end("completed", value, started)
        return thaw_fields(value)

    async def ask(self, point: str, subject: Any) -> Any:
        """Ask a check, a decision or a notice of this operation; see `Asker`."""
        chain = self._runner.registry.chain(point, self._frame.component.name)
        if chain is None:
            return subject
        try:
            answer = await ask_chain(chain, self._context(chain, freeze_fields(subject)), self._until_s)
        except OperationCancelledError as error:
            self._cancelled = error
            self._outcome = Outcome("cancelled", Cancel(error.reason, error.code), error.hook)
            raise
        if answer.forks:
            await self._start_forks(answer.forks)
        return answer.subject

    def hold(self, time_s: float) -> None:
        """Shorten the deadline; see `Asker`."""
        if self._limit_s is not None and time_s < self._limit_s:
            self._limit_s = time_s
            self._deadline = self._began_s + time_s
            if self._scope is not None:
                self._scope.deadline = self._deadline

    # Attempts.

    async def _until_settled(self) -> Any:
        original = True
        while True:
            try:
                return await self._attempt(original)
            except _Again as again:
                original = again.original or self._approved is _NOTHING
                await self._wait(again)

    async def _wait(self, again: _Again) -> None:
        attempt, delay_s = self._frame.attempt + 1, max(0.0, again.retry.delay_s)
        self._note(again.hook, "Retry", f"attempt {attempt} after {delay_s:g} s")
        if self._deadline is not None and trio.current_time() + delay_s > self._deadline:
            error = self._late or self._too_late()
            if error is not again.__cause__:
                await self._notices(error)
            raise error from (again.__cause__ if error is not again.__cause__ else error.__cause__)
        await trio.sleep(delay_s)
        self._frame.attempt = attempt
        self._ref = self._frame.ref()

    def _may_retry(self, retry: Retry) -> bool:
        self._attempts_allowed = min(self._attempts_allowed, max(1, retry.max_attempts))
        return self._frame.attempt < self._attempts_allowed

    async def _attempt(self, original: bool) -> Any:
        try:
            value = await self._timed(self._produce, original)
        except Exception as error:
            if error is self._cancelled or isinstance(error, _Again):
                raise
            return await self._failed(error)
        if self._chains.after is None:
            return value
        try:
            return await self._timed(self._settle, value)
        except OperationTimeoutError as error:
            if error is not self._late:
                raise
            return await self._failed(error)

    async def _failed(self, error: Exception) -> Any:
        """Recover within the deadline; what passed it already has no time left to be held to."""
        if error is self._late:
            return await self._recover(error)
        try:
            return await self._timed(self._recover, error)
        except OperationTimeoutError as late:
            if late is self._late:
                await self._notices(late)
            raise

    async def _timed(self, step: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        if self._deadline is None:
            return await step(argument)
        self._scope = trio.CancelScope(deadline=self._deadline)
        with self._scope:
            return await step(argument)
        raise self._too_late()

    def _too_late(self) -> OperationTimeoutError:
        component, limit_s = self._component_text(), self._limit_s or 0.0
        message = f"{component}: it took longer than {limit_s:g} s; give it more time or less to do"
        self._late = OperationTimeoutError(message, limit_s=limit_s, operation=self._frame.id, component=component)
        return self._late

    # Steps 1 to 4: propose, prepare, approve, run.

    async def _produce(self, original: bool) -> Any:
        chain = self._chains.before
        self._wanted = []
        self._outcome = None
        self._body_value = _NOTHING
        self._elapsed_ns = 0
        if original:
            self._approved = _NOTHING
            self._stores.clear()
            self._proposed = self._subject = freeze_fields(self._operation.subject)
        else:
            self._subject = self._approved
        try:
            proposal = await self._approve(chain, original)
        except Exception as error:
            await self._tell_before(chain, error)
            raise
        await self._tell_before(chain, None)
        self._approved = self._subject
        if self._operation.started is not None:
            self._operation.started()
        return await self._take_effect(proposal, self._subject)

    async def _approve(self, chain: Chain | None, original: bool) -> _Proposal | None:
        proposal: _Proposal | None = None
        if original:
            if chain is not None:
                self._subject, proposal = await self._transforms(chain, self._subject)
            self._proposed = self._subject
        if proposal is not None and isinstance(proposal.answer, Cancel):
            raise self._cancel(proposal.hook, proposal.answer, self._subject)
        leaves = proposal is not None and isinstance(proposal.answer, Redirect | Retry)
        if self._operation.prepare is not None and not leaves:
            self._subject = freeze_fields(await self._operation.prepare(self._subject, self))
        await self._judge(chain, self._subject)
        return proposal

    async def _tell_before(self, chain: Chain | None, failure: Exception | None) -> None:
        if chain is None or not chain.observers:
            return
        outcome = self._outcome or Outcome()
        if failure is not None:
            status: Status = "cancelled" if failure is self._cancelled else "failed"
            outcome = Outcome(status, outcome.decision, outcome.hook, failure_of(failure))
        await observe(chain.observers, self._context(chain, self._subject, outcome=outcome))

    async def _judge(self, chain: Chain | None, subject: Any) -> None:
        if chain is None or not chain.guards:
            return
        verdict = await judge(chain.guards, self._context(chain, subject, outcome=self._outcome))
        if verdict is not None:
            raise self._cancel(verdict[0], verdict[1], subject, verdict[2])

    def _cancel(
        self, hook: Hook, cancel: Cancel, subject: Any, cause: Exception | None = None
    ) -> OperationCancelledError:
        chain = Chain(hook.point, ())
        self._outcome = Outcome("cancelled", cancel, f"{hook.plugin}.{hook.name}")
        self._cancelled = cancellation(hook, cancel, self._context(chain, subject), cause)
        return self._cancelled

    async def _take_effect(self, proposal: _Proposal | None, subject: Any) -> Any:
        await self._start_forks(self._wanted)
        answer = None if proposal is None else proposal.answer
        if isinstance(answer, Retry) and proposal is not None:
            if self._may_retry(answer):
                raise _Again(proposal.hook, answer, original=True)
            text = self._component_text()
            message = (
                f"{text}: {where(proposal.hook)} asked for a retry after attempt {self._frame.attempt}, the last one"
            )
            raise OperationError(message, operation=self._frame.id, component=text)
        if proposal is None:
            return await self._run_body(subject)
        if isinstance(answer, Redirect):
            return await self._redirect(proposal.hook, answer, self._operation.kind.payload(subject))
        return proposal.value

    async def _run_body(self, subject: Any) -> Any:
        started = perf_counter_ns()
        around = self._chains.around
        try:
            if around is None:
                self._body_value = await self._body(subject)
            else:
                context = self._context(around, subject)
                self._body_value = await enclose(around.wraps, context, lambda: self._body(subject))
        finally:
            self._elapsed_ns = perf_counter_ns() - started
        return self._body_value

    async def _body(self, subject: Any) -> Any:
        return freeze_fields(self._operation.kind.to_result(await self._operation.body(subject)))

    # Step 5: settle.

    async def _settle(self, value: Any) -> Any:
        chain = self._chains.after
        if chain is None:
            return value
        self._outcome = None
        self._wanted = []
        self._ended_after = True
        self._stores = [store for store in self._stores if store[2] is _NOTHING]
        self._subject = value
        value, proposal = await self._transforms(chain, value)
        self._subject = value
        if proposal is not None and isinstance(proposal.answer, Cancel):
            raise self._cancel(proposal.hook, proposal.answer, value)
        if proposal is not None and proposal.value is not _NOTHING:
            value = proposal.value
        await self._judge(chain, value)
        await self._start_forks(self._wanted)
        if proposal is not None and isinstance(proposal.answer, Retry) and self._repeats(proposal):
            self._ended_after = False
            raise _Again(proposal.hook, proposal.answer, original=False)
        if proposal is not None and isinstance(proposal.answer, Redirect):
            value = await self._redirect(proposal.hook, proposal.answer, self._operation.kind.payload(value))
            await self._judge(chain, value)
        return value

    def _repeats(self, proposal: _Proposal) -> bool:
        if not self._operation.repeatable:
            self._note(proposal.hook, "Retry", "not honoured: the component does not declare itself repeatable")
            return False
        return isinstance(proposal.answer, Retry) and self._may_retry(proposal.answer)

    async def _recover(self, error: Exception) -> Any:
        await self._notices(error)
        chain = self._chains.error
        if chain is None or not (chain.transforms or chain.guards):
            raise error
        self._outcome = None
        self._wanted = []
        failure = failure_of(error)
        _, proposal = await self._transforms(chain, failure)
        verdict = await judge(chain.guards, self._context(chain, failure, outcome=self._outcome))
        denied = None if verdict is None else (verdict[0], verdict[1])
        if proposal is not None and isinstance(proposal.answer, Cancel):
            denied = (proposal.hook, proposal.answer)
        if denied is not None:
            context = self._context(chain, failure)
            raise _chained(error, cancellation(denied[0], denied[1], context))
        await self._start_forks(self._wanted)
        return await self._recovered(error, proposal)

    async def _recovered(self, error: Exception, proposal: _Proposal | None) -> Any:
        if proposal is None:
            raise error
        if isinstance(proposal.answer, Retry):
            if not _is_denied(error) and self._repeats(proposal):
                raise _Again(proposal.hook, proposal.answer, original=False) from error
            raise error
        value = proposal.value
        if isinstance(proposal.answer, Redirect):
            subject = self._proposed if self._approved is _NOTHING else self._approved
            value = await self._redirect(proposal.hook, proposal.answer, self._operation.kind.payload(subject))
        self._ended_after = True
        self._subject = value
        if self._chains.after is not None:
            await self._judge(self._chains.after, value)
        return value

    async def _redirect(self, hook: Hook, redirect: Redirect, payload: Any) -> Any:
        target = redirect.target if ":" in redirect.target else f"{self._frame.component.kind}:{redirect.target}"
        self._note(hook, "Redirect", target)
        value = await self._runner.call(Call(target, payload), hops=self._frame.hops + 1)
        return freeze_fields(self._operation.kind.to_result(value))

    # What transforms answer, in every phase.

    async def _transforms(self, chain: Chain, subject: Any) -> tuple[Any, _Proposal | None]:
        transforms, index = chain.transforms, 0
        proposal: _Proposal | None = None
        if not transforms:
            return subject, proposal
        waits, frame = chain.waits, self._frame
        context = (  # the hot path, without a call
            self._context(chain, subject)
            if chain.late
            else HookContext(chain.name, subject, frame.component, self._ref, self._metadata, frame.language)
        )
        while True:
            answered = (
                await advance_waiting(transforms, index, context) if waits else advance(transforms, index, context)
            )
            if answered is None:
                return subject, proposal
            index, answer = answered
            hook, phase = transforms[index - 1], chain.point.phase
            if type(answer).__name__ not in chain.point.accepts:
                raise unsupported(hook, answer, sorted(chain.point.accepts))
            if isinstance(answer, Modified) and phase is Phase.ERROR:
                proposal = self._propose(hook, answer, self._as_result(hook, answer.value, None))
                context = self._context(chain, subject, outcome=self._outcome)
            elif isinstance(answer, Modified):
                subject = self._changed(hook, answer.value, subject, phase)
                context = self._context(chain, subject)
            elif isinstance(answer, Fork):
                self._wanted.append(answer)
            elif isinstance(answer, Cache):
                stored = await self._cached(hook, answer, subject, phase)
                if stored is not None:
                    return subject, self._propose(hook, answer, stored)
            elif isinstance(answer, Replace):
                current = subject if phase is Phase.AFTER else None
                return subject, self._propose(hook, answer, self._as_result(hook, answer.value, current))
            elif isinstance(answer, Cancel | Redirect | Retry):
                return subject, self._propose(hook, answer)

    def _propose(self, hook: Hook, answer: HookResult, value: Any = _NOTHING) -> _Proposal:
        self._outcome = Outcome("running", answer, f"{hook.plugin}.{hook.name}")
        return _Proposal(hook, answer, value)

    def _changed(self, hook: Hook, value: Any, subject: Any, phase: Phase) -> Any:
        if phase is Phase.AFTER:
            return self._as_result(hook, value, subject)
        return fit(value, hook.point.subject, where(hook), subject)

    def _as_result(self, hook: Hook, value: Any, current: Any) -> Any:
        wanted = self._operation.kind.result
        if isinstance(value, dict) and wanted is not object and _is_partial(value, wanted):
            return fit(value, wanted, where(hook), current)
        return fit(self._operation.kind.to_result(freeze(value)), wanted, where(hook))

    async def _cached(self, hook: Hook, cache: Cache, subject: Any, phase: Phase) -> Any:
        results = self._runner.results
        asked = (hook.plugin, cache.key, cache.scope)
        if phase is Phase.BEFORE:
            self._questions[asked] = subject
        about = self._questions.get(asked, self._proposed)
        key = results.key(self._frame, self._operation.kind.name, hook.plugin, cache, about)
        if phase is Phase.AFTER:
            self._stores.append((key, cache.ttl_s, subject))
            return None
        stored = results.stale(key) if phase is Phase.ERROR else await results.enter(key, self._frame)
        if phase is Phase.BEFORE and stored is None:
            self._stores.append((key, cache.ttl_s, _NOTHING))
        self._note(hook, "Cache", "miss" if stored is None else "hit")
        return None if stored is None else stored.value

    async def _start_forks(self, forks: list[Fork]) -> None:
        if not forks:
            return
        if self._forks is None:
            self._forks = self._runner.forks()
        await self._forks.start(forks)

    # Step 6: end.

    async def _end_without(self, error: BaseException | None, started: int) -> None:
        """End without a result: as failed, or as cancelled by a hook or by the caller."""
        failure = failure_of(error) if error is not None else Failure("Cancelled", "Cancelled", "cancelled")
        if isinstance(error, Exception):
            await self._end("cancelled" if error is self._cancelled else "failed", failure, started)
        else:
            await self._hurry(self._last_steps("cancelled", failure, started))

    async def _end(self, status: Status, subject: Any, started: int) -> None:
        steps = self._last_steps(status, subject, started)
        problem: Exception | None = None
        try:
            for step in steps:
                try:
                    await step
                except Exception as error:
                    problem = problem or error
        except trio.Cancelled:
            await self._hurry(steps)
            raise
        if problem is not None and status == "completed":
            raise problem
        if problem is not None:
            self._runner.problems.append(problem)

    async def _hurry(self, steps: Iterator[Awaitable[None]]) -> None:
        """Run the steps shielded. When the 100 ms are over each still begins, and ends where it first waits."""
        self._until_s = trio.current_time() + LAST_MOMENTS_S
        for step in steps:
            with trio.CancelScope(shield=True, deadline=self._until_s):
                try:
                    await step
                except Exception as error:
                    self._runner.problems.append(error)

    def _last_steps(self, status: Status, subject: Any, started: int) -> Iterator[Awaitable[None]]:
        """Yield what is left to do, in order. A cancellation ends one step, never the ones after it."""
        self._keep(status)
        if self._operation.started is not None:
            self._operation.started()
        if self._forks is not None:
            yield self._forks.finish()
        withheld = self._ended_after and isinstance(subject, Failure) and subject.error is self._cancelled
        chain = self._chains.after if status == "completed" or withheld else self._chains.error
        if chain is not None and chain.observers:
            context = self._last_context(chain, status, subject)
            for observers in chain.observer_steps:
                yield observe(observers, context)
        if self._operation.release is not None:
            yield self._operation.release(self)
        if self._runner.slow_ms is not None:
            yield self._report_slow((perf_counter_ns() - started) / 1e6, self._runner.slow_ms)
        if self._forks is not None:
            yield self._forks.finish()
            self._note_forks(self._forks.outcomes())

    def _keep(self, status: Status) -> None:
        if status == "completed":
            for key, ttl_s, value in self._stores:
                kept = self._body_value if value is _NOTHING else value
                if kept is not _NOTHING:
                    self._runner.results.store(key, kept, ttl_s)
        self._runner.results.leave(self._frame)

    def _last_context(self, chain: Chain, status: Status, subject: Any) -> HookContext[Any]:
        last = self._outcome or Outcome()
        error = subject if isinstance(subject, Failure) else None
        if chain is self._chains.after and error is not None:
            subject = self._subject
        outcome = Outcome(status, last.decision, last.hook, error)
        forks = () if self._forks is None else self._forks.outcomes()
        return self._context(chain, subject, outcome=outcome, forks=forks)

    async def _report_slow(self, elapsed_ms: float, threshold_ms: float) -> None:
        if elapsed_ms > threshold_ms:
            await self.ask("performance_threshold_exceeded", SlowOperation(elapsed_ms, threshold_ms))

    async def _notices(self, error: Exception) -> None:
        if error is self._late:
            if self._operation.kind.timeout:
                await self.ask(self._operation.kind.timeout, self._proposed)
            return
        notice = notice_of(error)
        if notice is not None:
            await self.ask(*notice)

    # What hooks are given.

    def _context(
        self, chain: Chain, subject: Any, outcome: Outcome | None = None, forks: tuple[ForkOutcome, ...] = ()
    ) -> HookContext[Any]:
        frame = self._frame
        request, elapsed_ns = None, 0
        if chain.late:
            request, elapsed_ns = self._proposed if self._approved is _NOTHING else self._approved, self._elapsed_ns
        return HookContext(
            chain.name,
            subject,
            frame.component,
            self._ref,
            self._metadata,
            frame.language,
            request,
            elapsed_ns,
            outcome,
            forks,
        )

    def _component_text(self) -> str:
        return f"{self._frame.component.kind}:{self._frame.component.name}"

    def _note(self, hook: Hook, result: str, detail: str) -> None:
        if self._runner.tracer is not None:
            self._runner.tracer.note(
                hook.point.name, result, detail, component=self._component_text(), operation=self._frame.id
            )

    def _note_forks(self, outcomes: tuple[ForkOutcome, ...]) -> None:
        if self._runner.tracer is None:
            return
        component, operation = self._component_text(), self._frame.id
        for outcome in outcomes:
            why = "" if outcome.error is None else f": {outcome.error.message}"
            detail = f"{outcome.call.address} {outcome.status}{why}"
            self._runner.tracer.note("", "Fork", detail, component=component, operation=operation)


def _is_denied(error: BaseException | None) -> bool:
    """Whether a hook cancelled what the error comes from: an operation within this one."""
    while error is not None:
        if isinstance(error, OperationCancelledError):
            return True
        error = error.__cause__
    return False


def _is_partial(value: dict[str, Any], wanted: type) -> bool:
    return bool(value) and set(value) <= set(wanted.__struct_fields__)  # type: ignore[attr-defined]


def _least(first: float | None, second: float | None) -> float | None:
    return second if first is None else first if second is None else min(first, second)


def _chained(error: Exception, cancelled: OperationCancelledError) -> Exception:
    if error.__cause__ is None:
        error.__cause__ = cancelled
    else:
        error.add_note(str(cancelled))
    return error
