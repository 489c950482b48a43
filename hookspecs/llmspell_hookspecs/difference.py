"""What differs between two values, in words: for traces, logs and whoever asks a person.

Invariant: secrets do not enter the words: values are cut to 200 characters, with secret-looking fields masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from .errors import InvalidInputError
from .secret import is_secret_name
from .values import freeze, thaw

__all__ = ["ABSENT", "changes", "difference"]

_LONGEST: Final = 200
ABSENT: Final = object()
"""Stands for the value of a field that is not there."""


def difference(old: Any, new: Any) -> str:
    """Return what differs between two values, one ``field: old -> new`` for each, joined by semicolons."""
    try:
        return "; ".join(f"{key}: {_shown(key, was)} -> {_shown(key, now)}" for key, was, now in changes(old, new))
    except InvalidInputError as error:  # whoever takes the answer refuses it; a trace changes nothing
        return f"(not shown) {error}"


def changes(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield each field that differs, with what it was and what it is: `ABSENT` if it is not there.

    Whoever shows them masks the secrets. What a mapping leaves out is as it was.

    Raises:
        InvalidInputError: One of the values cannot be read.
    """
    before, after = _flat("", _plain(freeze(old))), _flat("", _plain(freeze(new)))
    if not (isinstance(new, Struct) and type(new) is type(old)):
        after = {**({} if not isinstance(new, Mapping) else before), **after}
    for key in dict.fromkeys([*before, *after]):
        was, now = before.get(key, ABSENT), after.get(key, ABSENT)
        if was != now:
            yield key or "value", was, now


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return {field: thaw(getattr(value, field)) for field in value.__struct_fields__}
    return thaw(value)


def _flat(prefix: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flat(f"{prefix}.{key}" if prefix else str(key), item))
    return flat


def _shown(key: str, value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    if is_secret_name(key):
        return "[masked]"
    try:
        text = msgspec.json.encode(value, enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError):
        text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
