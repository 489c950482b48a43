"""Lines of a log: JSON for programs, or text for people. Sizes in bytes.

Invariant: a line is one line of at most `LineMaker`'s bytes, with a line feed at its end and no other; nothing in it
steers a terminal, whatever it tells of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from llmspell_hookspecs.spelling import escaped

from .record import Record, Rows, time_of

__all__ = ["LineMaker"]

_OVERHEAD: Final = 400
_LEAST: Final = 64
_FIRST: Final = ("time", "level", "point", "component", "status", "elapsed_ms")


class LineMaker:
    """Makes lines of records.

    Args:
        rows: Makes rows of them.
        form: For programs or for people.
        most_bytes: How long a line may be.
    """

    def __init__(self, rows: Rows, form: Literal["json", "console"], most_bytes: int) -> None:
        self._rows = rows
        self._form = _json_line if form == "json" else _console_line
        self._most_bytes = most_bytes

    def line(self, record: Record) -> bytes:
        """Return the line of a record; of content as much as there is room for."""
        room = self._most_bytes - _OVERHEAD
        while True:
            line = self._spelled(self._rows.row(record, room))
            if len(line) <= self._most_bytes:
                return line
            if not room:  # its names alone are too long
                return self._spelled(self._rows.least(record))
            room = room // 2 if room > _LEAST else 0  # what is escaped takes more room than it has letters

    def line_of_loss(self, at_s: float, count: int) -> bytes:
        """Return the line that tells how many records are missing about there."""
        told = f"{count} records that belong here could not be written"
        return self._spelled({"time": time_of(at_s), "level": "warning", "point": "logging", "subject": told})

    def _spelled(self, row: Mapping[str, Any]) -> bytes:
        """Return the line of a row."""
        return self._form(row).encode(errors="backslashreplace") + b"\n"


def _json_line(row: Mapping[str, Any]) -> str:
    return escaped(msgspec.json.encode(row).decode())


def _console_line(row: Mapping[str, Any]) -> str:
    words = []
    if "time" in row:
        words.append(row["time"])
    if "level" in row:
        words.append(f"{row['level']:<7}")
    words += [_word(row[name]) for name in ("point", "component", "status") if name in row]
    if "elapsed_ms" in row:
        words.append(f"{row['elapsed_ms']} ms")
    words += [f"{name}={_word(value)}" for name, value in row.items() if name not in _FIRST]
    return escaped(" ".join(words))


def _word(value: Any) -> str:
    """Return a text as it is if it is one word, anything else as JSON."""
    if isinstance(value, str) and value.isprintable() and value and not set(value) & set(' "='):
        return value
    return msgspec.json.encode(value).decode()
