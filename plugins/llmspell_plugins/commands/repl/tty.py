"""The terminal of a command that holds a prompt: opened with its history, and given back however the command ends.

Invariant: a signal that ends the process by default still ends it, after the terminal was given back.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import Invocation

    from .lines import Lines
    from .terminal import Terminal

__all__ = ["given_back", "open_terminal"]

_NO_END: Final = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPS: Final = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_UNHEARD: Final = {signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
"""The last four come again as soon as C has noted them, before Python is asked."""


def open_terminal(invocation: Invocation, lines: Lines, history: Path, commands: Iterable[str]) -> Terminal:
    """Return the terminal, with what was typed kept in a file.

    Args:
        invocation: Is told if it cannot be kept there.
        lines: Where scripts read from.
        history: The file.
        commands: The prompt's own commands as they are typed, whose first words are completed.
    """
    from .terminal import Terminal, open_history

    kept, problem = open_history(history)
    if problem:
        invocation.warn(problem)
    return Terminal(lines, kept, sorted(name.partition(" ")[0] for name in commands), invocation.guarded)


@contextmanager
def given_back(invocation: Invocation) -> Iterator[None]:
    """Give the terminal back as it is now, whatever ends the process: also a signal that nobody else handles."""
    give_back = _giving_back(sys.stdin.fileno())
    invocation.on_kill(give_back)

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


def _giving_back(descriptor: int) -> Callable[[], None]:
    """Return what gives the terminal back as it is now, for when the process ends at once."""
    import termios

    kept = termios.tcgetattr(descriptor)

    def give_back() -> None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSANOW, kept)

    return give_back
