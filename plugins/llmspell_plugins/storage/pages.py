"""Reading a range of entries page by page.

Invariant: nothing is held between two pages, neither a transaction nor a thread, so a reader may stop anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Self

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.storage import Entry

__all__ = ["PAGE_BYTES", "PAGE_ENTRIES", "Page", "Pages", "ReadPage"]

PAGE_ENTRIES: Final = 1000
"""The default limit of a scan, which thus takes one way to a thread and back."""
PAGE_BYTES: Final = 1 << 20
"""A page ends with the entry that brings its values to this size."""

Page = tuple[list[tuple[str, Entry]], bool]
"""The entries of a page, and whether there may be more behind them."""
ReadPage = Callable[[str, int], Awaitable[Page]]
"""Reads from behind a key at most so many entries, at most `PAGE_ENTRIES`."""


class Pages:
    """An iterator over entries.

    Args:
        read: Reads a page.
        prefix: What ``read`` reads.
        after: The key behind which to start.
        limit: How many entries at most, from 0.

    Raises:
        InvalidInputError: The limit is negative, or the prefix or ``after`` is no Unicode text.
    """

    def __init__(self, read: ReadPage, prefix: str, after: str, limit: int) -> None:
        _check("prefix", prefix)
        _check("after", after)
        if limit < 0:
            raise InvalidInputError(f"scan: limit is {limit}; give 0 or more", field="limit")
        self._read = read
        self._after = after
        self._left = limit
        self._more = True
        self._rows: deque[tuple[str, Entry]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Entry]:
        while not self._rows:
            if not self._more or self._left == 0:
                raise StopAsyncIteration
            rows, self._more = await self._read(self._after, min(self._left, PAGE_ENTRIES))
            if rows:
                self._after = rows[-1][0]
                self._left -= len(rows)
                self._rows.extend(rows)
        return self._rows.popleft()


def _check(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"scan: {field} {text!r} has a lone surrogate; take it out", field=field) from None
