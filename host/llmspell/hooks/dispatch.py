"""Calling the hooks of a chain: the hot path.

Transforms are called until one answers; what the answer means is the runner's business. Guards fail closed, observers
never fail. Each hook costs one clock reading.

Invariant: a cancellation and the user's own Ctrl-C are never counted as a hook's error; whatever else it raises, of
whatever class, is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from llmspell.foreign import let_pass
from llmspell_hookspecs import (
    Cancel,
    Continue,
    HookContext,
    HookError,
    HookFailedError,
    HookResult,
    Skipped,
    UnsupportedResultError,
)
from llmspell_hookspecs.errors import text_of_error

from .hook import Hook

__all__ = ["advance", "advance_waiting", "judge", "observe", "unsupported"]

_log = logging.getLogger("llmspell.hooks")


def advance(hooks: Sequence[Hook], start: int, context: HookContext[Any]) -> tuple[int, HookResult] | None:
    """Call sync transforms from ``start`` on until one answers.

    Returns:
        Where to go on, and the answer; None if none answered.

    Raises:
        HookFailedError: A hook failed whose ``on_error`` is ``raise``.
    """
    clock = perf_counter
    before = clock()
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
            hook.breaker.took(elapsed_s)  # type: ignore[union-attr]
        if answer is not None:
            return hooks.index(hook, start) + 1, answer
    return None


async def advance_waiting(
    hooks: Sequence[Hook], start: int, context: HookContext[Any]
) -> tuple[int, HookResult] | None:
    """As `advance`, for chains in which some hook must be awaited."""
    clock = perf_counter
    before = clock()
    for hook in hooks[start:] if start else hooks:
        invoke = hook.invoke
        try:
            answer = await invoke(context) if hook.awaits else invoke(context)
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
            hook.breaker.took(elapsed_s)  # type: ignore[union-attr]
        if answer is not None:
            return hooks.index(hook, start) + 1, answer
    return None


def _failed(hook: Hook, error: BaseException) -> None:
    hook.calls += 1
    hook.failed()
    where = f"hook {hook.plugin}.{hook.name} at {hook.point.name}"
    if hook.options.on_error == "raise":
        message = f"{where}: it failed: {text_of_error(error)}; mend it, or say on_error='continue'"
        raise HookFailedError(message, hook=hook.name, point=hook.point.name) from error
    _log.warning("%s: it failed and was passed over: %s", where, text_of_error(error))


async def judge(hooks: Sequence[Hook], context: HookContext[Any]) -> tuple[Hook, Cancel, BaseException | None] | None:
    """Ask the guards; answer the first that cancels with its Cancel and, if it failed, why; None if all agree."""
    for hook in hooks:
        before = perf_counter()
        failure: BaseException | None = None
        try:
            answer = hook.invoke(context)
            if hook.awaits:
                answer = await answer
            if not (answer is None or isinstance(answer, Continue | Cancel | Skipped)):
                raise unsupported(hook, answer, ("Continue", "Cancel", "Skipped"))
        except BaseException as error:
            let_pass(error)
            hook.failed()
            text = text_of_error(error)
            told = issubclass(type(error), HookError)
            failure, answer = error, Cancel(text if told else f"the guard failed: {text}", "guard_failed")
        hook.calls += 1
        hook.total_s += perf_counter() - before
        if isinstance(answer, Cancel):
            return hook, answer, failure
    return None


async def observe(hooks: Sequence[Hook], context: HookContext[Any]) -> None:
    """Call every observer; what they answer is ignored, what they raise is counted."""
    for hook in hooks:
        before = perf_counter()
        try:
            answer = hook.invoke(context)
            if hook.awaits:
                await answer
        except BaseException as error:
            let_pass(error)
            hook.failed()
            where = f"hook {hook.plugin}.{hook.name} at {hook.point.name}"
            _log.warning("%s: the observer failed: %s", where, text_of_error(error))
        hook.calls += 1
        hook.total_s += perf_counter() - before


def unsupported(hook: Hook, answer: object, accepted: Sequence[str]) -> UnsupportedResultError:
    """Answer the error for a result that is not accepted from this hook."""
    name = type(answer).__name__
    listed = ", ".join(accepted) or "nothing"
    message = (
        f"hook {hook.plugin}.{hook.name} at {hook.point.name}: it answered {name}; "
        f"a {hook.options.kind.value} may answer {listed} there"
    )
    return UnsupportedResultError(message, hook=hook.name, point=hook.point.name, result=name, accepted=accepted)
