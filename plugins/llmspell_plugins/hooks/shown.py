"""Values as logs and traces show them: plain, without secrets, and as much as there is room for. Sizes in bytes.

Values are walked within a budget, so that a large one costs no more than what is shown of it. Texts are redacted
before they are cut, for half a secret is a secret.

Invariant: what comes out is JSON, and holds no secret that the redactor finds, or that stands under the name of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.secret import HiddenText, hide, hide_item
from llmspell_hookspecs.spelling import told
from llmspell_plugins.hooks.security.secrets import MARGIN, Redactor

__all__ = ["NO_SECRET", "Walk", "cut_bytes", "redacted"]

NO_SECRET: Final = 8
"""A text of fewer letters holds none that could be told from a word."""
_DEPTH: Final = 12
_PLAIN: Final = frozenset({str, int, float, bool})
_MASK: Final = "**********"
_CUT: Final = "..."


class Walk:
    """One walk of a value, until its budget is used up.

    Args:
        redactor: Takes secrets out; None where all is shown.
        room: How many bytes may be shown, about.
        depth: How many levels may be.
    """

    def __init__(self, redactor: Redactor | None, room: int, depth: int = _DEPTH) -> None:
        self._redactor = redactor
        self._room = room
        self._depth = depth

    def value(self, value: Any, depth: int = 0, *, hidden: bool = False) -> Any:
        """Return a value plain, as much of it as there is room for.

        Args:
            value: Frozen, or not.
            depth: How many levels are around it.
            hidden: Whether it stands under a name that tells of a secret, so that no text of it is shown.
        """
        if isinstance(value, str):
            return self._text(str.__str__(value), hidden=hidden)
        if value is None or value is True or value is False:
            self._room -= 5
            return value
        if isinstance(value, int | float):
            self._room -= 12
            return _number(value)
        if self._room <= 0 or depth >= self._depth:
            return _CUT
        if isinstance(value, Mapping | Struct):
            return self._items(value, depth, hidden=hidden)
        if isinstance(value, list | tuple | frozenset | set):
            return self._list(value, depth, hidden=hidden)
        return self._other(value, hidden=hidden)

    def _items(self, value: Any, depth: int, *, hidden: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        about = getattr(value, "key", "") if isinstance(value, Struct) else ""
        if self._redactor is not None and isinstance(about, str) and _tells(about):
            hidden = True  # what is kept under that key, or set
        is_struct = isinstance(value, Struct)
        for key, item in _pairs(value):
            if self._room <= 0:
                found[_CUT] = _CUT
                break
            name = str.__str__(key) if isinstance(key, str) else _spelled(key)
            tells = False
            if self._redactor is not None:
                tells = hidden or _tells(name)
                if type(item) is str and not tells:
                    item = self._redactor.named(name, item)
            if is_struct:  # a name that its author gave, in code
                shown = name
                self._room -= len(name) + 4
            else:
                shown = self._text(name, hidden=False)
            found[shown] = self.value(item, depth + 1, hidden=tells)
        return found

    def _list(self, value: Any, depth: int, *, hidden: bool) -> list[Any]:
        found: list[Any] = []
        for item in value:
            if self._room <= 0:
                found.append(_CUT)
                break
            found.append(self.value(item, depth + 1, hidden=hidden))
        return found

    def _other(self, value: Any, *, hidden: bool) -> Any:
        if hasattr(type(value), "get_secret_value"):
            return self._text(_MASK, hidden=False)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(f"{len(value)} bytes", hidden=False)
        return self._text(_spelled(value), hidden=hidden)

    def _text(self, text: str, *, hidden: bool) -> str:
        if len(text) < NO_SECRET and not hidden and self._room >= 4 * NO_SECRET and text.isascii():
            self._room -= len(text) + 4
            return text
        if hidden and text:
            text = _MASK
        most = max(self._room, 0)
        if len(text) < NO_SECRET and most >= 4 * NO_SECRET:
            shown = cut_bytes(text, most)
        else:
            shown = text[:most] if self._redactor is None else redacted(self._redactor, text, most)
            shown = cut_bytes(shown + _CUT if len(text) > most else shown, most + len(_CUT))
        self._room -= 4 + (len(shown) if shown.isascii() else len(shown.encode()))
        return shown


@lru_cache(4096)
def _tells(name: str) -> bool:
    """Whether whatever stands under a name is a secret."""
    return isinstance(hide_item(name, "x"), HiddenText)


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
        return
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if item is None or (type(item) in _PLAIN and item == ""):
            continue
        if type(item) in _PLAIN or not (isinstance(item, BaseException) or _is_empty(item)):
            yield name, item


def _is_empty(item: Any) -> bool:
    return (isinstance(item, Mapping | tuple | list) and not item) or item == ""


def _number(value: int | float) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if value.bit_length() < 64 else told(int(value))


def _spelled(value: Any) -> str:
    """Return the text of a key or of a value of another type; its own code may run, and fail."""
    try:
        return str.__str__(str(value))
    except Exception:
        return f"a {type(value).__name__}"


def redacted(redactor: Redactor, text: str, most: int) -> str:
    """Return about so many characters of a text, without secrets and without those that a URL carries."""
    window = str.__str__(hide(text[: most + MARGIN]))  # first: what a redactor puts in their place is no URL any more
    if len(text) > most + MARGIN:
        most = max(0, min(most, len(window) - MARGIN))
    return redactor.beginning(window, most)


def cut_bytes(text: str, most: int) -> str:
    """Return a text of at most so many bytes in UTF-8, and a mark if it was cut; no letter is cut in two."""
    if len(text) <= most // 4 and text.isascii():
        return text
    data = text.encode(errors="backslashreplace")
    if len(data) <= most:
        return data.decode()
    return data[: max(0, most - len(_CUT))].decode(errors="ignore") + _CUT
