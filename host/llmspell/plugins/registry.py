"""The plugins of one group, loaded by name on first use: tools, languages, globals, services, storages.

Invariant: a plugin is imported when it is first asked for by name, and once.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from msgspec import structs

from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.plugin import PluginInfo

from .discovery import Candidate
from .loading import Loader

__all__ = ["LazyRegistry"]

_FEW: Final = 12
"""How many names are listed where nobody can guess which was meant."""
T = TypeVar("T")
Made = TypeVar("Made")
_log = logging.getLogger("llmspell.plugins")


class LazyRegistry(Generic[T]):
    """Named plugins of one group.

    Args:
        group: The entry point group.
        candidates: What was handed over in code, and what discovery chose; of two of one name the first counts.
        loader: Makes one: import, construct, check.
        apart: What is installed, of any group, and is not loaded here.

    Attributes:
        group: The entry point group.
        candidates: What there is, by name.
    """

    def __init__(
        self,
        group: str,
        candidates: Iterable[Candidate],
        loader: Loader,
        apart: Iterable[PluginInfo] = (),
    ) -> None:
        self.group = group
        self._word = loader.groups.row(group).word
        self.candidates: dict[str, Candidate] = {}
        for candidate in candidates:
            first = self.candidates.setdefault(candidate.info.name, candidate)
            if first is not candidate:
                self._tell_second(first.info, candidate.info)
        self._loader = loader
        self._made: dict[str, T] = {}
        self._apart = {info.name for info in apart if info.group == group}
        self._told: set[str] = set()

    def _tell_second(self, first: PluginInfo, second: PluginInfo) -> None:
        """Say that of two of one name the second is not used."""
        whose = f"the one of {second.distribution}" if second.distribution else "another that was handed over"
        told = f"the one that was handed over is used, {whose} is not; give it another name if both are needed"
        _log.warning("%s %s: %s", self._word, first.name, told)

    def names(self) -> tuple[str, ...]:
        """Return all names, in order, without importing anything."""
        return tuple(sorted(self.candidates))

    def info(self, name: str) -> PluginInfo:
        """Return what is known of one."""
        return self.candidates[name].info

    def failure(self, name: str, error: Exception | str) -> PluginInfo:
        """Return what is known of one that failed, for who tells of it."""
        self._told.add(name)
        return structs.replace(self.info(name), error=str(error))

    def get(self, name: str) -> T:
        """Return the plugin of this name, loading it if need be.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded, or is refused.
        """
        made = self._made.get(name)
        if made is not None:
            return made
        if name not in self.candidates:
            raise self.missing(name)
        loaded: T = self._loader(self.candidates[name])
        self._made[name] = loaded
        return loaded

    async def enter(self, name: str) -> T:
        """Return the plugin of this name, loaded and opened if need be.

        Raises:
            ComponentNotFoundError: There is none.
            PluginError: It cannot be loaded or opened, or is refused.
        """
        made = self.get(name)
        if not self.is_open(made):
            await self._loader.lifespans.enter(made)
        return made

    def is_open(self, made: T) -> bool:
        """Return whether a plugin that was loaded may be used as it is."""
        return self._loader.lifespans.is_open(made)

    def make(self, name: str, type_name: str) -> T:
        """Return a plugin constructed anew with the settings of a name, from the entry point that `type_name` names.

        Raises:
            ComponentNotFoundError: There is no such entry point.
            PluginError: It cannot be made.
        """
        target = self.get(type_name)
        made: T = self._loader.make(structs.replace(self.info(type_name), name=name), target)
        return made

    async def build(self, construct: Callable[[], Made], name: str = "") -> Made:
        """Return what a plugin of this group constructs for one use, opened; see the contract's `Registry`."""
        with self._loader.lifespans.collect() as needs:
            made = construct()
        if name:
            self._loader.lifespans.keep(self.info(name), made, needs, self._word)
        await self._loader.lifespans.enter_all(needs)
        await self._loader.lifespans.enter(made)
        return made

    async def open(self, made: object) -> None:
        """Open what `make` has returned, if need be."""
        await self._loader.lifespans.enter(made)

    async def leave(self, made: object) -> None:
        """End what was opened before the host closes."""
        await self._loader.lifespans.leave(made)

    @property
    def closing(self) -> bool:
        """Whether nothing is opened any more."""
        return self._loader.lifespans.closing

    def loadable(self, names: Iterable[str] | None = None) -> Iterator[tuple[str, T]]:
        """Yield those of these names, or of all, that load; of each that does not it is said once why not."""
        for name in self.names() if names is None else names:
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
        there = self.names()
        told = ", ".join(there[:_FEW]) or "none"
        told += f" and {len(there) - _FEW} more" if len(there) > _FEW else ""
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {told}"
        if name in self._apart:
            hint = "it is installed, but this host loads what it is handed: plugins=[...], or discover=True"
        return ComponentNotFoundError(f"{self._word} {name!r}: there is none; {hint}", address=f"{self._word}:{name}")
