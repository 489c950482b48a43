"""How far operations may go, and who runs what they call. Durations in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from llmspell_hookspecs.results import Call

__all__ = ["Caller", "RunnerLimits"]


class RunnerLimits(Struct, frozen=True):
    """How far operations may go.

    Attributes:
        depth: How many operations may be around one.
        hops: How often one may be redirected.
        slow_ms: From how long on an operation is reported as slow; None for never.
        operation_time_s: How long any operation may take; None for no limit.
        forks: How many forks one operation may start.
        descendants: How many operations may run at once within one root operation, and how many forks.
        final_s: How long each hook may wait once an operation ends, or its deadline has passed.
        script_delay_s: The longest wait before a retry that a script's hook asks for.
    """

    depth: int = 32
    hops: int = 8
    slow_ms: float | None = None
    operation_time_s: float | None = None
    forks: int = 64
    descendants: int = 1000
    final_s: float = 5.0
    script_delay_s: float = 60.0


class Caller(Protocol):
    """Runs whatever has an address."""

    async def __call__(self, call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None) -> Any:
        """Run it and return its result."""
