"""What differs between two JSON values, and the JSON patch (RFC 6902) that leads from one to the other.

Invariant: places are JSON pointers (RFC 6901); the patch, applied to the first value, gives the second. True is not 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

__all__ = ["JsonDifference", "json_difference"]


class JsonDifference(Struct):
    """What differs.

    Attributes:
        added: The values that are new, by their places.
        removed: Those that are gone.
        modified: Those that changed, as ``{old, new}``.
        unchanged: The places of what is neither a table nor a list and stayed.
        patch: The operations of the JSON patch.
    """

    added: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    modified: dict[str, Any] = {}
    unchanged: list[str] = []
    patch: list[dict[str, Any]] = []


def json_difference(old: Any, new: Any) -> JsonDifference:
    """Return what differs between two values."""
    found = JsonDifference({}, {}, {}, [], [])
    _compare(old, new, "", found)
    return found


def _compare(old: Any, new: Any, place: str, found: JsonDifference) -> None:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        _compare_tables(old, new, place, found)
    elif _is_list(old) and _is_list(new):
        _compare_lists(old, new, place, found)
    elif _same(old, new):
        found.unchanged.append(place)
    else:
        found.modified[place] = {"old": old, "new": new}
        found.patch.append({"op": "replace", "path": place, "value": new})


def _compare_tables(old: Mapping[str, Any], new: Mapping[str, Any], place: str, found: JsonDifference) -> None:
    for key in old:
        where = f"{place}/{_escaped(key)}"
        if key in new:
            _compare(old[key], new[key], where, found)
        else:
            found.removed[where] = old[key]
            found.patch.append({"op": "remove", "path": where})
    for key in new:
        if key not in old:
            where = f"{place}/{_escaped(key)}"
            found.added[where] = new[key]
            found.patch.append({"op": "add", "path": where, "value": new[key]})


def _compare_lists(old: Sequence[Any], new: Sequence[Any], place: str, found: JsonDifference) -> None:
    """Item by item, and what is beyond the shorter one was added or removed at the end."""
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        _compare(before, after, f"{place}/{index}", found)
    for index in range(len(old), len(new)):
        found.added[f"{place}/{index}"] = new[index]
        found.patch.append({"op": "add", "path": f"{place}/-", "value": new[index]})
    for index in reversed(range(len(new), len(old))):
        found.removed[f"{place}/{index}"] = old[index]
        found.patch.append({"op": "remove", "path": f"{place}/{index}"})


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return bool(old == new)


def _escaped(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
