"""What differs between two values, by JSON pointers (RFC 6901), and how much they have in common.

Invariant: both are plain: mappings with texts as keys, lists, and what JSON has words for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.replay import Comparison, Difference

__all__ = ["compare", "differences", "put", "steady", "without"]

_MOST: Final = 10
_ABSENT: Final = object()


def compare(expected: Any, actual: Any) -> Comparison:
    """Return what two values have in common."""
    equal = total = 0
    found: list[Difference] = []
    for pointer, was, now in _leaves("", expected, actual):
        total += 1
        if was is not _ABSENT and now is not _ABSENT and _same(was, now):
            equal += 1
        else:
            found.append(Difference(pointer, None if was is _ABSENT else was, None if now is _ABSENT else now))
    return Comparison(not found, equal / total if total else 1.0, tuple(found))


def differences(expected: Any, actual: Any) -> tuple[Difference, ...]:
    """Return where two values differ, ten at most."""
    return compare(expected, actual).differences[:_MOST]


def _same(was: Any, now: Any) -> bool:
    return type(was) is type(now) and bool(was == now or (was != was and now != now))


def _leaves(pointer: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, Mapping) and isinstance(now, Mapping) and (was or now):
        for key in dict.fromkeys([*was, *now]):
            yield from _leaves(f"{pointer}/{_step(key)}", was.get(key, _ABSENT), now.get(key, _ABSENT))
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple) and (was or now):
        for index in range(max(len(was), len(now))):
            left = was[index] if index < len(was) else _ABSENT
            right = now[index] if index < len(now) else _ABSENT
            yield from _leaves(f"{pointer}/{index}", left, right)
    else:
        yield pointer, was, now


def _step(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def put(value: Any, pointer: str, new: Any) -> Any:
    """Return a plain value with another one at a pointer.

    Raises:
        InvalidInputError: There is no such place.
    """
    return _put(value, _steps(pointer), new, pointer)


def _put(value: Any, steps: Sequence[str], new: Any, pointer: str) -> Any:
    if not steps:
        return new
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping) and (step in value or not rest):
        return {**value, step: _put(value.get(step), rest, new, pointer)}
    if isinstance(value, list | tuple) and step.isdecimal() and int(step) < len(value):
        index = int(step)
        return [*value[:index], _put(value[index], rest, new, pointer), *value[index + 1 :]]
    raise InvalidInputError(f"replay: there is no {pointer!r} there; see 'llmspell journal show --full'", field=pointer)


def without(value: Any, pointers: Sequence[str]) -> Any:
    """Return a plain value without what stands at these pointers; what is not there is no matter."""
    for pointer in pointers:
        value = _without(value, _steps(pointer))
    return value


def _without(value: Any, steps: Sequence[str]) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping) and step in value:
        left = {key: item for key, item in value.items() if key != step}
        return {**value, step: _without(value[step], rest)} if rest else left
    if isinstance(value, list | tuple) and step.isdecimal() and int(step) < len(value) and rest:
        index = int(step)
        return [*value[:index], _without(value[index], rest), *value[index + 1 :]]
    return value


def steady(value: Any) -> Any:
    """Return a value plain, without what is different each time: the fields that their structs name ``volatile``."""
    if isinstance(value, Struct):
        volatile = getattr(type(value), "volatile", ())
        return {name: steady(getattr(value, name)) for name in value.__struct_fields__ if name not in volatile}
    if isinstance(value, Mapping):
        return {key: steady(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [steady(item) for item in value]
    return value
