"""One operation with hooks, from proposal to end; the six steps of docs/design.md.

Propose (`proposing`), prepare, approve and run; settle or recover; end (`ending`). What lies between the steps is the
`course`.

Invariant: proposals take effect only after every guard has passed; a hook's Cancel is final; every value that leaves
passes the after-guards once; the operation ends exactly once, with its terminal observers and its release. The terminal
observers are those of the after point if it completed or was cancelled there, and those of the error point otherwise.
Hooks of scripts are a layer outside of all others, see `Chain`.

It is longer than most because the six steps only make sense together.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter_ns
from typing import Any

import trio

from llmspell.hooks import Chain, Hook, judge, observe
from llmspell_hookspecs import (
    Call,
    Cancel,
    Failure,
    HookResult,
    InvalidInputError,
    OperationCancelledError,
    OperationError,
    OperationTimeoutError,
    Outcome,
    Redirect,
    Retry,
)
from llmspell_hookspecs.fit import name_after, thaw_fields, without_refused
from llmspell_hookspecs.foreign import as_error, let_pass

from .announcing import announce_start
from .asking import cancellation
from .course import NOTHING, Course
from .ending import end, end_without
from .forks import failure_of
from .notices import notice_of
from .proposing import Proposal, propose
from .wraps import enclose

__all__ = ["Execution"]


class _Again(Exception):  # noqa: N818 - control flow within this module
    """Run again, from the original subject or from the approved one."""

    def __init__(self, hook: Hook, retry: Retry, *, original: bool) -> None:
        super().__init__()
        self.hook = hook
        self.retry = retry
        self.original = original


class Execution:
    """One operation on its way through the six steps.

    Args:
        course: Its state.
    """

    __slots__ = ("_attempts_allowed", "_course")

    def __init__(self, course: Course) -> None:
        self._course = course
        self._attempts_allowed = 1 << 31

    def run(self) -> Coroutine[Any, Any, Any]:
        """Run it and return its result."""
        if self._course.chains.heard:
            announce_start(self._course)
        return self._to_its_end(self._attempt(self._produce, True), perf_counter_ns())

    # Where the straight path leaves off; each returns what `run` would.

    def answer(self, answered: tuple[int, HookResult]) -> Coroutine[Any, Any, Any]:
        """Go on with what a transform has answered."""
        return self._resume(self._decide, self._propose_rest(answered))

    def refuse(self, error: BaseException) -> Coroutine[Any, Any, Any]:
        """Go on from a failure before the body, or a guard's verdict."""
        return self._resume(self._decide, _raised(error))

    def prepare(self) -> Coroutine[Any, Any, Any]:
        """Go on with the preparation, since others may be asked in it by now."""
        return self._resume(self._decide, self._prepare(None))

    def judge(self) -> Coroutine[Any, Any, Any]:
        """Go on with the guards, since others stand there by now."""
        return self._resume(self._decide, self._guard(None))

    def begin(self) -> Coroutine[Any, Any, Any]:
        """Go on with the body: the guards have let the call pass."""
        return self._resume(self._decide, _nothing())

    def complete(self, value: Any) -> Coroutine[Any, Any, Any]:
        """Go on from what the body yielded."""
        self._course.approved = self._course.subject
        return self._resume(self._take, value)

    def fail(self, error: BaseException) -> Coroutine[Any, Any, Any]:
        """Go on from what the body raised, or was cancelled by."""
        self._course.approved = self._course.subject
        return self._resume(self._lose, error)

    def _resume(self, step: Callable[[Any], Awaitable[Any]], argument: Any) -> Coroutine[Any, Any, Any]:
        return self._to_its_end(self._attempt(step, argument), perf_counter_ns() - self._course.elapsed_ns)

    async def _to_its_end(self, attempt: Coroutine[Any, Any, Any], started_ns: int) -> Any:
        """Make attempts until one is not to be made again, and end."""
        value: Any = NOTHING
        try:
            while value is NOTHING:
                try:
                    value = await attempt
                except _Again as again:
                    original = again.original or self._course.approved is NOTHING
                    await self._wait(again)
                    attempt = self._attempt(self._produce, original)
        finally:
            if value is NOTHING:
                await end_without(self._course, sys.exception(), started_ns)
        await end(self._course, "completed", value, started_ns)
        return await self._course.beside(value, thaw_fields, value)

    # Attempts.

    async def _wait(self, again: _Again) -> None:
        course = self._course
        attempt, delay_s = course.frame.attempt + 1, max(0.0, again.retry.delay_s)
        if again.hook.scope:
            delay_s = min(delay_s, course.house.limits.script_delay_s)
        course.note(again.hook, "Retry", f"attempt {attempt} after {delay_s:g} s")
        if not course.deadline.leaves(delay_s):
            error = course.deadline.passed or course.deadline.error()
            if error is not again.__cause__:
                await self._notices(error)
            raise error from (again.__cause__ if error is not again.__cause__ else error.__cause__)
        await trio.sleep(delay_s)
        course.begin_attempt(attempt)
        course.next = NOTHING if again.retry.value is None else again.retry.value

    def _may_retry(self, retry: Retry) -> bool:
        self._attempts_allowed = min(self._attempts_allowed, max(1, retry.max_attempts))
        return self._course.frame.attempt < self._attempts_allowed

    async def _attempt(self, step: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        course = self._course
        failure: Exception | None = None
        try:
            deadline = course.deadline
            value = await (deadline.over(step, argument) if deadline.is_set else step(argument))
        except Exception as error:
            if error is course.cancelled or isinstance(error, _Again):
                raise
            failure = error
        if failure is None:
            return await self._settled(value)
        return await self._failed(failure)  # not within its handler: what leaves may have to know nothing of it

    async def _settled(self, value: Any) -> Any:
        """Settle within the deadline."""
        course = self._course
        if course.look().after is None and course.operation.leave is None:
            return value
        try:
            return await course.deadline.over(self._settle, value)
        except OperationTimeoutError as error:
            if error is not course.deadline.passed:
                raise
            late = error
        return await self._failed(late)

    async def _failed(self, error: Exception) -> Any:
        """Recover within the deadline; what passed it already has no time left to be held to."""
        deadline = self._course.deadline
        if error is deadline.passed:
            return await self._recover(error)
        try:
            return await deadline.over(self._recover, error)
        except OperationTimeoutError as late:
            if late is deadline.passed:
                await self._notices(late)
            raise

    # Steps 1 to 4: propose, prepare, approve, run.

    async def _produce(self, original: bool) -> Any:
        course = self._course
        course.wanted = []
        course.outcome = None
        course.body_value = NOTHING
        course.elapsed_ns = 0
        if original:
            course.approved = NOTHING
            course.stores.clear()
            try:
                course.proposed = course.subject = await course.frozen(course.operation.subject, "input")
            except InvalidInputError:  # those who are told of that see the rest
                course.proposed = course.subject = course.offered = without_refused(course.operation.subject)
                raise
        else:
            course.subject = course.approved
        if course.next is not NOTHING:
            self._begin_with(course.next)
        return await self._decide(self._approve(original))

    async def _decide(self, approving: Coroutine[Any, Any, Proposal | None]) -> Any:
        course = self._course
        failure: Exception | None = None
        try:
            proposal = await approving
        except BaseException as caught:
            let_pass(caught)
            failure = as_error(caught, course.component)
        chain = course.chains.before
        if chain is not None and (chain.observers or chain.scripts):
            await self._tell_before(chain, failure)
        if failure is not None:
            raise failure
        course.approved = course.subject
        if course.operation.started is not None:
            course.operation.started()
        if proposal is None and not course.wanted:
            return await self._run_body()
        return await self._take_effect(proposal)

    def _begin_with(self, subject: Any) -> None:
        """Begin an attempt with another call: nobody has approved it, and nothing is stored for what was asked."""
        course = self._course
        course.next = course.approved = NOTHING
        course.proposed = course.offered = course.subject = subject
        course.stores.clear()
        course.questions.clear()

    async def _approve(self, original: bool) -> Proposal | None:
        course, chain = self._course, self._course.look().before
        scripts = None if chain is None else course.scripts(chain)
        proposal: Proposal | None = None
        if original:
            if scripts is not None:
                course.subject, proposal = await propose(course, scripts, course.subject)
            course.offered = course.subject
            if chain is not None and proposal is None:
                course.subject, proposal = await propose(course, chain, course.subject)
            course.proposed = course.subject
        return await self._prepare(proposal)

    async def _propose_rest(self, answered: tuple[int, HookResult]) -> Proposal | None:
        course, chain = self._course, self._course.chains.before
        if chain is None:
            raise RuntimeError("nobody stands there who could have answered")
        course.subject, proposal = await propose(course, chain, course.subject, answered)
        course.proposed = course.subject
        return await self._prepare(proposal)

    async def _prepare(self, proposal: Proposal | None) -> Proposal | None:
        course = self._course
        if proposal is not None and isinstance(proposal.answer, Cancel):
            raise course.cancel(proposal.hook, proposal.answer, course.subject)
        leaves = proposal is not None and isinstance(proposal.answer, Redirect | Retry)
        if course.operation.prepare is not None and not leaves:
            prepared = await course.operation.prepare(course.subject, course)
            if prepared is not course.subject:
                course.subject = await course.frozen(prepared)
        return await self._guard(proposal)

    async def _guard(self, proposal: Proposal | None) -> Proposal | None:
        course, chain = self._course, self._course.look().before
        if chain is not None and chain.guards:
            await self._judge(chain, course.subject)
        if course.holds:
            await course.ask_held()
        if chain is not None and chain.scripts:
            await self._judge(course.scripts(chain), course.subject)
        return proposal

    async def _tell_before(self, chain: Chain, failure: Exception | None) -> None:
        course = self._course
        scripts = course.scripts(chain)
        if not (chain.observers or scripts):
            return
        outcome = course.outcome or Outcome()
        if failure is not None:
            status = "cancelled" if failure is course.cancelled else "failed"
            outcome = Outcome(status, outcome.decision, outcome.hook, failure_of(failure))  # type: ignore[arg-type]
        await observe(chain.observers, course.context(chain, course.subject, outcome), course.limit_s)
        if scripts is None:
            return
        if outcome.status == "failed":  # hooks at the error point may still take something out of its text
            bare = Failure(type(failure).__name__, "it failed; the error point tells why", outcome.error.code)  # type: ignore[union-attr]
            outcome = Outcome("failed", outcome.decision, outcome.hook, bare)
        subject = course.subject if failure is None else course.offered
        await observe(scripts.observers, course.context(scripts, subject, outcome), course.limit_s)

    async def _judge(self, chain: Chain | None, subject: Any) -> None:
        if chain is None or not chain.guards:
            return
        course = self._course
        verdict = await judge(chain.guards, course.context(chain, subject, course.outcome), course.limit_s)
        if verdict is not None:
            raise course.cancel(verdict[0], verdict[1], subject, verdict[2])

    async def _take_effect(self, proposal: Proposal | None) -> Any:
        course = self._course
        await course.start_forks(course.wanted)
        if proposal is None:
            return await self._run_body()
        if isinstance(proposal.answer, Retry):
            raise self._again_or_exhausted(proposal.hook, proposal.answer)
        if isinstance(proposal.answer, Redirect):
            return await self._redirect(proposal.hook, proposal.answer, course.subject)
        return proposal.value

    def _again_or_exhausted(self, hook: Hook, retry: Retry) -> Exception:
        course = self._course
        if self._may_retry(retry):
            return _Again(hook, retry, original=True)
        message = (
            f"{course.component}: {hook.where} asked for a retry after attempt {course.frame.attempt}, the last one"
        )
        message += "; let it ask less often, or raise its max_attempts"
        return OperationError(message, operation=course.frame.id, component=course.component)

    async def _run_body(self) -> Any:
        course, around = self._course, self._course.look().around
        started_ns = perf_counter_ns()
        try:
            if around is None:
                course.body_value = await self._body()
            else:
                context = course.context(around, course.subject)
                limit_s = None if course.deadline.is_set else course.house.limits.final_s
                course.body_value = await enclose(around.wraps, context, self._body, limit_s)
        finally:
            course.elapsed_ns = perf_counter_ns() - started_ns
        return course.body_value

    async def _body(self) -> Any:
        course, operation = self._course, self._course.operation
        try:
            value = operation.kind.to_result(await operation.body(course.subject))
            return await course.frozen(value, "result")
        except BaseException as caught:
            let_pass(caught)
            error = as_error(caught, course.component)
        raise error

    async def _take(self, value: Any) -> Any:
        course = self._course
        course.body_value = await course.frozen(value, "result")
        return course.body_value

    async def _lose(self, caught: BaseException) -> Any:
        if caught is not self._course.deadline.passed:
            let_pass(caught)
        raise as_error(caught, self._course.component)

    # Step 5: settle, or recover.

    async def _settle(self, value: Any) -> Any:
        course, chain = self._course, self._course.chains.after
        if chain is None:
            return await self._as_it_leaves(value)
        course.outcome = None
        course.ended_after = True
        course.stores = [store for store in course.stores if store[2] is NOTHING]
        value = await self._settle_layer(chain, chain, value)
        scripts = course.scripts(chain)
        if course.holds:  # parts of a result that was withheld until now
            await course.ask_held()
        if scripts is not None:
            value = await self._settle_layer(chain, scripts, value)
            if course.holds:
                await course.ask_held()
        return value

    async def _settle_layer(self, inner: Chain, layer: Chain, given: Any) -> Any:
        """Ask the transforms of a layer, then who judges what they left: all guards inside of it and its own."""
        course = self._course
        course.subject = given
        course.wanted = []
        value, proposal = await propose(course, layer, given)
        course.subject = value
        if proposal is not None and isinstance(proposal.answer, Cancel):
            raise course.cancel(proposal.hook, proposal.answer, value)
        if proposal is not None and proposal.value is not NOTHING:
            value = proposal.value
        value = await self._as_it_leaves(value)
        chain = course.look().after
        if layer is inner or value is not given:
            await self._judge(chain, value)
        if layer is not inner:
            await self._judge(course.scripts(chain), value)
        await course.start_forks(course.wanted)
        if (
            proposal is not None
            and isinstance(proposal.answer, Retry)
            and self._repeats(proposal.hook, proposal.answer)
        ):
            course.ended_after = False
            raise _Again(proposal.hook, proposal.answer, original=False)
        if proposal is not None and isinstance(proposal.answer, Redirect):
            value = await self._as_it_leaves(await self._redirect(proposal.hook, proposal.answer, value))
            chain = course.look().after
            await self._judge(chain, value)
            if layer is not inner:
                await self._judge(course.scripts(chain), value)
        return value

    async def _as_it_leaves(self, value: Any) -> Any:
        course = self._course
        if course.operation.leave is None:
            return value
        left = await course.operation.leave(value, course)
        return value if left is value else await course.frozen(left)

    def _repeats(self, hook: Hook, retry: Retry) -> bool:
        if not self._course.operation.repeatable:
            self._course.note(hook, "Retry", "not honoured: the component does not declare itself repeatable")
            return False
        return self._may_retry(retry)

    async def _recover(self, error: Exception) -> Any:
        await self._notices(error)
        course, chain = self._course, self._course.look().error
        scripts = course.scripts(chain)
        if chain is None or not (chain.transforms or chain.guards or scripts):
            raise error
        course.outcome = None
        course.wanted = []
        failure = failure_of(error)
        given = failure
        failure, proposal = await propose(course, chain, failure)
        error = error if failure is given else _error_of(failure, error)
        await self._stop_if_denied(chain, error, failure, proposal)
        if scripts is not None:
            if proposal is None:
                given = failure
                failure, proposal = await propose(course, scripts, failure)
                error = error if failure is given else _error_of(failure, error)
                if proposal is not None or failure is not given:
                    await self._stop_if_denied(chain, error, failure, proposal)
            await self._stop_if_denied(scripts, error, failure, proposal)
        await course.start_forks(course.wanted)
        return await self._recovered(error, proposal)

    async def _stop_if_denied(
        self, chain: Chain, error: Exception, failure: Failure, proposal: Proposal | None
    ) -> None:
        """Let the error go on if a guard denies its recovery, or a transform does."""
        course = self._course
        verdict = await judge(chain.guards, course.context(chain, failure, course.outcome), course.limit_s)
        denied = None if verdict is None else (verdict[0], verdict[1])
        if proposal is not None and isinstance(proposal.answer, Cancel):
            denied = (proposal.hook, proposal.answer)
        if denied is not None:
            raise _chained(error, cancellation(denied[0], denied[1], course.context(chain, failure)))

    async def _recovered(self, error: Exception, proposal: Proposal | None) -> Any:
        course = self._course
        if proposal is None:
            raise error
        if isinstance(proposal.answer, Retry):
            if not _is_denied(error) and self._repeats(proposal.hook, proposal.answer):
                raise _Again(proposal.hook, proposal.answer, original=False) from error
            raise error
        value = proposal.value
        if isinstance(proposal.answer, Redirect):
            value = await self._redirect(proposal.hook, proposal.answer, course.asked)
        course.ended_after = True
        course.subject = value = await self._as_it_leaves(value)
        chain = course.look().after
        await self._judge(chain, value)
        if course.holds:
            await course.ask_held()
        await self._judge(course.scripts(chain), value)
        return value

    async def _redirect(self, hook: Hook, redirect: Redirect, given: Any) -> Any:
        course, kind = self._course, self._course.operation.kind
        target = redirect.target if ":" in redirect.target else f"{course.frame.component.kind}:{redirect.target}"
        course.note(hook, "Redirect", target)
        call = Call(target, kind.payload(given), hook.scope)
        value = await course.house.call(call, hops=course.frame.hops + 1)
        return name_after(await course.frozen(kind.to_result(value)), course.asked, kind.named)

    async def _notices(self, error: Exception) -> None:
        course = self._course
        if error is course.deadline.passed:
            if course.operation.kind.timeout:
                await course.ask(course.operation.kind.timeout, course.proposed)
            return
        notice = notice_of(error)
        if notice is not None:
            await course.ask(*notice)


async def _raised(error: BaseException) -> Proposal | None:
    raise error


async def _nothing() -> Proposal | None:
    return None


def _error_of(failure: Failure, error: Exception) -> Exception:
    """Return the error of a failure as hooks have changed it."""
    return failure.error if isinstance(failure.error, Exception) else error


def _is_denied(error: BaseException | None) -> bool:
    """Whether a hook cancelled what the error comes from: an operation within this one."""
    while error is not None:
        if isinstance(error, OperationCancelledError):
            return True
        error = error.__cause__
    return False


def _chained(error: Exception, cancelled: OperationCancelledError) -> Exception:
    if error.__cause__ is None:
        error.__cause__ = cancelled
    else:
        error.add_note(str(cancelled))
    return error
