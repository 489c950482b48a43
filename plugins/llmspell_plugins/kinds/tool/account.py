"""What one operation may hold: counts the memory that it says it needs.

Invariant: what an account has counted is never above its limit; a charge that would exceed it counts nothing. Sizes in
bytes.
"""

from __future__ import annotations

import threading

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ResourceLimitError

__all__ = ["MemoryAccount"]


class MemoryAccount:
    """The memory of one call; may be charged from several threads."""

    def __init__(self, limit_bytes: int, owner: str) -> None:
        """Open it, empty.

        Args:
            limit_bytes: The most that it may count.
            owner: Whose it is, for the message.
        """
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._owner = owner
        self._lock = threading.Lock()

    def charge(self, size_bytes: int, /) -> None:
        """Count memory that is about to be held.

        Raises:
            InvalidInputError: The size is negative.
            ResourceLimitError: The sum would be above the limit.
        """
        if size_bytes < 0:
            message = f"{self._owner}: cannot charge {size_bytes} bytes; a size is 0 or more"
            raise InvalidInputError(message, field="size_bytes")
        with self._lock:
            if self.used_bytes + size_bytes > self.limit_bytes:
                raise self._exceeded(size_bytes)
            self.used_bytes += size_bytes

    def _exceeded(self, size_bytes: int) -> ResourceLimitError:
        message = (
            f"{self._owner}: {size_bytes} bytes beside {self.used_bytes} are above the limit of {self.limit_bytes}; "
            "ask for less, or raise the setting tools.memory_bytes"
        )
        return ResourceLimitError(message, resource="memory_bytes", limit=self.limit_bytes)
