"""A subscription's mailbox: bounded, with a strategy for what finds it full, and an account of every event.

Invariant: matched = delivered + dropped + rejected + sampled + expired + discarded + pending, at every moment. The more
urgent event comes out first, and events of one priority in the order in which they went in; what must make room is the
least urgent. A sleeping consumer is woken once, not once for each event.

Most events have the priority 0 and lie in one queue. The others lie in lanes beside it, one for each priority; while
there is one, and above the high mark, each event takes the longer way in and out, so that all else costs nothing more.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import trio
from msgspec import Struct

from llmspell_hookspecs import Event
from llmspell_hookspecs.durations import Durations
from llmspell_hookspecs.overflow import MailboxOptions
from llmspell_hookspecs.selection import EventFilter

__all__ = ["COUNTS", "EVERY", "Held", "Mailbox", "Sieve"]

EVERY: Final = 64
"""After how many events at the latest the scheduler has its turn."""
_BATCH: Final = range(EVERY)
COUNTS: Final = ("matched", "delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")
"""What a mailbox counts."""
_SCRIPTS: Final = "script:"
"""What the sources of scripts' events begin with."""
_CATCH_UP_S: Final = 0.01
"""How long a consumer that is behind goes on before others have their turn."""


class Held(Struct, eq=False):
    """An event that waits for room.

    Attributes:
        event: The event.
        admitted: Set when it waits no longer: it has room, it was withdrawn, or the mailbox is closed.
    """

    event: Event
    admitted: trio.Event


class Mailbox:
    """Events on their way to one subscription.

    Args:
        options: How it is bounded.
        is_over: Returns whether an event with a time to live is too old by now.
        marked: Told when it crosses its high mark (four fifths) upwards and its low mark (one fifth) downwards.
        now_s: Returns the seconds since the epoch, as events' timestamps have them.

    Attributes:
        closed: Whether it takes none any more.
        delivery: How long events took from publishing to their consumer, for some of them.
        turns: How many turns its consumer had.
        waits_for: The mailboxes for which this one's handler waits.
    """

    def __init__(
        self,
        options: MailboxOptions,
        is_over: Callable[[Event], bool],
        marked: Callable[[Mailbox, str], None],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self.closed = False
        self.matched = self.delivered = self.dropped = self.rejected = 0
        self.sampled = self.expired = self.discarded = 0
        self.waits_for: tuple[Mailbox, ...] = ()
        self.delivery = Durations()
        self._queue: deque[Event] = deque()
        self._lanes: dict[int, deque[Event]] = {}
        self._order: list[int] = []  # the priorities of the lanes, which are never empty
        self._ranked = 0  # how many events lie in the lanes
        self._held: deque[Held] = deque()
        self._by_priority = not options.as_published
        self._high_mark = max(1, options.capacity * 4 // 5)
        self._low_mark = options.capacity // 5
        self._admits = self._high_mark  # up to how many events in the queue one more needs no further thought
        self._high = False
        self._watched = False  # whether taking one out needs further thought
        self._credit = 0.0
        self._sleeping = False
        self._seen = self.turns = 0
        self._until_s: float | None = None
        self._lot = trio.lowlevel.ParkingLot()
        self._is_over = (lambda event: False) if options.as_published else is_over
        self._marked = marked
        self._now_s = now_s

    @property
    def pending(self) -> int:
        """How many events wait in it or for it."""
        return len(self._queue) + self._ranked + len(self._held)

    def put(self, event: Event) -> bool:
        """Take in an event of priority 0; true if there is no room, and the publisher must hold or reject it."""
        self.matched += 1
        queue = self._queue
        if len(queue) >= self._admits and not self._make_room(event, 0):
            return self.options.overflow in ("block", "reject")
        queue.append(event)
        if self._sleeping:
            self._wake()
        return False

    def put_ranked(self, event: Event) -> bool:
        """As `put`, for an event of any priority."""
        if not (event.priority and self._by_priority):
            return self.put(event)
        self.matched += 1
        if not self._make_room(event, event.priority):
            return self.options.overflow in ("block", "reject")
        self._append(event)
        if self._sleeping:
            self._wake()
        return False

    def reject(self) -> None:
        """Refuse the event that found no room."""
        self.rejected += 1

    def hold(self, event: Event) -> Held:
        """Let the event that found no room wait for some, behind those that are as urgent."""
        held, place = Held(event, trio.Event()), len(self._held)
        while self._by_priority and place and self._held[place - 1].event.priority > event.priority:
            place -= 1
        self._held.insert(place, held)
        return held

    def withdraw(self, held: Held) -> bool:
        """Refuse an event that waits for room; false if it waits no longer."""
        if held.admitted.is_set():
            return False
        self._held.remove(held)
        held.admitted.set()
        self.rejected += 1
        return True

    def take(self) -> Event | None:
        """Return the next event that is not too old, or None if none waits."""
        queue = self._queue
        while queue or self._order:
            event = self._take_watched() if self._watched else queue.popleft()
            if event.ttl_s is not None and self._is_over(event):
                self.expired += 1
                continue
            self.delivered += 1
            return event
        return None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield events until the mailbox is closed.

        A generator with `take` and `turn` written out, since a loop over that takes half the time of one over a class.
        """
        queue = self._queue
        popleft = queue.popleft
        while True:
            for _ in _BATCH:
                if not queue and not self._order:
                    break
                event = self._take_watched() if self._watched else popleft()
                if event.ttl_s is not None and self._is_over(event):
                    self.expired += 1
                    continue
                self.delivered += 1
                yield event
            else:
                if len(queue) + 2 * (self.matched - self._seen) <= self.options.capacity or not self._goes_on():
                    self._seen, self._until_s = self.matched, None
                    await trio.lowlevel.checkpoint()
                    self._note()
                continue
            if self.closed:
                return
            await self.wait()

    async def wait(self) -> None:
        """Sleep until there may be an event, or the mailbox is closed."""
        self._sleeping = True
        self._seen, self._until_s = self.matched, None
        await self._lot.park()
        self._note()

    async def turn(self, spent_s: float = 0.0) -> None:
        """Let others run, unless twice as many events as came since they did last would find no room."""
        if self.pending + 2 * (self.matched - self._seen) <= self.options.capacity or not self._goes_on(spent_s):
            self._seen, self._until_s = self.matched, None
            await trio.lowlevel.checkpoint()
            self._note()

    def _goes_on(self, spent_s: float = 0.0) -> bool:
        """Return whether the consumer may go on before others run: it is behind, and has not gone on for long.

        Whoever publishes a thousand events and then lets others run once would else fill the mailbox of a consumer that
        takes 64 each time, though that has nothing else to do. Twice, since trio lets the tasks of one round run in any
        order, so that a publisher may have two turns between two of the consumer's. It goes on for 10 ms at most: of
        its thread, since the time that other processes take says nothing about what it holds up.
        """
        if self.options.overflow == "block":
            return False  # nothing is lost
        now_s = time.thread_time()
        if self._until_s is None:
            self._until_s = now_s + _CATCH_UP_S - spent_s
        return now_s < self._until_s

    def close(self) -> None:
        """Discard what waits, and let go of everybody who waits for it."""
        self.closed = True
        self.discarded += self.pending
        self._queue.clear()
        self._lanes.clear()
        self._order.clear()
        self._ranked = 0
        while self._held:
            self._held.popleft().admitted.set()
        self._wake()

    def _wake(self) -> None:
        self._sleeping = False
        self._lot.unpark_all()

    def _note(self) -> None:
        """A turn of the consumer begins: note how long the event took that comes out next, now and then."""
        self.turns += 1
        if self.turns > EVERY and self.turns & 7:
            return
        lane = self._queue or (self._lanes[self._order[0]] if self._order else None)
        if lane and not lane[0].replayed:
            self.delivery.note(self._now_s() - lane[0].timestamp)

    def _append(self, event: Event) -> None:
        priority = event.priority if self._by_priority else 0
        if not priority:
            self._queue.append(event)
            return
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = deque()
            insort(self._order, priority)
            self._settle()
        lane.append(event)
        self._ranked += 1

    def _pop(self, priority: int, *, newest: bool = False) -> Event:
        """Take the oldest event of a priority out, or the newest."""
        lane = self._lanes[priority] if priority else self._queue
        event = lane.pop() if newest else lane.popleft()
        if priority:
            self._ranked -= 1
            if not lane:
                del self._lanes[priority]
                self._order.remove(priority)
                self._settle()
        return event

    def _settle(self) -> None:
        """See anew which events need further thought."""
        self._watched = self._high or bool(self._order)
        self._admits = 0 if self._order else self._limit()

    def _limit(self) -> int:
        """Return up to how many waiting events one more is let in as it comes."""
        return self.options.capacity if self._high and self.options.overflow != "sample" else self._high_mark

    def _make_room(self, event: Event, priority: int) -> bool:
        """Return whether one more event may be appended; account for what must go instead."""
        options, waiting = self.options, len(self._queue) + self._ranked
        if waiting < self._limit():
            return True
        if not self._high:
            self._high = True
            self._settle()
            self._marked(self, "high")
        if options.overflow == "sample":
            self._credit += options.rate
            if self._credit < 1:
                self.sampled += 1
                return False
            self._credit -= 1
        if waiting < options.capacity:
            return True
        if options.overflow in ("block", "reject"):
            return False
        return self._push_out(event, priority, newest=options.overflow == "drop_newest")

    def _push_out(self, event: Event, priority: int, *, newest: bool) -> bool:
        """Drop the oldest or newest of the least urgent events; false if that is the one that comes.

        What a script publishes pushes out nothing of anybody else's, however urgent it says that it is.
        """
        self.dropped += 1
        last = self._order[-1] if self._order and (self._order[-1] > 0 or not self._queue) else 0
        if priority > last or (newest and priority == last):
            return False
        if event.source.startswith(_SCRIPTS):
            lane = self._lanes[last] if last else self._queue
            if lane[-1 if newest else 0].source != event.source:
                return False
        self._pop(last, newest=newest)
        return True

    def _take_watched(self) -> Event:
        """Take out the oldest of the most urgent events, and use the room that it leaves."""
        first = self._order[0] if self._order and (self._order[0] < 0 or not self._queue) else 0
        event = self._pop(first)
        if self._high:
            self._relieve()
        return event

    def _relieve(self) -> None:
        """Fill the room that one event left with one that waits for it; else see whether the low mark is reached."""
        if self._held:
            held = self._held.popleft()
            self._append(held.event)
            held.admitted.set()
        elif len(self._queue) + self._ranked <= self._low_mark:
            self._high = False
            self._settle()
            self._marked(self, "low")


class Sieve(Mailbox):
    """A mailbox that matches only what a filter accepts.

    Args:
        accepts: The filter.
        rest: What a `Mailbox` takes.
    """

    def __init__(self, accepts: EventFilter, *rest: Any) -> None:
        super().__init__(*rest)
        self._accepts = accepts.accepts

    def put(self, event: Event) -> bool:
        """As `Mailbox.put`, of an event that is accepted."""
        return self._accepts(event) and super().put(event)

    def put_ranked(self, event: Event) -> bool:
        """As `Mailbox.put_ranked`, of an event that is accepted."""
        return self._accepts(event) and super().put_ranked(event)
