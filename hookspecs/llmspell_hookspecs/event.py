"""The topic event: what an event is, how one is published and received, and the points around that.

A topic is a name of segments, ``user.created`` or ``user:created``; both separators mean the same. In a pattern ``*``
stands for one segment, at the end for all that follow, ``**`` for any number of them, ``?`` for a character, ``[abc]``
for one of these, ``{a,b}`` for one of these texts.

Invariant: each subscription has a bounded mailbox of its own, receives the more urgent event first and those of one
priority in the order of publishing, and accounts for every event that its patterns and its filter matched: matched =
delivered + dropped + rejected + sampled + expired + discarded + pending. Everything here is called on the host's trio
thread. Durations in seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Protocol, runtime_checkable

from msgspec import Struct

from .context import Failure, HookContext
from .durations import Percentiles
from .points import Phase, hookpoint
from .results import HookResult
from .selection import EventFilter

__all__ = [
    "Event",
    "EventStats",
    "Events",
    "HandlerFailure",
    "Subscription",
    "SubscriptionInfo",
    "after_event_emit",
    "before_event_emit",
    "event_handler_error",
]


class Event(Struct, frozen=True):
    """Something that happened; the original's UniversalEvent.

    Attributes:
        type: Its topic, such as ``user.created``.
        data: Any plain value. Hooks see it read-only; whoever receives it shares it, so nobody changes it.
        id: Unique; given when it is published if it is empty.
        language: Where it comes from.
        timestamp: Seconds since the epoch; given when it is published if it is 0.
        sequence: Grows with each event of the host; given when it is published, 0 until then.
        correlation_id: Shared by all that one cause set off.
        causation_id: The event or operation that set it off.
        source: Who published it.
        target: Whom it is for.
        tags: For selecting.
        priority: The smaller is the more urgent: it leaves a mailbox before what waits there and is less urgent, and
            is the last to be dropped.
        ttl_s: How long after its timestamp it is delivered; None for ever.
        schema_version: Of this struct.
        replayed: Whether it was published before, and comes from a record of that.
    """

    volatile: ClassVar[frozenset[str]] = frozenset({"causation_id", "correlation_id", "id", "sequence", "timestamp"})
    type: str
    data: Any = None
    id: str = ""
    language: str = "python"
    timestamp: float = 0.0
    sequence: int = 0
    correlation_id: str = ""
    causation_id: str = ""
    source: str = ""
    target: str = ""
    tags: tuple[str, ...] = ()
    priority: int = 0
    ttl_s: float | None = None
    schema_version: str = "1.0"
    replayed: bool = False


class HandlerFailure(Struct, frozen=True):
    """A handler failed with an event; the subject at ``event_handler_error``.

    Attributes:
        event: The event.
        subscription: The id of the handler's subscription.
        patterns: What it is subscribed to.
        failure: Why.
    """

    event: Event
    subscription: str
    patterns: tuple[str, ...]
    failure: Failure


class SubscriptionInfo(Struct, frozen=True):
    """What is known of a subscription.

    Attributes:
        id: Unique within the host.
        patterns: What it is subscribed to.
        owner: Who subscribed.
        language: Where.
        capacity: How many events its mailbox holds.
        overflow: What becomes of events that find it full.
        matched: How many events its patterns matched.
        delivered: How many it was given.
        dropped: How many were pushed out, or not taken in, because the mailbox was full.
        rejected: How many were refused, which their publishers were told.
        sampled: How many its sampling left out.
        expired: How many were too old when they were to be delivered.
        discarded: How many were waiting when it was closed.
        pending: How many are waiting.
        failed: How many its handler failed with.
        delivery: How long events took from publishing to their consumer, by one in 1 to 512 of them; none that was
            replayed is among these.
        handling: How long its handler took with each.
    """

    id: str
    patterns: tuple[str, ...]
    owner: str
    language: str
    capacity: int
    overflow: str
    matched: int
    delivered: int
    dropped: int
    rejected: int
    sampled: int
    expired: int
    discarded: int
    pending: int
    failed: int
    delivery: Percentiles = Percentiles()
    handling: Percentiles = Percentiles()


class EventStats(Struct, frozen=True):
    """What became of all events so far; the counts of closed subscriptions stay in.

    Attributes:
        published: How many were published.
        limited: How many the limit on their source refused.
        subscriptions: How many subscriptions are open.
        matched: As in `SubscriptionInfo`, summed up; likewise the rest.
    """

    published: int
    limited: int
    subscriptions: int
    matched: int
    delivered: int
    dropped: int
    rejected: int
    sampled: int
    expired: int
    discarded: int
    pending: int
    failed: int
    delivery: Percentiles = Percentiles()
    handling: Percentiles = Percentiles()


class Subscription(Protocol):
    """A mailbox and what fills it: an async context manager, and an async iterator for one task at a time."""

    @property
    def id(self) -> str:
        """Unique within the host."""

    @property
    def info(self) -> SubscriptionInfo:
        """What is known of it now."""

    def open(self) -> None:
        """Receive events from now on, as entering the block does."""

    def close(self) -> None:
        """Receive none any more; what waits is discarded. A second call does nothing."""

    def receive_nowait(self) -> Event | None:
        """Return the next event, or None if none waits."""

    async def receive(self, timeout_s: float | None = None, /) -> Event | None:
        """Return the next event, or None if none came within the time or the subscription is closed."""

    def batches(self, count: int = 256, within_s: float = 0.0, /) -> AsyncIterator[Sequence[Event]]:
        """Return an iterator over what comes, several at a time, until the subscription is closed.

        Args:
            count: How many at most.
            within_s: How long after a batch's first event others are waited for; 0 for those that wait already.

        Raises:
            InvalidInputError: The count is below 1, or the time below 0.
        """

    async def __aenter__(self) -> Subscription: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Event]: ...


@runtime_checkable
class Events(Protocol):
    """Publishing and subscribing."""

    def publish_nowait(self, event: Event | str, data: Any = None, /, **fields: Any) -> Event:
        """Publish without waiting.

        Args:
            event: The event, or its topic.
            data: Its data, if a topic was given.
            fields: Further fields of `Event`.

        Returns:
            The event as it was published.

        Raises:
            InvalidInputError: The topic or a field is wrong.
            OperationCancelledError: A hook cancelled it.
            ResourceLimitError: Its source publishes too fast, or a full mailbox that does not drop refused it; the
                other subscriptions have it.
        """

    async def publish(self, event: Event | str, data: Any = None, /, **fields: Any) -> Event:
        """As `publish_nowait`, but wait until there is room in every mailbox whose overflow is ``block``."""

    async def request(self, topic: str, data: Any = None, /, *, timeout_s: float = 5.0, **fields: Any) -> Event:
        """Publish an event and return the answer to it: the first ``<topic>.response`` that it is the cause of.

        Args:
            topic: The request's.
            data: Its data.
            timeout_s: How long it may take in all.
            fields: Further fields of `Event`.

        Raises:
            NoResponseError: Nobody is subscribed to the topic, or none of them answered within the time.
            OperationCancelledError: A hook cancelled it.
            ResourceLimitError: As with `publish`.
        """

    def respond(self, request: Event, data: Any = None, /, **fields: Any) -> Event:
        """Answer a request: publish ``<its type>.response`` with its correlation, caused by it.

        Args:
            request: The event that was received.
            data: The answer.
            fields: Further fields of `Event`.

        Returns:
            The answer as it was published; raises as `publish_nowait` does.
        """

    def subscribe(
        self,
        patterns: str | Sequence[str],
        /,
        *,
        capacity: int = 1024,
        overflow: str = "drop_oldest",
        block_s: float | None = None,
        where: EventFilter | None = None,
        as_published: bool = False,
        owner: str = "code",
        language: str = "python",
    ) -> Subscription:
        """Return a subscription; it begins with its block.

        Args:
            patterns: One or several.
            capacity: How many events its mailbox holds.
            overflow: ``drop_oldest``, ``drop_newest``, ``block``, ``reject``, or ``sample(0.1)``: from four fifths of
                the capacity on take this share of the events, in place of the oldest if it is full. What is dropped is
                the least urgent.
            block_s: With ``block``, how long a publisher waits before it is refused; None for ever.
            where: Which of the events that match it takes; all if None.
            as_published: Whether events come in the order of publishing whatever their priority, and however old, as
                who records them wants it; who does so answers no request.
            owner: Who subscribes.
            language: Where.

        Raises:
            InvalidInputError: A pattern or an option is wrong.
        """

    def on(self, patterns: str | Sequence[str], handler: Callable[[Event], Any], /, **options: Any) -> Subscription:
        """Call a function, sync or async, with each event until the subscription is closed.

        Args:
            patterns: One or several.
            handler: Called with one event after the other; its failures go to ``event_handler_error``.
            options: Those of `subscribe`.
        """

    def listens(self, topic: str, /) -> bool:
        """Return whether anybody would see an event of this topic: a subscription, or a hook."""

    def subscriptions(self) -> Sequence[SubscriptionInfo]:
        """Return what is known of the open subscriptions, in the order in which they were opened."""

    def stats(self) -> EventStats:
        """Return what became of all events so far."""


_BEFORE = ("Continue", "Modified", "Cancel", "Replace", "Cache", "Skipped")


@hookpoint(phase=Phase.BEFORE, topic="event", accepts=_BEFORE, sync_only=True)
def before_event_emit(context: HookContext[Event]) -> HookResult | None:
    """An event is about to be published.

    When: once for each event; its sequence is still 0.
    Subject: the event; with ``Replace`` and a cache hit nobody receives anything, and the publisher gets that event.
    """


@hookpoint(phase=Phase.AFTER, topic="event", accepts=_BEFORE, sync_only=True)
def after_event_emit(context: HookContext[Event]) -> HookResult | None:
    """An event was published: it lies in the mailboxes.

    When: once for each event.
    Subject: the event as its publisher gets it.
    """


@hookpoint(phase=Phase.NOTICE, topic="event", accepts=("Continue", "Skipped"), sync_only=True)
def event_handler_error(context: HookContext[HandlerFailure]) -> HookResult | None:
    """A handler failed with an event; it goes on with the next one.

    When: once for each failure.
    Subject: the failure.
    """
