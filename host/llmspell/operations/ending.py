"""The end of an operation: forks, terminal observers, release, notices; step 6 of docs/design.md.

Invariant: every operation ends exactly once. A cancellation on the way ends one step, never the ones after it; what is
left then has 100 ms.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from time import perf_counter_ns
from typing import Any, Literal

import trio

from llmspell.hooks import Chain, observe
from llmspell_hookspecs import EndedOperation, Failure, HookContext, OperationCancelledError, Outcome, SlowOperation
from llmspell_hookspecs.foreign import as_error, let_pass

from .announcing import announce_end
from .cache import size_of
from .course import NOTHING, Course
from .forks import failure_of
from .wraps import LAST_MOMENTS_S

__all__ = ["end", "end_without"]

Status = Literal["completed", "failed", "cancelled"]


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
    except trio.Cancelled:
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
    results = course.house.results
    try:
        if status == "completed":
            for key, ttl_s, value in course.stores:
                kept = course.body_value if value is NOTHING else value
                if kept is not NOTHING:
                    results.store(key, kept, ttl_s, await course.beside(kept, size_of, kept))
    finally:
        results.leave(course.frame)


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
