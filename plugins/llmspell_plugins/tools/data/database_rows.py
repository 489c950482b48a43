"""The rows of an answer, as plain values, no more of them than may be. Sizes in bytes.

Invariant: numbers that JSON has stay numbers, all else becomes a text as the database writes it; bytes become
``{"base64": ...}``, so that nobody takes them for a text.
"""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmspell_hookspecs.errors import ResourceLimitError

from .database_connection import TOOL, Limits

__all__ = ["Rows", "plain", "too_large"]


class Rows:
    """Rows as they come, as mappings by the columns' names.

    Args:
        columns: Name and type of each; of two with one name the second is called ``name_2``.
        limits: How many, and how large.

    Attributes:
        left_bytes: How much there is still room for.
        full: Whether there were more than may be.
    """

    def __init__(self, columns: Sequence[tuple[str, str]], limits: Limits) -> None:
        self._columns = list(zip(_unique([name for name, _ in columns]), [kind for _, kind in columns], strict=True))
        self._names = [name for name, _ in self._columns]
        self._limits = limits
        self._rows: list[dict[str, Any]] = []
        self.left_bytes = limits.size_bytes
        self.full = False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def add(self, values: Sequence[Any]) -> bool:
        """Keep a row, and return whether more may come.

        Raises:
            ResourceLimitError: Not even the first row has room.
        """
        if len(self._rows) >= self._limits.rows:
            self.full = True
            return False
        row = {name: plain(value) for name, value in zip(self._names, values, strict=True)}
        self.left_bytes -= sum(map(_size, row.values())) + sum(map(len, self._names))
        if self.left_bytes < 0 and not self._rows:
            raise too_large(self._limits)
        self.full = self.left_bytes < 0
        if not self.full:
            self._rows.append(row)
        return not self.full

    def told(self) -> dict[str, Any]:
        """Return them as the tool answers."""
        columns = [{"name": name, "type": kind} for name, kind in self._columns]
        return {"columns": columns, "rows": self._rows, "row_count": len(self._rows), "truncated": self.full}


def too_large(limits: Limits) -> ResourceLimitError:
    """Return the error of what has no room."""
    message = f"{TOOL}: query: a row holds more than {limits.size_bytes} bytes; select less of it"
    return ResourceLimitError(message, resource="output_bytes", limit=limits.size_bytes)


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return {"base64": base64.b64encode(value).decode("ascii")}
        case datetime.datetime():
            return value.isoformat(" ")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    return str(value)


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case dict():
            return sum(len(key) + _size(item) for key, item in value.items())
        case list():
            return 8 + sum(map(_size, value))
    return 8


def _unique(names: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        chosen, number = name, 1
        while chosen in found:
            number += 1
            chosen = f"{name}_{number}"
        found[chosen] = None
    return list(found)
