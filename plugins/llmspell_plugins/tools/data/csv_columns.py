"""What stands in the columns of a table: their types, typed values, and statistics.

Types are integer (up to 18 digits), float, boolean (true, false), date, datetime (both as in ISO 8601), string, and
empty where no cell holds anything. Invariant: a column has the one type that all its cells fit; a number with leading
zeros is a string, for it is a code.
"""

from __future__ import annotations

import datetime
import heapq
import math
import re
from array import array
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from .csv_table import Table

__all__ = ["described", "number", "typed", "types"]

_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SAMPLES = 5
_RUN = 20_000
_NUMERIC = ("integer", "float")
_NO_STATISTICS: dict[str, float | None] = {"mean": None, "median": None, "std_dev": None}

V = TypeVar("V", str, float)


def _integer(cell: str) -> int | None:
    return int(cell) if _INTEGER.fullmatch(cell) else None


def number(cell: str) -> float | None:
    """Return the finite number that a cell holds, or None."""
    cell = cell.strip()
    if not _FLOAT.fullmatch(cell):
        return None
    value = float(cell)
    return value if math.isfinite(value) else None


def _boolean(cell: str) -> bool | None:
    return {"true": True, "false": False}.get(cell.lower())


def _date(cell: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(cell) if _DATE.fullmatch(cell) else None
    except ValueError:
        return None


def _datetime(cell: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(cell) if len(cell) > 10 and _DATE.match(cell) else None
    except ValueError:
        return None


_READERS: dict[str, Callable[[str], Any]] = {
    "integer": _integer,
    "float": number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "string": lambda cell: cell,
    "empty": lambda _: None,
}


def typed(cell: str, data_type: str, table: Table) -> Any:
    """Return a cell's value, None if it counts as empty; a string stays as it stands."""
    if table.is_null(cell):
        return None
    return cell if data_type == "string" else _READERS[data_type](cell.strip())


def types(table: Table) -> list[str]:
    """Return each column's type."""
    columns = [_Type() for _ in table.names]
    for row in table.rows():
        for column, cell in zip(columns, row, strict=True):
            if not table.is_null(cell):
                column.see(cell)
    return [column.name for column in columns]


def described(table: Table, indices: Sequence[int]) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows there are, and what stands in each of these columns.

    The median and the sample standard deviation (of two numbers or more) are exact, from all of a column's numbers.
    """
    columns = [_Column() for _ in indices]
    count = 0
    for row in table.rows():
        count += 1
        for column, index in zip(columns, indices, strict=True):
            cell = row[index]
            if not table.is_null(cell):
                column.see(cell)
    columns.reverse()
    # Each column is freed once it is described: to free millions of cells at once would hold all other threads.
    return count, [columns.pop().described(table.names[index], count) for index in indices]


class _Type:
    """A type that is narrowed down cell by cell."""

    def __init__(self) -> None:
        self._possible: list[str] | None = None

    @property
    def name(self) -> str:
        return "empty" if self._possible is None else self._possible[0]

    def see(self, cell: str) -> None:
        if self._possible == ["string"]:
            return
        stripped = cell.strip()
        possible = ["integer", "float", "boolean", "date", "datetime", "string"]
        self._possible = [name for name in self._possible or possible if _READERS[name](stripped) is not None]


class _Column:
    """What is gathered of a column in one reading."""

    def __init__(self) -> None:
        self._type = _Type()
        self._count = 0
        self._unique: set[str] = set()
        self._samples: list[str] = []
        self._numbers = array("d")
        self._words: _Range[str] = _Range()
        self._range: _Range[float] = _Range()

    def see(self, cell: str) -> None:
        self._type.see(cell)
        self._words.see(cell)
        if self._type.name in _NUMERIC:
            value = _READERS[self._type.name](cell.strip())
            self._range.see(value)
            self._numbers.append(value)
        self._count += 1
        if cell not in self._unique:
            self._unique.add(cell)
            if len(self._samples) < _SAMPLES:
                self._samples.append(cell)

    def described(self, name: str, rows: int) -> dict[str, Any]:
        numeric = self._type.name in _NUMERIC
        span: _Range[Any] = self._range if numeric else self._words
        return {
            "name": name,
            "data_type": self._type.name,
            "null_count": rows - self._count,
            "unique_count": len(self._unique),
            "min_value": span.least,
            "max_value": span.greatest,
            **(_statistics(self._numbers, self._range) if numeric else _NO_STATISTICS),
            "sample_values": self._samples,
        }


class _Range(Generic[V]):
    """The least and the greatest of what was seen, None if nothing was."""

    def __init__(self) -> None:
        self.least: V | None = None
        self.greatest: V | None = None

    def see(self, value: V) -> None:
        if self.least is None or value < self.least:
            self.least = value
        if self.greatest is None or value > self.greatest:
            self.greatest = value


def _statistics(numbers: array[float], span: _Range[float]) -> dict[str, float | None]:
    """Return mean, median and deviation; scaled down meanwhile, so that the squares of large numbers stay finite."""
    count = len(numbers)
    scale = max(1.0, abs(span.least or 0), abs(span.greatest or 0))
    mean = math.fsum(value / scale for value in numbers) / count
    squares = math.fsum((value / scale - mean) ** 2 for value in numbers)
    deviation = _finite(math.sqrt(squares / (count - 1)) * scale) if count > 1 else None
    return {"mean": _finite(mean * scale), "median": _median(numbers), "std_dev": deviation}


def _median(numbers: array[float]) -> float:
    """Return the middle; sorts runs and merges them, for sorting at once would hold all other threads."""
    runs = [sorted(numbers[start : start + _RUN]) for start in range(0, len(numbers), _RUN)]
    middle = list(islice(heapq.merge(*runs), (len(numbers) - 1) // 2, len(numbers) // 2 + 1))
    return middle[0] / 2 + middle[-1] / 2 if len(middle) == 2 else middle[0]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
