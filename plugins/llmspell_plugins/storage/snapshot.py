"""A storage as it is at one moment, read in threads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from llmspell_hookspecs.storage import Entry, check_key

from .pages import Page, Pages

__all__ = ["Snapshot"]


class Snapshot:
    """Implements the contract's `StorageSnapshot`.

    Args:
        in_thread: Runs what reads, one after the other.
        entry: Returns the entry of a key; blocks.
        page: Returns a page of entries, by prefix, the key before it and how many; blocks.
    """

    def __init__(
        self,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        entry: Callable[[str], Entry | None],
        page: Callable[[str, str, int], Page],
    ) -> None:
        self._in_thread = in_thread
        self._entry = entry
        self._page = page

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""
        check_key(key)
        found: Entry | None = await self._in_thread(partial(self._entry, key))
        return found

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Yield entries in order of keys; see the contract's `Storage`."""

        async def read(after: str, count: int) -> Page:
            page: Page = await self._in_thread(partial(self._page, prefix, after, count))
            return page

        return Pages(read, prefix, after, limit)
