"""The topic event_log: the host's events on record, for good or as long as settings say.

Each event has a number in the log, which grows over all processes that record into it; an event's own sequence begins
anew with each host. A later reader has the event as JSON has it: what JSON has no word for is a text.

Invariant: what `EventLog.flush` has returned for is durable; nothing that is on record can be changed or taken out by
whoever lacks the log's key without `EventLog.verify` naming the first that is. What a follower has acknowledged is
durable, and it never sees it again; what it has not, it sees again when it is opened anew. Times in seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from .event import Event

__all__ = [
    "EventFollower",
    "EventLog",
    "EventLogReport",
    "EventLogStats",
    "EventSelection",
    "FollowerInfo",
    "RecordedEvent",
    "Replayed",
]


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


class FollowerInfo(Struct, frozen=True):
    """How far a follower of the log is.

    Attributes:
        name: Its own.
        patterns: What it follows.
        acknowledged: Up to this number of the log it has acknowledged everything.
        behind: How many entries of the log are behind that, whether it follows them or not.
        missed: How many were taken out of the log, as settings want it, before it had read them.
        since_s: When it was opened first, in seconds since the epoch.
        acknowledged_s: When it acknowledged something last; 0 if it never did.
    """

    name: str
    patterns: tuple[str, ...]
    acknowledged: int
    behind: int
    missed: int
    since_s: float
    acknowledged_s: float


class EventFollower(Protocol):
    """Reads events on record, each once it is durable, and remembers under its name how far it was acknowledged.

    It needs no closing: what is kept of it is its position, which is written when something is acknowledged.
    """

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def acknowledged(self) -> int:
        """Up to this number of the log everything is acknowledged."""

    @property
    def missed(self) -> int:
        """How many entries were taken out of the log before it had read them."""

    async def receive(self, timeout_s: float | None = None, /) -> RecordedEvent | None:
        """Return the next event, once there is one; None if none came within the time.

        Raises:
            StorageError: The log cannot be read; with the code ``taken_over`` if somebody opened the follower anew,
                and ``forgotten`` if it was removed.
        """

    async def acknowledge(self, number: int, /) -> None:
        """Have everything up to this number of the log done with, durably; less than before changes nothing.

        Raises:
            InvalidInputError: It was not given an event with that number, or a later one.
            StorageError: It cannot be written; ``taken_over`` and ``forgotten`` as with `receive`.
        """

    def __aiter__(self) -> AsyncIterator[RecordedEvent]:
        """Return an iterator over the events, without end."""


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

    async def follow(
        self,
        name: str,
        patterns: str | Sequence[str] = "**",
        /,
        *,
        after: int | None = None,
        accepts: Callable[[Event], bool] | None = None,
    ) -> EventFollower:
        """Follow the log under a name: go on behind what was acknowledged under it before, in whatever process.

        Each event comes at least once: who is killed between its work and its acknowledgement has it again. One process
        follows under a name; who opens it takes it over from whoever followed before.

        Args:
            name: 1 to 400 bytes that can be printed.
            patterns: Which events; another time they may be others.
            after: Where one begins that is new: behind this number of the log, 0 for its first; None for what is
                published from now on.
            accepts: Says of each event that matches whether it is wanted; asked in a thread.

        Raises:
            InvalidInputError: The name, a pattern or ``after`` is wrong.
            ResourceLimitError: There are 1,000 of them.
            StorageError: The storage cannot be read or written.
        """

    async def followers(self) -> Sequence[FollowerInfo]:
        """Return all followers there are, whoever opened them, by their names.

        Raises:
            StorageError: They cannot be read.
        """

    async def forget(self, name: str, /) -> bool:
        """Remove a follower with its position; return whether there was one.

        Raises:
            StorageError: It cannot be removed.
        """
