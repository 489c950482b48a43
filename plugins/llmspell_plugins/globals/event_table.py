"""Events as one script knows them: as tables, and given to its functions.

Invariant: whatever a script may call a cause of its own events, or answer, was shown to it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, Final

from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.language import ScriptFunction
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.services import ProjectFolder
from llmspell_hookspecs.values import thaw

__all__ = ["Handler", "Shown", "event_table", "origin_of"]

_SERIALIZATION: Final = "1.0"
"""The form of this table, as the original counts it."""


_REMEMBERED: Final = 10_000
"""So many of the events that a script was shown it may still answer."""


class Shown:
    """The events that a script was shown.

    Args:
        language: What it is written in.
    """

    def __init__(self, language: str) -> None:
        self._language = language
        self._known: OrderedDict[str, Event] = OrderedDict()

    def table(self, event: Event) -> dict[str, Any]:
        """Return the table of an event, which the script is about to see."""
        self.note(event)
        return event_table(event, self._language)

    def note(self, event: Event) -> None:
        """Remember an event that the script is about to see."""
        self._known[event.id] = Event(event.type, id=event.id, correlation_id=event.correlation_id, source=event.source)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def find(self, where: str, id: Any) -> Event:
        """Return what is known of an event that the script names: all but its data.

        Raises:
            InvalidInputError: It was shown no such event; an id that is told or guessed makes nobody part of a cause.
        """
        known = self._known.get(id) if isinstance(id, str) else None
        if known is None:
            message = f"{where}: this script has received no event {id!r:.60}; give one of the last {_REMEMBERED:,}"
            raise InvalidInputError(message, field="causation_id")
        return known


class Handler:
    """A function of the script that is called with events.

    Args:
        function: It.
        shown: What the script was shown.

    Attributes:
        running: Whether it is at work.
    """

    def __init__(self, function: ScriptFunction, shown: Shown) -> None:
        self.running = False
        self._shown = shown
        self._function = function

    async def __call__(self, event: Event) -> None:
        """Call it, and wait until it is done."""
        self.running = True
        try:
            await self._function(self._shown.table(event))
        finally:
            self.running = False


def event_table(event: Event, language: str) -> dict[str, Any]:
    """Return the event as scripts know it, under the original's names and ours.

    Args:
        event: The event.
        language: That of the script that it is given to.
    """
    data = thaw(event.data)
    metadata = {
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "source": event.source,
        "target": event.target,
        "tags": list(event.tags),
        "priority": event.priority,
        "ttl": event.ttl_s,
    }
    return {
        "id": event.id,
        "event_type": event.type,
        "type": event.type,
        "topic": event.type,
        "data": data,
        "payload": data,
        "language": event.language,
        "timestamp": datetime.fromtimestamp(event.timestamp, UTC).isoformat(),
        "sequence": event.sequence,
        "replayed": event.replayed,
        "schema_version": event.schema_version,
        "serialization_version": _SERIALIZATION,
        "target_language": language,
        "metadata": metadata,
        **metadata,
    }


def origin_of(script: ScriptRun, folder: ProjectFolder) -> str:
    """Return what a script's events come from: its file within the project however it was named, else its whole path.

    A text without a file is what its caller calls it.
    """
    if not script.path:
        return f"script:{script.name}"
    project = os.path.join(os.path.realpath(folder.place(".")), "")
    return f"script:{script.path.removeprefix(project)}"
