"""A plain value as the words of a script's language: what ``print`` and the log show.

Invariant: a string is shown as it is, whole; anything else is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs.language import ScriptObject

from .dump import DumpOptions, dump

__all__ = ["text_of"]

_NOTHING: Final = {"lua": "nil", "javascript": "null"}
_INNER: Final = DumpOptions(6, 1000, 200, 200, 0, show_types=False, compact_mode=True)


def text_of(value: Any, language: str) -> str:
    """Return a value as text, containers on one line.

    Args:
        value: Any plain value or script object.
        language: The language's name; settles the words for nothing and truth and the form of numbers.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return _NOTHING.get(language, "None")
    if isinstance(value, bool):
        return str(value) if language == "python" else str(value).lower()
    if isinstance(value, float):
        return _number(value, language)
    if isinstance(value, ScriptObject):
        return value.script_text()
    if isinstance(value, Mapping | list | tuple):
        return dump(value, options=_INNER)
    return "function" if callable(value) else str(value)


def _number(value: float, language: str) -> str:
    if not math.isfinite(value) or language == "python":
        return str(value)
    if language == "javascript":
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    text = f"{value:.14g}"
    return text if any(mark in text for mark in ".en") else f"{text}.0"
