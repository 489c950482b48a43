"""An event as a record of the log: one JSON text, and back.

Its payload is what ``llmspell event tail --output json`` writes: the fields of the event, with ``process`` and ``pid``.

Invariant: whatever an event holds there is a record of it; secrets under a telling name are masked in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from llmspell_hookspecs import Event
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.event_log import RecordedEvent
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.values import freeze
from llmspell_plugins.services.hash_chain import ChainEntry

__all__ = ["encode_records", "read_record"]


class _Record(Struct, frozen=True):
    at_s: float
    event: msgspec.Raw


class _Payload(Event, frozen=True):
    process: str = ""
    pid: int = 0


def encode_records(
    events: Sequence[Event], at_s: float, process: tuple[str, int], most_bytes: int
) -> tuple[list[str], int]:
    """Return the records of events, and how many of them are without their data.

    Args:
        events: They.
        at_s: When they are recorded.
        process: What the process does, and its id.
        most_bytes: How large a payload may be.
    """
    records, short = [], 0
    for event in events:
        payload = _payload(event, event.data, process)
        if len(payload) > most_bytes:
            short += 1
            payload = _payload(event, f"<left out: {len(payload)} bytes>", process)
            if len(payload) > most_bytes:
                payload = _payload(Event(event.type, "<left out>", timestamp=event.timestamp), "<left out>", process)
        records.append(f'{{"at_s":{at_s!r},"event":{payload}}}')
    return records, short


def read_record(entry: ChainEntry) -> RecordedEvent | None:
    """Return the event of a record; None if it is no record."""
    try:
        record = msgspec.json.decode(entry.record, type=_Record)
        payload = msgspec.json.decode(record.event, type=_Payload)
    except msgspec.DecodeError:
        return None
    fields = structs.asdict(payload)
    process, pid = fields.pop("process"), fields.pop("pid")
    return RecordedEvent(entry.number, record.at_s, Event(**fields), process, pid)


def _payload(event: Event, data: Any, process: tuple[str, int]) -> str:
    try:
        data = hide(freeze(data))
    except Exception as error:  # what cannot be frozen cannot be looked through
        data = f"<left out: {type(error).__name__}>"
    return to_json({**structs.asdict(event), "data": data, "process": process[0], "pid": process[1]})
