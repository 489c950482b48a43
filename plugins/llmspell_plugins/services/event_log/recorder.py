"""Records the events of a host: takes them from a mailbox of its own, and writes them in batches.

Whoever publishes never waits for it. What comes faster than it is written is lost above the bound of the mailbox, and
so is what the storage does not take; both are counted, told once, and put on record as soon as it goes on: as an event
``event.log.lost`` that says how many.

Invariant: every event that was matched is settled: on record, lost, or one that was replayed, which is not recorded
again. What `flush` has returned for is on record, durably. Durations in seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from llmspell_hookspecs import Event, Events
from llmspell_hookspecs.errors import LlmspellError, StorageError, line_of_error
from llmspell_hookspecs.services import Clock
from llmspell_plugins.services.hash_chain import ChainLog

from .record import encode_records
from .settings import EventLogSettings

__all__ = ["Recorder"]

_BATCH: Final = 1023
"""So that it is one batch of the chain, also with what it says of those that were lost."""
_MUCH: Final = 1000
_CLOSE_S: Final = 4.5


class Recorder:
    """Records until it is cancelled; then what waits, for 4.5 s at most.

    Args:
        settings: What is recorded.
        events: Where it comes from.
        clock: Tells when.
        process: What the process does, and its id.
        open_log: Returns the log, opened if it is not yet.
        problem: Told once of what goes wrong, until it goes right again.

    Attributes:
        recorded: How many are on record.
        without_data: How many of them are without their data.
        error: Why the last ones could not be recorded; empty if they were.
        much: Set when another thousand were recorded; another one stands here then.
    """

    def __init__(
        self,
        settings: EventLogSettings,
        events: Events,
        clock: Clock,
        process: tuple[str, int],
        open_log: Callable[[], Awaitable[ChainLog]],
        problem: Callable[[LlmspellError], object],
    ) -> None:
        self.recorded = self.without_data = 0
        self.error = ""
        self._settings = settings
        self._clock = clock
        self._process = process
        self._open_log = open_log
        self._problem = problem
        self._incoming = events.subscribe(
            settings.patterns,
            capacity=settings.pending,
            overflow="drop_newest",
            as_published=True,
            owner="event_log",
        )
        self._failed = self._settled = 0
        self._told = self._on_record = 0  # of those that were lost: to whom flushed, and in the log
        self._progress, self.much = trio.Event(), trio.Event()
        self._scope = trio.CancelScope(shield=True)

    @property
    def lost(self) -> int:
        """How many events could not be recorded."""
        return self._failed + self._incoming.info.dropped

    def next_progress(self) -> trio.Event:
        """Return what is set when the next ones are on record, or lost."""
        return self._progress

    def open(self) -> None:
        """Take events in from now on."""
        self._incoming.open()

    def close(self) -> None:
        """Take none in any more."""
        self._incoming.close()

    async def run(self) -> None:
        """Record until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._record)
            try:
                await trio.sleep_forever()
            finally:
                await self._close()

    async def flush(self) -> None:
        """Wait until all that was published before is on record; see the contract's `EventLog`."""
        told = self._told
        await self.settle()
        if self.lost > told:
            lost, self._told = self.lost - told, max(self._told, self.lost)
            raise StorageError(f"event log: {lost} events were not recorded: {self._reason}; see to the storage")

    @property
    def _reason(self) -> str:
        return self.error or "they came faster than they are written"

    async def settle(self) -> None:
        """Wait until all that was published before is on record, or lost."""
        wanted = self._incoming.info.matched
        await trio.lowlevel.checkpoint()
        while self._settled + self._incoming.info.dropped < wanted:
            await self._progress.wait()

    async def _close(self) -> None:
        with trio.move_on_after(_CLOSE_S, shield=True):
            await self.settle()
        self._scope.cancel()
        pending = self._incoming.info.pending
        self.close()
        if pending:
            self._tell(f"{pending} events were not recorded, since the host closed")

    async def _record(self) -> None:
        with self._scope:
            async for batch in self._incoming.batches(_BATCH):
                await self._write(batch)
                self._settled += len(batch)
                progress, self._progress = self._progress, trio.Event()
                progress.set()

    async def _write(self, batch: Sequence[Event]) -> None:
        chosen = [event for event in batch if not event.replayed]
        lost = self.lost - self._on_record
        now_s = self._clock.now_s()
        if lost:
            id = f"lost-{secrets.token_hex(8)}"
            told = Event("event.log.lost", {"count": lost}, id, timestamp=now_s, source="event_log")
            chosen.insert(0, told)
        if not chosen:
            return
        try:
            records, short = await trio.to_thread.run_sync(
                encode_records, chosen, now_s, self._process, self._settings.event_bytes
            )
            log = await self._open_log()
            await log.flush([log.append(record) for record in records][-1])
        except Exception as error:  # of any class: a storage is anybody's
            self._failed += len(chosen) - bool(lost)
            self._tell(line_of_error(error))
            return
        self.error = ""
        if (self.recorded + len(chosen)) // _MUCH > self.recorded // _MUCH:
            much, self.much = self.much, trio.Event()
            much.set()
        self.recorded += len(chosen) - bool(lost)
        self.without_data += short
        self._on_record += lost

    def _tell(self, problem: str) -> None:
        """Say what goes wrong, once until it goes right again."""
        problem = problem.removeprefix("event log: ").removesuffix("; see to the storage")
        if not self.error:
            self._problem(StorageError(f"event log: events are not recorded: {problem}; see to the storage"))
        self.error = problem
