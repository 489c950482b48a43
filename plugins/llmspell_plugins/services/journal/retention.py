"""Which journals go: the oldest, by their number, their size and their age, those without failures first.

Invariant: a journal goes whole or not at all. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llmspell_plugins.settings.journal import JournalSettings

from .chunk import Head

__all__ = ["to_forget"]

_FAILED_COUNTS: Final = 4
"""A journal in which something failed is kept this many times as long."""


def to_forget(found: Sequence[tuple[str, Head]], settings: JournalSettings, now_s: float) -> list[str]:
    """Return which journals go.

    Args:
        found: All there are, the newest first.
        settings: How many may stay, and for how long.
        now_s: The seconds since the epoch.
    """

    def age_s(head: Head) -> float:
        return max(0.0, now_s - head.ended_s) / (_FAILED_COUNTS if head.failed else 1)

    by_age = sorted(found, key=lambda each: age_s(each[1]))
    gone: list[str] = []
    size_bytes = 0
    for number, (id, head) in enumerate(by_age, 1):
        size_bytes += head.size_bytes
        too_much = number > settings.max_runs or (size_bytes > settings.max_bytes and number > 1)
        if too_much or age_s(head) > settings.max_age_s:
            gone.append(id)
    return gone
