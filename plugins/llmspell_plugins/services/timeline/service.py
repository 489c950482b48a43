"""The service Timeline: records the events of the host, and says which came of which.

It receives what its patterns match like any other subscriber, and nothing is asked of who publishes. Questions are
answered in a worker thread, from the events as they stand when they are asked.

Invariant: without this service nothing here costs anybody anything. Bounds in events and bytes, see `Record`; what
comes while nobody lets it record is dropped above 10,000 events, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Self, TypeVar

import trio

from llmspell_hookspecs import Events, Services
from llmspell_hookspecs.timeline import Timeline, TimelineEntry, TimelineQuery, TimelineStats

from .record import Record
from .selection import Selection
from .settings import TimelineSettings

__all__ = ["TimelineService"]

_WAITING: Final = 10_000
_AT_ONCE: Final = 64
_ALL: Final = TimelineQuery()
T = TypeVar("T")


class TimelineService:
    """The last events of a host; implements the contract's `Timeline`."""

    name: ClassVar[str] = "timeline"
    provides: ClassVar[type[Any]] = Timeline
    Settings: ClassVar[type[TimelineSettings]] = TimelineSettings

    def __init__(self, settings: TimelineSettings, services: Services) -> None:
        self._record = Record(settings.events, settings.size_bytes, settings.event_bytes)
        self._events = services.get(Events)
        self._incoming = self._events.subscribe(
            settings.patterns, capacity=_WAITING, as_published=True, owner="timeline"
        )

    async def __aenter__(self) -> Self:
        """Record from now on."""
        self._incoming.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Record no more."""
        self._incoming.close()

    async def run(self) -> None:
        """Record until the host closes."""
        while (event := await self._incoming.receive()) is not None:
            self._record.add(event)

    @property
    def last(self) -> int:
        """The sequence number of the last event; see the contract's `Timeline`."""
        return self._events.stats().published

    async def entries(self, query: TimelineQuery = _ALL, /) -> Sequence[TimelineEntry]:
        """Return the events that are asked for; see the contract's `Timeline`."""
        return await self._ask(query, lambda selection: selection.entries)

    async def longest_chain(self, query: TimelineQuery = _ALL, /) -> Sequence[TimelineEntry]:
        """Return the longest chain of causes; see the contract's `Timeline`."""
        return await self._ask(query, lambda selection: selection.longest_chain)

    async def stats(self, query: TimelineQuery = _ALL, /) -> TimelineStats:
        """Return counts of the events that are asked for; see the contract's `Timeline`."""
        await self._take_in()
        record, dropped = self._record, self._incoming.info.dropped

        def count(selection: Selection) -> TimelineStats:
            return selection.stats(
                recorded=record.recorded,
                evicted=record.evicted,
                dropped=dropped,
                without_data=record.without_data,
                size_bytes=record.size_bytes,
            )

        return await self._ask(query, count)

    async def _ask(self, query: TimelineQuery, question: Callable[[Selection], T]) -> T:
        await self._take_in()
        events = self._record.events()
        return await trio.to_thread.run_sync(lambda: question(Selection(events, query)), abandon_on_cancel=True)

    async def _take_in(self) -> None:
        """Record what waits now, and let others run meanwhile."""
        for taken in range(self._incoming.info.pending):
            event = self._incoming.receive_nowait()
            if event is None:
                return
            self._record.add(event)
            if taken % _AT_ONCE == _AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
