"""``llmspell repl``: type code and see what it answers; on a terminal with history and completion.

Invariant: without a terminal it reads chunk after chunk to the end of the input, and ends with 1 if one failed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .invocation import Invocation
from .outlet import say, warn

if TYPE_CHECKING:
    from llmspell.host import Host

    from .lines import Lines
    from .terminal import Terminal

__all__ = ["repl"]


@click.command()
@click.option("--language", help="What is typed; the setting default_language if left out.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="On a terminal, keep what is typed in FILE; in the user's data folder if left out.",
    metavar="FILE",
)
@click.pass_obj
def repl(invocation: Invocation, language: str | None, history: Path | None) -> int:
    """Type code and see what it answers.

    What one line leaves in globals is there for the next. .help lists the prompt's own commands.
    """
    with _lines() as lines:
        if sys.stdin.isatty() and sys.stdout.isatty():
            return _on_terminal(invocation, language, lines, history)
        return _on_pipe(invocation, language, lines)


@contextmanager
def _lines() -> Iterator[Lines]:
    from .lines import Lines

    lines = Lines(sys.stdin.fileno())
    try:
        yield lines
    finally:
        lines.close()


def _on_pipe(invocation: Invocation, language: str | None, lines: Lines) -> int:
    from .dialogue import Dialogue

    async def use(host: Host) -> int:
        dialogue = Dialogue(host, invocation, lines)
        await dialogue.hold(language)
        return 1 if dialogue.failures else 0

    return invocation.run(use, read_line=lines.read_line)


def _on_terminal(invocation: Invocation, language: str | None, lines: Lines, history: Path | None) -> int:
    from .dialogue import Dialogue

    terminal = _open_terminal(lines, history)
    invocation.signals.last = _giving_back(sys.stdin.fileno())
    dialogues: list[Dialogue] = []

    def interrupt() -> bool:
        if not dialogues or not dialogues[0].interrupt():
            return False
        terminal.interrupt()
        return True

    async def use(host: Host) -> int:
        dialogues.append(Dialogue(host, invocation, terminal))
        chosen = language or host.settings.plain("default_language")
        say(f"llmspell, {chosen}; .help shows what there is, Ctrl-D ends")
        await dialogues[0].hold(chosen)
        return 0

    return invocation.run(use, read_line=lines.read_line, on_interrupt=interrupt)


def _giving_back(descriptor: int) -> Callable[[], None]:
    """Return what gives the terminal back as it is now, for when the process ends at once."""
    import termios

    kept = termios.tcgetattr(descriptor)

    def give_back() -> None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSANOW, kept)

    return give_back


def _open_terminal(lines: Lines, history: Path | None) -> Terminal:
    from llmspell.settings.place import data_dir

    from .dialogue import COMMANDS
    from .terminal import Terminal, open_history

    kept, problem = open_history(history or data_dir(os.environ) / "repl_history")
    if problem:
        warn(problem)
    return Terminal(lines, kept, sorted(name.partition(" ")[0] for name in COMMANDS))
