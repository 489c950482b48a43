"""Problems that come again and again: each is logged when it first comes, the others are counted.

Invariant: the log holds at most 17 lines of one tally, however often and in how many words its problem comes.
"""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["Tally"]

_MOST: Final = 16


class Tally:
    """What one thing did wrong, such as a hook of a script.

    Args:
        log: Takes a warning for each problem that it was not told yet.
        what: What is done again, such as ``hook a.b at c: it failed``; begins the line that counts.
    """

    __slots__ = ("_log", "_more", "_told", "_what")

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._told: set[str] = set()
        self._more = 0

    def tell(self, problem: str) -> None:
        """Log a problem, or count it."""
        if problem in self._told or len(self._told) == _MOST:
            self._more += 1
            return
        self._told.add(problem)
        self._log.warning("%s", problem)

    def end(self) -> None:
        """Log how many were counted, if any were."""
        more, self._more = self._more, 0
        if more:
            self._log.warning("%s %d times more; see the lines above", self._what, more)
