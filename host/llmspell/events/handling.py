"""Handlers: functions called with the events of a subscription, one after the other.

Invariant: a handler that fails goes on with the next event, and its failure is told. What it does is caused by its
event and shares that one's correlation. It yields to the scheduler at least every 64 events and every 5 ms, or every
10 ms while its mailbox is about to overflow.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from llmspell.operations import CURRENT, Frame, Runner
from llmspell_hookspecs import Event
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.event import HandlerFailure
from llmspell_hookspecs.failure import failure_of
from llmspell_hookspecs.foreign import as_error, let_pass

from .mailbox import Mailbox
from .subscription import Subscription

__all__ = ["Handling", "emptied", "run_handler", "waits_on"]

_log = logging.getLogger("llmspell.events")
_SLICE_S: Final = 0.005


class Handling(Frame, eq=False):
    """A handler that runs.

    Attributes:
        event: The event that it runs with.
        mailbox: The mailbox that it empties.
    """

    event: Event | None = None
    mailbox: Mailbox | None = None

    @property
    def id(self) -> str:
        """The event's: it is what operations within were set off by, and no operation of its own is told of."""
        return super().id if self.event is None else self.event.id


async def run_handler(runner: Runner, subscription: Subscription, handler: Callable[[Event], Any]) -> None:
    """Call the handler with each event until the subscription is closed."""
    component = ComponentRef("event", subscription.patterns[0], subscription.id)
    box = subscription.mailbox
    turn, began, thread_s = -1, 0.0, 0.0
    async for event in subscription:
        CURRENT.set(
            Handling(
                runner,
                None,
                component,
                0,
                subscription.language,
                correlation=event.correlation_id,
                event=event,
                mailbox=subscription.mailbox,
            )
        )
        started = time.perf_counter()
        if box.turns != turn:
            turn, began, thread_s = box.turns, started, time.thread_time()
        try:
            answer = handler(event)
            if answer is not None and inspect.isawaitable(answer):
                await answer
        except BaseException as error:
            let_pass(error)
            await _tell(runner, subscription, event, error)
        ended = time.perf_counter()
        subscription.handling.note(ended - started)
        if ended - began > _SLICE_S:
            await box.turn(time.thread_time() - thread_s)
            began = time.perf_counter()


async def _tell(runner: Runner, subscription: Subscription, event: Event, error: BaseException) -> None:
    subscription.failed += 1
    problem = f"event {event.type}: the handler of {subscription.id} failed: {text_of_error(error)}; fix it"
    if subscription.tally is None:
        _log.warning("%s", problem)
    else:
        subscription.tally.tell(problem)
    failure = failure_of(as_error(error, f"handler of {subscription.id}"))
    subject = HandlerFailure(event, subscription.id, subscription.patterns, failure)
    await runner.notify("event_handler_error", subject, ComponentRef("event", event.type, f"event:{event.type}"))


def emptied() -> Mailbox | None:
    """Return the mailbox that the running handler empties, if one runs."""
    frame = CURRENT.get()
    frames = () if frame is None else frame.upward()
    return next((each.mailbox for each in frames if isinstance(each, Handling)), None)


def waits_on(mailbox: Mailbox, own: Mailbox) -> bool:
    """Return whether room in a mailbox can only come from the one who asks: its own, or one whose handler waits."""
    waiting, seen = [mailbox], set[int]()
    while waiting:
        each = waiting.pop()
        if each is own:
            return True
        if id(each) not in seen:
            seen.add(id(each))
            waiting += each.waits_for
    return False
