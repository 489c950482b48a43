"""The global Event: a script publishes, and receives by callback or by polling.

Invariant: a script's subscriptions go when it ends, and it sees and ends no other's. What it publishes is marked as its
own. It is longer than most because each word that scripts have for events is a method of this one global.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any, ClassVar, Final

import msgspec
import trio

from llmspell_hookspecs import Event, Events, InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.event import Subscription
from llmspell_hookspecs.event_log import EventLog, EventSelection
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.timeline import TimelineEntry
from llmspell_plugins.globals.event_timeline import Lookback, counted, placed

from .event_followed import Followed, follow, follower_name, owner_of
from .event_options import (
    PublishOptions,
    SubscribeRequest,
    check_data,
    read_ask,
    read_batch,
    read_publish,
    read_query,
    read_response,
    read_subscribe,
)
from .event_query import find_recorded
from .event_table import Handler, Shown, event_table, origin_of

__all__ = ["EventGlobal"]

_MOST: Final = 1_000
_WAITING: Final = 100_000
"""How many events may wait for one script; each mailbox has a bound of its own besides."""
_LOOK_EVERY: Final = 64
"""Once in so many of its publications the script's waiting events are counted."""
_DRAIN_S: Final = 2.0
"""How long the end of a script waits for its handlers."""
_LOOK_S: Final = 0.001


class EventGlobal(ScriptGlobal):
    """Publish events and subscribe to them."""

    name: ClassVar[str] = "Event"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._mine: dict[str, Subscription | Followed] = {}
        self._handlers: dict[str, Handler] = {}
        self._published = 0
        self._lookback = Lookback(services)
        self._shown = Shown(scope.language)
        self._origin = origin_of(scope.script, services.get(ProjectFolder))
        scope.on_end(self._drain)
        scope.on_close(self._leave)

    @script_method("emit")
    async def publish(self, type: Any, data: Any = None, options: Any = None) -> bool:
        """Publish an event; waits while subscribers who ask for that have no room.

        Args:
            type: The event's type, such as ``user.created``; or a table with event_type, data (or payload) and options.
            data: Any plain value.
            options: A table: ttl_seconds, correlation_id, causation_id, source, target, tags, priority (the smaller
                comes first), language, persistent (a tag), or these under metadata.

        Raises:
            InvalidInputError: A part is missing or wrong.
            OperationCancelledError: A hook cancelled it.
            ResourceLimitError: The script publishes too fast, or a subscriber refused it.
        """
        request = read_publish("Event.publish", type, data, options)
        self._published += 1
        if self._published % _LOOK_EVERY == 0:
            self._check_room("publish")
        await self._events.publish(request.type, request.data, **self._fields("Event.publish", request.options))
        await trio.lowlevel.checkpoint()  # handlers in the same script have their turn
        return True

    @script_method("ask")
    async def request(self, type: Any, data: Any = None, options: Any = None) -> dict[str, Any]:
        """Publish an event and return the answer to it: what a subscriber gives with ``respond``.

        Args:
            type: As with ``publish``.
            data: Any plain value.
            options: Those of ``publish``, and timeout_ms, which is 5000 if it is left out.

        Raises:
            InvalidInputError: A part is missing or wrong.
            NoResponseError: Nobody is subscribed to it, or nobody answered within the time.
            OperationCancelledError: A hook cancelled it.
        """
        asked = read_ask("Event.request", type, data, options)
        request = asked.published
        fields = self._fields("Event.request", request.options)
        answer = await self._events.request(request.type, request.data, timeout_s=asked.timeout_ms / 1000, **fields)
        return self._shown.table(answer)

    @script_method("reply")
    def respond(self, event: Any, data: Any = None) -> bool:
        """Answer a request: the event that was received, and any plain value.

        Raises:
            InvalidInputError: The event is missing, or this script has not received it, or the data is not plain.
            OperationCancelledError: A hook cancelled the answer.
        """
        request = self._shown.find("Event.respond", read_response("Event.respond", event))
        check_data("Event.respond", data)
        self._events.respond(request, data, source=self._origin, language=self.scope.language)
        return True

    @script_method()
    async def query(self, options: Any = None) -> Sequence[dict[str, Any]]:
        """Return events on record in the event log, the oldest first; see the plugin event_log.

        They are those that runs of this script's file published (of a text without a file, those of its name), or all
        where the setting ``scripts`` says so.

        Args:
            options: A pattern, or a table: event_type (or patterns), start_time and end_time (seconds, or as ISO 8601
                writes them), after (a number in the log), limit (1000), filters (as with ``subscribe``).

        Raises:
            InvalidInputError: An option is wrong.
        """
        query = read_query("Event.query", options)
        log = await self.services.enter(EventLog)
        chosen = EventSelection(query.after, None, query.patterns, query.start, query.end)
        owner = owner_of(self.services, self._origin)
        return [
            {**self._shown.table(each.event), "number": each.number}
            for each in await find_recorded(log, chosen, query.filter.chosen(), owner, query.limit)
        ]

    @script_method()
    def subscribe(self, pattern: Any, handler: Any = None, options: Any = None) -> str | Awaitable[str]:
        """Subscribe; returns the subscription's id.

        With a name it follows the event log, and begins where ``acknowledge`` had it, also after a restart: each event
        comes at least once.

        Args:
            pattern: A pattern, a list of them, or a table with pattern, handler and the options.
            handler: Is called with each event, also with those that wait when the script ends, for at most 2 s;
                without one, call ``receive``.
            options: A table: overflow or backpressure (drop_oldest, drop_newest, block, reject, sample(0.1)),
                max_queue_size, block_timeout_ms, language, filter (a table: source, target, correlation_id, tags,
                language, priority); or name and after, a number in the log behind which a new one begins.

        Raises:
            InvalidInputError: A pattern or an option is wrong, or there is a name and nothing is recorded.
        """
        request = read_subscribe("Event.subscribe", pattern, handler, options)
        return self._follow(request) if request.options.name else self._subscribe(request)

    @script_method("ack")
    async def acknowledge(self, subscription: Any, event: Any = None) -> int:
        """Have an event done with, and all before it, for a subscription with a name; returns the number in the log.

        Args:
            subscription: What ``subscribe`` answered.
            event: The event that was received, or its number.

        Raises:
            InvalidInputError: This script has no such subscription, it has no name, or did not give that event.
        """
        found = self._find("acknowledge", subscription)
        if not isinstance(found, Followed):
            message = f"Event.acknowledge: {subscription!r:.60} has no name; subscribe with a name to acknowledge"
            raise InvalidInputError(message, field="subscription")
        return await found.acknowledge(event)

    @script_method()
    async def forget(self, name: str) -> bool:
        """Remove what is kept of this script's subscription with this name; returns whether there was anything."""
        return await (await self.services.enter(EventLog)).forget(follower_name(self._origin, name))

    @script_method()
    def on(self, pattern: Any, handler: Any = None, options: Any = None) -> str:
        """Call a function with each event; as ``subscribe`` with a handler.

        Raises:
            InvalidInputError: The handler is missing, or a pattern or an option is wrong.
        """
        request = read_subscribe("Event.on", pattern, handler, options)
        if request.function is None:
            raise InvalidInputError("Event.on: the handler is missing; give a function", field="handler")
        return self._subscribe(request)

    @script_method()
    async def receive(self, subscription: Any, timeout_ms: float = 5000) -> dict[str, Any] | None:
        """Return the next event of a subscription, or nothing if none came within the time.

        Raises:
            InvalidInputError: This script has no such subscription.
        """
        found = self._find("receive", subscription)
        event = await found.receive(max(0.0, timeout_ms) / 1000)
        return None if event is None else self._table(found, event)

    @script_method()
    async def receive_batch(self, subscription: Any, options: Any = None) -> Sequence[dict[str, Any]]:
        """Return the events that wait, once there is one; none if none came within the time.

        Args:
            subscription: What ``subscribe`` answered.
            options: A table: max_events, timeout_ms for the first, within_ms after it for more; or how many.

        Raises:
            InvalidInputError: This script has no such subscription.
        """
        wanted = read_batch("Event.receive_batch", options)
        found = self._find("receive_batch", subscription)
        event = await found.receive(wanted.timeout_ms / 1000)
        until_s = trio.current_time() + wanted.within_ms / 1000
        batch: list[dict[str, Any]] = []
        while event is not None:
            batch.append(self._table(found, event))
            event = await _next(found) if len(batch) < wanted.max_events else None
            left_s = until_s - trio.current_time()
            if event is None and left_s > 0 and len(batch) < wanted.max_events:
                event = await found.receive(left_s)
        return batch

    @script_method("off")
    def unsubscribe(self, subscription: Any) -> bool:
        """End a subscription of this script; false if there is no such one."""
        found = self._mine.pop(subscription, None) if isinstance(subscription, str) else None
        if found is not None:
            found.close()
            self._handlers.pop(subscription, None)
        return found is not None

    @script_method()
    def unsubscribe_pattern(self, pattern: str) -> int:
        """End this script's subscriptions to exactly this pattern; returns how many."""
        chosen = [id for id, each in self._mine.items() if pattern in each.info.patterns]
        return sum(self.unsubscribe(id) for id in chosen)

    @script_method()
    def list_subscriptions(self) -> Sequence[dict[str, Any]]:
        """Return this script's subscriptions: id, pattern, patterns, language, overflow, capacity, pending."""
        infos = [each.info for each in self._mine.values()]
        return [
            {
                "id": info.id,
                "pattern": info.patterns[0],
                "patterns": list(info.patterns),
                "language": info.language,
                "overflow": info.overflow,
                "capacity": info.capacity,
                "pending": info.pending,
            }
            for info in infos
        ]

    @script_method("get_subscription_stats")
    def subscription_stats(self, subscription: Any) -> dict[str, Any]:
        """Return what became of the events that a subscription matched.

        Raises:
            InvalidInputError: This script has no such subscription.
        """
        info = self._find("subscription_stats", subscription).info
        counts = msgspec.to_builtins(info)
        return {**counts, "pattern": info.patterns[0], "events_received": info.delivered, "queue_size": info.pending}

    @script_method("stats")
    def get_stats(self) -> dict[str, Any]:
        """Return what became of all events of the host, and how many subscriptions there are."""
        stats, languages = self._events.stats(), Counter(info.language for info in self._events.subscriptions())
        bus = msgspec.to_builtins(stats)
        return {
            "event_bus_stats": {
                **bus,
                "total_published": stats.published,
                "events_processed": stats.published,
                "rate_limit_violations": stats.limited,
                "buffer_size": stats.pending,
            },
            "bridge_stats": {
                "active_subscriptions": stats.subscriptions,
                "subscriptions_by_language": dict(languages),
            },
        }

    @script_method("query_timeline")
    async def timeline(self, query: Any = None) -> Sequence[dict[str, Any]]:
        """Return past events with what each came of: cause, effects, root, depth, elapsed_ms, position, operation.

        There are those since the script began, and those of the cause that it runs for; the plugin timeline records
        them, where ``plugins.timeline.enabled`` is true.

        Args:
            query: A pattern; or a table: event_type (patterns), correlation_id, source or target (components),
                language, tags, start_time and end_time (seconds, or ISO 8601), last_seconds, roots, leaves, max_depth,
                sort (sequence, time, depth, correlation; with - before it the other way round), limit (1000), or
                these under filters.

        Raises:
            ComponentNotFoundError: Nobody records events.
            InvalidInputError: An option is wrong.
        """
        return await self._look("timeline", query)

    @script_method("get_root_causes")
    async def root_causes(self, query: Any = None) -> Sequence[dict[str, Any]]:
        """Return the past events that nothing recorded set off; as ``timeline``."""
        return await self._look("root_causes", query, only="roots")

    @script_method("get_leaf_effects")
    async def leaf_effects(self, query: Any = None) -> Sequence[dict[str, Any]]:
        """Return the past events that set off nothing; as ``timeline``."""
        return await self._look("leaf_effects", query, only="leaves")

    @script_method("by_correlation")
    async def get_events_by_correlation_id(self, correlation_id: str, query: Any = None) -> Sequence[dict[str, Any]]:
        """Return the past events of one correlation id; as ``timeline``."""
        return await self._look("get_events_by_correlation_id", query, correlation_ids=(correlation_id,))

    @script_method("causal_chain", "longest_causal_chain")
    async def longest_chain(self, query: Any = None) -> Sequence[dict[str, Any]]:
        """Return the longest chain of causes among what is asked for, the root first; as ``timeline``."""
        wanted = self._lookback.query("longest_chain", query)
        return await self._placed(await self._lookback.timeline("longest_chain").longest_chain(wanted))

    @script_method("get_timeline_stats")
    async def timeline_stats(self, query: Any = None) -> dict[str, Any]:
        """Return counts of the past events that are asked for, and of what was recorded; as ``timeline``."""
        wanted = self._lookback.query("timeline_stats", query)
        return counted(await self._lookback.timeline("timeline_stats").stats(wanted))

    async def _look(self, method: str, query: Any, **fields: Any) -> Sequence[dict[str, Any]]:
        wanted = self._lookback.query(method, query, **fields)
        return await self._placed(await self._lookback.timeline(method).entries(wanted))

    async def _placed(self, entries: Sequence[TimelineEntry]) -> Sequence[dict[str, Any]]:
        """Return the tables of past events, made in a thread, since they may be many."""
        language = self.scope.language
        for entry in entries:
            self._shown.note(entry.event)

        def tables() -> list[dict[str, Any]]:
            return [placed(entry, event_table(entry.event, language)) for entry in entries]

        return await trio.to_thread.run_sync(tables, abandon_on_cancel=True)

    def _fields(self, where: str, options: PublishOptions) -> dict[str, Any]:
        """Return what an event of the script carries."""
        if options.causation_id:
            self._shown.find(f"{where}: causation_id", options.causation_id)
        return options.fields(self._origin, self.scope.language)

    @property
    def _events(self) -> Events:
        return self.services.get(Events)

    async def _follow(self, request: SubscribeRequest) -> str:
        self._check_room("subscribe")
        followed = await follow(self.services, request, self._origin, self.scope.language)
        self._mine[followed.id] = followed
        return followed.id

    def _table(self, found: Subscription | Followed, event: Event) -> dict[str, Any]:
        table = self._shown.table(event)
        return {**table, "number": found.number} if isinstance(found, Followed) else table

    def _subscribe(self, request: SubscribeRequest) -> str:
        options = request.options
        if options.name:
            message = "Event.on: name: a subscription with a name is read with Event.receive; use Event.subscribe"
            raise InvalidInputError(message, field="name")
        self._check_room("subscribe")
        given: dict[str, Any] = {
            "capacity": options.capacity,
            "overflow": options.overflow,
            "where": options.filter.chosen(),
            "block_s": options.block_timeout_ms / 1000,
            "owner": f"script:{self.scope.script.name}",
            "language": options.language or self.scope.language,
        }
        if request.function is None:
            subscription = self._events.subscribe(request.patterns, **given)
            subscription.open()
        else:
            handler = Handler(request.function, self._shown)
            subscription = self._events.on(request.patterns, handler, **given)
            self._handlers[subscription.id] = handler
        self._mine[subscription.id] = subscription
        return subscription.id

    def _check_room(self, method: str) -> None:
        if method == "subscribe" and len(self._mine) >= _MOST:
            message = f"Event.subscribe: this script has {_MOST} subscriptions, which is the most; unsubscribe some"
            raise ResourceLimitError(message, resource="subscriptions", limit=_MOST)
        if sum(each.info.pending for each in self._mine.values()) >= _WAITING:
            message = f"Event.{method}: {_WAITING} events wait for this script, which is the most; receive some first"
            raise ResourceLimitError(message, resource="events_pending", limit=_WAITING)

    async def _drain(self) -> None:
        """Wait, for a while, until the script's handlers have had the events that wait for them."""
        with trio.move_on_after(_DRAIN_S):
            while any(self._handlers[id].running or self._mine[id].info.pending for id in self._handlers):  # noqa: ASYNC110 - events may expire too, which wakes nobody
                await trio.sleep(_LOOK_S)

    def _leave(self) -> None:
        for subscription in self._mine.values():
            subscription.close()
        self._mine.clear()

    def _find(self, method: str, subscription: Any) -> Subscription | Followed:
        found = self._mine.get(subscription) if isinstance(subscription, str) else None
        if found is None:
            message = (
                f"Event.{method}: No active subscription found: {subscription!r}; give what Event.subscribe answered"
            )
            raise InvalidInputError(message, field="subscription")
        return found


async def _next(found: Subscription | Followed) -> Event | None:
    """Return the next event that is there, if one is."""
    return await found.receive(0) if isinstance(found, Followed) else found.receive_nowait()
