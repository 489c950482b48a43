"""The captured messages of one run, bounded in number and in characters; the oldest go first."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

__all__ = ["Captured"]

_MOST: Final = 10_000
_MOST_CHARACTERS: Final = 4_000_000
_LONGEST: Final = 16_384


class Captured:
    """The messages that were kept."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, dict[str, Any]]] = deque()
        self._characters = 0

    def add(self, timestamp: float, level: str, message: str, module: str, metadata: str | None) -> None:
        """Keep a message.

        Args:
            timestamp: Seconds since the epoch.
            level: Its level's word.
            message: Cut at 16,384 characters.
            module: Where it came from.
            metadata: Data that came with it, as JSON text.
        """
        entry = {
            "timestamp": timestamp,
            "level": level,
            "message": message[:_LONGEST],
            "module": module[:_LONGEST],
            "metadata": None if metadata is None else metadata[:_LONGEST],
        }
        size = sum(len(value) for value in entry.values() if isinstance(value, str))
        self._entries.append((size, entry))
        self._characters += size
        while len(self._entries) > _MOST or self._characters > _MOST_CHARACTERS:
            self._characters -= self._entries.popleft()[0]

    def latest(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Return the last messages, the oldest of them first."""
        count = len(self._entries) if limit is None else max(0, limit)
        kept = list(self._entries)[len(self._entries) - count :] if count < len(self._entries) else list(self._entries)
        return [dict(entry) for _, entry in kept]

    def clear(self) -> None:
        """Drop all messages."""
        self._entries.clear()
        self._characters = 0
