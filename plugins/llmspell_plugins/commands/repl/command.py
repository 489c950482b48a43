"""The command ``llmspell repl``: on a terminal with history and completion, else chunk after chunk from a pipe."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from llmspell_hookspecs.services import SettingsAccess

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

    from .lines import Lines
    from .terminal import Terminal

__all__ = ["repl"]

_NO_END: Final = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPS: Final = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_UNHEARD: Final = {signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""The last four come again as soon as C has noted them, before Python is asked."""


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
    from .dialogue import Dialogue

    terminal = _open_terminal(invocation, lines, history)
    give_back = _giving_back(sys.stdin.fileno())
    invocation.on_kill(give_back)
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

    with _before_other_signals(give_back):
        return invocation.run(use, read_line=lines.read_line, on_interrupt=interrupt)


def _default_language(host: CommandHost) -> str:
    return str(host.get(SettingsAccess).plain("default_language"))


def _giving_back(descriptor: int) -> Callable[[], None]:
    """Return what gives the terminal back as it is now, for when the process ends at once."""
    import termios

    kept = termios.tcgetattr(descriptor)

    def give_back() -> None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSANOW, kept)

    return give_back


@contextmanager
def _before_other_signals(give_back: Callable[[], None]) -> Iterator[None]:
    """Give the terminal back before a signal that nobody else handles ends the process, as it does by default."""

    def end(number: int, _frame: object) -> None:
        give_back()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    all_others = signal.valid_signals() - _NO_END - _STOPS - _UNHEARD
    main = threading.current_thread() is threading.main_thread()  # others may set no handler
    taken = [number for number in all_others if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)


def _open_terminal(invocation: Invocation, lines: Lines, history: Path | None) -> Terminal:
    from .dialogue import COMMANDS
    from .terminal import Terminal, open_history

    kept, problem = open_history(history or invocation.data_dir / "repl_history")
    if problem:
        invocation.warn(problem)
    return Terminal(lines, kept, sorted(name.partition(" ")[0] for name in COMMANDS), invocation.guarded)
