"""The circuit breaker of one transform at one point: what fails or dawdles too often is left out for a while.

Invariant: a breaker is asked only when something went wrong or while it probes; a healthy call costs one comparison.
An open breaker's hook is not in the chain; a timer brings it back half open. Durations in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from .errors import text_of_error

__all__ = ["PROFILES", "Breaker", "BreakerProfile", "BreakerState"]

BreakerState = Literal["closed", "open", "half_open"]
_LONGEST_OPEN_S: Final = 600.0


class BreakerProfile(Struct, frozen=True):
    """When a breaker opens and closes.

    Attributes:
        failures: That many failures within the window open it.
        slow_calls: That many slow calls within the window open it.
        slow_s: From here on a call is slow.
        window_s: How long failures and slow calls count.
        open_s: How long it stays open; doubles each time that it opens again while half open.
        successes: That many good calls in a row close it again.
    """

    failures: int
    slow_calls: int
    slow_s: float
    window_s: float
    open_s: float
    successes: int


PROFILES: Final = {
    "default": BreakerProfile(failures=3, slow_calls=2, slow_s=0.05, window_s=30, open_s=15, successes=2),
    "production": BreakerProfile(failures=2, slow_calls=1, slow_s=0.025, window_s=20, open_s=10, successes=1),
    "conservative": BreakerProfile(failures=5, slow_calls=3, slow_s=0.1, window_s=60, open_s=30, successes=3),
}
"""The three profiles, by the name that settings use."""


class Breaker:
    """Counts what went wrong; calls ``changed`` when its state does.

    Args:
        profile: When it opens and closes.
        clock: Returns seconds that only grow.
        changed: Told the new state.

    Attributes:
        state: What it is now.
        openings: How often it opened.
        cause: Why it opened last.
    """

    __slots__ = (
        "_changed",
        "_clock",
        "_failures",
        "_good",
        "_open_s",
        "_profile",
        "_slow",
        "cause",
        "openings",
        "state",
    )

    def __init__(
        self, profile: BreakerProfile, clock: Callable[[], float], changed: Callable[[BreakerState], None]
    ) -> None:
        self.state: BreakerState = "closed"
        self.openings = 0
        self.cause = ""
        self._profile = profile
        self._clock = clock
        self._changed = changed
        self._failures: deque[float] = deque(maxlen=profile.failures)
        self._slow: deque[float] = deque(maxlen=profile.slow_calls)
        self._good = 0
        self._open_s = profile.open_s

    @property
    def slow_s(self) -> float:
        """From how long on a call is to be reported; 0 while it probes, so that every call is."""
        return 0.0 if self.state == "half_open" else self._profile.slow_s

    @property
    def open_s(self) -> float:
        """How long it stays open this time."""
        return self._open_s

    def failed(self, error: BaseException | None = None) -> None:
        """Count a failure.

        Args:
            error: What it was, for the cause.
        """
        last = "" if error is None else f", the last: {text_of_error(error)}"
        if self.state == "half_open":
            self.cause = f"it failed again on trial{last}"
            self._reopen()
        elif self.state == "closed" and self._full(self._failures):
            self.cause = f"{self._profile.failures} failures within {self._profile.window_s:g} s{last}"
            self._become("open")

    def took(self, elapsed_s: float) -> None:
        """Count a call that succeeded but took this long, or any call while half open."""
        slow = elapsed_s >= self._profile.slow_s
        if self.state == "half_open":
            if slow:
                self.cause = f"on trial it took {elapsed_s * 1000:.0f} ms"
                self._reopen()
                return
            self._good += 1
            if self._good >= self._profile.successes:
                self.reset()
        elif slow and self.state == "closed" and self._full(self._slow):
            times, limit_ms = self._profile.slow_calls, self._profile.slow_s * 1000
            self.cause = f"{times} calls of {limit_ms:g} ms or more, the last: {elapsed_s * 1000:.0f} ms"
            self._become("open")

    def probe(self) -> None:
        """Let the hook back in, on trial."""
        if self.state == "open":
            self._good = 0
            self._become("half_open")

    def reset(self) -> None:
        """Close it and forget what went wrong."""
        self._open_s = self._profile.open_s
        self._failures.clear()
        self._slow.clear()
        if self.state != "closed":
            self._become("closed")

    def _full(self, times: deque[float]) -> bool:
        now = self._clock()
        times.append(now)
        return len(times) == times.maxlen and now - times[0] <= self._profile.window_s

    def _reopen(self) -> None:
        self._open_s = min(self._open_s * 2, _LONGEST_OPEN_S)
        self._become("open")

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self.openings += state == "open"
        self._changed(state)
