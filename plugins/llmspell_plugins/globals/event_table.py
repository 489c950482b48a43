"""An event as scripts know it, and their functions that are called with one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from llmspell_hookspecs import Event
from llmspell_hookspecs.language import ScriptFunction
from llmspell_hookspecs.values import thaw

__all__ = ["Handler", "event_table"]

_SERIALIZATION: Final = "1.0"
"""The form of this table, as the original counts it."""


class Handler:
    """A function of the script that is called with events.

    Args:
        function: It.
        language: What it is written in.

    Attributes:
        running: Whether it is at work.
    """

    def __init__(self, function: ScriptFunction, language: str) -> None:
        self.running = False
        self._language = language
        self._function = function

    async def __call__(self, event: Event) -> None:
        """Call it, and wait until it is done."""
        self.running = True
        try:
            await self._function(event_table(event, self._language))
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
