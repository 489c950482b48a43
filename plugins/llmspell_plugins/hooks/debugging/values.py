"""Values as a trace shows them: plain, without secrets, and cut where settings want that. Lengths in characters.

Invariant: a text is redacted before it is cut, with as much behind the cut as the longest secret has, so that no cut
lets a part of one through.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs.difference import ABSENT, changes
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.secret import hide
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.values import freeze
from llmspell_plugins.hooks.security.secrets import Redactor

__all__ = ["Shower"]

_TEXT: Final = 200
"""How much of a text is shown where values are cut."""
_ITEMS: Final = 50
"""How many items of a mapping or a row are."""
_LEVELS: Final = 8
"""How many levels are."""
_CHANGES: Final = 50
_BEHIND: Final = 16_384
"""How long a secret may be that the redactor finds."""


class Shower:
    """Shows values.

    Args:
        redactor: Takes the secrets out.
        full: Whether values are shown whole.
    """

    def __init__(self, redactor: Redactor, *, full: bool) -> None:
        self._redactor = redactor
        self._full = full

    def __call__(self, value: Any) -> Any:
        """Return a value as plain ones, or why it cannot be shown."""
        try:
            return self._cut(self._redactor.clean(self._plain(hide(freeze(value)), _LEVELS), Counter()))
        except Exception as error:  # a value of a class that is odd in its own ways
            return f"(not shown) {told(type(value).__name__)}: {type(error).__name__}"

    def changes(self, asked: Any, ran: Any) -> tuple[dict[str, Any], ...]:
        """Return the fields in which two values differ, with what they were and are."""
        try:
            return tuple(islice(self._changes(asked, ran), None if self._full else _CHANGES))
        except Exception as error:
            return ({"field": "", "problem": self(text_of_error(error))},)

    def _changes(self, asked: Any, ran: Any) -> Iterator[dict[str, Any]]:
        for field, was, now in changes(asked, ran):
            shown = {"field": self(field)}
            for name, item in (("before", was), ("after", now)):
                if item is not ABSENT:
                    named = self({field: item})  # under its name, which may tell that it is a secret
                    shown[name] = next(iter(named.values())) if isinstance(named, dict) else named
            yield shown

    def _plain(self, value: Any, levels: int) -> Any:
        """Return a value as JSON has it, but for its secrets, and its texts longer than they are shown."""
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, str):
            return str.__str__(value) if self._full else str.__str__(value)[: _TEXT + _BEHIND]
        if isinstance(value, bytes):
            return f"({len(value)} bytes)"
        if isinstance(value, BaseException):
            return type(value).__name__
        if isinstance(value, Struct):
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            return self._plain(hide({name: item for name, item in fields.items() if _tells(item)}), levels)
        if not isinstance(value, Mapping | Sequence | frozenset | set):
            return told(value)
        if levels == 0 and not self._full:
            return "(nested deeper)"
        most = len(value) if self._full else _ITEMS
        more = len(value) - most
        if isinstance(value, Mapping):
            items = {_key(key): self._plain(item, levels - 1) for key, item in islice(value.items(), most)}
            return {**items, "...": f"({more} more)"} if more > 0 else items
        row = [self._plain(item, levels - 1) for item in islice(value, most)]
        return [*row, f"({more} more)"] if more > 0 else row

    def _cut(self, value: Any) -> Any:
        if self._full:
            return value
        if isinstance(value, str):
            return value if len(value) <= _TEXT else f"{value[:_TEXT]}..."
        if isinstance(value, dict):
            return {self._cut(key): self._cut(item) for key, item in value.items()}
        return [self._cut(item) for item in value] if isinstance(value, list) else value


def _tells(item: Any) -> bool:
    """Whether a field of an envelope says anything."""
    if isinstance(item, str | Mapping | tuple):
        return len(item) > 0
    return item is not None and not isinstance(item, BaseException)


def _key(key: Any) -> str:
    return str.__str__(key) if isinstance(key, str) else told(key)
