"""The command ``llmspell repl``: on a terminal with history and completion, else chunk after chunk from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmspell_hookspecs.services import SettingsAccess

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

    from .lines import Lines

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

    async def use(host: CommandHost) -> int:
        dialogue = Dialogue(host, invocation, lines)
        await dialogue.hold(language or _default_language(host))
        return 1 if dialogue.failures else 0

    return invocation.run(use, read_line=lines.read_line)


def _on_terminal(invocation: Invocation, language: str | None, lines: Lines, history: Path | None) -> int:
    from .dialogue import COMMANDS, Dialogue
    from .tty import given_back, open_terminal

    terminal = open_terminal(invocation, lines, history or invocation.data_dir / "repl_history", COMMANDS)
    dialogues: list[Dialogue] = []

    def interrupt() -> bool:
        if not dialogues or not dialogues[0].interrupt():
            return False
        terminal.interrupt()
        return True

    async def use(host: CommandHost) -> int:
        dialogues.append(Dialogue(host, invocation, terminal))
        chosen = language or _default_language(host)
        invocation.say(f"llmspell, {chosen}; .help shows what there is, Ctrl-D ends")
        await dialogues[0].hold(chosen)
        return 0

    with given_back(invocation):
        return invocation.run(use, read_line=lines.read_line, on_interrupt=interrupt)


def _default_language(host: CommandHost) -> str:
    return str(host.get(SettingsAccess).plain("default_language"))
