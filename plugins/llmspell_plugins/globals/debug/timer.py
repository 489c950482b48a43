"""Timers of one run, with laps, events and what they enclose. Durations in milliseconds, memory in bytes.

Invariant: a timer started while another runs lies inside the innermost of them; at most 1,000 timers with 1,000 marks
each are kept, the oldest finished ones go first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import script_method
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.language import ScriptObject

from .memory import resident_bytes

__all__ = ["Mark", "Timer", "Timers"]

_MOST: Final = 1_000
_LONGEST: Final = 200


class Mark(Struct, frozen=True):
    """A lap or an event in a timer.

    Attributes:
        kind: ``lap`` or ``event``.
        name: As the script named it.
        at_ms: Since the timer started.
        metadata: What came with it, as text.
    """

    kind: str
    name: str
    at_ms: float
    metadata: str = ""


class Timer(ScriptObject):
    """One timer, running from when it is made.

    Attributes:
        parent: The timer that it lies in.
        marks: Its laps and events, in order.
    """

    def __init__(self, id: str, name: str, parent: Timer | None, now_s: Callable[[], float]) -> None:
        self.id = id
        self.name = name[:_LONGEST]
        self.parent = parent
        self.marks: list[Mark] = []
        self.running = True
        self.memory_before = resident_bytes()
        self._now_s = now_s
        self._started_s = now_s()
        self._total_ms = 0.0

    def script_fields(self) -> dict[str, Any]:
        """Return its id and name."""
        return {"id": self.id, "name": self.name}

    def script_text(self) -> str:
        """Return which timer it is and how long it has run."""
        return f"Timer {self.name} ({self.elapsed_ms:.3f} ms)"

    @property
    def elapsed_ms(self) -> float:
        """How long it has run, or ran."""
        return (self._now_s() - self._started_s) * 1000 if self.running else self._total_ms

    @script_method(pure=True)
    def stop(self) -> float:
        """Stop it and return how long it ran, in milliseconds; a second stop answers the same."""
        self._total_ms = self.elapsed_ms
        self.running = False
        return self._total_ms

    @script_method(pure=True)
    def elapsed(self) -> float:
        """Return how long it has run, in milliseconds."""
        return self.elapsed_ms

    @script_method(pure=True)
    def lap(self, name: str = "") -> float:
        """Mark a moment and return how long it has run until then, in milliseconds."""
        self.mark("lap", name or f"lap {len(self.marks) + 1}")
        return self.marks[-1].at_ms

    def mark(self, kind: str, name: str, metadata: str = "") -> None:
        """Add a lap or an event.

        Raises:
            ResourceLimitError: It has too many.
        """
        if len(self.marks) >= _MOST:
            message = f"Debug timer {self.name}: it has {_MOST} marks, which is the most; start another timer"
            raise ResourceLimitError(message, resource="marks", limit=_MOST)
        self.marks.append(Mark(kind, name[:_LONGEST], self.elapsed_ms, metadata[:_LONGEST]))


class Timers:
    """The timers of one run, in order of their start."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._timers: dict[str, Timer] = {}
        self._made = 0

    def __iter__(self) -> Any:
        return iter(self._timers.values())

    def start(self, name: str) -> Timer:
        """Start a timer.

        Raises:
            ResourceLimitError: Too many are running.
        """
        if len(self._timers) >= _MOST:
            self._forget_one()
        self._made += 1
        running = [timer for timer in self._timers.values() if timer.running]
        timer = Timer(f"timer-{self._made}", name, running[-1] if running else None, self._now_s)
        self._timers[timer.id] = timer
        return timer

    def get(self, id: str) -> Timer | None:
        """Return the timer with this id, or None."""
        return self._timers.get(id)

    def _forget_one(self) -> None:
        finished = next((timer for timer in self._timers.values() if not timer.running), None)
        if finished is None:
            message = f"Debug.timer: {_MOST} timers are running, which is the most; stop some"
            raise ResourceLimitError(message, resource="timers", limit=_MOST)
        del self._timers[finished.id]
