"""What is wrong with a setting, in one line: the file and line, the key, the value, the remedy.

Invariant: a secret's value is never in a message.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import KEY_PARTS, VALUE_CHARACTERS, join, shown_key, shown_value
from llmspell_hookspecs.masking import MASK, conceal, mask
from llmspell_hookspecs.secret import is_secret_name

from .model import Settings
from .origin import Origin
from .schema import field_of, nearest, order_of

__all__ = ["diagnose"]

Locate = Callable[[Sequence[str]], Origin]


def diagnose(error: ValidationError, locate: Locate) -> SettingsError:
    """Return the error to raise for the first thing that the model refused.

    Args:
        error: What pydantic raised.
        locate: Returns where a key was set.
    """
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"])[:KEY_PARTS]
    while len(path) > 1 and field_of(path[:-1]) is not None:
        path = path[:-1]
    origin = locate(path)
    more = error.error_count() - 1
    rest = f" (and {more} more)" if more else ""
    return SettingsError(f"{origin}: {_problem(path, first)}{rest}", origin=str(origin), key=join(path))


def _problem(path: tuple[str, ...], first: Any) -> str:
    key, kind, value = shown_key(path), first["type"], first["input"]
    near = nearest(path)
    mistyped = path[0] in Settings.sections() and len(path) == 2 and field_of(path) is None and near.count(".") == 1
    if kind == "extra_forbidden" or mistyped:
        return f"there is no setting {key}; {f'did you mean {near}?' if near else 'see llmspell config show'}"
    hidden = any(is_secret_name(part) for part in path)
    shown = MASK if hidden else shown_value(mask(conceal(value)))
    return f"{key} is {shown}; {_remedy(path, first, value)}"


def _remedy(path: tuple[str, ...], first: Any, value: Any) -> str:
    words = order_of(path)
    if words:
        near = difflib.get_close_matches(str(value)[:VALUE_CHARACTERS], words, 1, 0.6)
        return f"did you mean {near[0]}?" if near else f"use one of {', '.join(words)}"
    if first["type"] in ("model_type", "dict_type"):
        return f"it is a table: write [{shown_key(path)}]"
    if first["type"] == "tuple_type":
        return 'it is a list: write ["..."]'
    if first["type"] == "too_long" and isinstance(value, list | tuple):
        return f"it holds {len(value)} entries, and at most {first['ctx']['max_length']} are taken"
    message: str = first["msg"]
    return (
        "it " + message.removeprefix("Input ").removeprefix("Value error, ").removeprefix("Value ").split(", unable")[0]
    )
