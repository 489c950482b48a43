"""The bus: gives events their sequence, asks the hooks, and puts them into the mailboxes of whoever subscribed.

Invariant: sequence numbers are given as events go into the mailboxes, so each subscriber receives in their order. With
no hook at the event points and no limit on sources nothing but the mailboxes is asked. Every publisher that is refused
is told. Called on the host's trio thread only.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from math import inf
from operator import attrgetter
from typing import Any, Final

import trio
from msgspec import structs

from llmspell.hooks import HookRegistry
from llmspell.operations import CURRENT, Runner, beside
from llmspell_hookspecs import Event, LlmspellError
from llmspell_hookspecs.account import Account
from llmspell_hookspecs.age import Ages
from llmspell_hookspecs.bucket import TokenBuckets, TokenRate
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.durations import Durations
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.event import EventStats, SubscriptionInfo
from llmspell_hookspecs.fit import bound, fit
from llmspell_hookspecs.operation import Operation, OperationKind
from llmspell_hookspecs.overflow import read_options
from llmspell_hookspecs.requests import EventRequests, response_to
from llmspell_hookspecs.selection import EventFilter
from llmspell_hookspecs.trie import Topics
from llmspell_hookspecs.values import thaw

from .handling import emptied, run_handler, waits_on
from .mailbox import COUNTS, EVERY, Held, Mailbox, Sieve
from .subscription import Subscription

__all__ = ["Bus"]

_PLAIN: Final = frozenset({type(None), str, int, float, bool, bytes})
_FEW: Final = 64
"""So many plain items need no look at how deep and how broad they are."""
_EVENT: Final = OperationKind(
    name="event",
    before="before_event_emit",
    after="after_event_emit",
    result=Event,
    identity=attrgetter("type", "data", "source", "target", "tags"),
    sync=True,
    composes=True,
)


class Bus:
    """Publishing and subscribing; implements the contract's `Events`.

    Args:
        registry: The hooks.
        runner: Asks them.
        nursery: The host's; handlers run in it.
        now_s: Returns the seconds since the epoch.
    """

    requests: Callable[[], EventRequests]
    """Returns who keeps the requests that wait."""

    def __init__(
        self,
        registry: HookRegistry,
        runner: Runner,
        nursery: trio.Nursery,
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._runner = runner
        self._nursery = nursery
        self._now_s = now_s
        self._ages = Ages(now_s)
        self._flow: TokenBuckets | None = None
        self._topics: Topics[Mailbox] = Topics()
        self._routes = self._topics.routes
        self._open: dict[Mailbox, Subscription] = {}
        self._past = Account(dict.fromkeys((*COUNTS, "failed"), 0), Durations(), Durations())
        self._marks: list[tuple[Mailbox, str]] = []
        self._full: list[Mailbox] = []
        self._sequence = 0
        self._drafts = itertools.count(1)
        self._subscribed = 0
        self._limited = 0
        self._awaited = 0
        self._prefix = f"{secrets.token_hex(4)}-"
        self._asked: Mapping[str, Any] = {}
        self._hooked = False
        runner.events = self
        registry.on_change.append(self._changed)
        self.check()

    def _changed(self, point: str) -> None:
        if point in (_EVENT.before, _EVENT.after):
            self.check()

    def check(self) -> None:
        """See anew whether publishing has to ask anybody."""
        hooked = self._registry.hooked(_EVENT.before) or self._registry.hooked(_EVENT.after)
        if hooked is not self._hooked:
            self._hooked = hooked
            self._runner.look_again()  # a hook at an event hears of every operation
        self._guarded = self._hooked or self._flow is not None or bool(self._runner.refusal)

    def limit(self, limit: TokenRate | None) -> None:
        """Hold each source to this limit from now on; None for no limit."""
        if limit is None or self._flow is None or self._flow.limit != limit:
            self._flow = None if limit is None else TokenBuckets(limit)
        self.check()

    # Publishing.

    def publish_nowait(self, event: Event | str, data: Any = None, /, **fields: Any) -> Event:
        """Publish without waiting; see the contract's `Events`."""
        if type(data) not in _PLAIN and not _is_flat(data):
            bound(data, f"event {event}")
        if fields or self._guarded or type(event) is not str:
            made = self._publish_slowly(self._draft(event, data, fields))
        else:
            made = self._publish(event, data)
        if self._full:
            raise self._refusal(made, self._reject()[0])
        return made

    async def publish(self, event: Event | str, data: Any = None, /, **fields: Any) -> Event:
        """Publish, and wait for room where that is asked for; see the contract's `Events`."""
        if type(data) not in _PLAIN and not _is_flat(data):
            await beside(data, bound, data, f"event {event}")
        if fields or self._guarded or type(event) is not str:
            draft = await beside((event, data, fields), self._draft, event, data, fields)
            made = self._publish_slowly(draft)
        else:
            made = self._publish(event, data)
        if self._full:
            await self._wait(made)
        self._awaited += 1
        if self._awaited >= EVERY:
            self._awaited = 0
            await trio.lowlevel.checkpoint()
        return made

    async def request(self, topic: str, data: Any = None, /, *, timeout_s: float = 5.0, **fields: Any) -> Event:
        """Publish an event and return the answer to it; see the contract's `Events`."""
        requests = self.requests()
        self._asked = requests.open
        heard = not all(box.options.as_published for box in self._topics.route(topic))  # who records answers nothing
        return await requests.ask(topic, data, timeout_s, fields, heard)

    def respond(self, request: Event, data: Any = None, /, **fields: Any) -> Event:
        """Answer a request; see the contract's `Events`."""
        given = {"correlation_id": request.correlation_id, "target": request.source, **fields}
        return self.publish_nowait(response_to(request.type), data, **given, causation_id=request.id)

    def listens(self, topic: str, /) -> bool:
        """Return whether anybody would see an event of this topic: a subscription, or a hook."""
        return self._hooked or bool(self._topics.route(topic))

    def _publish(self, event: str, data: Any) -> Event:
        """Publish; whoever has no room and must be waited for or told stands in ``_full`` afterwards."""
        route = self._routes.get(event)
        if route is None:
            route = self._topics.route(event)
        self._sequence = sequence = self._sequence + 1
        id = f"{self._prefix}{sequence}"
        if CURRENT.get() is None:
            made = Event(event, data, id, "python", self._now_s(), sequence, id)
        else:
            language, correlation, causation = self._cause()
            made = Event(event, data, id, language, self._now_s(), sequence, correlation or id, causation)
            if causation in self._asked:
                self.requests().see(made)
        for mailbox in route:
            if mailbox.put(made):
                self._full.append(mailbox)
        if self._marks:
            self._tell_marks()
        return made

    def _cause(self) -> tuple[str, str, str]:
        """Return language, correlation and causation from the handler or operation that runs."""
        frame = CURRENT.get()
        if frame is None or frame.owner is not self._runner:
            return "python", "", ""
        return frame.language, frame.correlation_id, frame.id

    def _draft(self, event: Event | str, data: Any, fields: dict[str, Any]) -> Event:
        """Return the event as hooks see it, all but the sequence filled in."""
        language, correlation, causation = self._cause()
        id = f"{self._prefix}d{next(self._drafts)}"
        caused = {"language": language, "correlation_id": correlation, "causation_id": causation}
        if isinstance(event, str):
            given = {"type": event, "data": data, **caused, **fields}
        else:
            own = structs.asdict(event)
            given = {**own, **{name: value for name, value in caused.items() if not own[name]}, **fields}
        given["sequence"] = 0
        given["id"] = given.get("id") or id
        given["timestamp"] = given.get("timestamp") or self._now_s()
        given["correlation_id"] = given["correlation_id"] or given["id"]
        draft: Event = fit(given, Event, "event")
        return draft

    def _publish_slowly(self, draft: Event) -> Event:
        self._topics.route(draft.type)
        if self._flow is not None and not self._flow.admit(draft.source):
            self._limited += 1
            limit = self._flow.limit
            message = f"event {draft.type}: {draft.source or 'code'} publishes more than {limit.rate:g} events a second"
            raise ResourceLimitError(f"{message}; publish fewer", resource="events_per_s", limit=limit.rate)
        try:
            return self._emit(draft)
        except Exception:  # a hook withheld it after it was delivered
            self._reject()
            raise
        finally:
            if self._marks:
                self._tell_marks()

    def _emit(self, draft: Event, skipped: Mailbox | None = None) -> Event:
        """Put an event into the mailboxes, with the hooks around that; answer it as its publisher gets it."""

        async def deliver(approved: Event) -> Event:
            route = self._topics.route(approved.type)
            self._sequence += 1
            event = structs.replace(approved, sequence=self._sequence, data=thaw(approved.data))
            self._ages.note(event)
            self._full += [mailbox for mailbox in route if mailbox is not skipped and mailbox.put_ranked(event)]
            if event.causation_id in self._asked:
                self.requests().see(event)
            return event

        if not self._hooked and not self._runner.refusal:
            return _at_once(deliver(draft))  # nobody to ask
        component = ComponentRef("event", draft.type, f"event:{draft.type}")
        operation = Operation(_EVENT, component, draft, deliver, language=draft.language)
        return _at_once(self._runner.execute(operation))

    # Full mailboxes.

    def _reject(self) -> Sequence[Mailbox]:
        """Reject at each full mailbox what it has no room for, and return them."""
        full, self._full = self._full, []
        for mailbox in full:
            mailbox.reject()
        return full

    def _refusal(self, event: Event, mailbox: Mailbox) -> ResourceLimitError:
        subscription = self._open.get(mailbox)
        who = "a subscription" if subscription is None else f"subscription {subscription.id} of {subscription.owner}"
        capacity = mailbox.options.capacity
        message = f"event {event.type}: {who} has no room for it, its {capacity} are taken; publish slower"
        return ResourceLimitError(message, resource="events_pending", limit=capacity)

    async def _wait(self, event: Event) -> None:
        """Hold the event at each mailbox that blocks, all at once so that no later event overtakes it."""
        own = emptied()
        refused: list[Mailbox] = []
        held: list[tuple[Mailbox, Held]] = []
        full, self._full = self._full, []
        for mailbox in full:
            blocks = mailbox.options.overflow == "block"
            if blocks and not (own is not None and waits_on(mailbox, own)):
                held.append((mailbox, mailbox.hold(event)))
            else:
                mailbox.reject()
                refused.append(mailbox)
        if own is not None:
            own.waits_for = tuple(mailbox for mailbox, _ in held)
        try:
            for mailbox, one in held:
                patience_s = inf if mailbox.options.block_s is None else mailbox.options.block_s
                with trio.move_on_after(patience_s):
                    await one.admitted.wait()
                if mailbox.withdraw(one):
                    refused.append(mailbox)
        finally:
            for mailbox, one in held:
                mailbox.withdraw(one)
            if own is not None:
                own.waits_for = ()
        if refused:
            raise self._refusal(event, refused[0])

    # Subscribing.

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
        """Return a subscription; see the contract's `Events`."""
        chosen = (patterns,) if isinstance(patterns, str) else tuple(patterns)
        options = read_options(capacity, overflow, block_s, as_published)
        Topics[None]().add(chosen, None)  # so that a wrong pattern is told here
        self._subscribed += 1
        box: Callable[..., Mailbox] = Mailbox if where is None else partial(Sieve, where)
        mailbox = box(options, self._ages.is_over, self._marked, self._now_s)
        return Subscription(f"sub-{self._subscribed}", chosen, mailbox, (owner, language), self._enter)

    def on(self, patterns: str | Sequence[str], handler: Callable[[Event], Any], /, **options: Any) -> Subscription:
        """Call a function with each event until the subscription is closed; see the contract's `Events`."""
        subscription = self.subscribe(patterns, **options)
        subscription.open()
        self._nursery.start_soon(run_handler, self._runner, subscription, handler, name=subscription.id)
        return subscription

    def subscriptions(self) -> Sequence[SubscriptionInfo]:
        """Return what is known of the open subscriptions, in the order in which they were opened."""
        return [subscription.info for subscription in self._open.values()]

    def stats(self) -> EventStats:
        """Return what became of all events so far."""
        account = self._past.copy()
        for subscription in self._open.values():
            account.add(subscription.account)
        return EventStats(self._sequence, self._limited, len(self._open), **account.facts)

    def close(self) -> None:
        """Close every subscription."""
        for subscription in list(self._open.values()):
            subscription.close()

    def _enter(self, subscription: Subscription) -> Callable[[], None]:
        number = self._topics.add(subscription.patterns, subscription.mailbox)
        self._open[subscription.mailbox] = subscription
        self._runner.look_again()

        def leave() -> None:
            self._topics.remove(number)
            del self._open[subscription.mailbox]
            self._runner.look_again()
            self._past.add(subscription.account)

        return leave

    # Marks.

    def _marked(self, mailbox: Mailbox, mark: str) -> None:
        """A mailbox crossed a mark; told when nothing is half delivered."""
        self._marks.append((mailbox, mark))
        if mark == "low":
            self._tell_marks()

    def _tell_marks(self) -> None:
        while self._marks:
            mailbox, mark = self._marks.pop(0)
            subscription = self._open.get(mailbox)
            topic = f"event.mailbox.{mark}"
            if subscription is None or not self.listens(topic):
                continue
            waits, self._full = self._full, []  # those of the event that crossed the mark
            facts = {"subscription": subscription.id, "pending": mailbox.pending, "capacity": mailbox.options.capacity}
            try:
                self._emit(self._draft(topic, {**facts, "patterns": subscription.patterns}, {}), mailbox)
            except LlmspellError as error:
                self._runner.problem(error)
            self._reject()
            self._full = waits


def _is_flat(data: Any) -> bool:
    """Return whether it is a dict of a few plain values."""
    if type(data) is not dict or len(data) > _FEW:
        return False
    for value in data.values():  # noqa: SIM110 - a generator takes three times as long with few
        if type(value) not in _PLAIN:
            return False
    return True


def _at_once(coroutine: Coroutine[Any, Any, Event]) -> Event:
    """Run a coroutine that never waits to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        event: Event = end.value
        return event
    coroutine.close()
    raise RuntimeError("events: a hook at an event point waited")
