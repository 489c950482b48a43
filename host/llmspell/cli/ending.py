"""Ends a command in order when a signal comes: the one ``trio.run``.

Invariant: the first Ctrl-C, SIGTERM, SIGHUP or SIGQUIT cancels everything and waits for it to end cleanly; the second
ends the process at once. A command may take a Ctrl-C as its own, to cancel less.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from .failure import Exit
from .signals import ENDINGS, Signals, code_of

__all__ = ["run_cancellable"]

T = TypeVar("T")


def run_cancellable(
    function: Callable[[], Awaitable[T]], signals: Signals, on_interrupt: Callable[[], bool] | None = None
) -> T:
    """Run an async function to its end, or until a signal cancels it that ``on_interrupt`` does not deal with.

    Raises:
        Exit: A signal did.
    """
    answers: list[T] = []

    async def main() -> None:
        scope = trio.CancelScope()
        token = trio.lowlevel.current_trio_token()

        def take(number: int) -> None:
            if number == signal.SIGINT and on_interrupt is not None and on_interrupt():
                signals.dealt()
            else:
                signals.ending(number)
                scope.cancel()

        signals.pass_to(lambda number: token.run_sync_soon(take, number))
        try:
            with scope:
                answers.append(await function())
        finally:
            signals.pass_to(None)

    try:
        trio.run(main)
    except Exception as error:
        if not signals.received:
            raise
        raise _ended_by(signals) from error
    if signals.received:
        raise _ended_by(signals)
    return answers[0]


def _ended_by(signals: Signals) -> Exit:
    signals.tell()
    return Exit(code_of(signals.received), word=ENDINGS[signals.received].replace(" ", "_"))
