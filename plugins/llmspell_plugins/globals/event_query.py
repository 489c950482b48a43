"""Finds events on record for a script, page by page, until as many are found as it asks for."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from llmspell_hookspecs.event_log import EventLog, EventSelection, RecordedEvent
from llmspell_hookspecs.selection import EventFilter

__all__ = ["find_recorded"]

_PAGE: Final = 1000


async def find_recorded(
    log: EventLog, selection: EventSelection, where: EventFilter | None, owner: str, limit: int
) -> list[RecordedEvent]:
    """Return the first events on record that are selected and that a filter accepts.

    Args:
        log: The log.
        selection: Which are selected.
        where: The filter; None for none.
        owner: Whose source they have, or that of a part of it; empty for anybody's.
        limit: How many at most.
    """
    found: list[RecordedEvent] = []
    while page := await log.read(structs.replace(selection, limit=_PAGE)):
        found += [
            each
            for each in page
            if (where is None or where.accepts(each.event))
            and (not owner or f"{each.event.source}/".startswith(f"{owner}/"))
        ]
        if len(found) >= limit:
            break
        selection = structs.replace(selection, after=page[-1].number)
    return found[:limit]
