"""The one way out: all that the command line writes leaves through here, and through streams that were guarded here.

Invariant: a terminal gets no control character that is not our own, whoever wrote it: commands, scripts, models,
plugins, Python's warnings and tracebacks. A pipe gets what scripts write as it is. A letter that the encoding lacks
has a stand-in. A message is one line on standard error. Imports the contract only for a text that needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, TextIO

__all__ = [
    "clean",
    "guard_streams",
    "guarded",
    "is_used",
    "let_go",
    "one_line",
    "own_stream",
    "put",
    "say",
    "say_error",
    "tell",
    "warn",
    "write",
    "write_error",
]

_SHORT = 200


def say(text: str = "") -> None:
    """Write a line, or several, for people to standard output, with what steers a terminal spelled out."""
    write(clean(text) + "\n")


def write(text: str) -> None:
    """Write a value to standard output, now: as it is where no terminal is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def say_error(text: str) -> None:
    """Write a line, or several, that is beside the matter to standard error: a note, a trace."""
    write_error(clean(text) + "\n")


def write_error(text: str) -> None:
    """Write a text to standard error, now: what a script prints where standard output is for JSON."""
    sys.stderr.write(text)
    sys.stderr.flush()


def tell(message: str) -> None:
    """Write a message on one line to standard error."""
    put(one_line(f"llmspell: {message}"))


def put(line: str) -> None:
    """Write a line to standard error; nobody is harmed if it takes none."""
    try:
        say_error(line)
    except (OSError, ValueError):
        let_go(sys.stderr)


def warn(message: str) -> None:
    """Write a warning on one line to standard error."""
    tell(f"warning: {message}")


def clean(text: str) -> str:
    """Return a text, of one line or of several, with what steers a terminal spelled out."""
    if text.replace("\n", "").isprintable():
        return text
    from llmspell_hookspecs.spelling import spell_out

    return spell_out(text)


def one_line(message: str) -> str:
    """Return a message as one line that steers nothing."""
    if message.isprintable() and len(message) <= _SHORT:
        return message
    from llmspell_hookspecs.spelling import one_line as shorten

    return shorten(message)


class _Guarded:
    """A stream for everybody: on a terminal, what is written has its control characters spelled out.

    Args:
        own: The stream as it is, for what we style ourselves.

    Attributes:
        used: Whether anything was written.
    """

    def __init__(self, own: TextIO) -> None:
        self.own = own
        self.used = False
        self._shown = own.isatty()

    def write(self, text: str) -> int:
        """Write it."""
        self.own.write(clean(text) if self._shown else text)
        self.used = True
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write them."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.own, name)


def is_used(stream: TextIO) -> bool:
    """Return whether something was written to a guarded stream."""
    return isinstance(stream, _Guarded) and stream.used


def own_stream(stream: TextIO) -> TextIO:
    """Return the stream as it is: for what we styled ourselves, and cleaned before."""
    return stream.own if isinstance(stream, _Guarded) else stream


def guard_streams() -> Callable[[], None]:
    """Make the process's streams safe to write to, and return what undoes it.

    What whoever started us has closed reads as empty and swallows what is written.
    """
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for as long as we run
    elif hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)

    def undo() -> None:
        sys.stdin, sys.stdout, sys.stderr = before

    return undo


def guarded(stream: Any) -> Any:
    """Return a stream that is safe to write to, whatever this one is."""
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as we run
    elif hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
    return _Guarded(stream)


def let_go(stream: TextIO) -> None:
    """Write out what waits; where nobody takes it, drop it, so that the interpreter does not complain as it ends."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
