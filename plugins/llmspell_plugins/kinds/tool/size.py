"""How large a tool's result is, found out by walking it no further than a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmspell_hookspecs import ToolResult
from llmspell_hookspecs.bounds import DEEPEST, LARGEST, TooManyItemsError

__all__ = ["outgrows"]

_NUMBERS: Final = frozenset({int, float, bool, type(None)})


def outgrows(result: ToolResult, limit_bytes: int, most: int = LARGEST) -> bool:
    """Whether the result's strings, bytes and items add up to more than the limit; stops as soon as they do.

    What is nested too deeply, holds itself or too many items has no size: it is refused for that when it is shown to
    hooks.

    Args:
        result: The result.
        limit_bytes: The limit.
        most: How many items are walked.

    Raises:
        TooManyItemsError: It holds more than ``most`` items, which are fewer than a value may hold.
    """
    held, text = result.result, result.text
    if (type(held) is str or type(held) in _NUMBERS) and not result.metadata:  # as most results are
        return (len(held) if type(held) is str else 4) + (4 if text is None else len(text)) > limit_bytes
    size, left, parts = 0, most, [iter((held, text, result.metadata))]
    while parts and size <= limit_bytes:
        for value in parts[-1]:
            kind = type(value)
            if kind in _NUMBERS:
                size += 4
            elif isinstance(value, str | bytes):
                size += len(value)
            elif isinstance(value, dict | Mapping):
                size += 2 * len(value)
                left -= len(value)
                parts.append(iter(value.values()))
                break
            elif isinstance(value, list | tuple):
                size += 2 * len(value)
                left -= len(value)
                parts.append(iter(value))
                break
            else:
                size += 4
        else:
            parts.pop()
        if left < 0 and most < LARGEST:
            raise TooManyItemsError
        if len(parts) > DEEPEST + 2 or left < 0:
            return False
    return size > limit_bytes
