"""What the host logs, written to standard error: one line a message, named by its level."""

from __future__ import annotations

import logging
from typing import Final

from .outlet import tell

__all__ = ["write_log"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


class _StandardError(logging.Handler):
    """Writes a record where errors are written now."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it."""
        tell(f"{record.levelname.lower()}: {record.getMessage()}")


def write_log(level: str) -> None:
    """Write what llmspell logs at this level, one of ``logging.level``'s words, or above."""
    logger = logging.getLogger("llmspell")
    logger.setLevel(_LEVELS[level])
    logger.propagate = False
    logger.handlers[:] = [_StandardError()]
