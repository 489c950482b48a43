"""Requests: events whose publisher waits for an answer, which is an event, too. Durations in seconds.

Invariant: the answer is the first event of the request's topic with ``.response`` behind it that the request caused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from .event import Event

__all__ = ["EventRequests", "response_to"]


@runtime_checkable
class EventRequests(Protocol):
    """The requests that wait: a service of a plugin, which the bus asks.

    Attributes:
        open: Those that wait, by the id of their event.
    """

    open: Mapping[str, Any]

    async def ask(self, topic: str, data: Any, timeout_s: float, fields: Mapping[str, Any], heard: bool, /) -> Event:
        """Publish an event and return the answer to it; see `Events.request`.

        Args:
            topic: What is asked.
            data: With what.
            timeout_s: How long to wait.
            fields: The event's other fields.
            heard: Whether anybody is subscribed who may answer.

        Raises:
            NoResponseError: Nobody is, or nobody answered in time.
        """

    def see(self, event: Event, /) -> None:
        """Take in an event that an open request caused."""


def response_to(topic: str) -> str:
    """Return the topic of the answer to a request."""
    return f"{topic}.response"
