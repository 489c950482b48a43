"""Opens a host for one command and closes it whatever happens: the one ``trio.run``.

Invariant: the first Ctrl-C, SIGTERM or SIGHUP cancels everything and waits for it to end cleanly; the second ends the
process at once. A command may take a Ctrl-C as its own, to cancel less.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click
import trio

from .failure import Exit
from .invocation import Invocation
from .signals import ENDINGS, Signals, code_of

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["run_cancellable", "with_host"]

T = TypeVar("T")


def with_host(
    function: Callable[[Host], Awaitable[T]],
    invocation: Invocation,
    *,
    trace: bool = False,
    write: Callable[[str], object] | None = None,
    read_line: Callable[[], str | None] | None = None,
    on_interrupt: Callable[[], bool] | None = None,
) -> T:
    """Open a host with this call's settings, run the function with it, close the host, answer what it answered.

    ``llmspell event tail`` sees it under the command's name.

    Args:
        function: What to run.
        invocation: Gives the settings.
        trace: Whether the host records what hooks do.
        write: Where scripts write to; standard output if None.
        read_line: Where scripts read lines from; standard input if None.
        on_interrupt: Answers whether it has dealt with a Ctrl-C, so that nothing else is to be cancelled.
    """
    from llmspell.host import Host

    loaded = invocation.load_settings()
    context = click.get_current_context(silent=True)
    name = "llmspell" if context is None else context.command_path.removeprefix("llmspell ")

    async def use() -> T:
        opening = Host.open(settings=loaded, trace=trace, write=write, read_line=read_line, tap=name)
        async with opening as host:
            return await function(host)

    return run_cancellable(use, invocation.signals, on_interrupt)


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
    return Exit(code_of(signals.received), word=ENDINGS[signal.Signals(signals.received)].replace(" ", "_"))
