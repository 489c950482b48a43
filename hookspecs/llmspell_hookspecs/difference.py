"""What differs between two values, in words: for traces, logs and whoever asks a person.

Invariant: secrets do not enter: values are cut to 200 characters, with secret-looking fields masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from .errors import InvalidInputError
from .secret import is_secret_name
from .values import freeze, thaw

__all__ = ["difference"]

_LONGEST: Final = 200
_ABSENT: Final = object()


def difference(old: Any, new: Any) -> str:
    """Return what differs between two values, one ``field: old -> new`` for each, joined by semicolons."""
    try:
        before, after = _flat("", _plain(freeze(old))), _flat("", _plain(freeze(new)))
    except InvalidInputError as error:  # whoever takes the answer refuses it; a trace changes nothing
        return f"(not shown) {error}"
    if not (isinstance(new, Struct) and type(new) is type(old)):
        after = {**({} if not isinstance(new, Mapping) else before), **after}
    changed = [key for key in dict.fromkeys([*before, *after]) if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    return "; ".join(f"{key or 'value'}: {_shown(key, before)} -> {_shown(key, after)}" for key in changed)


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


def _shown(key: str, values: Mapping[str, Any]) -> str:
    if key not in values:
        return "(none)"
    if is_secret_name(key):
        return "[masked]"
    try:
        text = msgspec.json.encode(values[key], enc_hook=repr).decode()
    except (TypeError, ValueError, OverflowError):
        text = repr(values[key])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
