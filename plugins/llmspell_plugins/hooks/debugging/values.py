"""Values as a trace shows them: without secrets, and cut where settings want that. Sizes in bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from llmspell_hookspecs.bounds import DEEPEST
from llmspell_hookspecs.difference import ABSENT, changes
from llmspell_plugins.hooks.security.secrets import Redactor
from llmspell_plugins.hooks.shown import Walk

__all__ = ["Shower"]

_VALUE: Final = 2000
"""How much of a value is shown where values are cut."""
_FIELD: Final = 400
"""How much of what a field was, or is."""
_CHANGES: Final = 50
"""How many fields are."""


class Shower:
    """Shows values.

    Args:
        redactor: Takes the secrets out.
        full: Whether values are shown whole.
    """

    def __init__(self, redactor: Redactor, *, full: bool) -> None:
        self._redactor = redactor
        self._full = full

    def __call__(self, value: Any, room: int = _VALUE) -> Any:
        """Return a value as JSON has it, or why it cannot be shown."""
        walk = Walk(self._redactor, sys.maxsize, DEEPEST) if self._full else Walk(self._redactor, room)
        try:
            return walk.value(value)
        except Exception as error:  # of any class: to be shown, a value runs code of its own
            return f"(not shown: {type(error).__name__})"

    def changes(self, asked: Any, ran: Any) -> tuple[dict[str, Any], ...]:
        """Return the fields in which two values differ, with what they were and are."""
        try:
            return tuple(islice(self._changes(asked, ran), None if self._full else _CHANGES))
        except Exception as error:
            return ({"field": f"(not shown: {type(error).__name__})"},)

    def _changes(self, asked: Any, ran: Any) -> Iterator[dict[str, Any]]:
        for field, was, now in changes(asked, ran):
            shown = {"field": self(field, _FIELD)}
            for name, item in (("before", was), ("after", now)):
                if item is not ABSENT:  # shown under its name, which may tell that it is a secret
                    named = self({field: item}, len(field) + _FIELD)
                    shown[name] = next(iter(named.values())) if isinstance(named, dict) else named
            yield shown
