"""Which events one wants of those that match a pattern: by source, target, cause, tags, language and urgency."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from .event import Event

__all__ = ["EventFilter"]


class EventFilter(Struct, frozen=True):
    """What an event must be; what is left out is not looked at.

    Attributes:
        source: A glob for who published it, such as ``script:*``.
        target: A glob for whom it is for.
        correlation_id: What it was set off by, with all else that was.
        tags: All of these it has.
        language: Where it comes from.
        priority: It is at least as urgent: its priority is this or smaller.
    """

    source: str = ""
    target: str = ""
    correlation_id: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    priority: int | None = None

    def accepts(self, event: Event) -> bool:
        """Return whether an event is all of that."""
        return (
            (not self.source or fnmatchcase(event.source, self.source))
            and (not self.target or fnmatchcase(event.target, self.target))
            and self.correlation_id in ("", event.correlation_id)
            and self.language in ("", event.language)
            and (self.priority is None or event.priority <= self.priority)
            and all(tag in event.tags for tag in self.tags)
        )
