"""Selection: what a query asks for of a row of events, with where each stands among its causes.

Invariant: causes, depths and roots are those within the whole row, whatever is asked for; what lies before the query's
``after`` is not in it. Pure, and as long as the row: called in a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from llmspell_hookspecs import Event
from llmspell_hookspecs.timeline import TimelineEntry, TimelineQuery, TimelineStats
from llmspell_hookspecs.trie import Topics

from .causes import Causes

__all__ = ["Selection"]


class Selection:
    """What is asked for.

    Args:
        events: The row, as it was published.
        query: Asks.

    Attributes:
        causes: Those of the row.
        places: What is asked for, in the order that is asked for.

    Raises:
        InvalidInputError: A pattern is wrong.
    """

    def __init__(self, events: Sequence[Event], query: TimelineQuery) -> None:
        topics: Topics[None] = Topics()
        if query.patterns:
            topics.add(query.patterns, None)
        row = [event for event in events if _counts(event, query)] if query.after else events
        self.causes = Causes(row)
        found = [place for place in range(len(row)) if self._fits(place, query, topics)]
        found.sort(key=self._key(query.sort), reverse=query.descending)
        self.places = found[: query.limit]
        self._all = sorted(found)

    @property
    def entries(self) -> list[TimelineEntry]:
        """What is asked for."""
        return [self.entry(place) for place in self.places]

    @property
    def nearest(self) -> dict[int, int | None]:
        """For all that fits, whatever the limit, the nearest of its causes that fits too; causes come first."""
        fitting, above = set(self._all), dict[int, int | None]()
        chosen: dict[int, int | None] = {}
        for place in self.causes.order:
            cause = self.causes.causes[place]
            above[place] = None if cause is None else cause if cause in fitting else above[cause]
            if place in fitting:
                chosen[place] = above[place]
        return chosen

    @property
    def longest_chain(self) -> list[TimelineEntry]:
        """The longest chain of what fits, the root first; of several the one that ends first."""
        nearest = self.nearest
        lengths: dict[int, int] = {}
        for place, cause in nearest.items():
            lengths[place] = 1 if cause is None else lengths[cause] + 1
        here = min(lengths, key=lambda place: (-lengths[place], place), default=None)
        chain: list[int] = []
        while here is not None:
            chain.append(here)
            here = nearest[here]
        return [self.entry(place) for place in reversed(chain)]

    def stats(self, **record: Any) -> TimelineStats:
        """Return counts of what fits; ``record`` are further fields of the answer."""
        causes, events = self.causes, [self.causes.events[place] for place in self._all]
        times = [event.timestamp for event in events]
        duration_s = max(times) - min(times) if times else 0.0
        return TimelineStats(
            events=len(events),
            roots=sum(causes.causes[place] is None for place in self._all),
            leaves=sum(not causes.effects[place] for place in self._all),
            correlations=len({event.correlation_id for event in events}),
            longest_chain=len(self.longest_chain),
            duration_ms=duration_s * 1000,
            events_per_s=len(events) / duration_s if duration_s else 0.0,
            concurrent_groups=self._concurrent_groups(),
            unrecorded=sum(bool(causes.unrecorded[place]) for place in self._all),
            cycles=tuple(tuple(causes.events[place].id for place in ring) for ring in causes.rings),
            **record,
        )

    def _concurrent_groups(self) -> int:
        """Count the rows of operations of one cause in which each began before all those before it had ended."""
        causes, groups = self.causes, 0
        fitting = {place for place in self._all if causes.starts.get(causes.operations[place]) == place}
        roots = [place for place in causes.order if causes.causes[place] is None]
        for effects in (roots, *causes.effects):
            until, counted = -1, False
            for place in effects:
                if place in fitting:
                    beside = place < until
                    groups += beside and not counted
                    counted = beside
                    until = max(until, causes.ends.get(place, len(causes.events)))
        return groups

    def _fits(self, place: int, query: TimelineQuery, topics: Topics[None]) -> bool:
        event, causes = self.causes.events[place], self.causes
        return (
            (not query.correlation_ids or event.correlation_id in query.correlation_ids)
            and (not query.patterns or bool(topics.route(event.type)))
            and (not query.components or any(_is_of(event, each) for each in query.components))
            and (query.since_s is None or event.timestamp >= query.since_s)
            and (query.until_s is None or event.timestamp <= query.until_s)
            and (not query.languages or event.language in query.languages)
            and set(query.tags).issubset(event.tags)
            and (query.only != "roots" or causes.causes[place] is None)
            and (query.only != "leaves" or not causes.effects[place])
            and (query.depth is None or causes.depths[place] <= query.depth)
        )

    def _key(self, sort: str) -> Callable[[int], Any]:
        events, depths = self.causes.events, self.causes.depths
        keys: dict[str, Callable[[int], Any]] = {
            "sequence": lambda place: place,
            "time": lambda place: (events[place].timestamp, place),
            "depth": lambda place: (depths[place], place),
            "correlation": lambda place: (events[place].correlation_id, place),
        }
        return keys[sort]

    def entry(self, place: int) -> TimelineEntry:
        """Return the event of a place, and where it stands."""
        causes, event = self.causes, self.causes.events[place]
        cause, root = causes.causes[place], causes.events[causes.roots[place]]
        return TimelineEntry(
            event=event,
            position=place,
            cause="" if cause is None else causes.events[cause].id,
            unrecorded=causes.unrecorded[place],
            effects=tuple(causes.events[effect].id for effect in causes.effects[place]),
            root=root.id,
            depth=causes.depths[place],
            elapsed_ms=(event.timestamp - root.timestamp) * 1000,
            operation=causes.operations[place],
        )


def _counts(event: Event, query: TimelineQuery) -> bool:
    return event.sequence > query.after or (query.besides != "" and event.correlation_id == query.besides)


def _is_of(event: Event, pattern: str) -> bool:
    return fnmatchcase(event.source, pattern) or fnmatchcase(event.target, pattern)
