"""What a failed command writes and which code it ends with.

Invariant: one line on standard error, unless ``--debug`` or ``-v`` asks for more; with ``--output json`` also one JSON
value on standard output, if the command has written none: ``{"error": {"code", "message", "exit", ...}}``. What goes
wrong while an error is told harms nobody.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click

from .outlet import is_used, let_go, say_error, tell
from .signals import ENDINGS, code_of

if TYPE_CHECKING:
    from .invocation import Invocation

__all__ = ["EXIT_CODES", "NOBODY_READS", "Exit", "Reporting", "Stray", "report", "single"]

NOBODY_READS: Final = 141
EXIT_CODES: Final = {
    0: "done",
    1: "a script, a tool or an operation failed, was denied, or ran out of a limit",
    2: "wrong usage, wrong settings, or a name that there is none of",
    NOBODY_READS: "nobody reads the output any more",
    **{code_of(number): f"{word} (by a signal: {number})" for number, word in ENDINGS.items()},
}
"""What each code means."""
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\(.*\)", re.DOTALL)
_FACTS: Final = ("hook", "point", "reason", "field", "file", "line", "origin", "key", "address", "rule", "resource")


class Exit(Exception):  # noqa: N818 - it is no error
    """End with this code and this line; for signals and for what has been reported already.

    Attributes:
        code: The exit code.
        word: What happened, for programs.
    """

    def __init__(self, code: int, message: str = "", *, word: str = "failed") -> None:
        super().__init__(message)
        self.code = code
        self.word = word


class Stray(Exception):  # noqa: N818 - its cause is one
    """Somebody else's KeyboardInterrupt or EOFError, which click would take for the user's."""


class Reporting:
    """Reports what leaves the block, whatever it is: nothing is above it that could.

    Attributes:
        code: The exit code.
    """

    def __init__(self, invocation: Invocation, arguments: Sequence[str]) -> None:
        self.code = 0
        self._invocation = invocation
        self._arguments = arguments

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: TracebackType | None) -> bool:
        if error is not None:
            words = list(self._arguments)  # of which the options could perhaps not be told apart
            asked = any(words[at : at + 2] == ["--output", "json"] for at in range(len(words)))
            self._invocation.json = self._invocation.json or asked or "--output=json" in words
            self.code = report(error, self._invocation)
        return True


def report(error: BaseException, invocation: Invocation, *, answer: bool = True) -> int:
    """Write what went wrong and return the exit code.

    Args:
        error: What it was.
        invocation: Says how much is wanted.
        answer: Whether standard output gets the error, too, if JSON is wanted.
    """
    error = single(error)
    from llmspell_hookspecs.failure import causes_of

    if any(isinstance(cause, BrokenPipeError) for cause in causes_of(error)):  # A script's print met it.
        return NOBODY_READS
    if invocation.debug and not isinstance(error, Exit):
        import traceback

        say_error("".join(traceback.format_exception(error)).rstrip("\n"))
    code, word, message, facts = _described(error, debug=invocation.debug)
    if message:
        tell(message)
    trace = str(getattr(error, "trace", ""))
    if invocation.verbose and word == "script" and trace:
        say_error(trace)
    if answer and invocation.json and not is_used(sys.stdout):
        from .output import print_json

        try:
            print_json({"error": {"code": word, "message": message, "exit": code, **facts}, **invocation.beside})
        except (OSError, ValueError):
            let_go(sys.stdout)
    return code


def single(error: BaseException) -> BaseException:
    """Return the one error inside groups of one; of several, the first that is ours."""
    from llmspell_hookspecs import LlmspellError

    if isinstance(error, Stray | click.Abort) and error.__cause__ is not None:
        error = error.__cause__
    while isinstance(error, BaseExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(inner, LlmspellError | BaseExceptionGroup)]
        error = (ours or error.exceptions)[0]
    return error


def _described(error: BaseException, *, debug: bool) -> tuple[int, str, str, dict[str, Any]]:
    """The exit code, the word for programs, the line for people, and more facts."""
    from llmspell_hookspecs import LlmspellError
    from llmspell_hookspecs.errors import ComponentNotFoundError, HookRegistrationError, SettingsError

    if isinstance(error, Exit):
        return error.code, error.word, str(error), {}
    if isinstance(error, click.ClickException):
        return 2, "usage", _usage(error), {}
    if isinstance(error, LlmspellError):
        wrong = isinstance(error, SettingsError | HookRegistrationError | ComponentNotFoundError)
        facts = {name: value for name in _FACTS if (value := getattr(error, name, None))}
        return 2 if wrong else 1, str(error.code), str(error), facts
    if isinstance(error, OSError) and error.strerror:
        name = error.filename or "input or output"
        name = os.fsdecode(name) if isinstance(name, bytes) else name
        return 1, "io", f"{name}: {error.strerror}", {}
    try:
        text = str(error)
    except Exception as failure:  # a third party's own method
        text = f"(its text cannot be had: {type(failure).__name__})"
    hint = "" if debug else "; --debug shows where"
    return 1, "internal", f"internal error: {type(error).__name__}: {text}{hint}", {}


def _usage(error: click.ClickException) -> str:
    """What was wrong, and what to do: as the message says itself behind its semicolon, or where help is."""
    context = getattr(error, "ctx", None) or click.get_current_context(silent=True)
    message = error.format_message()
    if ";" in _QUOTED.sub("", message):
        return message
    return f"{message.rstrip('.')}; see {context.command_path if context else 'llmspell'} --help"
