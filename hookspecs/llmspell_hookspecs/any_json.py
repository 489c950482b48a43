"""JSON of any value, for people and programs that are to see what there is rather than an error.

Invariant: whatever the value, its own methods and its rings, there is a text of one line, and it is JSON.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .language import ScriptFunction, ScriptObject
from .spelling import escaped, spell_out

__all__ = ["to_json"]

_DEEPEST: Final = 100
_HALF: Final = re.compile("[\ud800-\udfff]")
_LONGEST_DIGITS: Final = 4000


def to_json(value: Any) -> str:
    """Return any value as JSON of one line; what JSON has no word for as text, a number that is none as null."""
    try:
        return escaped(msgspec.json.encode(value, enc_hook=_plain).decode())
    except Exception:  # odd keys, halves of letters, rings, whatever a value's own methods raise
        return escaped(msgspec.json.encode(_whole(value, _DEEPEST)).decode())


def _whole(value: Any, depth: int) -> Any:
    """A value that JSON has words for in the place of one that it has not."""
    try:
        value = value if isinstance(value, str | int | float | bool | list | tuple | Mapping | None) else _plain(value)
        if isinstance(value, str):
            return _HALF.sub(lambda half: spell_out(half[0]), value)
        if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _LONGEST_DIGITS * 3:
            return hex(value)
        if not isinstance(value, list | tuple | Mapping):
            return value
        if depth == 0:
            return "<nested too deeply>"
        if isinstance(value, Mapping):
            return {_whole(_key(key), 0): _whole(item, depth - 1) for key, item in value.items()}
        return [_whole(item, depth - 1) for item in value]
    except Exception as error:  # whatever the value's own methods raise
        return f"<left out: {type(error).__name__}>"


def _key(key: Any) -> str:
    return key if isinstance(key, str) else to_json(key) if key is None or isinstance(key, bool) else str(key)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, ScriptObject):
        return value.script_text()
    if isinstance(value, ScriptFunction):
        return "function"
    return str(value)
