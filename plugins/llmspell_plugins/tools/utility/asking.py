"""Asking a person: who answers, and how one is asked at the terminal.

Invariant: what is shown at the terminal holds no character that steers it, whoever wrote the question; and nothing that
was typed before the question was shown is its answer.
"""

from __future__ import annotations

import os
import sys
import termios
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, runtime_checkable

import trio
from msgspec import Struct

__all__ = ["Answerer", "Question", "ask_at_terminal", "has_terminal"]

_LONGEST_BYTES = 64 * 1024


class Question(Struct, frozen=True):
    """What a person is asked.

    Attributes:
        text: The question.
        choices: The answers to take one of; any text if there are none.
        default: What an empty answer stands for, None for nothing.
    """

    text: str
    choices: tuple[str, ...] = ()
    default: str | None = None


@runtime_checkable
class Answerer(Protocol):
    """Asks a person otherwise than at the terminal: a service that a plugin brings under the name ``answerer``."""

    async def answer(self, question: Question, /) -> str | None:
        """Return what the person says, None for nothing; what is none of the choices is asked again."""


def has_terminal() -> bool:
    """Return whether somebody sits at a terminal that this process may read."""
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # it is closed, or none of ours
        return False


async def ask_at_terminal(question: Question) -> str | None:
    """Return the line that is typed, None if the terminal is closed; a cancellation leaves the terminal as it was."""
    with _terminal() as descriptor:
        async with trio.lowlevel.FdStream(os.dup(descriptor)) as terminal:
            termios.tcflush(descriptor, termios.TCIFLUSH)
            await terminal.send_all(_shown(question).encode())
            typed = b""
            while not typed.endswith(b"\n") and len(typed) < _LONGEST_BYTES:
                piece = await terminal.receive_some(4096)
                if not piece:
                    return None
                typed += piece
    return typed.decode("utf-8", "replace").strip()


@contextmanager
def _terminal() -> Iterator[int]:
    """The terminal, opened anew, so that what is set of it is not set of the standard streams."""
    descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = termios.tcgetattr(descriptor)
        lines = [*before]
        lines[0] |= termios.ICRNL
        lines[3] |= termios.ICANON | termios.ECHO | termios.ISIG
        termios.tcsetattr(descriptor, termios.TCSANOW, lines)
        try:
            yield descriptor
        finally:
            with suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
    finally:
        os.close(descriptor)


def _shown(question: Question) -> str:
    lines = [f"A tool asks: {_harmless(question.text)}"]
    lines += [f"  {number}. {_harmless(choice)}" for number, choice in enumerate(question.choices, 1)]
    default = "" if question.default is None else f" [{_harmless(question.default)}]"
    return "\n".join(lines) + f"\nYour answer{default}: "


def _harmless(text: str) -> str:
    """The text without what moves a terminal's cursor or turns the order of letters."""
    return "".join(letter if unicodedata.category(letter)[0] != "C" or letter == "\n" else " " for letter in text)
