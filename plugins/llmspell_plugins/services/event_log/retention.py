"""What goes from the log: the oldest, by their number, their size and their age.

Invariant: what is left is verified as the whole was; the newest entry stays. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from typing import Final

import trio

from llmspell_hookspecs import Storage
from llmspell_plugins.services.hash_chain import ChainEntry, ChainLog, ChainPlaces, read_entries

from .record import read_record
from .settings import EventLogSettings

__all__ = ["Retention"]

_PAGE: Final = 500


class Retention:
    """Takes the oldest out; what other processes write counts, too.

    Args:
        settings: How many, how large together, how old.
        storage: Keeps the log.
        places: Where in it.
        log: The log.
    """

    def __init__(self, settings: EventLogSettings, storage: Storage, places: ChainPlaces, log: ChainLog) -> None:
        self._settings = settings
        self._storage = storage
        self._places = places
        self._log = log
        self._first = self._counted = 0
        self._size_bytes = 0

    async def apply(self, now_s: float) -> int:
        """Take out what has to go; returns how many entries.

        Raises:
            StorageError: They cannot be read or taken out.
        """
        await self._count()
        upto = at = self._log.base
        while at == upto and (page := await self._page(at)):
            for entry in page:
                size_bytes, recorded_s = await self._facts(entry)
                if not self._goes(entry.number, recorded_s, now_s):
                    break
                self._size_bytes -= size_bytes
                upto = entry.number
            at = page[-1].number
        self._first = upto + 1
        return await self._log.prune(upto)

    def _goes(self, number: int, recorded_s: float, now_s: float) -> bool:
        settings = self._settings
        return number < self._log.last and (
            number <= self._log.last - settings.max_events
            or self._size_bytes > settings.max_bytes
            or recorded_s < now_s - settings.max_age_s
        )

    async def _count(self) -> None:
        """Add the sizes of what came since; anew if another process has taken some out."""
        there = await read_entries(self._storage, self._places, after=self._log.base, limit=1)
        if there and there[0].number != self._first:
            self._size_bytes, self._counted = 0, there[0].number - 1
        while page := await self._page(self._counted):
            self._size_bytes += sum(_size_of(entry) for entry in page)
            self._counted = page[-1].number

    async def _page(self, after: int) -> list[ChainEntry]:
        await trio.lowlevel.checkpoint()
        return await read_entries(self._storage, self._places, after=after, limit=_PAGE)

    async def _facts(self, entry: ChainEntry) -> tuple[int, float]:
        record = read_record(entry)
        return _size_of(entry), 0.0 if record is None else record.recorded_s


def _size_of(entry: ChainEntry) -> int:
    """Return about how many bytes an entry takes: its record, its two hashes and its key."""
    return len(entry.record) + 220
