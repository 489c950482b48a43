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
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Literal

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
from llmspell_hookspecs.context import OperationRef, Outcome
from llmspell_hookspecs.errors import (
    OperationError,
    OperationTimeoutError,
    SecurityError,
    text_of_error,
)
from llmspell_hookspecs.failure import changed_failure, failure_of, is_denied
from llmspell_hookspecs.fit import fit, name_after, thaw_fields, without_refused
from llmspell_hookspecs.foreign import as_error, let_pass
from llmspell_hookspecs.operation import EndedOperation, HookAnswer, Operation, OperationKind, RunningBody
from llmspell_hookspecs.result_store import CacheKey, ResultStore, Stored
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.secret import holds_secret
from llmspell_hookspecs.system import SlowOperation, Violation, limit_of
from llmspell_hookspecs.values import freeze

from .asking import cancellation
from .correlation import Frame
from .course import NOTHING, Course, ToKeep
from .together import on_behalf
from .wraps import LAST_MOMENTS_S, enclose

__all__ = [
    "decide",
    "go_on",
    "go_on_after",
    "is_heard",
    "lose",
    "propose",
    "rest_before",
    "run",
    "run_told",
    "tell_taps",
    "watched",
]

Status = Literal["completed", "failed", "cancelled"]
_ENDS: Final = ("started", "completed", "failed", "cancelled")
_log = logging.getLogger("llmspell.operations")
_TOLD: Final = "_llmspell_told"
_COMPLETED: Final = Outcome("completed")

if TYPE_CHECKING:
    from .runner import Runner


class _Again(Exception):  # noqa: N818 - control flow within this module
    """Run again, from the original subject or from the approved one."""

    def __init__(self, hook: Hook, retry: Retry, *, original: bool) -> None:
        super().__init__()
        self.hook = hook
        self.retry = retry
        self.original = original


Step = Callable[[Course, Any], Awaitable[Any]]


def run(course: Course) -> Coroutine[Any, Any, Any]:
    """Run an operation and return its result."""
    if course.chains.heard:
        _publish(course, "started", {})
    return _to_its_end(course, _attempt(course, _produce, True), perf_counter_ns())


def go_on(course: Course, step: Step, argument: Any) -> Coroutine[Any, Any, Any]:
    """Go on with one of the steps below, where the straight path has left off; returns what `run` would."""
    return _to_its_end(course, _attempt(course, step, argument), perf_counter_ns() - course.elapsed_ns)


def go_on_after(course: Course, value: Any, failure: BaseException | None) -> Coroutine[Any, Any, Any]:
    """Go on from what the body yielded, or what it raised or was cancelled by."""
    course.approved = course.subject
    return go_on(course, _take, value) if failure is None else go_on(course, lose, failure)


async def _to_its_end(course: Course, attempt: Coroutine[Any, Any, Any], started_ns: int) -> Any:
    """Make attempts until one is not to be made again, and end."""
    value: Any = NOTHING
    try:
        while value is NOTHING:
            try:
                value = await attempt
            except _Again as again:
                original = again.original or course.approved is NOTHING
                await _wait(course, again)
                attempt = _attempt(course, _produce, original)
    finally:
        if value is NOTHING:
            await end_without(course, sys.exception(), started_ns)
    await end(course, "completed", value, started_ns)
    return await course.beside(value, thaw_fields, value)


# Attempts.


async def _wait(course: Course, again: _Again) -> None:
    attempt, delay_s = course.frame.attempt + 1, max(0.0, again.retry.delay_s)
    if again.hook.scope:
        delay_s = min(delay_s, course.house.limits.script_delay_s)
    course.note(again.hook, "Retry", f"attempt {attempt} after {delay_s:g} s")
    if not course.deadline.leaves(delay_s):
        error = course.deadline.passed or course.deadline.error()
        if error is not again.__cause__:
            await _notices(course, error)
        raise error from (again.__cause__ if error is not again.__cause__ else error.__cause__)
    await trio.sleep(0 if "replay" in course.frame.baggage else delay_s)  # a replay lets the record's time pass
    course.begin_attempt(attempt)
    course.next = NOTHING if again.retry.value is None else again.retry.value


def _may_retry(course: Course, retry: Retry) -> bool:
    course.attempts_allowed = min(course.attempts_allowed, max(1, retry.max_attempts))
    return course.frame.attempt < course.attempts_allowed


async def _attempt(course: Course, step: Step, argument: Any) -> Any:
    failure: Exception | None = None
    try:
        deadline = course.deadline
        value = await (deadline.over(step, course, argument) if deadline.is_set else step(course, argument))
    except Exception as error:
        if error is course.cancelled or isinstance(error, _Again):
            raise
        late = deadline.has_cut_off and error is not deadline.passed
        failure = deadline.instead_of(error) if late else error
    if failure is None:
        return await _settled(course, value)
    return await _failed(course, failure)  # not within its handler: what leaves may have to know nothing of it


async def _settled(course: Course, value: Any) -> Any:
    """Settle within the deadline."""
    if course.look().after is None and course.operation.leave is None:
        return value
    try:
        return await course.deadline.over(_settle, course, value)
    except OperationTimeoutError as error:
        if error is not course.deadline.passed:
            raise
        late = error
    return await _failed(course, late)


async def _failed(course: Course, error: Exception) -> Any:
    """Recover within the deadline; what passed it already has no time left to be held to.

    What a body raises as its caller cuts it off is no failure: nothing begins because of it.
    """
    if not course.operation.kind.sync:
        await trio.lowlevel.checkpoint_if_cancelled()
    deadline = course.deadline
    if error is deadline.passed:
        return await _recover(course, error)
    try:
        return await deadline.over(_recover, course, error)
    except OperationTimeoutError as late:
        if late is deadline.passed:
            await _notices(course, late)
        raise


# Steps 1 to 4: propose, prepare, approve, run.


async def _produce(course: Course, original: bool) -> Any:
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
    if course.next is not NOTHING:  # another call: nobody has approved it, and nothing is stored for what was asked
        course.proposed = course.offered = course.subject = course.next
        course.next = course.approved = NOTHING
        course.stores.clear()
        course.questions.clear()
    return await decide(course, _approve(course, original))


async def decide(course: Course, approving: Coroutine[Any, Any, Proposal | None]) -> Any:
    """Tell the observers before it what has been approved, or why it was not, and go on."""
    failure: Exception | None = None
    try:
        proposal = await approving
    except BaseException as caught:
        let_pass(caught)
        failure = as_error(caught, course.component)
    chain = course.chains.before
    if chain is not None and (chain.observers or chain.scripts):
        await _tell_before(course, chain, failure)
    if failure is not None:
        raise failure
    return await run_told(course, proposal)


async def run_told(course: Course, proposal: Proposal | None) -> Any:
    """Run the body, or let the proposal take its place: the observers before it have been told."""
    course.approved = course.subject
    if course.operation.started is not None:
        course.operation.started()
    if proposal is None and not course.wanted:
        return await _run_body(course)
    return await _take_effect(course, proposal)


async def _approve(course: Course, original: bool) -> Proposal | None:
    chain = course.look().before
    scripts = None if chain is None else course.scripts(chain)
    proposal: Proposal | None = None
    if original:
        if scripts is not None:
            course.subject, proposal = await propose(course, scripts, course.subject)
        course.offered = course.subject
        if chain is not None and proposal is None:
            course.subject, proposal = await propose(course, chain, course.subject)
        course.proposed = course.subject
    return await _prepare(course, proposal)


async def rest_before(
    course: Course, answered: tuple[int, HookResult] | None, failure: BaseException | None, *, ready: bool, judged: bool
) -> Proposal | None:
    """Do what is left before the body, for `decide`: others may be asked by now.

    Args:
        course: The operation.
        answered: Which transform has answered, and what.
        failure: What went wrong, or a guard's verdict.
        ready: Whether it is prepared.
        judged: Whether the guards have let it pass.
    """
    if failure is not None:
        raise failure
    chain = course.chains.before
    if answered is not None and chain is not None:
        course.subject, proposal = await propose(course, chain, course.subject, answered)
        course.proposed = course.subject
        return await _prepare(course, proposal)
    return None if judged else await (_guard(course, None) if ready else _prepare(course, None))


async def _prepare(course: Course, proposal: Proposal | None) -> Proposal | None:
    if proposal is not None and isinstance(proposal.answer, Cancel):
        raise course.cancel(proposal.hook, proposal.answer, course.subject)
    leaves = proposal is not None and isinstance(proposal.answer, Redirect | Retry)
    if course.operation.prepare is not None and not leaves:
        prepared = await course.operation.prepare(course.subject, course)
        if prepared is not course.subject:
            course.subject = await course.frozen(prepared)
    return await _guard(course, proposal)


async def _guard(course: Course, proposal: Proposal | None) -> Proposal | None:
    chain = course.look().before
    if chain is not None and chain.guards:
        await _judge(course, chain, course.subject)
    if course.held:
        await course.ask_held()
    if chain is not None and chain.scripts:
        await _judge(course, course.scripts(chain), course.subject)
    return proposal


async def _tell_before(course: Course, chain: Chain, failure: Exception | None) -> None:
    scripts = course.scripts(chain)
    if not (chain.observers or scripts):
        return
    outcome = course.outcome or Outcome()
    if failure is not None:
        outcome = outcome.ended("cancelled" if failure is course.cancelled else "failed", failure_of(failure))
    await observe(chain.observers, course.context(chain, course.subject, outcome), course.limit_s)
    if scripts is None:
        return
    if outcome.status == "failed":  # hooks at the error point may still take something out of its text
        bare = Failure(type(failure).__name__, "it failed; the error point tells why", outcome.error.code)  # type: ignore[union-attr]
        outcome = outcome.ended("failed", bare)
    subject = course.subject if failure is None else course.offered
    await observe(scripts.observers, course.context(scripts, subject, outcome), course.limit_s)


async def _judge(course: Course, chain: Chain | None, subject: Any) -> None:
    if chain is None or not chain.guards:
        return
    verdict = await judge(chain.guards, course.context(chain, subject, course.outcome), course.limit_s)
    if verdict is not None:
        course.keep_answer(verdict[0], verdict[1], subject)
        raise course.cancel(verdict[0], verdict[1], subject, verdict[2])


async def _take_effect(course: Course, proposal: Proposal | None) -> Any:
    await course.start_forks(course.wanted)
    if proposal is None:
        return await _run_body(course)
    if isinstance(proposal.answer, Retry):
        raise _again_or_exhausted(course, proposal.hook, proposal.answer)
    if isinstance(proposal.answer, Redirect):
        return await _redirect(course, proposal.hook, proposal.answer, course.subject)
    return proposal.value


def _again_or_exhausted(course: Course, hook: Hook, retry: Retry) -> Exception:
    if _may_retry(course, retry):
        return _Again(hook, retry, original=True)
    message = f"{course.component}: {hook.where} asked for a retry after attempt {course.frame.attempt}, the last one"
    message += "; let it ask less often, or raise its max_attempts"
    return OperationError(message, operation=course.frame.id, component=course.component)


async def _run_body(course: Course) -> Any:
    around = course.look().around
    started_ns = perf_counter_ns()
    try:
        if around is None:
            course.body_value = await _body(course)
        else:
            context = course.context(around, course.subject)
            limit_s = None if course.deadline.is_set else course.house.limits.final_s
            course.body_value = await enclose(around.wraps, context, partial(_body, course), limit_s)
    finally:
        course.elapsed_ns = perf_counter_ns() - started_ns
    return course.body_value


def watched(
    house: Runner, kind: OperationKind, ref: OperationRef, subject: Any
) -> list[Callable[[Any, BaseException | None], object]]:
    """Tell those who watch bodies that one begins; returns what is to be told how it ended."""
    return [watch(kind, ref, subject) for watch in house.watches]


async def _body(course: Course) -> Any:
    """Return what the body yields, or what stands in for it, and tell those who watch."""
    settled = watched(course.house, course.operation.kind, course.ref, course.subject)
    value: Any = None
    try:
        value = await _yielded(course)
    finally:
        error = sys.exception()
        for each in settled:
            each(value, error)
    return value


async def _yielded(course: Course, stand_ins: int | None = None) -> Any:
    """Return what the body yields, or what the last of so many stand-ins says in its place."""
    operation, there = course.operation, course.house.stand_ins[:stand_ins]
    try:
        if there:
            run = partial(_yielded, course, len(there) - 1)
            value = await there[-1](
                RunningBody(operation.kind, course.frame.component, course.ref, course.subject, run)
            )
        else:
            value = await operation.body(course.subject)
        return await course.frozen(operation.kind.to_result(value), "result")
    except BaseException as caught:
        let_pass(caught)
        error = as_error(caught, course.component)
    raise error


async def _take(course: Course, value: Any) -> Any:
    course.body_value = await course.frozen(value, "result")
    return course.body_value


async def lose(course: Course, caught: BaseException) -> Any:
    """End where a cancellation or the user's own Ctrl-C came, or recover from what the body raised."""
    if caught is not course.deadline.passed:
        let_pass(caught)
    raise as_error(caught, course.component)


# Step 5: settle, or recover.


async def _settle(course: Course, value: Any) -> Any:
    chain = course.chains.after
    if chain is None:
        return await _as_it_leaves(course, value)
    course.outcome = None
    course.ended_after = True
    course.stores = [store for store in course.stores if store.value is NOTHING]
    value = await _settle_layer(course, chain, chain, value)
    scripts = course.scripts(chain)
    if course.held:  # parts of a result that was withheld until now
        await course.ask_held()
    if scripts is not None:
        value = await _settle_layer(course, chain, scripts, value)
        if course.held:
            await course.ask_held()
    return value


async def _settle_layer(course: Course, inner: Chain, layer: Chain, given: Any) -> Any:
    """Ask the transforms of a layer, then who judges what they left: all guards inside of it and its own."""
    course.subject = given
    course.wanted = []
    value, proposal = await propose(course, layer, given)
    course.subject = value
    if proposal is not None and isinstance(proposal.answer, Cancel):
        raise course.cancel(proposal.hook, proposal.answer, value)
    if proposal is not None and proposal.value is not NOTHING:
        value = proposal.value
    value = await _as_it_leaves(course, value)
    chain = course.look().after
    if layer is inner or value is not given:
        await _judge(course, chain, value)
    if layer is not inner:
        await _judge(course, course.scripts(chain), value)
    await course.start_forks(course.wanted)
    if proposal is not None and isinstance(proposal.answer, Retry) and _repeats(course, proposal.hook, proposal.answer):
        course.ended_after = False
        raise _Again(proposal.hook, proposal.answer, original=False)
    if proposal is not None and isinstance(proposal.answer, Redirect):
        value = await _as_it_leaves(course, await _redirect(course, proposal.hook, proposal.answer, value))
        chain = course.look().after
        await _judge(course, chain, value)
        if layer is not inner:
            await _judge(course, course.scripts(chain), value)
    return value


async def _as_it_leaves(course: Course, value: Any) -> Any:
    if course.operation.leave is None:
        return value
    left = await course.operation.leave(value, course)
    return value if left is value else await course.frozen(left)


def _repeats(course: Course, hook: Hook, retry: Retry) -> bool:
    if not course.operation.repeatable:
        course.note(hook, "Retry", "not honoured: the component does not declare itself repeatable")
        return False
    return _may_retry(course, retry)


async def _recover(course: Course, error: Exception) -> Any:
    await _notices(course, error)
    chain = course.look().error
    scripts = course.scripts(chain)
    if chain is None or not (chain.transforms or chain.guards or scripts):
        raise error
    course.outcome = None
    course.wanted = []
    failure = failure_of(error)
    given = failure
    failure, proposal = await propose(course, chain, failure)
    error = error if failure is given else _error_of(failure, error)
    await _stop_if_denied(course, chain, error, failure, proposal)
    if scripts is not None:
        if proposal is None:
            given = failure
            failure, proposal = await propose(course, scripts, failure)
            error = error if failure is given else _error_of(failure, error)
            if proposal is not None or failure is not given:
                await _stop_if_denied(course, chain, error, failure, proposal)
        await _stop_if_denied(course, scripts, error, failure, proposal)
    await course.start_forks(course.wanted)
    return await _recovered(course, error, proposal)


async def _stop_if_denied(
    course: Course, chain: Chain, error: Exception, failure: Failure, proposal: Proposal | None
) -> None:
    """Let the error go on if a guard denies its recovery, or a transform does."""
    verdict = await judge(chain.guards, course.context(chain, failure, course.outcome), course.limit_s)
    denied = None if verdict is None else (verdict[0], verdict[1])
    if denied is not None:
        course.keep_answer(*denied, failure)
    if proposal is not None and isinstance(proposal.answer, Cancel):
        denied = (proposal.hook, proposal.answer)
    if denied is not None:
        raise _chained(error, cancellation(denied[0], denied[1], course.context(chain, failure)))


async def _recovered(course: Course, error: Exception, proposal: Proposal | None) -> Any:
    if proposal is None:
        raise error
    if isinstance(proposal.answer, Retry):
        if not is_denied(error) and _repeats(course, proposal.hook, proposal.answer):
            raise _Again(proposal.hook, proposal.answer, original=False) from error
        raise error
    value = proposal.value
    if isinstance(proposal.answer, Redirect):
        value = await _redirect(course, proposal.hook, proposal.answer, course.asked)
    course.ended_after = True
    course.subject = value = await _as_it_leaves(course, value)
    chain = course.look().after
    await _judge(course, chain, value)
    if course.held:
        await course.ask_held()
    await _judge(course, course.scripts(chain), value)
    return value


async def _redirect(course: Course, hook: Hook, redirect: Redirect, given: Any) -> Any:
    kind = course.operation.kind
    target = redirect.target if ":" in redirect.target else f"{course.frame.component.kind}:{redirect.target}"
    course.note(hook, "Redirect", target)
    call = Call(target, kind.payload(given), hook.scope)
    value = await course.house.call(call, hops=course.frame.hops + 1)
    return name_after(await course.frozen(kind.to_result(value)), course.asked, kind.named)


async def _notices(course: Course, error: Exception) -> None:
    if error is course.deadline.passed:
        if course.operation.kind.timeout:
            await course.ask(course.operation.kind.timeout, course.proposed)
        return
    notice = notice_of(error)
    if notice is not None:
        await course.ask(*notice)


def _error_of(failure: Failure, error: Exception) -> Exception:
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
        course.keep_answer(hook, answer, subject)
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
    fields: Any = getattr(kind.result, "__struct_fields__", ())
    if isinstance(value, dict) and value and set(value) <= set(fields):
        result = fit(value, kind.result, hook.where, current)
    else:
        result = fit(kind.to_result(freeze(value)), kind.result, hook.where)
    return name_after(result, course.asked, kind.named)


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
    if course.held and isinstance(subject, Failure):
        yield course.tell_held(subject)
    elapsed_ms, slow_ms = (perf_counter_ns() - started_ns) / 1e6, course.house.slow_ms
    if slow_ms is not None and elapsed_ms > slow_ms and not operation.kind.sync:
        yield course.ask("performance_threshold_exceeded", SlowOperation(elapsed_ms, slow_ms))
    if course.forks is not None:
        yield course.forks.finish(max(course.deadline.left_s(), course.house.limits.final_s))
        for fork in course.forks.outcomes():
            why = "" if fork.error is None else f": {fork.error.message}"
            course.note(None, "Fork", f"{fork.call.address} {fork.status}{why}")
    if course.chains.heard:
        _announce_end(course, status, subject, (perf_counter_ns() - started_ns) / 1e6)
    if course.house.taps:
        outcome = (course.outcome or Outcome()).ended(status, subject if isinstance(subject, Failure) else None)
        answers, took_ns = tuple(course.answers), course.elapsed_ns
        asked, frame = course.asked, course.frame
        tell_taps(course.house, operation, frame, course.ref, asked, subject, took_ns, status, outcome, answers)


def tell_taps(
    house: Runner,
    operation: Operation,
    frame: Frame,
    ref: Any,
    asked: Any,
    value: Any,
    elapsed_ns: int,
    status: Status = "completed",
    outcome: Outcome = _COMPLETED,
    answers: tuple[HookAnswer, ...] = (),
) -> None:
    """Hand an operation as it ended to those who keep a journal."""
    kind, of, language = operation.kind, frame.component, frame.language
    ended = EndedOperation(kind.name, of, ref, asked, status, value, outcome, elapsed_ns, language, answers, kind)
    for tap in house.taps:
        try:
            tap(ended)
        except BaseException as error:
            let_pass(error)
            house.problem(as_error(error, "a tap of operations"))


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
    error = subject if isinstance(subject, Failure) else None
    if chain is course.chains.after and error is not None:  # scripts are not shown what was withheld
        subject = course.subject
    outcome = (course.outcome or Outcome()).ended(status, error)
    forks = () if course.forks is None else course.forks.outcomes()
    return course.context(chain, subject, outcome, forks)


# What an operation is told of as: events when it starts and ends, notices of what was refused or limited.


def is_heard(announcer: Events | None, kind: OperationKind) -> bool:
    """Return whether anybody listens to the events of operations of this kind."""
    return announcer is not None and kind.events and any(announcer.listens(f"{kind.name}.{end}") for end in _ENDS)


def _announce_end(course: Course, status: str, subject: Any, elapsed_ms: float) -> None:
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
