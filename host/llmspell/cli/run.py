"""``llmspell run`` and ``llmspell exec``, a script from a file or code from the command line; and the one ``trio.run``.

The first Ctrl-C, SIGTERM, SIGHUP or SIGQUIT cancels everything and waits for it to end cleanly; the second ends the
process at once. A command may take a Ctrl-C as its own, to cancel less.

Invariant: what a script prints appears as it happens, on standard error if standard output is for JSON, which is one
value: what the script answered, or the error. With ``--explain`` the trace follows, also when the script failed.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from .failure import Exit
from .invocation import Invocation
from .signals import ENDINGS, Signals, code_of

__all__ = ["exec_", "run", "run_cancellable"]

T = TypeVar("T")
_EXPLAIN = click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_EXPLAIN
@click.pass_obj
def run(invocation: Invocation, file: Path, arguments: tuple[str, ...], explain: bool) -> None:
    """Run the script FILE; what stands behind -- are its arguments."""
    invocation.run(lambda host: host.run_script(file, list(arguments)), show=lambda value: None, explain=explain)


@click.command("exec")
@click.argument("code")
@click.option("--language", help="What the code is written in; the setting default_language if left out.")
@_EXPLAIN
@click.pass_obj
def exec_(invocation: Invocation, code: str, language: str | None, explain: bool) -> None:
    """Run CODE and print what it returns."""
    invocation.run(lambda host: host.run_source(code, language), show=invocation.show, explain=explain)


def run_cancellable(
    function: Callable[[], Awaitable[T]], signals: Signals, on_interrupt: Callable[[], bool] | None = None
) -> T:
    """Run an async function to its end, or until a signal cancels it that ``on_interrupt`` does not deal with.

    Raises:
        Exit: A signal did.
    """
    import trio  # what only prints help needs none

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
