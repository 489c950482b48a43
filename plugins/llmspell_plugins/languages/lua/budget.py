"""What a slice may use, and whether it is to stop; asked by the count hook about once a millisecond.

Invariant: holds nothing of Lua's, so that Lua may hold it. Times are of the slice's own thread, in seconds.
"""

from __future__ import annotations

import time

__all__ = ["Budget"]


class Budget:
    """The time of one script.

    Attributes:
        used_s: What its slices have used.
        stopped: Whether the running slice is to end at once.
    """

    def __init__(self, time_s: float) -> None:
        self._time_s = time_s
        self._started = 0.0
        self._allowed_s = 0.0
        self.used_s = 0.0
        self.stopped = False

    @property
    def left_s(self) -> float:
        """What the script has left."""
        return self._time_s - self.used_s

    def begin(self, most_s: float | None) -> None:
        """Begin a slice on this thread that may use ``most_s``, or all that is left."""
        self._started = time.thread_time()
        self._allowed_s = self.left_s if most_s is None else min(most_s, self.left_s)

    def end(self) -> None:
        """End the slice."""
        self.used_s += time.thread_time() - self._started

    def check(self) -> bytes | None:
        """Answer why the slice must end now, or None."""
        if self.stopped:
            return b"stopped"
        if time.thread_time() - self._started > self._allowed_s:
            return b"time"
        return None
