"""What a person types or names: arguments that stand for a text, and answers to questions.

Invariant: what is read is bounded, and nothing is waited for that no person will ever type.
"""

from __future__ import annotations

import os
import sys

import click

from llmspell_hookspecs.regular import MOST_BYTES, read_regular

from .outlet import one_line, write_error

__all__ = ["ask", "read_argument"]

_LINE_CHARACTERS = 64 * 1024


def read_argument(argument: str) -> str:
    """Return the text that an argument stands for; see the contract's `Invocation`."""
    if argument == "-":
        text = sys.stdin.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise click.UsageError(f"standard input: it is longer than {MOST_BYTES} characters; pipe in less")
        return text
    if not argument.startswith("@"):
        return argument
    file = argument[1:]
    try:
        return read_regular(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{file}: it is not UTF-8; save it as UTF-8") from error
    except OSError as error:
        message = f"{file}: it cannot be read: {error.strerror}; name a file that can, or give - and pipe it in"
        raise click.UsageError(message) from error


def ask(question: str) -> str | None:
    """Return the line that is typed; None at the end of the input, or if nobody sits there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    write_error(one_line(question) + " ")
    return sys.stdin.readline(_LINE_CHARACTERS).rstrip(os.linesep) or None
