"""Journals as text, one record on a line as JSON with all that it holds: for tests, and for whoever reviews them.

Invariant: a value that JSON has words for stands there as it is, and any other as MessagePack in base64; both come back
as they were. Times are left out, so that the same run gives the same text but for what came of it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from llmspell_hookspecs.errors import InvalidInputError, StorageError
from llmspell_hookspecs.journal import JournalReport

from .chunk import Head
from .content import Content, plain_of
from .reading import Volume
from .record import Written, WrittenAnswer, WrittenBody, WrittenDraws

__all__ = ["read_cassette", "write_cassette"]

_HEADER = {"llmspell_cassette": 1}


def write_cassette(volumes: Sequence[Volume]) -> str:
    """Return the records of journals as lines, in the order in which they began."""
    rows = [(record, volume) for volume in volumes for record in volume.records]
    rows.sort(key=lambda row: row[0].order)
    numbers = {record.id: number for number, (record, _) in enumerate(rows, 1)}
    lines = [_HEADER, *(_line(record, volume, numbers) for record, volume in rows)]
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)


def read_cassette(text: str, name: str) -> Volume:
    """Return a cassette as a journal.

    Raises:
        StorageError: It is none.
    """
    try:
        first, *lines = text.splitlines()
        header = msgspec.json.decode(first)
        if header != _HEADER:
            raise StorageError(f"cassette {name}: it has another format; record it anew")
        records = [_record(msgspec.json.decode(line)) for line in lines if line.strip()]
    except (ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise StorageError(f"cassette {name}: it cannot be read; restore it, or record it anew") from error
    return Volume(name, Head(), records, range(1, len(records) + 1), {}, JournalReport(name, len(records)))


def _line(record: Written, volume: Volume, numbers: dict[str, int]) -> dict[str, Any]:
    def content(held: Content | None) -> Any:
        return None if held is None else _plain(held, volume)

    return {
        "number": numbers[record.id],
        "within": numbers.get(record.within, 0),
        "kind": record.kind,
        "component": record.component,
        "language": record.language,
        "status": record.status,
        "code": record.code,
        "attempt": record.attempt,
        "hops": record.hops,
        "digest": record.digest,
        "request": content(record.request),
        "bodies": [
            {"digest": body.digest, "state": body.state, "value": content(body.content)} for body in record.bodies
        ],
        "left": content(record.left),
        "answers": [
            {
                "point": each.point,
                "hook": each.hook,
                "result": each.result,
                "value": content(each.content),
                "subject": content(each.subject),
            }
            for each in record.answers
        ],
        "asked": record.asked,
        "draws": [[each.stage, each.name, _plain_value(each.values)] for each in record.draws],
    }


def _plain(held: Content, volume: Volume) -> Any:
    if not held.is_whole:
        message = f"cassette: {volume.id} holds what cannot be served; keep values plain, and journal.content full"
        raise InvalidInputError(message, field="content")
    return _plain_value(plain_of(held, volume.blobs.get))


def _plain_value(value: Any) -> dict[str, Any]:
    packed = msgspec.msgpack.encode(value)
    try:
        if msgspec.msgpack.encode(msgspec.json.decode(msgspec.json.encode(value))) == packed:
            return {"json": value}
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        pass
    return {"msgpack": base64.b64encode(packed).decode()}


def _record(line: dict[str, Any]) -> Written:
    return Written(
        id=str(line["number"]),
        within=str(line["within"] or ""),
        order=line["number"],
        at_s=0.0,
        kind=line["kind"],
        component=line["component"],
        language=line["language"],
        status=line["status"],
        code=line["code"],
        attempt=line["attempt"],
        hops=line["hops"],
        elapsed_ns=0,
        digest=line["digest"],
        request=_content(line["request"]),
        bodies=tuple(_bodies(line["bodies"])),
        left=None if line["left"] is None else _content(line["left"]),
        answers=tuple(
            WrittenAnswer(
                each["point"],
                each["hook"],
                each["result"],
                _content(each["value"]),
                None if each["subject"] is None else _content(each["subject"]),
            )
            for each in line["answers"]
        ),
        asked=line.get("asked", ""),
        draws=tuple(
            WrittenDraws(stage, name, tuple(msgspec.msgpack.decode(_content(values).data)))
            for stage, name, values in line.get("draws", ())
        ),
    )


def _bodies(lines: Iterable[dict[str, Any]]) -> Iterable[WrittenBody]:
    return (WrittenBody(0, each["digest"], 0, each["state"], _content(each["value"])) for each in lines)


def _content(held: dict[str, Any]) -> Content:
    if "msgpack" in held:
        return Content("value", base64.b64decode(held["msgpack"], validate=True))
    return Content("value", msgspec.msgpack.encode(held["json"]))
