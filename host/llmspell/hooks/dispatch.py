"""Calling the hooks of a chain: the hot path.

Transforms are called until one answers; what the answer means is the runner's business. Guards fail closed, observers
never fail. Each hook costs one clock reading.

Invariant: a cancellation and the user's own Ctrl-C are never counted as a hook's error; whatever else it raises, of
whatever class, is.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

import trio

from llmspell_hookspecs import Cancel, Continue, HookContext, HookResult, Skipped
from llmspell_hookspecs.approvals import APPROVAL_REQUIRED
from llmspell_hookspecs.errors import (
    HookError,
    HookFailedError,
    UnsupportedResultError,
    text_of_error,
)
from llmspell_hookspecs.foreign import let_pass, remedy

from .chain import Chain
from .hook import Hook

__all__ = ["PAUSE", "accepted", "advance", "advance_waiting", "judge", "next_answer", "observe", "unsupported"]

_ROW_S: Final = 0.002
"""How long hooks may take in a row before others have their turn."""
_LATE: Final = " at the end of an operation; see hooks.final_s"
PAUSE: Final = Continue()
"""What `advance` answers instead of a hook that others are to have their turn."""


def advance(hooks: Sequence[Hook], start: int, context: HookContext[Any]) -> tuple[int, HookResult] | None:
    """Call sync transforms from ``start`` on until one answers, or they have taken long enough in a row.

    Returns:
        Where to go on, and the answer, `PAUSE` if others are to run first; None if none answered.

    Raises:
        HookFailedError: A hook failed whose ``on_error`` is ``raise``.
    """
    clock = perf_counter
    before = clock()
    until = before + _ROW_S
    for hook in hooks[start:] if start else hooks:
        invoke = hook.invoke  # called as a local: a call of an attribute looks for a method first
        try:
            answer = invoke(context)
        except BaseException as error:
            let_pass(error)
            _failed(hook, error)
            before = clock()
            continue
        now = clock()
        elapsed_s = now - before
        before = now
        hook.calls += 1
        hook.total_s += elapsed_s
        if elapsed_s >= hook.slow_s:
            hook.took(elapsed_s)
        if answer is not None:
            return hooks.index(hook, start) + 1, answer
        if now > until:
            return hooks.index(hook, start) + 1, PAUSE
    return None


async def advance_waiting(
    hooks: Sequence[Hook], start: int, context: HookContext[Any], limit_s: float | None = None
) -> tuple[int, HookResult] | None:
    """As `advance`, for chains in which some hook must be awaited, each for so long at most."""
    clock = perf_counter
    before = clock()
    until = before + _ROW_S
    for hook in hooks[start:] if start else hooks:
        invoke = hook.invoke
        try:
            answer = invoke(context)
            if hook.awaits:
                answer = await (answer if limit_s is None else hook.within(answer, limit_s, _LATE))
        except BaseException as error:
            let_pass(error)
            _failed(hook, error)
            before = clock()
            continue
        now = clock()
        elapsed_s = now - before
        before = now
        hook.calls += 1
        hook.total_s += elapsed_s
        if elapsed_s >= hook.slow_s:
            hook.took(elapsed_s)
        if answer is not None:
            return hooks.index(hook, start) + 1, answer
        if now > until:
            until = await _pause(hook)
            before = clock()
    return None


async def next_answer(
    chain: Chain,
    start: int,
    context: HookContext[Any],
    limit_s: float | None = None,
    answered: tuple[int, HookResult] | None = None,
) -> tuple[int, Hook, HookResult] | None:
    """Ask the transforms of a chain from ``start`` on until one answers; others have their turn where that is due.

    Args:
        chain: The chain.
        start: Where to begin.
        context: What they are given.
        limit_s: How long each may wait.
        answered: What `advance` has returned, if they have been asked so far.

    Returns:
        Where to go on, who answered, and what; None if none answered.

    Raises:
        HookFailedError: A hook failed whose ``on_error`` is ``raise``.
        UnsupportedResultError: One answered what the point does not accept.
    """
    while True:
        if answered is None and chain.waits:
            answered = await advance_waiting(chain.transforms, start, context, limit_s)
        elif answered is None:
            answered = advance(chain.transforms, start, context)
        if answered is None:
            return None
        start, answer = answered
        if answer is not PAUSE:
            break
        answered = None
        if not chain.point.sync_only:
            await trio.lowlevel.checkpoint()
    hook = chain.transforms[start - 1]
    accepted(hook, (start, answer))
    return start, hook, answer


def accepted(hook: Hook, answered: tuple[int, HookResult] | None) -> HookResult | None:
    """Return what a hook answered, if its point accepts that.

    Raises:
        UnsupportedResultError: It does not.
    """
    if answered is None or answered[1] is PAUSE:
        return None
    if type(answered[1]).__name__ not in hook.point.accepts:
        raise unsupported(hook, answered[1], sorted(hook.point.accepts))
    return answered[1]


def _failed(hook: Hook, error: BaseException) -> None:
    hook.calls += 1
    hook.failed(error)
    if hook.options.on_error == "raise":
        message = f"{hook.where}: it failed: {text_of_error(_first(error))}; fix it, or say on_error='continue'"
        raise HookFailedError(message, hook=hook.name, point=hook.point.name) from error
    text = text_of_error(error)
    hook.tell(f"it failed and was passed over: {text}{remedy(text) or '; fix it'}")


def _first(error: BaseException) -> BaseException:
    """Return what failed first, where hooks failed because of each other."""
    while isinstance(error, HookFailedError) and error.__cause__ is not None:
        error = error.__cause__
    return error


async def judge(
    hooks: Sequence[Hook], context: HookContext[Any], limit_s: float | None = None
) -> tuple[Hook, Cancel, BaseException | None] | None:
    """Ask the guards; answer the first that cancels with its Cancel and, if it failed, why; None if all agree.

    Args:
        hooks: The guards.
        context: What they are given.
        limit_s: How long each may wait.
    """
    until = perf_counter() + _ROW_S
    for hook in hooks:
        before = perf_counter()
        failure: BaseException | None = None
        try:
            answer = hook.invoke(context)
            if hook.awaits:
                answer = await (answer if limit_s is None else hook.within(answer, limit_s, _LATE))
            if not (answer is None or isinstance(answer, Continue | Cancel | Skipped)):
                raise unsupported(hook, answer, ("Continue", "Cancel", "Skipped"))
        except BaseException as error:
            let_pass(error)
            hook.failed(error)
            text = text_of_error(error)
            told = issubclass(type(error), HookError)
            failure, answer = error, Cancel(text if told else f"the guard failed: {text}", "guard_failed")
        hook.calls += 1
        now = perf_counter()
        elapsed_s = now - before
        hook.total_s += elapsed_s
        if elapsed_s >= hook.slow_s:
            hook.took(elapsed_s)
        if isinstance(answer, Cancel):
            if hook.appeals and answer.code == APPROVAL_REQUIRED:
                answer = await _appeal(hook, answer, context)
            if answer is not None:
                return hook, answer, failure
        if now > until:
            until = await _pause(hook)
    return None


async def _appeal(hook: Hook, cancel: Cancel, context: HookContext[Any]) -> Cancel | None:
    """Return what stands of a verdict that wants a person asked: None if one has allowed exactly this."""
    if hook.point.sync_only:
        return Cancel(f"{cancel.reason}; where hooks may not wait nobody can be asked, so it is denied")
    for appeal in hook.appeals:
        try:
            answer = await appeal(f"{hook.plugin}.{hook.name}", cancel, context)
        except Exception as error:
            hook.tell(f"nobody could be asked, so it stands: {text_of_error(error)}")
            continue
        if answer is None:
            return None
        cancel = answer
    return cancel


async def observe(hooks: Sequence[Hook], context: HookContext[Any], limit_s: float | None = None) -> None:
    """Call every observer, each for so long at most; what they answer is ignored, what they raise is counted."""
    until = perf_counter() + _ROW_S
    for hook in hooks:
        before = perf_counter()
        try:
            answer = hook.invoke(context)
            if hook.awaits:
                await (answer if limit_s is None else hook.within(answer, limit_s, _LATE))
        except BaseException as error:
            let_pass(error)
            hook.failed(error)
            text = text_of_error(error)
            hook.tell(f"the observer failed: {text}{remedy(text) or '; fix it'}")
        hook.calls += 1
        now = perf_counter()
        elapsed_s = now - before
        hook.total_s += elapsed_s
        if elapsed_s >= hook.slow_s:
            hook.took(elapsed_s)
        if now > until:
            until = await _pause(hook)


async def _pause(hook: Hook) -> float:
    """Let others run between two hooks of a row, and return until when the next ones may take their time.

    A cancellation waits for the row's end: it may cut off no observer that has a claim to be told.
    """
    if not hook.point.sync_only:
        await trio.lowlevel.cancel_shielded_checkpoint()
    return perf_counter() + _ROW_S


def unsupported(hook: Hook, answer: object, accepted: Sequence[str]) -> UnsupportedResultError:
    """Return the error for a result that is not accepted from this hook."""
    name = type(answer).__name__
    told = f"the class {answer.__name__} itself" if isinstance(answer, type) else name
    listed = ", ".join(accepted) or "nothing"
    message = f"{hook.where}: it answered {told}; a {hook.options.kind.value} may answer {listed} there"
    return UnsupportedResultError(message, hook=hook.name, point=hook.point.name, result=name, accepted=accepted)
