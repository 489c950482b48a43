"""A script's subscription with a name: it follows the event log, and goes on where it was after a restart.

Invariant: a script follows under names of its own file, and sees what `Event.query` would show it.
"""

from __future__ import annotations

from typing import Any

from llmspell_hookspecs import Event, InvalidInputError, Services
from llmspell_hookspecs.event import SubscriptionInfo
from llmspell_hookspecs.event_log import EventFollower, EventLog
from llmspell_hookspecs.services import SettingsAccess

from .event_options import SubscribeRequest

__all__ = ["Followed", "follow", "follower_name", "owner_of"]


class Followed:
    """A follower of the log, with the face of a subscription.

    Args:
        follower: It.
        request: What the script asked for.
        owner: The script.
        language: Where.

    Attributes:
        number: That of the event that it gave last.
    """

    def __init__(self, follower: EventFollower, request: SubscribeRequest, owner: str, language: str) -> None:
        self.id = f"log-{follower.name}"
        self.number = 0
        self._follower = follower
        self._request = request
        self._owner = owner
        self._language = language
        self._delivered = 0

    @property
    def info(self) -> SubscriptionInfo:
        """What is known of it; nothing waits in a mailbox."""
        count = self._delivered
        language = self._request.options.language or self._language
        zero = (0,) * 7
        return SubscriptionInfo(self.id, self._request.patterns, self._owner, language, 0, "log", count, count, *zero)

    def close(self) -> None:
        """Follow no more; the position stays."""

    async def receive(self, timeout_s: float | None = None, /) -> Event | None:
        """Return the next event, or None if none came within the time."""
        found = await self._follower.receive(timeout_s)
        if found is None:
            return None
        self._delivered += 1
        self.number = found.number
        return found.event

    async def acknowledge(self, event: Any) -> int:
        """Have an event, and all before it, done with; return the position."""
        number = event.get("number") if hasattr(event, "get") else event
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            raise InvalidInputError(
                "Event.acknowledge: the event is missing; give the one that was received", field="event"
            )
        await self._follower.acknowledge(number)
        return self._follower.acknowledged


def owner_of(services: Services, origin: str) -> str:
    """Return whose events a script reads of the log: its own, or anybody's if that is empty."""
    tables = services.get(SettingsAccess).plain("plugins") or {}
    return "" if tables.get("event_log", {}).get("scripts") == "all" else origin


def follower_name(origin: str, name: str) -> str:
    """Return the name in the log of a script's subscription."""
    return f"{origin}/{name}"


async def follow(services: Services, request: SubscribeRequest, origin: str, language: str) -> Followed:
    """Return a script's subscription with a name.

    Raises:
        InvalidInputError: Events are not recorded here, there is a handler, or the name is wrong.
    """
    options = request.options
    if request.function is not None:
        message = "Event.subscribe: name: a subscription with a name is read with Event.receive; give no handler"
        raise InvalidInputError(message, field="handler")
    log = await services.enter(EventLog)
    if not (await log.stats()).recording:
        message = "Event.subscribe: name: events are not recorded here; set plugins.event_log.enabled = true"
        raise InvalidInputError(message, field="name")
    owner, where = owner_of(services, origin), options.filter.chosen()

    def accepts(event: Event) -> bool:
        is_own = not owner or f"{event.source}/".startswith(f"{owner}/")
        return is_own and (where is None or where.accepts(event))

    name = follower_name(origin, options.name)
    follower = await log.follow(name, request.patterns, after=options.after, accepts=accepts)
    return Followed(follower, request, origin, language)
