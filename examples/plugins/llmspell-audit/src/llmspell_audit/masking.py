"""Masking: hides the values of named parameters, under their names and wherever else their text turns up.

Invariant: what is answered is fresh; nothing that was given is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from llmspell_hookspecs.secret import reveal

__all__ = ["MASK", "Masking"]

MASK: Final = "[redacted]"
_SECRET: Final = re.compile(r"passw|secret|token|api.?key|authorization|credential|cookie", re.IGNORECASE)
_IN_URL: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SHORTEST: Final = 4
"""A shorter text turns up by chance."""


class Masking:
    """Hides values.

    Args:
        names: Of the parameters to hide; case does not matter.
        parameters: The call's; the texts of hidden ones are hidden everywhere.
        secrets: Whether names that look like a secret's, and passwords in URLs, are hidden too.
    """

    def __init__(self, names: Iterable[str], parameters: Mapping[str, Any], *, secrets: bool = False) -> None:
        self._names = frozenset(name.casefold() for name in names)
        self._secrets = secrets
        real = reveal(parameters)  # the host shows hooks masks; their texts are looked for in what a tool answers
        self._texts = sorted(self._hidden_texts(real), key=len, reverse=True)

    def masked(self, value: Any) -> Any:
        """Return the value with everything hidden that is to be."""
        if isinstance(value, str):
            return self._without_texts(value)
        if isinstance(value, Mapping):
            return {key: MASK if self._hides(key, item) else self.masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.masked(item) for item in value]
        return value

    def _hides(self, name: object, value: Any) -> bool:
        text = str(name).casefold()
        return value is not None and (text in self._names or (self._secrets and _SECRET.search(text) is not None))

    def _without_texts(self, text: str) -> str:
        for hidden in self._texts:
            text = text.replace(hidden, MASK)
        return _IN_URL.sub(MASK, text) if self._secrets else text

    def _hidden_texts(self, value: Any, hidden: bool = False) -> Iterator[str]:
        if isinstance(value, str) and hidden and len(value) >= _SHORTEST and value != MASK:
            yield value
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield from self._hidden_texts(item, hidden or self._hides(name, item))
        if isinstance(value, list | tuple):
            for item in value:
                yield from self._hidden_texts(item, hidden)
