"""The service event_requests: events whose publisher waits for an answer. Durations in seconds."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

import trio
from msgspec import Struct

from llmspell_hookspecs import Event, Events, InvalidInputError, Services
from llmspell_hookspecs.errors import NoResponseError
from llmspell_hookspecs.requests import EventRequests, response_to

__all__ = ["OpenRequests"]


class _Request(Struct, eq=False):
    """One that waits for its answer."""

    topic: str
    seen: trio.Event
    response: Event | None = None


class OpenRequests:
    """Implements the contract's `EventRequests`."""

    name: ClassVar[str] = "event_requests"
    provides: ClassVar[type[Any]] = EventRequests

    def __init__(self, settings: object, services: Services) -> None:
        self.open: dict[str, _Request] = {}
        self._events = services.get(Events)
        self._prefix = f"{secrets.token_hex(4)}-r"

    async def ask(self, topic: str, data: Any, timeout_s: float, fields: Mapping[str, Any], heard: bool, /) -> Event:
        """Publish an event and return the answer to it; see the contract."""
        await trio.lowlevel.checkpoint()
        if not timeout_s >= 0:
            raise InvalidInputError(f"event {topic}: timeout_s must be 0 or more, not {timeout_s!r}", field="timeout_s")
        if not heard:
            message = f"event {topic}: nobody is subscribed to it, so nobody answers; subscribe who does before"
            raise NoResponseError(message, topic=topic, limit_s=timeout_s)
        id = f"{self._prefix}{secrets.token_hex(8)}"  # so that nobody answers who was not asked
        request = self.open[id] = _Request(response_to(topic), trio.Event())
        try:
            with trio.move_on_after(timeout_s):
                await self._events.publish(topic, data, **fields, id=id)
                await request.seen.wait()
        finally:
            del self.open[id]
        if request.response is None:
            message = f"event {topic}: nobody answered within {timeout_s:g} s; let a subscriber respond, or wait longer"
            raise NoResponseError(message, topic=topic, limit_s=timeout_s)
        return request.response

    def see(self, event: Event, /) -> None:
        """Take in an event that an open request caused."""
        request = self.open[event.causation_id]
        if request.response is None and event.type == request.topic:
            request.response = event
            request.seen.set()
