"""A shelf: the plugins of one group that are loaded by name on first use (tools, languages, globals).

Invariant: a plugin on a shelf is imported when it is first asked for by name, and once.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from llmspell_hookspecs import ComponentNotFoundError, LlmspellError, PluginError, PluginInfo

from .discovery import Candidate
from .groups import GROUPS, ROWS

__all__ = ["Shelf"]

T = TypeVar("T")
_log = logging.getLogger("llmspell.plugins")


class Shelf(Generic[T]):
    """Named plugins of one group.

    Args:
        word: What they are called, for messages: ``tool``.
        candidates: What was handed over in code, and what discovery chose; of two of one name the first counts.
        make: Loads one: import, construct, check.
        apart: What is installed, of any group, and is not loaded here.
    """

    def __init__(
        self,
        word: str,
        candidates: Iterable[Candidate],
        make: Callable[[Candidate], T],
        apart: Iterable[PluginInfo] = (),
    ) -> None:
        self._word = word
        self._candidates: dict[str, Candidate] = {}
        for candidate in candidates:
            self._candidates.setdefault(candidate.info.name, candidate)
        self._make = make
        self._made: dict[str, T] = {}
        self._apart = {info.name for info in apart if info.group in GROUPS and ROWS[info.group].word == word}
        self._told: set[str] = set()

    def names(self) -> tuple[str, ...]:
        """Return all names, in order, without importing anything."""
        return tuple(sorted(self._candidates))

    def info(self, name: str) -> PluginInfo:
        """Return what is known of one."""
        return self._candidates[name].info

    def get(self, name: str) -> T:
        """Return the plugin of this name, loading it if need be.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded, or is refused.
        """
        made = self._made.get(name)
        if made is not None:
            return made
        candidate = self._candidates.get(name)
        if candidate is None:
            raise self.missing(name)
        if candidate.info.error:
            raise PluginError(candidate.info.error, plugin=name)
        self._made[name] = made = self._make(candidate)
        return made

    def loadable(self) -> Iterator[tuple[str, T]]:
        """Yield those that load, by name; of each that does not it is said once why not."""
        for name in self.names():
            try:
                yield name, self.get(name)
            except LlmspellError as error:
                self.tell(name, error)

    def tell(self, name: str, error: Exception) -> None:
        """Say once why one is passed over."""
        if name not in self._told:
            self._told.add(name)
            _log.warning("%s", error)

    def missing(self, name: str) -> ComponentNotFoundError:
        """Return the error for a name that is not here."""
        near = difflib.get_close_matches(name, self.names(), n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self.names()) or 'none'}"
        if name in self._apart:
            hint = "it is installed, but this host loads what it is handed: plugins=[...], or discover=True"
        return ComponentNotFoundError(f"{self._word} {name!r}: there is none; {hint}", address=f"{self._word}:{name}")
