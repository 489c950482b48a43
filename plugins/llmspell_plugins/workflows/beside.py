"""Branches beside each other: the fork, each arrival, and the join; what several patterns do alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import trio

from llmspell_hookspecs.errors import InvalidInputError, OperationTimeoutError, WorkflowError, text_of_error
from llmspell_hookspecs.operation import Ended
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflow import BranchOutcome, ParallelFork, ParallelJoin, ParallelSynchronization
from llmspell_hookspecs.workflows import Branch, WorkflowRun
from llmspell_plugins.kinds.workflow.stage import PausedError

__all__ = ["MOST_AT_ONCE", "join", "named_once", "run_branches", "steps_of"]


_STATUSES: Final = ("completed", "failed", "cancelled")
MOST_AT_ONCE: Final = 128
"""How many run beside each other; more would hold the loop for 20 ms, since each may take a step before it is asked."""


def named_once(run: WorkflowRun, point: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names that a hook has left, in its order.

    Raises:
        InvalidInputError: It named one twice, or one that there is not.
    """
    left: dict[str, None] = {}
    for name in names:
        if name not in known or name in left:
            problem = "twice" if name in known else f"though there are {', '.join(known)[:200]}"
            where = f"workflow {run.definition.name}: a hook of {point}"
            raise InvalidInputError(f"{where} names {told(name, 80)} {problem}; leave out or reorder", field="branches")
        left[name] = None
    return list(left)


async def run_branches(run: WorkflowRun, branches: Sequence[Branch], limit: int, fail_fast: bool) -> Sequence[Any]:
    """Run branches beside each other and return their outcomes.

    Raises:
        Exception: A required branch failed.
    """
    calls = {branch.name: steps_of(run, branch) for branch in branches}
    optional = frozenset(branch.name for branch in branches if not branch.required)
    return await join(run, "", calls, limit, fail_fast, optional)


async def join(
    run: WorkflowRun,
    path: str,
    calls: Mapping[str, Callable[[], Awaitable[Any]]],
    limit: int,
    fail_fast: bool,
    optional: frozenset[str] = frozenset(),
    waits: Mapping[str, Sequence[str]] | None = None,
) -> Sequence[BranchOutcome]:
    """Ask the fork, run what it leaves, and return the outcomes as the join leaves them.

    Args:
        run: The run.
        path: Where in the run.
        calls: What runs, by name.
        limit: How many at once.
        fail_fast: Whether one that fails cuts off the others.
        optional: Which of them may fail.
        waits: For each, those that must have ended before it begins; without cycles.

    Raises:
        Exception: One that may not failed.
    """
    asked = ParallelFork(run.id, tuple(calls), limit)
    fork = await run.decide("parallel_fork", asked, f"{path}fork")
    names = list(calls) if fork is asked else named_once(run, "parallel_fork", fork.branches, calls)
    errors: dict[str, Exception] = {}
    limit = max(1, min(limit, fork.limit))
    at_once = limit
    arriving = bool(waits or optional) or run.asks("parallel_synchronization")
    if arriving:
        calls = _arriving(run, names, calls, limit, optional, waits or {}, errors)
        at_once = len(names) if waits else limit
    ended = await run.together([calls[name] for name in names], at_once, fail_fast=fail_fast)
    if not arriving and run.asks("parallel_synchronization"):  # somebody came while they ran
        for place, name in enumerate(names, 1):
            await run.notice("parallel_synchronization", ParallelSynchronization(run.id, name, place, len(names)))
    outcomes = []
    for name, each in zip(names, ended, strict=True):
        if each.error is not None:
            errors.setdefault(name, each.error)
        outcomes.append(_outcome(name, each, errors.get(name), name not in optional))
    ran = ParallelJoin(run.id, tuple(outcomes))
    joined = await run.decide("parallel_join", ran, f"{path}join")
    joins = joined.outcomes
    if joined is not ran:
        _check_join(run, joins, names)
    run.details.update(_counted([outcome.status for outcome in joins]))
    failed = [outcome for outcome in joins if outcome.status == "failed" and outcome.required]
    failed.sort(key=lambda outcome: isinstance(errors.get(outcome.name), PausedError))  # what waits is none that failed
    if failed:
        reason = failed[0].error or "a hook of parallel_join says that it failed"
        raise errors.get(failed[0].name) or WorkflowError(f"branch {failed[0].name}: {reason}")
    return tuple(joins)


def _arriving(
    run: WorkflowRun,
    names: Sequence[str],
    calls: Mapping[str, Callable[[], Awaitable[Any]]],
    limit: int,
    optional: frozenset[str],
    waits: Mapping[str, Sequence[str]],
    errors: dict[str, Exception],
) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return what runs each where some wait for others, may fail, or are told of when they arrive.

    Args:
        run: The run.
        names: Those that run.
        calls: What runs, by name.
        limit: How many at once.
        optional: Which of them may fail.
        waits: For each, those that must have ended before it begins.
        errors: Takes with what each failed.
    """
    arrived = 0
    slots = trio.CapacityLimiter(limit) if waits else nullcontext()
    ends = {name: trio.Event() for name in names} if waits else {}

    async def in_turn(name: str) -> Any:
        """Wait for those before it without a slot, so that whatever is ready has one."""
        for before in waits.get(name, ()):
            if before in ends:
                await ends[before].wait()
            if isinstance(errors.get(before), PausedError):
                raise PausedError(f"{name}: {before} waits, and it needs that")
        async with slots:
            return await calls[name]()

    async def one(name: str) -> Any:
        nonlocal arrived
        try:
            return await (in_turn(name) if waits else calls[name]())
        except Exception as error:
            errors[name] = error
            if name not in optional:
                raise
        finally:
            arrived += 1
            if run.asks("parallel_synchronization"):
                here = ParallelSynchronization(run.id, name, arrived, len(names))
                await run.notice("parallel_synchronization", here)
            if name in ends:
                ends[name].set()

    return {name: partial(one, name) for name in names}


def _counted(statuses: Sequence[str]) -> dict[str, Any]:
    return {
        "total_branches": len(statuses),
        "successful_branches": statuses.count("completed"),
        "failed_branches": statuses.count("failed"),
        "stopped_early": "cancelled" in statuses,
    }


def _check_join(run: WorkflowRun, outcomes: Sequence[BranchOutcome], names: Sequence[str]) -> None:
    """Check how a hook says that branches ended."""
    named_once(run, "parallel_join", [outcome.name for outcome in outcomes], names)
    for outcome in outcomes:
        if outcome.status not in _STATUSES:
            where = f"workflow {run.definition.name}: a hook of parallel_join: branch {outcome.name}"
            message = f"{where}: its status is {told(outcome.status, 80)}; give one of {', '.join(_STATUSES)}"
            raise InvalidInputError(message, field="outcomes")


def _outcome(name: str, ended: Ended, error: Exception | None, required: bool) -> BranchOutcome:
    if error is not None:
        return BranchOutcome(name, "failed", None, text_of_error(error), required)
    if ended.cancelled:
        return BranchOutcome(name, "cancelled", None, "a sibling failed", required)
    return BranchOutcome(name, "completed", ended.value, "", required)


def steps_of(run: WorkflowRun, branch: Branch) -> Callable[[], Awaitable[Any]]:
    """Return what runs the stages of a branch, within its time."""
    stages = partial(run.sequence, branch.stages, f"branch.{branch.name}/")
    return stages if branch.timeout_s is None else partial(_in_time, stages, branch.name, branch.timeout_s)


async def _in_time(stages: Callable[[], Awaitable[Any]], name: str, limit_s: float) -> Any:
    """Run the stages of a branch within its time."""
    with trio.move_on_after(limit_s) as scope:
        return await stages()
    if scope.cancelled_caught:
        message = f"branch {name}: it took longer than {limit_s:g} s; give it more time, or less to do"
        raise OperationTimeoutError(message, limit_s=limit_s)
    return None
