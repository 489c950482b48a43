"""Ids that are new in each run, such as that of a workflow's run: what stands for them on record.

An id is learned where an operation is found on record, from the fields that the struct of its request names
``volatile``; from then on it is told as the one on record wherever it stands, also within a longer text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct, structs

__all__ = ["Aliases"]

_SHORTEST: Final = 12
"""A shorter text may be a word."""


class Aliases:
    """What stands for ids of this run."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, subject: Any, recorded: Callable[[], Any]) -> None:
        """Learn from a request that was found on record what its new ids are there."""
        volatile = getattr(type(subject), "volatile", ())
        if not volatile:
            return
        was = recorded()
        for name in volatile:
            new, old = getattr(subject, name, None), was.get(name) if isinstance(was, Mapping) else None
            if isinstance(new, str) and isinstance(old, str) and new != old and len(new) >= _SHORTEST:
                self._known[new] = old

    def told(self, value: Any) -> Any:
        """Return a value with the ids on record; the same one if nothing is known."""
        return self._told(value) if self._known else value

    def _told(self, value: Any) -> Any:
        if isinstance(value, str):
            for new, old in self._known.items():
                if new in value:
                    value = value.replace(new, old)
            return value
        if isinstance(value, Struct):
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            changed = {name: self._told(item) for name, item in fields.items()}
            differing = {name: item for name, item in changed.items() if item != fields[name]}
            return structs.replace(value, **differing) if differing else value
        if isinstance(value, Mapping):
            return {self._told(key): self._told(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return tuple(self._told(item) for item in value)
        if isinstance(value, list):
            return [self._told(item) for item in value]
        return value
