"""Integers beyond 2**53, which jq rounds: it computes in doubles.

Invariant: an integer of the input that a program passes on comes out as it went in, or the program is refused; never
another one. What a program computes from such an integer (a sum, a comparison) is computed in doubles.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from llmspell_hookspecs import ToolError

__all__ = ["at_paths", "may_hold_wide", "restored"]

_EXACT: Final = 2**53
_DIGITS: Final = re.compile(r"\d{16,}")
_Known = Mapping[float, frozenset[int]]


def may_hold_wide(text: str) -> bool:
    """Return whether a JSON text may hold an integer that a double does not hold."""
    return _DIGITS.search(text) is not None


def at_paths(value: Any, paths: Iterable[list[Any]]) -> list[Any] | None:
    """Return what lies at paths as jq tells them, exactly; None if one is of a kind that is not followed here."""
    try:
        return [_at(value, path) for path in paths]
    except (TypeError, KeyError):
        return None


def restored(value: Any, results: Iterable[Any], where: str) -> list[Any]:
    """Return results of jq with the integers of its input in place of what they became.

    Raises:
        ToolError: ``query_failed``, two integers of the input became one.
    """
    rounded: dict[float, set[int]] = {}
    for number in _wide(value):
        rounded.setdefault(_double(number), set()).add(number)
    known = {each: frozenset(numbers) for each, numbers in rounded.items()}
    texts = {str(int(each)): each for each in known}
    pattern = re.compile(rf"(?<![\d.])(?:{'|'.join(texts)})(?![\d.])") if texts else None

    def exact(rounded: float) -> int:
        numbers = known[rounded]
        if len(numbers) > 1:
            one, other = sorted(numbers)[:2]
            message = (
                f"{where}: jq takes {str(one)[:40]} and {str(other)[:40]} for one number, and the query gives it; "
                "write such integers as texts, or query them by their paths alone"
            )
            raise ToolError(message, code="query_failed")
        return next(iter(numbers))

    def respelled(text: str) -> str:
        return text if pattern is None else pattern.sub(lambda found: str(exact(texts[found[0]])), text)

    return [_rebuilt(result, known, exact, respelled) for result in results]


def _rebuilt(value: Any, known: _Known, exact: Callable[[float], int], respelled: Callable[[str], str]) -> Any:
    match value:
        case dict():
            return {respelled(key): _rebuilt(each, known, exact, respelled) for key, each in value.items()}
        case list():
            return [_rebuilt(each, known, exact, respelled) for each in value]
        case str():
            return respelled(value)
        case int() | float() if not isinstance(value, bool) and _double(value) in known:
            return exact(_double(value))
    return value


def _wide(value: Any) -> Iterator[int]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif type(each) is int and abs(each) > _EXACT:
            yield each


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max  # as jq has it


def _at(value: Any, path: list[Any]) -> Any:
    for step in path:
        if value is None:
            return None
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step] if -len(value) <= step < len(value) else None
        else:  # a slice, or what jq has and Python has not
            raise TypeError(step)
    return value
