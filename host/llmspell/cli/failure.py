"""What a failed command writes and which code it ends with.

Invariant: one line, unless ``--debug`` or ``-v`` asks for more.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import click

from llmspell_hookspecs import ComponentNotFoundError, HookRegistrationError, LlmspellError, ScriptError, SettingsError

__all__ = ["Exit", "report", "single"]

_USAGE = (SettingsError, HookRegistrationError, ComponentNotFoundError)


class Exit(Exception):  # noqa: N818 - it is no error
    """End with this code and this line; for signals and for what has been reported already."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def report(error: Exception, *, debug: bool, verbose: bool) -> int:
    """Write what went wrong and answer the exit code."""
    error = single(error)
    if isinstance(error, Exit):
        _write(str(error))
        return error.code
    if any(isinstance(cause, BrokenPipeError) for cause in _causes(error)):  # A script's print met it.
        return 141
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        return _report_usage(error)
    if isinstance(error, LlmspellError):
        _write(str(error))
        if verbose and isinstance(error, ScriptError) and error.trace:
            click.echo(error.trace, err=True)
        return 2 if isinstance(error, _USAGE) else 1
    if isinstance(error, OSError) and error.strerror:
        _write(f"{error.filename or 'input or output'}: {error.strerror}")
        return 1
    hint = "" if debug else "; --debug shows where"
    _write(f"internal error: {type(error).__name__}: {error}{hint}")
    return 1


def single(error: Exception) -> Exception:
    """Answer the one error inside groups of one; of several, the first that is ours."""
    while isinstance(error, ExceptionGroup):
        ours = [inner for inner in error.exceptions if isinstance(inner, LlmspellError | ExceptionGroup)]
        error = (ours or error.exceptions)[0]
    return error


def _report_usage(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    hint = f"; see {context.command_path} --help" if context and ";" not in error.format_message() else ""
    _write(error.format_message().rstrip(".") + hint)
    return 2


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _write(message: str) -> None:
    if message:
        click.echo("llmspell: " + " ".join(message.splitlines()), err=True)
