"""What is wrong with a setting, in one line: the file and line, the key, the value, the remedy.

Invariant: a secret's value is never in a message.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from llmspell_hookspecs import SettingsError, is_secret_name

from .key import join
from .origin import Origin
from .schema import field_of, nearest, order_of
from .secret import MASK

__all__ = ["diagnose"]

Locate = Callable[[Sequence[str]], Origin]


def diagnose(error: ValidationError, locate: Locate) -> SettingsError:
    """Answer the error to raise for the first thing that the model refused.

    Args:
        error: What pydantic raised.
        locate: Answers where a key was set.
    """
    first = error.errors(include_url=False)[0]
    path = tuple(str(part) for part in first["loc"])
    while len(path) > 1 and field_of(path[:-1]) is not None:
        path = path[:-1]
    origin = locate(path)
    more = error.error_count() - 1
    rest = f" (and {more} more)" if more else ""
    return SettingsError(f"{origin}: {_problem(path, first)}{rest}", origin=str(origin), key=join(path))


def _problem(path: tuple[str, ...], first: Any) -> str:
    key, kind, value = join(path), first["type"], first["input"]
    near = nearest(path)
    mistyped = (
        path[0] in ("plugins", "tools", "providers", "storage")
        and len(path) == 2
        and field_of(path) is None
        and near.count(".") == 1
    )
    if kind == "extra_forbidden" or mistyped:
        return f"there is no setting {key}; {f'did you mean {near}?' if near else 'see llmspell config show'}"
    shown = MASK if any(is_secret_name(part) for part in path) else repr(value)
    return f"{key} is {shown}; {_remedy(path, first, value)}"


def _remedy(path: tuple[str, ...], first: Any, value: Any) -> str:
    words = order_of(path)
    if words:
        near = difflib.get_close_matches(str(value), words, 1, 0.6)
        return f"did you mean {near[0]}?" if near else f"use one of {', '.join(words)}"
    if first["type"] in ("model_type", "dict_type"):
        return f"it is a table: write [{join(path)}]"
    if first["type"] == "tuple_type":
        return 'it is a list: write ["..."]'
    message: str = first["msg"]
    return "it " + message.removeprefix("Input ").removeprefix("Value ").split(", unable")[0]
