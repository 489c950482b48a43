"""What a person is shown of a call before it is allowed: all of it that can be kept, with its secrets masked.

Invariant: what comes out is plain, can be kept, and shows no secret; whatever is left out is told of in its place.
Sizes in characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, structs

from llmspell_hookspecs.secret import hide_item
from llmspell_hookspecs.spelling import told

__all__ = ["shown"]

_ROOM: Final = 200_000
"""In all, with a fixed cost of each part: at four bytes each it fits into what may be kept."""
_LONGEST: Final = 20_000
"""Of one text, where not all of them fit."""
_DEEPEST: Final = 60
_PART: Final = 8
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1


def shown(value: Any) -> Any:
    """Return a frozen value as it is kept for people, cut where it is too large for that."""
    whole = _Shown(_ROOM)
    found = whole.of(value, _DEEPEST)
    return found if whole.room >= 0 else _Shown(_LONGEST).of(value, _DEEPEST)


class _Shown:
    """One walk over a value.

    Args:
        longest: How long one text may be.

    Attributes:
        room: How much may still follow; less than nothing once something was cut.
    """

    def __init__(self, longest: int) -> None:
        self.room = _ROOM
        self._longest = longest

    def of(self, value: Any, depth: int) -> Any:
        """Return a value as it is kept."""
        self.room -= _PART
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):  # of a hidden one, this is the mask
            return self._text(str.__str__(value))
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, int):
            number = int.__int__(value)
            return number if _SMALLEST <= number <= _LARGEST else told(number, 100)
        if isinstance(value, bytes):
            return self._bytes(bytes(value))
        if isinstance(value, Struct):
            return self._items(zip(value.__struct_fields__, structs.astuple(value), strict=True), depth)
        if isinstance(value, Mapping):
            return self._items(value.items(), depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._row(value, depth)
        return self._text(told(value, self._longest))

    def _text(self, text: str) -> str:
        most = max(0, min(self._longest, self.room))
        self.room -= len(text)
        if len(text) > most:
            text = f"{text[:most]}... ({len(text) - most} characters more)"
        return text.encode(errors="backslashreplace").decode()  # half a letter cannot be kept

    def _bytes(self, value: bytes) -> Any:
        most = max(0, min(self._longest, self.room))
        self.room -= len(value)
        return value if len(value) <= most else f"{told(value[:20])}... ({len(value)} bytes in all)"

    def _items(self, items: Iterable[tuple[Any, Any]], depth: int) -> Any:
        if depth == 0:
            return self._deep()
        found: dict[str, Any] = {}
        left = 0
        for key, item in items:
            if self.room <= 0:
                left += 1
                continue
            name = self._text(key) if type(key) is str else told(key)
            if name in found:
                name = f"{name} (a {type(key).__name__})"
            found[name] = self.of(hide_item(key, item), depth - 1)
        if left:
            found["..."] = f"{left} more"
        return found

    def _row(self, row: Iterable[Any], depth: int) -> Any:
        if depth == 0:
            return self._deep()
        found: list[Any] = []
        left = 0
        for item in row:
            if self.room <= 0:
                left += 1
                continue
            found.append(self.of(item, depth - 1))
        if left:
            found.append(f"... {left} more")
        return found

    def _deep(self) -> str:
        self.room = min(self.room, 0)
        return "... (nested more deeply than is shown)"
