"""Causes: which of a row of events came of which, worked out once for all of them.

Invariant: what is answered is a forest, also for rows that were made up: each event has one cause at most, and a ring
of causes is cut before its first event and told. It takes one look at each event, without recursion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs import Event

__all__ = ["Causes", "operation_of"]

_START: Final = "started"
_ENDS: Final = ("completed", "failed", "cancelled")


def operation_of(event: Event) -> tuple[str, str] | None:
    """Return the operation whose start or end an event tells of, and the one around that; None for other events."""
    data: Any = event.data
    if not isinstance(data, Mapping) or _moment(event) not in (_START, *_ENDS):
        return None
    operation, parent = data.get("operation_id"), data.get("parent_id", "")
    if not isinstance(operation, str) or not operation or operation != event.causation_id:
        return None  # somebody's own event about an operation
    return operation, parent if isinstance(parent, str) else ""


def _moment(event: Event) -> str:
    return event.type.rpartition(".")[2]


class Causes:
    """The causes of a row of events, by their places in it.

    Attributes:
        events: The row.
        causes: For each its cause; None for none.
        unrecorded: For each the id of a cause that is not in the row; empty if it is, or if there is none.
        effects: For each those that came of it, in their order.
        depths: For each how many causes it has.
        roots: For each the first of its causes, itself if it has none.
        order: All, each behind its cause; else as they stand.
        operations: For each the operation whose start or end it tells of, or an empty text.
        starts: What stands for each operation: its start; where that is not here, the first that tells of it.
        ends: For each start of an operation its end, where there is one.
        rings: Events that claimed each other as their cause.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        told = [operation_of(event) for event in events]
        self.operations = [each[0] if each else "" for each in told]
        self.ends: dict[int, int] = {}
        self.unrecorded = [""] * len(events)
        self.starts = self._starts()
        ids: dict[str, int] = {}
        for place, event in enumerate(events):
            ids.setdefault(event.id, place)
        self.causes: list[int | None] = [self._cause(place, told[place], ids) for place in range(len(events))]
        self.rings = self._cut()
        self._climb()

    def _starts(self) -> dict[str, int]:
        starts: dict[str, int] = {}
        for place, operation in enumerate(self.operations):
            if operation and _moment(self.events[place]) == _START:
                starts.setdefault(operation, place)
        for place, operation in enumerate(self.operations):
            if operation and starts.setdefault(operation, place) != place and _moment(self.events[place]) != _START:
                self.ends[starts[operation]] = place  # the last is the host's: a script may forge one only before it
        return starts

    def _cause(self, place: int, told: tuple[str, str] | None, ids: Mapping[str, int]) -> int | None:
        named = self.events[place].causation_id
        if told is not None:
            operation, parent = told
            if self.starts[operation] != place:
                return self.starts[operation]
            named = parent
        if not named:
            return None
        found = self.starts.get(named, ids.get(named))
        if found is None or found == place:
            self.unrecorded[place] = "" if found == place else named
            return None
        return found

    def _cut(self) -> list[list[int]]:
        """Take out one cause of each ring; return the rings, each from its first event on along the effects."""
        rings: list[list[int]] = []
        seen = [0] * len(self.causes)  # in which walk, from 1
        for place in range(len(self.causes)):
            walk, here = place + 1, place
            while not seen[here]:
                seen[here] = walk
                above = self.causes[here]
                if above is None:
                    break
                if seen[above] == walk:
                    rings.append(self._open(above))
                    break
                here = above
        return rings

    def _open(self, within: int) -> list[int]:
        ring, above = [within], self.causes[within]
        while above is not None and above != within:
            ring.append(above)
            above = self.causes[above]
        first = ring.index(min(ring))
        self.causes[ring[first]] = None
        return [
            ring[(first - step) % len(ring)] for step in range(len(ring))
        ]  # it was gone through against the effects

    def _climb(self) -> None:
        """Go from the roots to the leaves."""
        self.effects: list[list[int]] = [[] for _ in self.causes]
        for place, cause in enumerate(self.causes):
            if cause is not None:
                self.effects[cause].append(place)
        self.depths, self.roots = [0] * len(self.causes), list(range(len(self.causes)))
        self.order = [place for place, cause in enumerate(self.causes) if cause is None]
        for place in self.order:  # which grows meanwhile
            for effect in self.effects[place]:
                self.depths[effect] = self.depths[place] + 1
                self.roots[effect] = self.roots[place]
                self.order.append(effect)
