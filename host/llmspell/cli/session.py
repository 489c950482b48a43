"""Opens a host for one command and closes it whatever happens: the one ``trio.run``.

Invariant: the first Ctrl-C or SIGTERM cancels everything and waits for it to end cleanly; the second Ctrl-C ends the
process at once. A command may take a Ctrl-C as its own, to cancel less.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click
import trio

from .failure import Exit
from .invocation import Invocation
from .log import write_log

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["run_cancellable", "with_host"]

T = TypeVar("T")
_ENDINGS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


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
    write_log(loaded.settings.logging.level)
    context = click.get_current_context(silent=True)
    name = "llmspell" if context is None else context.command_path.removeprefix("llmspell ")

    async def use() -> T:
        opening = Host.open(settings=loaded, trace=trace, write=write, read_line=read_line, tap=name)
        async with opening as host:
            return await function(host)

    return run_cancellable(use, on_interrupt)


def run_cancellable(function: Callable[[], Awaitable[T]], on_interrupt: Callable[[], bool] | None = None) -> T:
    """Run an async function to its end, or until a signal cancels it that ``on_interrupt`` does not deal with.

    Raises:
        Exit: A signal did.
    """
    received: list[signal.Signals] = []
    answers: list[T] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            await nursery.start(_watch, received, scope, on_interrupt)
            with scope:
                answers.append(await function())
            nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except Exception as error:
        if not received:
            raise
        raise Exit(*_ENDINGS[received[0]]) from error
    if received:
        raise Exit(*_ENDINGS[received[0]])
    return answers[0]


async def _watch(
    received: list[signal.Signals],
    scope: trio.CancelScope,
    on_interrupt: Callable[[], bool] | None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*_ENDINGS) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGINT and not received and on_interrupt is not None and on_interrupt():
                continue
            if received:
                os._exit(130)
            received.append(signal.Signals(number))
            scope.cancel()
