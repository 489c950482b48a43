"""A subscription's mailbox: bounded, with a strategy for what finds it full, and an account of every event.

Invariant: matched = delivered + dropped + rejected + sampled + expired + discarded + pending, at every moment. Events
come out in the order in which they went in. A sleeping consumer is woken once, not once for each event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

import trio
from msgspec import Struct

from llmspell_hookspecs import Event
from llmspell_hookspecs.overflow import MailboxOptions

__all__ = ["COUNTS", "EVERY", "Held", "Mailbox"]

EVERY: Final = 64
"""After how many events at the latest the scheduler has its turn."""
_BATCH: Final = range(EVERY)
COUNTS: Final = ("matched", "delivered", "dropped", "rejected", "sampled", "expired", "discarded", "pending")
"""What a mailbox counts."""


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

    Attributes:
        closed: Whether it takes none any more.
        waits_for: The mailboxes for which this one's handler waits.
    """

    __slots__ = (
        "_admits",
        "_credit",
        "_held",
        "_high",
        "_high_mark",
        "_is_over",
        "_lot",
        "_low_mark",
        "_marked",
        "_queue",
        "_sleeping",
        "closed",
        "delivered",
        "discarded",
        "dropped",
        "expired",
        "matched",
        "options",
        "rejected",
        "sampled",
        "waits_for",
    )

    def __init__(
        self, options: MailboxOptions, is_over: Callable[[Event], bool], marked: Callable[[Mailbox, str], None]
    ) -> None:
        self.options = options
        self.closed = False
        self.matched = self.delivered = self.dropped = self.rejected = 0
        self.sampled = self.expired = self.discarded = 0
        self.waits_for: tuple[Mailbox, ...] = ()
        self._queue: deque[Event] = deque()
        self._held: deque[Held] = deque()
        self._high_mark = max(1, options.capacity * 4 // 5)
        self._low_mark = options.capacity // 5
        self._admits = self._high_mark  # up to how many waiting events one more needs no further thought
        self._high = False
        self._credit = 0.0
        self._sleeping = False
        self._lot = trio.lowlevel.ParkingLot()
        self._is_over = is_over
        self._marked = marked

    @property
    def pending(self) -> int:
        """How many events wait in it or for it."""
        return len(self._queue) + len(self._held)

    def put(self, event: Event) -> bool:
        """Take an event in; true if there is no room, and the publisher must hold or reject it."""
        self.matched += 1
        queue = self._queue
        if len(queue) >= self._admits and not self._make_room():
            return self.options.overflow in ("block", "reject")
        queue.append(event)
        if self._sleeping:
            self._wake()
        return False

    def reject(self) -> None:
        """Refuse the event that found no room."""
        self.rejected += 1

    def hold(self, event: Event) -> Held:
        """Let the event that found no room wait for some."""
        held = Held(event, trio.Event())
        self._held.append(held)
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
        while queue:
            event = queue.popleft()
            if (self._high or event.ttl_s is not None) and not self._leaves(event):
                continue
            self.delivered += 1
            return event
        return None

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield events until the mailbox is closed.

        A generator with `take` written out, since a loop over that takes half the time of one over a class.
        """
        queue = self._queue
        popleft = queue.popleft
        while True:
            for _ in _BATCH:
                if not queue:
                    break
                event = popleft()
                if (self._high or event.ttl_s is not None) and not self._leaves(event):
                    continue
                self.delivered += 1
                yield event
            else:
                await trio.lowlevel.checkpoint()
                continue
            if self.closed:
                return
            await self.wait()

    async def wait(self) -> None:
        """Sleep until there may be an event, or the mailbox is closed."""
        self._sleeping = True
        await self._lot.park()

    def close(self) -> None:
        """Discard what waits, and let go of everybody who waits for it."""
        self.closed = True
        self.discarded += self.pending
        self._queue.clear()
        while self._held:
            self._held.popleft().admitted.set()
        self._wake()

    def _wake(self) -> None:
        self._sleeping = False
        self._lot.unpark_all()

    def _make_room(self) -> bool:
        """Return whether one more event may be appended, above the high mark; account for what must go instead."""
        options, queue = self.options, self._queue
        if not self._high:
            self._high = True
            self._admits = self._high_mark if options.overflow == "sample" else options.capacity
            self._marked(self, "high")
        if options.overflow == "sample":
            self._credit += options.rate
            if self._credit < 1:
                self.sampled += 1
                return False
            self._credit -= 1
        if len(queue) < options.capacity:
            return True
        if options.overflow == "drop_newest":
            self.dropped += 1
        elif options.overflow in ("drop_oldest", "sample"):
            queue.popleft()
            self.dropped += 1
            return True
        return False

    def _leaves(self, event: Event) -> bool:
        """Return whether an event that was taken out is young enough, once the room that it left is used."""
        if self._high:
            self._relieve()
        if event.ttl_s is not None and self._is_over(event):
            self.expired += 1
            return False
        return True

    def _relieve(self) -> None:
        """Fill the room that one event left with one that waits for it; else see whether the low mark is reached."""
        if self._held:
            held = self._held.popleft()
            self._queue.append(held.event)
            held.admitted.set()
        elif len(self._queue) <= self._low_mark:
            self._high = False
            self._admits = self._high_mark
            self._marked(self, "low")
