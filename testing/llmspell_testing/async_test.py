"""Running an ``async def`` test function under trio: one ``trio.run`` for each test, or for each example of hypothesis.

Invariant: a test that another plugin claims is left to it; what runs is the test's own function with the fixtures that
it asked for. A fixture that is a clock is the clock of the run.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from threading import Timer
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    import pytest

__all__ = ["FOREIGN_MARKERS", "is_async", "run_async_test"]

FOREIGN_MARKERS = frozenset({"anyio", "asyncio", "tornado", "trio", "twisted"})
"""The markers by which a test asks for another plugin."""


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether this is an async test function, also below ``@given``."""
    return inspect.iscoroutinefunction(_innermost(function))


def run_async_test(item: pytest.Function, timeout_s: float) -> None:
    """Run an async test function under trio.

    Args:
        item: The test, with its fixtures set up.
        timeout_s: In real time, whatever the clock says; 0 for none.

    Raises:
        BaseException: Whatever the test raises.
        TimeoutError: It was cancelled because it did not end in time.
    """
    arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
    clock = next((value for value in item.funcargs.values() if isinstance(value, trio.abc.Clock)), None)
    if not hasattr(item.obj, "hypothesis"):
        _run(item.obj, clock, timeout_s, **arguments)
        return
    # hypothesis calls the inner test as it finds it on its wrapper, once for each example.
    inner = item.obj.hypothesis.inner_test

    @wraps(inner)
    def example(*args: Any, **kwargs: Any) -> None:
        _run(inner, clock, timeout_s, *args, **kwargs)

    item.obj.hypothesis.inner_test = example
    try:
        item.obj(**arguments)
    finally:
        item.obj.hypothesis.inner_test = inner


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    held = getattr(function, "hypothesis", None)
    return function if held is None else held.inner_test


def _run(
    test: Callable[..., Awaitable[None]], clock: trio.abc.Clock | None, timeout_s: float, *args: Any, **kwargs: Any
) -> None:
    @wraps(test)  # so that the task bears the name of the test
    async def main() -> None:
        # Not a deadline of trio's: on a clock that jumps it would be reached at once whenever a thread is waited for.
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            timer = Timer(timeout_s, _cancel, (token, scope)) if timeout_s else None
            try:
                if timer is not None:
                    timer.daemon = True
                    timer.start()
                await test(*args, **kwargs)
            finally:
                if timer is not None:
                    timer.cancel()
        if scope.cancelled_caught:
            raise TimeoutError(f"the test did not end within {timeout_s:g} s")

    trio.run(main, clock=clock)


def _cancel(token: trio.lowlevel.TrioToken, scope: trio.CancelScope) -> None:
    try:
        token.run_sync_soon(scope.cancel)
    except trio.RunFinishedError:
        return
