"""Fields of an item by paths with dots: reading them, and writing them without touching the tables of others.

Invariant: a table that may be shared is copied before it is changed, so that what was given stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError

__all__ = ["MISSING", "find", "parse", "put", "take"]

MISSING: Final = object()
"""Stands for the value of a field that is not there."""
_DEEPEST: Final = 32


def parse(where: str, path: str) -> tuple[str, ...]:
    """Return the parts of a path.

    Raises:
        InvalidInputError: It is none.
    """
    parts = tuple(path.split(".")) if isinstance(path, str) else ()
    if not parts or not all(parts) or len(parts) > _DEEPEST:
        message = (
            f"{where}: {str(path)[:40]!r} names no field; write names with dots between them, such as address.city"
        )
        raise InvalidInputError(message, field="field")
    return parts


def find(item: Any, parts: Sequence[str]) -> Any:
    """Return a field's value, `MISSING` if it is not there."""
    for part in parts:
        if not isinstance(item, dict):
            return MISSING
        item = item.get(part, MISSING)
    return item


def put(item: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Give a field a value, making the tables on the way.

    Raises:
        ValueError: What is on the way is no table.
    """
    for part in parts[:-1]:
        below = item.get(part, MISSING)
        if below is MISSING:
            below = {}
        elif not isinstance(below, dict):
            raise ValueError(f"{'.'.join(parts)}: {part} is no table")
        item[part] = item = {**below}
    item[parts[-1]] = value


def take(item: dict[str, Any], parts: Sequence[str]) -> Any:
    """Take a field out and return its value, `MISSING` if it is not there."""
    if find(item, parts) is MISSING:
        return MISSING
    for part in parts[:-1]:
        item[part] = item = {**item[part]}
    return item.pop(parts[-1])
