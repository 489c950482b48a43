"""What the step convert makes of a value: one of another type, or a refusal; nothing is rounded or cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

__all__ = ["CONVERSIONS", "text_of"]

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_LARGEST: Final = 1 << 64
_DIGITS: Final = 40


def _int(value: Any) -> int:
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("it has a fraction, or is infinite")
        number = int(value)
    elif isinstance(value, str):
        if len(value) > _DIGITS:
            raise ValueError("it is too long for a whole number")
        number = int(value)
    elif isinstance(value, int):
        number = int(value)
    else:
        raise ValueError("it is no number")
    if not -_LARGEST // 2 <= number < _LARGEST:
        raise ValueError("it has more than 64 bits")
    return number


def _float(value: Any) -> float:
    if not isinstance(value, int | float | str):
        raise ValueError("it is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("it is no finite number")
    return number


def text_of(value: Any) -> str:
    """Return a value as a text: JSON for all that is none, without quotes around it.

    Raises:
        ValueError: There is none for it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode()
    return msgspec.json.encode(value).decode()


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("it is neither true nor false")


def _datetime(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("it is no time")
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else datetime.fromtimestamp(value, UTC)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise ValueError("it is no time") from None


def _json(value: Any) -> Any:
    if not isinstance(value, str | bytes):
        raise ValueError("it is no text")
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ValueError("it is no JSON") from None


CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _int,
    "float": _float,
    "text": text_of,
    "bool": _bool,
    "datetime": _datetime,
    "json": _json,
}
"""By the word for the type; each raises ValueError, OverflowError or TypeError for what it refuses."""
