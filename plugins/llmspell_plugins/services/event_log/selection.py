"""Which events on record are asked for, decided page by page."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import inf

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.event_log import EventSelection, RecordedEvent
from llmspell_hookspecs.trie import Topics
from llmspell_plugins.services.hash_chain import ChainEntry

from .record import read_record

__all__ = ["Chosen"]


class Chosen:
    """Chooses events until as many are found as are asked for.

    Args:
        selection: What is asked for.

    Raises:
        InvalidInputError: A pattern is wrong.
    """

    def __init__(self, selection: EventSelection) -> None:
        self._selection = selection
        self._left = inf if selection.limit is None else selection.limit
        self._topics: Topics[None] = Topics()
        self._topics.add(selection.patterns, None)

    def is_over(self, after: int) -> bool:
        """Return whether nothing behind this number is asked for any more."""
        until = self._selection.until
        return self._left <= 0 or (until is not None and after >= until)

    def of(self, entries: Sequence[ChainEntry]) -> list[RecordedEvent]:
        """Return those of these entries that are asked for."""
        found: list[RecordedEvent] = []
        for entry in entries:
            if self._left <= 0:
                break
            record = read_record(entry)
            if record is not None and self._accepts(record):
                self._left -= 1
                found.append(record)
        return found

    def _accepts(self, record: RecordedEvent) -> bool:
        chosen, event = self._selection, record.event
        return (
            (chosen.until is None or record.number <= chosen.until)
            and (chosen.since_s is None or record.recorded_s >= chosen.since_s)
            and (chosen.until_s is None or record.recorded_s <= chosen.until_s)
            and chosen.correlation_id in ("", event.correlation_id)
            and (not chosen.source or fnmatchcase(event.source, chosen.source))
            and self._matches(event.type)
        )

    def _matches(self, topic: str) -> bool:
        try:
            return bool(self._topics.route(topic))
        except InvalidInputError:  # a record that somebody changed
            return False
