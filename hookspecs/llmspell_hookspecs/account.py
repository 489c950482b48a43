"""What became of events: how many of each fate, and how long they took on their way and in handlers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from .durations import Durations

__all__ = ["Account"]


class Account:
    """What became of the events of one subscription, or of several.

    Args:
        counts: How many of each fate.
        delivery: How long they took from publishing to their consumer.
        handling: How long handlers took with them.
    """

    def __init__(self, counts: Mapping[str, int], delivery: Durations, handling: Durations) -> None:
        self._counts = Counter(counts)
        self._delivery, self._handling = Durations(), Durations()
        self._delivery.merge(delivery)
        self._handling.merge(handling)

    def add(self, other: Account) -> Account:
        """Take another one's in, and return this one."""
        self._counts.update(other._counts)
        self._delivery.merge(other._delivery)
        self._handling.merge(other._handling)
        return self

    def copy(self) -> Account:
        """Return one that begins with what stands in this."""
        return Account(self._counts, self._delivery, self._handling)

    @property
    def facts(self) -> dict[str, Any]:
        """The counts, and the percentiles of ``delivery`` and ``handling``."""
        times = {"delivery": self._delivery.percentiles, "handling": self._handling.percentiles}
        return {**self._counts, **times}
