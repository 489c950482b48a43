"""How deep and how broad a value may be that crosses between a caller, hooks and a body.

Invariant: whatever is let pass can be walked by anybody, recursively and uncounted. What is shared counts at each
place where it is held, since whoever writes it down does so at each.
"""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from itertools import chain
from types import MappingProxyType, ModuleType
from typing import Any, Final

from msgspec import Struct, structs

from .errors import InvalidInputError

__all__ = [
    "ATOMS",
    "DEEPEST",
    "FEW",
    "LARGEST",
    "TooManyItemsError",
    "check_bounds",
    "has_many",
    "measure",
    "size_of",
    "take",
    "too_deep",
    "too_large",
]

DEEPEST: Final = 200
"""How deeply a value may be nested."""
LARGEST: Final = 1_000_000
"""How many items a value may hold in all, what is held in several places counted at each of them."""

FEW: Final = 2_000
"""How many items are walked at once, on the loop; what holds more is walked beside it."""

_SHALLOW: Final = 12
"""How deep most values are at most."""

ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""What has no parts, and nobody changes."""
_EACH_BYTES: Final = 56
"""What a value costs beside its text."""
_ROWS: Final = frozenset({list, tuple})
_SEQUENCES: Final = (list, tuple, set, frozenset, deque, UserList)
_HOLDERS: Final = _ROWS | {dict, MappingProxyType}


class TooManyItemsError(Exception):
    """A value holds more items than may be walked here; walk it in a thread."""


def take(room: list[int], items: int) -> None:
    """Take this many items from the room that there is for a whole value."""
    room[0] -= items
    if room[0] < 0:
        raise too_large()


def check_bounds(value: Any) -> None:
    """Check that a value, frozen or not, can be walked: for whoever does so without freezing it.

    Raises:
        InvalidInputError: It is nested more than `DEEPEST` deep, holds itself, or holds more than `LARGEST` items.
    """
    if type(value) not in ATOMS:
        measure(value, DEEPEST, [LARGEST])


def has_many(value: Any) -> bool:
    """Whether a value holds more than `FEW` items, or is so deep that it has to be found out beside the loop."""
    count = 0
    for part in structs.astuple(value) if isinstance(value, Struct) else (value,):  # flat, as most values are
        kind = type(part)
        if kind in ATOMS:
            continue
        count += len(part) if kind in _HOLDERS else FEW
        if count >= FEW or not ATOMS.issuperset(map(type, part if kind in _ROWS else part.values())):
            break
    else:
        return False
    if _is_small(value, _SHALLOW, [FEW]):
        return False
    try:
        measure(value, DEEPEST, [FEW])
    except InvalidInputError:
        return True
    return False


def _is_small(value: Any, depth: int, room: list[int]) -> bool:
    """Whether a value is shallow and takes no more than the room: a fifth of what it costs to `measure` it.

    What is shared is looked at wherever it is held, which the room bounds.
    """
    parts = _parts(value)
    if not parts:
        return True
    room[0] -= len(parts)
    if room[0] < 0 or not depth:
        return False
    for part in parts:  # noqa: SIM110 - a generator's frame for each level costs as much again
        if type(part) not in ATOMS and not _is_small(part, depth - 1, room):
            return False
    return True


def measure(value: Any, depth: int, room: list[int]) -> None:
    """Check a value that may have so many levels, and take its items from the room that there is; see `_freeze`.

    What is held in several places is looked at once, and counted at each of them.
    """
    if type(value) is dict and depth and ATOMS.issuperset(map(type, value.values())):
        take(room, len(value))
        return
    known: dict[int, _Size] = {}
    path = [_Size(value, iter((value,)))]
    walked = 0
    while path and walked <= room[0]:
        here = path[-1]
        for item in here.rest:
            if type(item) in ATOMS:
                continue
            size = known.get(id(item))
            if size is None:
                parts = _parts(item)
                if parts is None:
                    continue
                walked += len(parts)
                if walked > room[0]:
                    break
                if ATOMS.issuperset(map(type, parts)):  # the most there are: none is kept, so nothing is collected
                    if len(path) > depth:
                        raise too_deep()
                    here.items += len(parts)
                    here.levels = max(here.levels, 2)
                    continue
                size = known[id(item)] = _Size(item, iter(parts), len(parts))
                path.append(size)
                if len(path) > depth + 1:
                    raise too_deep()
                break
            if not size.done or len(path) + size.levels > depth + 1:
                raise too_deep()
            here.add(size)
        else:
            path.pop().done = True
            if path:
                path[-1].add(here)
        if here.items > room[0]:
            break
    take(room, max(walked, here.items))


class _Size:
    """How much is in a part of a value, as far as it was looked at.

    Attributes:
        value: The part; kept, so that no other comes to have its id.
        rest: What is in it and still to be looked at.
        items: How many items are in it.
        levels: How many levels it has, its own among them.
        done: Whether all of it was looked at.
    """

    __slots__ = ("done", "items", "levels", "rest", "value")

    def __init__(self, value: Any, rest: Iterator[Any], items: int = 0) -> None:
        self.value = value
        self.rest = rest
        self.items = items
        self.levels = 1
        self.done = False

    def add(self, inner: _Size) -> None:
        """Count what is in a part of it."""
        self.items += inner.items
        self.levels = max(self.levels, inner.levels + 1)


def _parts(value: Any) -> Collection[Any] | None:
    """Return what a value consists of; None for what has no parts."""
    kind = type(value)
    if kind in _ROWS:
        return value  # type: ignore[no-any-return]
    if kind is dict or kind is MappingProxyType:
        return value.values()  # type: ignore[no-any-return]
    if isinstance(value, Struct):
        return structs.astuple(value)
    if isinstance(value, _SEQUENCES):
        return value
    if isinstance(value, Mapping):
        return [*value.values()]
    if isinstance(value, type | ModuleType | BaseException | Enum) or not hasattr(value, "__dict__"):
        return None
    return [*vars(value).values(), *(getattr(value, "__pydantic_extra__", None) or {}).values()]


def size_of(value: Any) -> int:
    """Return roughly how many bytes a frozen value holds; what is shared counts wherever it is held."""
    size_bytes, parts = 0, [iter((value,))]
    while parts:
        for item in parts[-1]:
            size_bytes += _EACH_BYTES
            if isinstance(item, str | bytes):
                size_bytes += len(item)
            elif isinstance(item, Mapping):
                parts.append(chain(item, item.values()))
                break
            elif isinstance(item, tuple | frozenset):
                parts.append(iter(item))
                break
            elif isinstance(item, Struct):
                parts.append(iter(structs.astuple(item)))
                break
        else:
            parts.pop()
    return size_bytes


def too_deep() -> InvalidInputError:
    """Return the error of a value with too many levels."""
    message = f"value: it is nested more than {DEEPEST} levels deep, or holds itself; flatten it"
    return InvalidInputError(message)


def too_large() -> InvalidInputError:
    """Return the error of a value with too many items."""
    message = f"value: it holds more than {LARGEST:,} items, or the same ones over and over; give less of it at once"
    return InvalidInputError(message)
