"""The six debug levels, from off to trace, and what they are in Python's logging."""

from __future__ import annotations

import enum
import logging
from typing import Final

from llmspell_hookspecs import InvalidInputError

__all__ = ["LOGGING_LEVELS", "Level", "level_of"]


class Level(enum.IntEnum):
    """How much is said; a message is kept if its level is at most the one that is set."""

    OFF = 0
    ERROR = 1
    WARN = 2
    INFO = 3
    DEBUG = 4
    TRACE = 5

    @property
    def word(self) -> str:
        """The level as scripts spell it."""
        return self.name.lower()


LOGGING_LEVELS: Final = {
    Level.ERROR: logging.ERROR,
    Level.WARN: logging.WARNING,
    Level.INFO: logging.INFO,
    Level.DEBUG: logging.DEBUG,
    Level.TRACE: 5,
}
"""Python's number for each level; trace lies below DEBUG."""


def level_of(word: str) -> Level:
    """Return the level of a word.

    Raises:
        InvalidInputError: It is none.
    """
    name = word.strip().upper()
    name = "WARN" if name == "WARNING" else name
    if name in Level.__members__:
        return Level[name]
    words = ", ".join(level.word for level in Level)
    raise InvalidInputError(f"Debug: {word!r} is no level; use one of {words}", field="level")
