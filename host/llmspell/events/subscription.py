"""A subscription: a mailbox, the patterns that fill it, and the one who empties it.

Invariant: its consumer yields to the scheduler at least every 64 events. Whoever holds it open, closing it frees it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import trio

from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.account import Account
from llmspell_hookspecs.durations import Durations
from llmspell_hookspecs.event import SubscriptionInfo
from llmspell_hookspecs.tally import Tally

from .mailbox import COUNTS, EVERY, Mailbox

__all__ = ["Subscription"]

_log = logging.getLogger("llmspell.events")


class Subscription:
    """See the contract's `Subscription`.

    Args:
        id: Unique within the host.
        patterns: What it is subscribed to.
        mailbox: Its mailbox.
        owner: Who subscribed.
        language: Where.
        opened: Called when it begins; returns what ends it.

    Attributes:
        failed: How many events its handler failed with.
        handling: How long its handler took with each.
        tally: What a script's handler did wrong already; None of another one.
    """

    def __init__(
        self,
        id: str,
        patterns: tuple[str, ...],
        mailbox: Mailbox,
        origin: tuple[str, str],
        opened: Callable[[Subscription], Callable[[], None]],
    ) -> None:
        self.id = id
        self.patterns = patterns
        self.mailbox = mailbox
        self.owner, self.language = origin
        self.failed = 0
        self.handling = Durations()
        self.tally = (
            Tally(_log, f"event handler {id} of {self.owner}: it failed") if self.language != "python" else None
        )
        self._opened = opened
        self._end: Callable[[], None] | None = None
        self._iteration: Any = None  # an async generator; its attributes are in no type
        self._taken = 0

    @property
    def info(self) -> SubscriptionInfo:
        """What is known of it now."""
        box = self.mailbox
        return SubscriptionInfo(
            id=self.id,
            patterns=self.patterns,
            owner=self.owner,
            language=self.language,
            capacity=box.options.capacity,
            overflow=box.options.spelled,
            **self.account.facts,
        )

    @property
    def account(self) -> Account:
        """What became of its events."""
        counts = {name: getattr(self.mailbox, name) for name in COUNTS}
        return Account({**counts, "failed": self.failed}, self.mailbox.delivery, self.handling)

    def open(self) -> None:
        """Receive events from now on.

        Raises:
            InvalidInputError: It was closed, or a pattern is wrong.
        """
        if self.mailbox.closed:
            raise InvalidInputError(f"subscription {self.id}: it is closed; subscribe again", field="subscription")
        if self._end is None:
            self._end = self._opened(self)

    def close(self) -> None:
        """Receive none any more; what waits is discarded. A second call does nothing."""
        if not self.mailbox.closed:
            self.mailbox.close()
            if self.tally is not None:
                self.tally.end()
            if self._end is not None:
                self._end()
            self._finish()

    def receive_nowait(self) -> Event | None:
        """Return the next event, or None if none waits."""
        self._check()
        return self.mailbox.take()

    async def receive(self, timeout_s: float | None = None, /) -> Event | None:
        """Return the next event, or None if none came within the time or the subscription is closed."""
        self._check()
        self._taken += 1
        if self._taken % EVERY == 0:
            await self.mailbox.turn()
        event = self.mailbox.take()
        if event is None and not self.mailbox.closed:
            with trio.CancelScope(deadline=trio.current_time() + (float("inf") if timeout_s is None else timeout_s)):
                while event is None and not self.mailbox.closed:
                    await self.mailbox.wait()
                    event = self.mailbox.take()
        return event

    def batches(self, count: int = 256, within_s: float = 0.0, /) -> AsyncIterator[Sequence[Event]]:
        """Return an iterator over what comes, several at a time; see the contract's `Subscription`."""
        self._check()
        if count < 1:
            raise InvalidInputError(f"event: a batch has 1 or more events, not {count!r}", field="count")
        if not within_s >= 0:
            raise InvalidInputError(f"event: a batch takes 0 s or more, not {within_s!r}", field="within_s")
        return _Batches(self, count, within_s)

    async def __aenter__(self) -> Subscription:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        """Return the iteration: one that was left with ``break`` goes on, one that was cancelled begins anew."""
        self._check()
        if self._iteration is None or self._iteration.ag_frame is None:
            self._iteration = self.mailbox.events()
        iteration: AsyncIterator[Event] = self._iteration
        return iteration

    def _finish(self) -> None:
        """End an iteration that was left with ``break``: it waits at its yield, so closing it waits for nothing."""
        iteration = self._iteration
        if iteration is not None and iteration.ag_frame is not None and not iteration.ag_running:
            try:
                iteration.aclose().send(None)
            except StopIteration:
                self._iteration = None

    def _check(self) -> None:
        if self._end is None:
            message = f"subscription {self.id}: it is not open; receive within 'async with'"
            raise InvalidInputError(message, field="subscription")


class _Batches:
    """Iterates over a subscription's events, several at a time."""

    def __init__(self, subscription: Subscription, count: int, within_s: float) -> None:
        self._subscription = subscription
        self._count = count
        self._within_s = within_s
        self._begun = False

    def __aiter__(self) -> _Batches:
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._begun:
            await self._subscription.mailbox.turn()
        self._begun = True
        first = await self._subscription.receive()
        if first is None:
            raise StopAsyncIteration
        batch = [first]
        self._gather(batch)
        with trio.move_on_after(self._within_s) if self._within_s else nullcontext():
            while self._within_s and len(batch) < self._count and (event := await self._subscription.receive()):
                batch.append(event)
                self._gather(batch)
        return batch

    def _gather(self, batch: list[Event]) -> None:
        """Take what waits already."""
        take = self._subscription.mailbox.take
        while len(batch) < self._count and (event := take()) is not None:
            batch.append(event)
