"""Trying an HTTP request again: when, how often and after what wait.

Invariant: a request that may do something twice is tried once, unless that was asked for. Durations in seconds inside,
in milliseconds where people type them; ``Retry-After`` as in RFC 9110.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from llmspell_plugins.providers.failures import retry_after_s

__all__ = ["RetryOptions", "delay_s"]

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class RetryOptions(BaseModel):
    """How often a request is tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_attempts: int = Field(default=3, ge=1, le=10, description="In all, the first one included.")
    initial_delay_ms: float = Field(default=1000, ge=0, le=600_000, description="Before the second attempt.")
    max_delay_ms: float = Field(default=30_000, ge=0, le=600_000, description="A wait is never longer.")
    backoff_factor: float = Field(default=2, ge=1, le=10, description="By how much each wait is longer.")
    retry_on_status: tuple[int, ...] = Field(default=(429, 500, 502, 503, 504), description="Worth another attempt.")
    any_method: bool = Field(default=False, description="Try POST and PATCH again too, which may do it twice.")

    def attempts(self, method: str) -> int:
        """Return how often a request with this method is tried."""
        return self.max_attempts if self.any_method or method in _IDEMPOTENT else 1


def delay_s(options: RetryOptions, attempt: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait after an attempt; None if the server asks for a longer one than the options allow.

    Args:
        options: How long waits may be.
        attempt: Which attempt failed, from 1.
        headers: Of its answer; empty if there was none.
        now: In UTC, since ``Retry-After`` may be a date.
    """
    longest_s = options.max_delay_ms / 1000
    asked_s = retry_after_s(headers, now)
    if asked_s is not None:
        return asked_s if asked_s <= longest_s else None
    return min(options.initial_delay_ms / 1000 * options.backoff_factor ** (attempt - 1), longest_s)
