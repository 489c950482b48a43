"""The topic timeline: which event came of which, for who looks back at what happened.

An event came of the one that its ``causation_id`` names: an event whose handler published it, or the operation in which
it was published. An operation stands in the record as the event of its start; its end came of that, and the start came
of the operation around it, which ``parent_id`` in its data names. Nothing is guessed from names or times.

Invariant: the causes form a forest: an event has one cause at most, and whatever a file claims, none is its own. The
timestamps are seconds since the epoch, durations milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from .errors import InvalidInputError
from .event import Event
from .spelling import told

__all__ = ["Timeline", "TimelineEntry", "TimelineQuery", "TimelineStats"]

_SORTS: Final = ("sequence", "time", "depth", "correlation")


class TimelineQuery(Struct, frozen=True):
    """Which events are asked for; what is left out asks for all.

    Attributes:
        correlation_ids: Of one of these.
        patterns: Whose topic one of these matches.
        components: Whose source or target one of these globs matches: ``tool:*``.
        since_s: Not before this time.
        until_s: Not after this time.
        languages: Of one of these.
        tags: With all of these.
        only: ``roots``: what nothing recorded set off; ``leaves``: what set off nothing.
        depth: With so many causes above it at most.
        after: As if the record began behind this sequence number: what lies before is nobody's cause either.
        besides: The correlation id of what counts all the same, though it lies before that.
        sort: ``sequence``: as they were published; ``time``; ``depth``: those with the fewest causes first;
            ``correlation``: by that id.
        descending: Whether in reverse.
        limit: So many of them; None for all.

    Raises:
        InvalidInputError: A field is not of its type.
    """

    correlation_ids: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    since_s: float | None = None
    until_s: float | None = None
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    only: Literal["", "roots", "leaves"] = ""
    depth: int | None = None
    after: int = 0
    besides: str = ""
    sort: Literal["sequence", "time", "depth", "correlation"] = "sequence"
    descending: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        """Check what would else ask for something different, or fail in a thread."""
        for name in ("correlation_ids", "patterns", "components", "languages", "tags"):
            if isinstance(getattr(self, name), str):
                raise _wrong(name, getattr(self, name), "give a tuple of texts")
        if self.only not in ("", "roots", "leaves"):
            raise _wrong("only", self.only, "give roots, leaves or an empty text")
        if self.sort not in _SORTS:
            raise _wrong("sort", self.sort, f"give {', '.join(_SORTS)}")
        if self.limit is not None and self.limit < 0:
            raise _wrong("limit", self.limit, "give 0 or more, or None")


def _wrong(field: str, value: object, advice: str) -> InvalidInputError:
    return InvalidInputError(f"timeline query: {field} is {told(value)}; {advice}", field=field)


class TimelineEntry(Struct, frozen=True):
    """An event and where it stands.

    Attributes:
        event: It.
        position: Its place in the record, from 0.
        cause: The id of the event that it came of; empty if none is recorded.
        unrecorded: The id of the event or operation that it came of, where that is not in the record.
        effects: The ids of those that came of it.
        root: The id of the first of its causes; its own if it has none.
        depth: How many causes it has, one above the other.
        elapsed_ms: How long after its root it came.
        operation: The operation whose start or end it tells of; empty for all others.
    """

    event: Event
    position: int
    cause: str = ""
    unrecorded: str = ""
    effects: tuple[str, ...] = ()
    root: str = ""
    depth: int = 0
    elapsed_ms: float = 0.0
    operation: str = ""


class TimelineStats(Struct, frozen=True):
    """What a record holds, counted over the events that were asked for.

    Attributes:
        events: How many.
        roots: How many nothing recorded set off.
        leaves: How many set off nothing.
        correlations: How many correlation ids they have.
        longest_chain: How many events its longest chain of causes has.
        duration_ms: From the first to the last.
        events_per_s: How many came in a second; 0 if all came at once.
        concurrent_groups: How many times operations of one cause, or of none, ran beside each other.
        unrecorded: How many name a cause that is not in the record.
        cycles: Rings of events that claim each other as their cause, by their ids; each is cut before its first.
        recorded: How many were recorded since the host opened.
        evicted: How many of those had to go for later ones.
        dropped: How many came faster than they were recorded.
        without_data: How many are recorded without their data, which is too large, or not plain.
        size_bytes: About how many bytes the record holds.
    """

    events: int = 0
    roots: int = 0
    leaves: int = 0
    correlations: int = 0
    longest_chain: int = 0
    duration_ms: float = 0.0
    events_per_s: float = 0.0
    concurrent_groups: int = 0
    unrecorded: int = 0
    cycles: tuple[tuple[str, ...], ...] = ()
    recorded: int = 0
    evicted: int = 0
    dropped: int = 0
    without_data: int = 0
    size_bytes: int = 0


@runtime_checkable
class Timeline(Protocol):
    """The events of this host so far, as many as the record holds; there while the plugin ``timeline`` is enabled."""

    @property
    def last(self) -> int:
        """The sequence number of the last event; what comes has a greater one."""

    async def entries(self, query: TimelineQuery = ..., /) -> Sequence[TimelineEntry]:
        """Return the events that are asked for.

        Raises:
            InvalidInputError: A pattern is wrong.
        """

    async def longest_chain(self, query: TimelineQuery = ..., /) -> Sequence[TimelineEntry]:
        """Return the longest chain of causes among the events that are asked for, the root first.

        One follows another if that is the nearest of its causes that is asked for. Of chains of one length the one that
        ended first counts. Order and limit of the query do not.

        Raises:
            InvalidInputError: A pattern is wrong.
        """

    async def stats(self, query: TimelineQuery = ..., /) -> TimelineStats:
        """Return counts of the events that are asked for.

        Raises:
            InvalidInputError: A pattern is wrong.
        """
