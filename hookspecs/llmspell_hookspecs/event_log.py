"""The topic event_log: the host's events on record, for good or as long as settings say.

Each event has a number in the log, which grows over all processes that record into it; an event's own sequence begins
anew with each host. A later reader has the event as JSON has it: what JSON has no word for is a text.

Invariant: what `EventLog.flush` has returned for is durable; nothing that is on record can be changed or taken out by
whoever lacks the log's key without `EventLog.verify` naming the first that is. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from .event import Event

__all__ = ["EventLog", "EventLogReport", "EventLogStats", "EventSelection", "RecordedEvent", "Replayed"]


class EventSelection(Struct, frozen=True):
    """Which events on record are asked for; what is left out asks for all.

    Attributes:
        after: Behind this number of the log.
        until: Up to this number of the log.
        patterns: Whose topic one of these matches.
        since_s: Recorded from this time on, in seconds since the epoch.
        until_s: Recorded up to this time.
        correlation_id: Set off by what has this id.
        source: Whose source this glob matches.
        limit: So many of them; None for all.
    """

    after: int = 0
    until: int | None = None
    patterns: tuple[str, ...] = ("**",)
    since_s: float | None = None
    until_s: float | None = None
    correlation_id: str = ""
    source: str = ""
    limit: int | None = None


class RecordedEvent(Struct, frozen=True):
    """An event as it is on record.

    Attributes:
        number: Its number in the log.
        recorded_s: When it was recorded, in seconds since the epoch.
        event: It.
        process: What the process did that recorded it, such as ``run``.
        pid: That process.
    """

    number: int
    recorded_s: float
    event: Event
    process: str = ""
    pid: int = 0


class EventLogReport(Struct, frozen=True):
    """What was found when the log was verified.

    Attributes:
        first: The first number that is there; those before it were taken out as settings want it.
        entries: How many from there on are in order.
        number: The first that is wrong or missing; 0 if none is.
        problem: What is wrong with it; empty if none is.
    """

    first: int
    entries: int
    number: int = 0
    problem: str = ""


class EventLogStats(Struct, frozen=True):
    """What became of the events of this host.

    Attributes:
        recording: Whether events are recorded.
        recorded: How many are on record.
        lost: How many could not be recorded: the storage failed, or they came faster than they are written.
        without_data: How many are on record without their data, which is too large.
        error: Why the last one could not be; empty if it was.
        first: The first number in the log.
        last: The last one, as far as this process knows.
    """

    recording: bool = False
    recorded: int = 0
    lost: int = 0
    without_data: int = 0
    error: str = ""
    first: int = 1
    last: int = 0


class Replayed(Struct, frozen=True):
    """What became of a replay.

    Attributes:
        published: How many events were published again.
        refused: How many a hook withheld, or a subscriber had no room for.
        last: The number in the log of the last one; 0 if there was none.
    """

    published: int = 0
    refused: int = 0
    last: int = 0


@runtime_checkable
class EventLog(Protocol):
    """The log of events. It may be read whether or not this host records."""

    async def read(self, selection: EventSelection = ..., /) -> Sequence[RecordedEvent]:
        """Return events on record, in the order of their numbers; at most 10,000 at once.

        What this host has published before is among them.

        Raises:
            InvalidInputError: A pattern is wrong.
            StorageError: They cannot be read.
        """

    async def replay(self, selection: EventSelection = ..., /) -> Replayed:
        """Publish events on record again, in the order of their numbers.

        Each is as it was, but has a new sequence, no time to live, and ``replayed`` set. It is not recorded again.

        Raises:
            InvalidInputError: A pattern is wrong.
            StorageError: They cannot be read.
        """

    async def verify(self) -> EventLogReport:
        """Return whether the log is whole, and what the first entry is that is not.

        Raises:
            StorageError: The log's key or the storage cannot be read.
        """

    async def flush(self) -> None:
        """Wait until all that was published before is on record, durably.

        Raises:
            StorageError: Some of it could not be recorded, or nothing is recorded here.
        """

    async def stats(self) -> EventLogStats:
        """Return what became of the events of this host so far."""
