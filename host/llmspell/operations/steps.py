"""The six steps of an operation: propose, prepare, approve, run, settle, end.

1. **Propose.** The transforms before it are asked, those of scripts first (`propose`, further down). What ends them
   (Cancel, Replace, Redirect, Retry, a cache hit) is a proposal: it takes effect when the guards have passed.
2. **Prepare.** The operation validates, resolves and allocates; what it returns is what runs.
3. **Approve.** The guards judge exactly that, and the proposal.
4. **Run.** The body, with the wraps around it and under the deadline; or the proposal takes its place.
5. **Settle**, or **recover** what failed: transforms, then guards on the value that leaves. A Retry makes another
   attempt, which begins with step 1 or with the approved call.
6. **End.** Once and whatever happened: forks, terminal observers, release, notices, events, the journal (`end`, last).

What lies between the steps is the `Course`. The straight path in `runner` is the short form for operations on whose way
nothing happens; it goes on here when something does.

Invariant: proposals take effect only after every guard has passed; a hook's Cancel is final; every value that leaves
passes the after-guards once; the operation ends exactly once, with its terminal observers and its release. The terminal
observers are those of the after point if it completed or was cancelled there, and those of the error point otherwise.
Hooks of scripts are a layer outside of all others, see `Chain`. A cancellation on the way ends one step of the end,
never the ones after it; what is left then has 100 ms. Whether anybody listens to its events is decided once, as it
starts. What a handler sets off is not told under the topic that it handles, so no handler keeps itself going. A refusal
is told once, however many operations its error goes through; a limit once for each of them.

It is longer than most because the six steps only make sense together.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from time import perf_counter_ns
from typing import Any, Final, Literal

import trio
from msgspec import Struct, structs

from llmspell.hooks import Chain, Hook, advance, advance_waiting, judge, next_answer, observe
from llmspell_hookspecs import (
    Cache,
    Cancel,
    Events,
    Failure,
    Fork,
    HookContext,
    HookResult,
    LlmspellError,
    Modified,
    OperationCancelledError,
    Phase,
    Redirect,
    Replace,
    Retry,
)
from llmspell_hookspecs.bounds import size_of
from llmspell_hookspecs.context import Outcome
from llmspell_hookspecs.errors import (
    OperationError,
    OperationTimeoutError,
    SecurityError,
    text_of_error,
)
from llmspell_hookspecs.failure import changed_failure, failure_of, is_denied
from llmspell_hookspecs.fit import fit, name_after, thaw_fields, without_refused
from llmspell_hookspecs.foreign import as_error, let_pass
from llmspell_hookspecs.operation import EndedOperation, OperationKind
from llmspell_hookspecs.result_store import CacheKey, ResultStore, Stored
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.secret import holds_secret
from llmspell_hookspecs.system import SlowOperation, Violation, limit_of
from llmspell_hookspecs.values import freeze

from .asking import cancellation
from .course import NOTHING, Course, ToKeep
from .forks import on_behalf
from .wraps import LAST_MOMENTS_S, enclose

__all__ = ["Execution", "is_heard", "propose"]

Status = Literal["completed", "failed", "cancelled"]
_ENDS: Final = ("started", "completed", "failed", "cancelled")
_log = logging.getLogger("llmspell.operations")
_TOLD: Final = "_llmspell_told"


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

    def run_body(self) -> Coroutine[Any, Any, Any]:
        """Go on with the body: its observers have been told, too."""
        return self._resume(self._run_told, None)

    def interrupt(self, error: BaseException) -> Coroutine[Any, Any, Any]:
        """End where the user's own Ctrl-C came before the body."""
        return self._resume(self._lose, error)

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
            late = deadline.has_cut_off and error is not deadline.passed
            failure = deadline.instead_of(error) if late else error
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
        """Recover within the deadline; what passed it already has no time left to be held to.

        What a body raises as its caller cuts it off is no failure: nothing begins because of it.
        """
        if not self._course.operation.kind.sync:
            await trio.lowlevel.checkpoint_if_cancelled()
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
            except BaseException:  # it is refused, or was cancelled meanwhile: those who are told see the rest
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
        return await self._run_told(proposal)

    async def _run_told(self, proposal: Proposal | None) -> Any:
        course = self._course
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
        course.stores = [store for store in course.stores if store.value is NOTHING]
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
            if not is_denied(error) and self._repeats(proposal.hook, proposal.answer):
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


def _chained(error: Exception, cancelled: OperationCancelledError) -> Exception:
    if error.__cause__ is None:
        error.__cause__ = cancelled
    else:
        error.add_note(str(cancelled))
    return error


# Step 1 in detail: what the transforms answer, and what each answer means there; the same in every phase.


class Proposal(Struct, frozen=True):
    """What ended the transforms.

    Attributes:
        hook: Who answered it.
        answer: What it answered.
        value: The result that it proposes; `NOTHING` if it proposes none.
    """

    hook: Hook
    answer: HookResult
    value: Any = NOTHING


async def propose(
    course: Course, chain: Chain, subject: Any, answered: tuple[int, HookResult] | None = None
) -> tuple[Any, Proposal | None]:
    """Ask the transforms of a chain.

    Args:
        course: The operation.
        chain: The chain.
        subject: What they are given.
        answered: Where to go on and what was answered, if they have been asked so far.

    Returns:
        The subject as they left it, and what ended them.

    Raises:
        UnsupportedResultError: One answered what is no result.
        InvalidInputError: One answered a value that does not fit.
        HookFailedError: One failed whose ``on_error`` is ``raise``.
    """
    if not chain.transforms:
        return subject, None
    context = course.context(chain, subject)
    if answered is None:
        if chain.waits:
            answered = await advance_waiting(chain.transforms, 0, context, course.limit_s)
        else:
            answered = advance(chain.transforms, 0, context)
        if answered is None:
            return subject, None
    index, phase = 0, chain.point.phase
    while (found := await next_answer(chain, index, context, course.limit_s, answered)) is not None:
        (index, hook, answer), answered = found, None
        if isinstance(answer, Modified) and phase is Phase.ERROR:
            subject = changed_failure(subject, answer.value, hook.where)
            context = course.context(chain, subject)
        elif isinstance(answer, Modified):
            subject = await course.beside(answer.value, _changed, course, hook, answer.value, subject)
            context = course.context(chain, subject)
        elif isinstance(answer, Fork):
            course.wanted.append(on_behalf(answer, hook.scope))
        elif isinstance(answer, Cache):
            stored = await _cached(course, hook, answer, subject)
            if stored is not None:
                return subject, _proposal(course, hook, answer, stored)
        elif isinstance(answer, Replace):
            current = subject if phase is Phase.AFTER else None
            value = await course.beside(answer.value, _as_result, course, hook, answer.value, current)
            return subject, _proposal(course, hook, answer, value)
        elif isinstance(answer, Retry):
            if answer.value is not None:
                value = await course.beside(answer.value, _next, course, hook, answer.value)
                answer = structs.replace(answer, value=value)
            return subject, _proposal(course, hook, answer)
        elif isinstance(answer, Cancel | Redirect):
            return subject, _proposal(course, hook, answer)
    return subject, None


def _proposal(course: Course, hook: Hook, answer: HookResult, value: Any = NOTHING) -> Proposal:
    course.outcome = Outcome("running", answer, f"{hook.plugin}.{hook.name}")
    return Proposal(hook, answer, value)


def _changed(course: Course, hook: Hook, value: Any, subject: Any) -> Any:
    if hook.point.phase is Phase.AFTER:
        return _as_result(course, hook, value, subject)
    course.proposed = fit(value, hook.point.subject, hook.where, subject)
    return course.proposed


def _next(course: Course, hook: Hook, value: Any) -> Any:
    """Return what a Retry wants to run, which is another call of the same kind."""
    call = course.asked
    return fit(value, type(call) if isinstance(call, Struct) else object, hook.where, call)


def _as_result(course: Course, hook: Hook, value: Any, current: Any) -> Any:
    kind = course.operation.kind
    if isinstance(value, dict) and kind.result is not object and _is_partial(value, kind.result):
        result = fit(value, kind.result, hook.where, current)
    else:
        result = fit(kind.to_result(freeze(value)), kind.result, hook.where)
    return name_after(result, course.asked, kind.named)


def _is_partial(value: dict[str, Any], wanted: type) -> bool:
    return bool(value) and set(value) <= set(wanted.__struct_fields__)  # type: ignore[attr-defined]


async def _cached(course: Course, hook: Hook, cache: Cache, subject: Any) -> Any:
    results, phase = course.house.results(), hook.point.phase
    asked = (hook.plugin, cache.key, cache.scope)
    if phase is Phase.BEFORE:
        course.questions[asked] = subject
    about = course.operation.kind.identity(course.questions.get(asked, course.proposed))
    asker = hook.plugin if cache.scope == "host" else f"{hook.plugin} {hook.scope}".strip()
    persist = cache.persist and not course.operation.kind.sync and not await course.beside(about, holds_secret, about)
    if course.operation.depends is not None:
        about = (about, course.operation.depends())
    key = results.key(course.frame, course.operation.kind.name, asker, cache, about)
    if phase is Phase.AFTER:
        course.stores.append(ToKeep(key, cache.ttl_s, subject, persist))
        return None
    if phase is Phase.ERROR and isinstance(subject.error, SecurityError):  # what policy refuses now is not served
        return None
    stored = results.stale(key) if phase is Phase.ERROR else await results.enter(key, course.frame)
    if stored is None and persist:
        stored = await _recalled(course, key)
        if phase is Phase.BEFORE and stored is not None and not results.is_fresh(stored):
            stored = None
    if phase is Phase.BEFORE and stored is None:
        course.stores.append(ToKeep(key, cache.ttl_s, NOTHING, persist))
    course.note(hook, "Cache", "miss" if stored is None else "hit")
    return None if stored is None else stored.value


async def _recalled(course: Course, key: CacheKey) -> Stored | None:
    """Return what the second level has, expired or not, and keep it in memory."""
    results, kind = course.house.results(), course.operation.kind

    async def find(store: ResultStore, name: str) -> tuple[Any, float] | None:
        found = await store.find(name, kind.result)
        if found is None or not isinstance(found.value, kind.result):
            return None
        return await course.frozen(found.value, "stored result"), found.fresh_s

    found = await results.ask(key, find, course.house.limits.final_s)
    if found is None:
        return None
    return results.store(key, found[0], found[1], await course.beside(found[0], size_of, found[0]))


# Step 6 in detail: the end, which comes once whatever happened.


async def end_without(course: Course, error: BaseException | None, started_ns: int) -> None:
    """End without a result: as failed, or as cancelled by a hook or by the caller."""
    failure = failure_of(error) if error is not None else Failure("Cancelled", "Cancelled", "cancelled")
    if isinstance(error, Exception):
        await end(course, "cancelled" if error is course.cancelled else "failed", failure, started_ns)
    else:
        await _hurry(course, _last_steps(course, "cancelled", failure, started_ns))


async def end(course: Course, status: Status, subject: Any, started_ns: int) -> None:
    """End with a result or a failure.

    Raises:
        UnsupportedResultError: The operation completed, and a hook of its release answered what it may not.
    """
    steps = _last_steps(course, status, subject, started_ns)
    problem: Exception | None = None
    try:
        for step in steps:
            try:
                await step
            except Exception as error:
                problem = problem or error
    except (trio.Cancelled, KeyboardInterrupt, BaseExceptionGroup):  # or the user's own Ctrl-C
        await _hurry(course, steps)
        raise
    if problem is not None and status == "completed":
        raise problem
    if problem is not None:
        course.house.problem(problem)


async def _hurry(course: Course, steps: Iterator[Awaitable[None]]) -> None:
    """Run the steps shielded. When the 100 ms are over each still begins, and ends where it first waits."""
    course.until_s = course.frame.hurry(LAST_MOMENTS_S)
    over = True
    while over:  # one scope for all steps that are in time, since a thousand operations may end at once
        with trio.CancelScope(shield=True, deadline=course.until_s) as scope:
            for step in steps:
                try:
                    await step
                except Exception as error:
                    course.house.problem(error)
        over = scope.cancelled_caught


def _last_steps(course: Course, status: Status, subject: Any, started_ns: int) -> Iterator[Awaitable[Any]]:
    """Yield what is left to do, in order."""
    if course.stores or course.frame.flights:
        yield _keep(course, status)
    course.ending = True
    course.look()
    operation = course.operation
    if operation.started is not None:
        operation.started()
    if course.forks is not None:
        yield course.forks.finish(max(course.deadline.left_s(), course.house.limits.final_s))
    denied = status == "cancelled" and isinstance(getattr(subject, "error", None), OperationCancelledError)
    withheld = course.ended_after and denied
    chain = course.chains.after if status == "completed" or withheld else course.chains.error
    if chain is not None and chain.observers:
        context = _last_context(course, chain, status, subject)
        for observers in chain.observer_steps:
            yield observe(observers, context, course.limit_s)
    scripts = course.scripts(chain)
    if scripts is not None and scripts.observers:
        context = _last_context(course, scripts, status, subject)
        for observers in scripts.observer_steps:
            if trio.current_time() > course.until_s:  # a script may have a thousand; those of plugins still begin
                break
            yield observe(observers, context, course.limit_s)
    if operation.release is not None:
        yield operation.release(course)
    if status == "completed" and course.stores:
        yield _persist(course)
    if course.holds and isinstance(subject, Failure):
        yield course.tell_held(subject)
    if course.house.slow_ms is not None and not operation.kind.sync:
        yield _report_slow(course, (perf_counter_ns() - started_ns) / 1e6, course.house.slow_ms)
    if course.forks is not None:
        yield course.forks.finish(max(course.deadline.left_s(), course.house.limits.final_s))
        for outcome in course.forks.outcomes():
            why = "" if outcome.error is None else f": {outcome.error.message}"
            course.note(None, "Fork", f"{outcome.call.address} {outcome.status}{why}")
    if course.chains.heard:
        announce_end(course, status, subject, (perf_counter_ns() - started_ns) / 1e6)
    if course.house.taps:
        _tap(course, status, subject)


def _tap(course: Course, status: Status, subject: Any) -> None:
    """Hand the operation to those who keep a journal."""
    operation, last = course.operation, course.outcome or Outcome()
    error = subject if isinstance(subject, Failure) else None
    outcome = Outcome(status, last.decision, last.hook, error)
    ended = EndedOperation(
        operation.kind.name,
        course.frame.component,
        course.ref,
        course.asked,
        status,
        subject,
        outcome,
        course.elapsed_ns,
        course.frame.language,
    )
    for tap in course.house.taps:
        try:
            tap(ended)
        except BaseException as error:
            let_pass(error)
            course.house.problem(as_error(error, "a tap of operations"))


async def _keep(course: Course, status: Status) -> None:
    """Store what is to be stored, and let those who wait for it look again."""
    results = course.house.results()
    try:
        if status == "completed":
            for store in course.stores:
                kept = _kept(course, store)
                if kept is not NOTHING:
                    results.store(store.key, kept, store.ttl_s, await course.beside(kept, size_of, kept))
    finally:
        results.leave(course.frame)


async def _persist(course: Course) -> None:
    """Store beyond this host what is to be stored there; what holds a secret is not."""
    for store in course.stores:
        kept = _kept(course, store)
        if kept is not NOTHING and store.persist and not await course.beside(kept, holds_secret, kept):

            def keep(second: ResultStore, name: str, store: ToKeep = store, kept: Any = kept) -> Awaitable[bool]:
                return second.keep(name, kept, store.ttl_s, course.operation.kind.result)

            await course.house.results().ask(store.key, keep, course.house.limits.final_s)


def _kept(course: Course, store: ToKeep) -> Any:
    return course.body_value if store.value is NOTHING else store.value


def _last_context(course: Course, chain: Chain, status: Status, subject: Any) -> HookContext[Any]:
    last = course.outcome or Outcome()
    error = subject if isinstance(subject, Failure) else None
    if chain is course.chains.after and error is not None:  # scripts are not shown what was withheld
        subject = course.subject
    outcome = Outcome(status, last.decision, last.hook, error)
    forks = () if course.forks is None else course.forks.outcomes()
    return course.context(chain, subject, outcome, forks)


async def _report_slow(course: Course, elapsed_ms: float, threshold_ms: float) -> None:
    if elapsed_ms > threshold_ms:
        await course.ask("performance_threshold_exceeded", SlowOperation(elapsed_ms, threshold_ms))


# What an operation is told of as: events when it starts and ends, notices of what was refused or limited.


def is_heard(announcer: Events | None, kind: OperationKind) -> bool:
    """Return whether anybody listens to the events of operations of this kind."""
    return announcer is not None and kind.events and any(announcer.listens(f"{kind.name}.{end}") for end in _ENDS)


def announce_start(course: Course) -> None:
    """Tell that the operation starts."""
    _publish(course, "started", {})


def announce_end(course: Course, status: str, subject: Any, elapsed_ms: float) -> None:
    """Tell how the operation ended: ``subject`` is its result, or the `Failure`."""
    facts: dict[str, Any] = {"duration_ms": elapsed_ms, "attempts": course.frame.attempt}
    if isinstance(subject, Failure):
        facts["error"] = {"type": subject.type, "code": subject.code, "message": subject.message}
        if isinstance(subject.error, OperationCancelledError):
            facts["error"] |= {"hook": subject.error.hook, "point": subject.error.point}
    elif course.operation.kind.facts is not None:
        facts |= course.operation.kind.facts(subject)
    _publish(course, status, facts)


def _publish(course: Course, end: str, facts: Mapping[str, Any]) -> None:
    topic = f"{course.operation.kind.name}.{end}"
    handled = getattr(course.frame.root, "event", None)
    if course.house.events is None or (handled is not None and handled.type == topic):
        return
    component, ref = course.frame.component, course.ref
    data = {
        "component": {"kind": component.kind, "name": component.name, "id": component.id},
        "operation_id": ref.id,
        "parent_id": ref.parent_id,
        **facts,
    }
    try:
        course.house.events.publish_nowait(topic, data, source=course.component)
    except LlmspellError as error:  # a mailbox that refuses, or a hook at the event: the operation is not to blame
        course.house.problem(error)


def notice_of(error: BaseException) -> tuple[str, Any] | None:
    """Return the point and the subject of the notice that is due for this error, or None."""
    if issubclass(type(error), SecurityError) and isinstance(error, SecurityError):
        if hasattr(error, _TOLD):
            return None
        setattr(error, _TOLD, True)
        text = text_of_error(error)
        _log.info("refused: %s", text)
        return "security_violation", Violation(error.rule, text)
    limit = limit_of(error)
    return None if limit is None else ("resource_limit_exceeded", limit)
