"""What a slice may use, and whether it is to stop; asked by the count hook about once a millisecond.

Invariant: holds nothing of Lua's, so that Lua may hold it. Times are of the slice's own thread, in seconds.
"""

from __future__ import annotations

import threading
import time

__all__ = ["Budget"]


class Budget:
    """The time of one script.

    Attributes:
        used_s: What its slices have used.
        last_s: What the last one has used.
        stopped: Whether the running slice is to end at once.
    """

    def __init__(self, time_s: float) -> None:
        self._time_s = time_s
        self._clock: int | None = None
        self._started = 0.0
        self._allowed_s = 0.0
        self.used_s = 0.0
        self.last_s = 0.0
        self.stopped = False

    @property
    def left_s(self) -> float:
        """What the script has left."""
        return self._time_s - self.used_s

    @property
    def overdue_s(self) -> float:
        """How long the running slice is past its time; may be asked on another thread than its own."""
        clock = self._clock
        if clock is None:
            return 0.0
        try:
            return time.clock_gettime(clock) - self._started - self._allowed_s
        except OSError:  # its thread has ended meanwhile
            return 0.0

    def renew(self) -> None:
        """Let the script have all its time anew."""
        self.used_s = 0.0

    def begin(self, most_s: float | None) -> None:
        """Begin a slice on this thread that may use ``most_s``, or all that is left."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._started = time.thread_time()
        self._allowed_s = self.left_s if most_s is None else min(most_s, self.left_s)

    def end(self) -> None:
        """End the slice."""
        self._clock = None
        self.last_s = time.thread_time() - self._started
        self.used_s += self.last_s

    def check(self) -> bytes | None:
        """Return why the slice must end now, or None."""
        if self.stopped:
            return b"stopped"
        if time.thread_time() - self._started > self._allowed_s:
            return b"time"
        return None
