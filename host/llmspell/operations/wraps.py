"""Wraps: async generators with one yield, entered around the body and left last in first out, in one task.

Invariant: a wrap is sent the result or thrown the exception and changes neither. What it does wrong (no yield, a second
yield, an error of its own) is counted and replaces nothing. On cancellation its clean-up runs shielded, 100 ms at most.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from time import perf_counter
from typing import Any, Final

import trio

from llmspell.hooks import Hook
from llmspell_hookspecs import HookContext
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.foreign import let_pass

__all__ = ["LAST_MOMENTS_S", "enclose"]

LAST_MOMENTS_S: Final = 0.1
"""How long clean-up may take once an operation is cancelled."""

_NOTHING: Any = object()
_Entered = tuple[Hook, AsyncGenerator[Any, Any]]


async def enclose(
    wraps: Sequence[Hook],
    context: HookContext[Any],
    body: Callable[[], Awaitable[Any]],
    limit_s: float | None = None,
) -> Any:
    """Run the body inside the wraps and return its result; each may take so long to leave, if no deadline bounds it."""
    entered: list[_Entered] = []
    value: Any = _NOTHING
    try:
        for hook in wraps:
            generator = await _enter(hook, context)
            if generator is not None:
                entered.append((hook, generator))
        value = await body()
    finally:
        if value is _NOTHING:
            await _leave_all(entered, sys.exception(), None, limit_s)
    await _leave_all(entered, None, value, limit_s)
    return value


async def _enter(hook: Hook, context: HookContext[Any]) -> AsyncGenerator[Any, Any] | None:
    before = perf_counter()
    hook.calls += 1
    generator: AsyncGenerator[Any, Any] = hook.invoke(context)
    try:
        await generator.__anext__()
    except StopAsyncIteration:
        _misbehaved(hook, "it did not yield")
        return None
    except BaseException as error:
        let_pass(error)
        _misbehaved(hook, f"it failed: {text_of_error(error)}")
        return None
    hook.total_s += perf_counter() - before
    return generator


async def _leave_all(entered: list[_Entered], error: BaseException | None, value: Any, limit_s: float | None) -> None:
    """Leave the wraps, last in first out; from a cancellation on, shielded."""
    while entered and (error is None or isinstance(error, Exception)):
        hook, generator = entered.pop()
        left = False
        try:
            if limit_s is None:
                await _leave(hook, generator, error, value)
            else:
                told = f"it took longer than {limit_s:g} s to leave; see hooks.final_s"
                await _leave_within(trio.move_on_after(limit_s), hook, generator, error, value, told)
            left = True
        finally:
            if not left:
                await _leave_shielded(entered, sys.exception())
    if entered:
        await _leave_shielded(entered, error)


async def _leave_shielded(entered: list[_Entered], error: BaseException | None) -> None:
    """Leave the rest; each wrap throws the cancellation back, which goes on once all of them are left."""
    deadline = trio.current_time() + LAST_MOMENTS_S
    async with AsyncExitStack() as stack:
        for hook, generator in entered:
            scope = trio.CancelScope(shield=True, deadline=deadline)
            stack.push_async_callback(_leave_within, scope, hook, generator, error, None)
        entered.clear()


async def _leave_within(
    scope: trio.CancelScope,
    hook: Hook,
    generator: AsyncGenerator[Any, Any],
    error: BaseException | None,
    value: Any,
    told: str = "",
) -> None:
    with scope:
        await _leave(hook, generator, error, value)
    if told and scope.cancelled_caught:
        _misbehaved(hook, told)


async def _leave(hook: Hook, generator: AsyncGenerator[Any, Any], error: BaseException | None, value: Any) -> None:
    before = perf_counter()
    try:
        if error is None:
            await generator.asend(value)
        else:
            await generator.athrow(error)
    except StopAsyncIteration:
        return
    except BaseException as own:
        if own is not error:
            let_pass(own)
            _misbehaved(hook, f"it failed: {text_of_error(own)}")
        elif not isinstance(own, Exception):
            raise  # the cancellation that it was thrown
        return
    finally:
        hook.total_s += perf_counter() - before
    _misbehaved(hook, "it yielded twice; yield once")
    try:
        await generator.aclose()
    except BaseException as own:
        let_pass(own)
        _misbehaved(hook, f"it failed: {text_of_error(own)}")


def _misbehaved(hook: Hook, problem: str) -> None:
    hook.failed()
    hook.tell(problem)
