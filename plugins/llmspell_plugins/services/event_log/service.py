"""The service EventLog: records the host's events if that is enabled, and reads, verifies and replays the log.

Invariant: while it is not enabled nothing is subscribed and nothing written, so that it costs nothing. Nobody who
publishes waits for it, and no failure of the storage reaches an operation. Durations in seconds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import trio
from msgspec import structs

from llmspell_hookspecs import (
    Event,
    Events,
    InvalidInputError,
    LlmspellError,
    OperationCancelledError,
    Services,
    Storage,
)
from llmspell_hookspecs.errors import ResourceLimitError, StorageError
from llmspell_hookspecs.event_log import (
    EventLog,
    EventLogReport,
    EventLogStats,
    EventSelection,
    FollowerInfo,
    RecordedEvent,
    Replayed,
)
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.services import Clock, ProjectFolder, SettingsAccess
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.event_tail import command_name
from llmspell_plugins.services.hash_chain import (
    ChainEntry,
    ChainLog,
    ChainPlaces,
    read_entries,
    read_head,
    verify,
)

from .follower import Follower, Positions
from .recorder import Recorder
from .retention import Retention
from .selection import Chosen
from .settings import EventLogSettings

__all__ = ["EventLogService", "places_of"]

_ALL: Final = EventSelection()
_PAGE: Final = 500
_MOST: Final = 10_000
_RETAIN_EVERY_S: Final = 60.0
"""At the latest after so long what has to go is taken out."""


def places_of(folder: ProjectFolder, settings: EventLogSettings) -> ChainPlaces:
    """Return where the log is."""
    head = folder.place(settings.head) if settings.head else folder.data("events.head")
    key: Path = folder.data("events.key")
    return ChainPlaces(key, head, "event log", "event/", "llmspell event verify")


class EventLogService:
    """Implements the contract's `EventLog`."""

    name: ClassVar[str] = "event_log"
    provides: ClassVar[type[Any]] = EventLog
    Settings: ClassVar[type[EventLogSettings]] = EventLogSettings

    def __init__(self, settings: EventLogSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._log: ChainLog | None = None
        self._opening = trio.Lock()
        table = (services.get(SettingsAccess).plain("plugins") or {}).get(self.name, {})
        self._required = bool(table.get("required"))
        self._recorder = self._make_recorder() if table.get("enabled") or self._required else None

    def _make_recorder(self) -> Recorder:
        services = self._services
        process = command_name() or "llmspell", os.getpid()
        problem = services.get(Operations).problem
        return Recorder(self._settings, services.get(Events), services.get(Clock), process, self._opened, problem)

    async def __aenter__(self) -> Self:
        """Record from now on, if that is enabled; a log that cannot be opened is tried again with the first events."""
        if self._recorder is not None:
            if self._required:
                await self._opened()
            self._recorder.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Record no more; what waited was written when `run` ended."""
        if self._recorder is not None:
            self._recorder.close()

    async def run(self) -> None:
        """Record, and take out what has to go, until cancelled."""
        if self._recorder is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._retain, self._recorder)
                await self._recorder.run()

    async def read(self, selection: EventSelection = _ALL, /) -> Sequence[RecordedEvent]:
        """Return events on record; see the contract's `EventLog`."""
        limit = _MOST if selection.limit is None else min(selection.limit, _MOST)
        return [record async for page in self._pages(structs.replace(selection, limit=limit)) for record in page]

    async def replay(self, selection: EventSelection = _ALL, /) -> Replayed:
        """Publish events on record again; see the contract's `EventLog`."""
        events, published, refused, last = self._services.get(Events), 0, 0, 0
        async for page in self._pages(selection):
            for record in page:
                last = record.number
                try:
                    await events.publish(structs.replace(record.event, sequence=0, ttl_s=None, replayed=True))
                    published += 1
                except (OperationCancelledError, ResourceLimitError):
                    refused += 1
        return Replayed(published, refused, last)

    async def verify(self) -> EventLogReport:
        """Return whether the log is whole; see the contract's `EventLog`."""
        found = await verify(await self._storage(), self._places)
        if found.problem is None:
            return EventLogReport(found.first, found.entries)
        return EventLogReport(found.first, found.entries, found.problem.number, found.problem.problem)

    async def flush(self) -> None:
        """Wait until all that was published before is on record; see the contract's `EventLog`."""
        if self._recorder is None:
            await trio.lowlevel.checkpoint()
            raise StorageError("event log: nothing is recorded here; set plugins.event_log.enabled = true")
        await self._recorder.flush()

    async def stats(self) -> EventLogStats:
        """Return what became of the events of this host; see the contract's `EventLog`."""
        recorder, log = self._recorder, self._log
        if recorder is None or log is None:
            head = await trio.to_thread.run_sync(read_head, self._places.head)
            first, last = head.base + 1, head.number
        else:
            await trio.lowlevel.checkpoint()
            first, last = log.base + 1, log.last
        if recorder is None:
            return EventLogStats(first=first, last=last)
        return EventLogStats(
            recording=True,
            recorded=recorder.recorded,
            lost=recorder.lost,
            without_data=recorder.without_data,
            error=recorder.error,
            first=first,
            last=last,
        )

    async def follow(
        self,
        name: str,
        patterns: str | Sequence[str] = "**",
        /,
        *,
        after: int | None = None,
        accepts: Callable[[Event], bool] | None = None,
    ) -> Follower:
        """Follow the log under a name; see the contract's `EventLog`."""
        chosen = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        Chosen(EventSelection(patterns=chosen))
        if after is not None and (isinstance(after, bool) or not isinstance(after, int) or after < 0):
            message = f"event log: after: {after!r:.40} is no number of an event; give one from 0, or None"
            raise InvalidInputError(message, field="after")
        positions = await self._positions()

        async def begin() -> int:
            if after is not None:
                return after
            if self._recorder is not None:
                await self._recorder.settle()
            return await self._last()

        position = await positions.open(name, chosen, begin)
        idle = trio.Event()
        progress = (lambda: idle) if self._recorder is None else self._recorder.next_progress
        return Follower(name, position, positions, self._page, progress, accepts)

    async def followers(self) -> Sequence[FollowerInfo]:
        """Return how far each follower is; see the contract's `EventLog`."""
        last = await self._last()
        return await (await self._positions()).infos((await self.stats()).first - 1, last)

    async def forget(self, name: str, /) -> bool:
        """Remove a follower; see the contract's `EventLog`."""
        return await (await self._positions()).forget(name)

    async def _positions(self) -> Positions:
        return Positions(await self._storage(), self._services.get(Clock).now_s)

    async def _last(self) -> int:
        """Return the newest number, also if another process wrote it."""
        head = await trio.to_thread.run_sync(read_head, self._places.head)
        return max(head.number, 0 if self._log is None else self._log.last)

    async def _page(self, after: int) -> tuple[int, list[ChainEntry]]:
        """Return behind which number the log begins, and the next entries behind both."""
        storage, places = await self._storage(), self._places
        base = (await trio.to_thread.run_sync(read_head, places.head)).base
        return base, await read_entries(storage, places, after=max(after, base), limit=_PAGE)

    @property
    def _places(self) -> ChainPlaces:
        return places_of(self._services.get(ProjectFolder), self._settings)

    async def _storage(self) -> Storage:
        return await self._services.get(Storages).open(self._settings.storage)

    async def _opened(self) -> ChainLog:
        """Return the log, opened if it is not yet."""
        async with self._opening:
            if self._log is None:
                log = ChainLog(await self._storage(), self._places)
                await log.load()
                self._log = log
        return self._log

    async def _retain(self, recorder: Recorder) -> None:
        """Take out what has to go, now and then."""
        retention: Retention | None = None
        problem = ""
        while True:
            try:
                if retention is None:
                    log = await self._opened()
                    retention = Retention(self._settings, await self._storage(), self._places, log)
                await retention.apply(self._services.get(Clock).now_s())
                problem = ""
            except LlmspellError as error:
                if not problem:
                    self._services.get(Operations).problem(error)
                problem = str(error)
            with trio.move_on_after(_RETAIN_EVERY_S):
                await recorder.much.wait()

    async def _pages(self, selection: EventSelection) -> AsyncIterator[list[RecordedEvent]]:
        """Yield what is asked for, a page at a time."""
        if self._recorder is not None:
            await self._recorder.settle()
        chosen, after = Chosen(selection), selection.after
        while not chosen.is_over(after):
            _, entries = await self._page(after)  # what has to go may be there still, and is passed over
            if not entries:
                return
            after = entries[-1].number
            found = await trio.to_thread.run_sync(chosen.of, entries)
            if found:
                yield found
