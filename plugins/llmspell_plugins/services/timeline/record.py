"""The record: the last events, so many and so many bytes of them at most. Sizes in bytes, estimated.

Invariant: neither bound is ever exceeded, whatever is published: what is larger than one event may be is kept without
its data, and counted; no text under the name of a secret is shown. To take an event in costs a bounded time, since its
data is looked at no further than that size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import Event
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.values import freeze

__all__ = ["Record", "size_within"]

_EACH_BYTES: Final = 56
"""What a value costs beside its text."""
_EVENT_BYTES: Final = 400
"""What an event costs beside its texts and its data."""
_TEXT_CHARACTERS: Final = 4096
"""How long the texts of an event may be together, its data aside; what is longer is cut."""
_TAGS: Final = 64
_VERSION: Final = Event("").schema_version
_PLAIN: Final = frozenset({float, bool, type(None)})


class Record:
    """The last events.

    Args:
        events: How many at most.
        size_bytes: How large all of them together at most.
        event_bytes: How large the data of one at most.

    Attributes:
        recorded: How many were taken in.
        evicted: How many of those went again.
        without_data: How many were taken in without their data.
        size_bytes: How large those are that are here.
    """

    def __init__(self, events: int, size_bytes: int, event_bytes: int) -> None:
        self.recorded = self.evicted = self.without_data = self.size_bytes = 0
        self._kept: deque[tuple[Event, int]] = deque()
        self._most_events = events
        self._most_bytes = size_bytes
        self._event_bytes = event_bytes

    def add(self, event: Event) -> None:
        """Take an event in; the oldest go for it."""
        event, size_bytes = self._cut(event)
        self.recorded += 1
        self._kept.append((event, size_bytes))
        self.size_bytes += size_bytes
        while len(self._kept) > self._most_events or self.size_bytes > self._most_bytes:
            self.size_bytes -= self._kept.popleft()[1]
            self.evicted += 1

    def events(self) -> list[Event]:
        """Return what is here, the oldest first."""
        return [event for event, _ in self._kept]

    def _cut(self, event: Event) -> tuple[Event, int]:
        """Return an event as it is kept, and its size."""
        size_bytes = _EVENT_BYTES + len(event.type) + len(event.id) + len(event.source) + len(event.target)
        size_bytes += len(event.correlation_id) + len(event.causation_id) + len(event.language)
        if event.tags or event.schema_version != _VERSION:
            size_bytes += len(event.schema_version) + sum(map(len, event.tags))
        if size_bytes > _EVENT_BYTES + _TEXT_CHARACTERS or len(event.tags) > _TAGS:
            self.without_data += 1
            return _short(event), _EVENT_BYTES + _TEXT_CHARACTERS
        held_bytes = 0 if event.data is None else size_within(event.data, self._event_bytes)
        if held_bytes is None:
            self.without_data += 1
            return structs.replace(event, data=_outline(event.data)), size_bytes + _EVENT_BYTES
        hidden = hide(freeze(event.data)) if held_bytes else None
        if hidden is not event.data:
            event = structs.replace(event, data=hidden)
        return event, size_bytes + held_bytes


def size_within(value: Any, most: int) -> int | None:
    """Return about how many bytes a plain value holds; None if more than so many, or if it holds what is not plain."""
    size_bytes, waiting = _EACH_BYTES, [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is str or kind is bytes:
            size_bytes += len(item)
        elif kind is int:
            size_bytes += item.bit_length() // 8
        elif kind is dict or isinstance(item, Mapping):
            size_bytes += 2 * _EACH_BYTES * len(item)
            if size_bytes > most:
                return None
            waiting += item
            waiting += item.values()
        elif kind is list or kind is tuple:
            size_bytes += _EACH_BYTES * len(item)
            if size_bytes > most:
                return None
            waiting += item
        elif kind not in _PLAIN:
            return None
    return size_bytes if size_bytes <= most else None


def _short(event: Event) -> Event:
    """Return an event with nothing that may be long."""
    names = [name for name, value in structs.asdict(event).items() if type(value) is str]
    cut = {name: getattr(event, name)[: _TEXT_CHARACTERS // len(names)] for name in names}
    return structs.replace(event, **{**cut, "data": None, "tags": ()})


def _outline(data: Any) -> dict[str, Any]:
    """Return what is kept of data that is not: whose start or end it tells of, if it does."""
    kept: dict[str, Any] = {"left_out": f"{type(data).__name__:.80}"}
    if isinstance(data, Mapping):
        for name in ("operation_id", "parent_id"):
            value = data.get(name)
            if type(value) is str and len(value) <= 100:
                kept[name] = value
    return kept
