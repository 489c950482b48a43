"""Requests: events whose publisher waits for an answer, which is an event, too. Durations in seconds.

Invariant: the answer is the first event of the request's topic with ``.response`` behind it that the request caused.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import trio
from msgspec import Struct

from llmspell_hookspecs import Event, Events, InvalidInputError
from llmspell_hookspecs.errors import NoResponseError

from .mailbox import Mailbox

__all__ = ["Requests", "response_to"]


class _Request(Struct, eq=False):
    """One that waits for its answer."""

    topic: str
    seen: trio.Event
    response: Event | None = None


class Requests:
    """The requests of a bus that wait.

    Args:
        events: The bus.
        route: Returns where events of a topic go.
        prefix: What their ids begin with.

    Attributes:
        open: Those that wait, by the id of their event.
    """

    def __init__(self, events: Events, route: Callable[[str], Sequence[Mailbox]], prefix: str) -> None:
        self.open: dict[str, _Request] = {}
        self._events = events
        self._route = route
        self._prefix = prefix

    async def ask(self, topic: str, data: Any, timeout_s: float, fields: dict[str, Any]) -> Event:
        """Publish an event and return the answer to it; see the contract's `Events`."""
        await trio.lowlevel.checkpoint()
        if not timeout_s >= 0:
            raise InvalidInputError(f"event {topic}: timeout_s must be 0 or more, not {timeout_s!r}", field="timeout_s")
        if all(mailbox.options.as_published for mailbox in self._route(topic)):  # who records answers nothing
            message = f"event {topic}: nobody is subscribed to it, so nobody answers; subscribe who does before"
            raise NoResponseError(message, topic=topic, limit_s=timeout_s)
        id = f"{self._prefix}r{secrets.token_hex(8)}"  # so that nobody answers who was not asked
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

    def see(self, event: Event) -> None:
        """Take in an event that a request caused."""
        request = self.open[event.causation_id]
        if request.response is None and event.type == request.topic:
            request.response = event
            request.seen.set()


def response_to(topic: str) -> str:
    """Return the topic of the answer to a request."""
    return f"{topic}.response"
