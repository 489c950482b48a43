"""A shelf: the plugins of one group that are loaded by name on first use (tools, languages, globals).

Invariant: a plugin on a shelf is imported when it is first asked for by name, and once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from llmspell_hookspecs import ComponentNotFoundError, PluginError, PluginInfo

from .discovery import Candidate

__all__ = ["Shelf"]

T = TypeVar("T")


class Shelf(Generic[T]):
    """Named plugins of one group.

    Args:
        word: What they are called, for messages: ``tool``.
        candidates: What discovery chose.
        make: Loads one: import, construct, check.
    """

    def __init__(self, word: str, candidates: Iterable[Candidate], make: Callable[[Candidate], T]) -> None:
        self._word = word
        self._candidates = {candidate.info.name: candidate for candidate in candidates}
        self._make = make
        self._made: dict[str, T] = {}
        self._later: dict[str, Callable[[], T]] = {}

    def put(self, name: str, made: T) -> None:
        """Put on the shelf what was handed over in code; it wins over what was discovered."""
        self._made[name] = made

    def put_later(self, name: str, make: Callable[[], T]) -> None:
        """Put on the shelf what was handed over in code and is made when it is first asked for."""
        self._later[name] = make

    def names(self) -> tuple[str, ...]:
        """Answer all names, in order, without importing anything."""
        return tuple(sorted({*self._made, *self._later, *self._candidates}))

    def infos(self) -> list[PluginInfo]:
        """Answer what is known of each that was discovered."""
        return [candidate.info for candidate in self._candidates.values()]

    def get(self, name: str) -> T:
        """Answer the plugin of this name, loading it if need be.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded, or is refused.
        """
        made = self._made.get(name)
        if made is not None:
            return made
        if name in self._later:
            self._made[name] = made = self._later[name]()
            return made
        candidate = self._candidates.get(name)
        if candidate is None:
            raise self.missing(name)
        if candidate.info.error:
            raise PluginError(candidate.info.error, plugin=name)
        self._made[name] = made = self._make(candidate)
        return made

    def missing(self, name: str) -> ComponentNotFoundError:
        """Answer the error for a name that is not here."""
        near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self.names()) or 'none'}"
        return ComponentNotFoundError(f"{self._word} {name!r}: there is none; {hint}", address=f"{self._word}:{name}")
