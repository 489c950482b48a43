"""The plugins of each group, handed over or installed and chosen by settings; loaded by name on first use.

Invariant: a plugin is imported when it is first asked for by name, and once. What was handed over and what was found go
the same way. A service that implements another protocol than was asked for, or is not open yet, is not handed out.

The entry point of a service is named as its protocol is, in snake case: ``state`` implements ``State``, so that one
look-up finds it and nothing else is imported. The class says so too: ``provides = State``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

import trio
from msgspec import structs

from llmspell.settings import Settings
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError
from llmspell_hookspecs.groups import KINDS, PLUGINS, service_name
from llmspell_hookspecs.kind import ComponentGroup
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.spelling import meant

from .discovery import Installed, choose
from .groups import Candidate, holds_one, sort_handed
from .lifespan import Lifespans
from .loading import Loader

__all__ = ["LazyRegistry", "PluginRegistries", "ServiceRegistry"]

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
            handed = not (first.info.distribution and candidate.info.distribution)  # else discovery tells it
            if handed and first is not candidate:
                source = candidate.info.distribution
                whose = f"the one of {source}" if source else "another that was handed over"
                told = f"the one that was handed over is used, {whose} is not; give it another name if both are needed"
                _log.warning("%s %s: %s", self._word, first.info.name, told)
        self._loader = loader
        self._made: dict[str, T] = {}
        self._apart = {info.name for info in apart if info.group == group}
        self._told: set[str] = set()

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
        lifespans = self._loader.lifespans
        return id(made) not in lifespans.held or lifespans.is_open(made)

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
        there = self.names()
        told = ", ".join(there[:_FEW]) or "none"
        told += f" and {len(there) - _FEW} more" if len(there) > _FEW else ""
        hint = meant(name, there, f"there are {told}", most=3, cutoff=0.4)
        if name in self._apart:
            hint = "it is installed, but this host loads what it is handed: plugins=[...], or discover=True"
        return ComponentNotFoundError(f"{self._word} {name!r}: there is none; {hint}", address=f"{self._word}:{name}")


class PluginRegistries:
    """The plugins of one host; implements the contract's `Registries`.

    Args:
        plugins: What was handed over in code.
        settings: Say what is loaded.
        loader: Makes plugins.
        installed: What is installed.
        discover: Whether packages other than llmspell itself count.

    Attributes:
        installed: What is installed.
        apart: What of it is not loaded, since the host does not look for packages.
        handed: What was handed over, by group, also what settings disable.
    """

    def __init__(
        self, plugins: Iterable[Any], settings: Settings, loader: Loader, installed: Installed, *, discover: bool
    ) -> None:
        self.installed = installed
        self.apart = () if discover else installed.foreign
        self._plugins = plugins
        self._settings = settings
        self._loader = loader
        self._discover = discover
        self._made: dict[str, LazyRegistry[Any]] = {}
        self.handed = sort_handed(self._plugins, settings, loader.groups)

    def candidates(self, group: str) -> list[Candidate]:
        """Return what may be loaded of a group, and what is refused with the reason."""
        handed = [each for each in self.handed.get(group, ()) if self._settings.plugin(each.info.name, group).enabled]
        return handed + choose(group, self._settings, self.installed, discover=self._discover)

    def optional(self, name: str) -> Candidate | None:
        """Return the plugin of hooks of this name that is loaded only if somebody asks; None if there is none."""
        chosen = choose(PLUGINS, self._settings, self.installed, discover=self._discover, asked=name)
        return next((each for each in chosen if each.info.name == name and each.info.optional), None)

    def of(self, group: str) -> LazyRegistry[Any]:
        """Return the plugins of a group."""
        made = self._made.get(group)
        if made is None:
            made = LazyRegistry(group, self.candidates(group), self._loader, self.apart)
            self._made[group] = made
        return made

    def others(self) -> list[LazyRegistry[Any]]:
        """Return the plugins of each group but hook plugins and kinds, which the host loads itself."""
        groups = dict.fromkeys((*self.installed.groups, *self.handed))
        return [self.of(group) for group in groups if group not in (PLUGINS, KINDS)]

    def know(self, row: ComponentGroup) -> None:
        """Take in the group of a kind's components.

        Raises:
            PluginError: Another kind has brought this group.
        """
        self._loader.groups.add(row)
        if holds_one(row, self.handed):
            self.handed = sort_handed(self._plugins, self._settings, self._loader.groups)


class ServiceRegistry:
    """Services by protocol; implements the contract's `Services`.

    Args:
        lifespans: Open what plugins bring.
        plugin_settings: Returns a plugin's own table.

    Attributes:
        brought: The services of plugins, by name; None until plugins are known.
    """

    def __init__(self, lifespans: Lifespans, plugin_settings: Callable[[str], dict[str, Any]]) -> None:
        self.brought: LazyRegistry[Any] | None = None
        self._lifespans = lifespans
        self._plugin_settings = plugin_settings
        self._offered: dict[type[Any], Any] = {}
        self._found_before: dict[Any, Any] = {}

    def offer(self, services: Mapping[type[Any], Any]) -> None:
        """Offer services, each under its protocol."""
        self._offered |= services

    def get(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol; see the contract's `Services`."""
        service: T = self._found(protocol)
        if id(service) in self._lifespans.held and not self._lifespans.ask(service):
            name = getattr(protocol, "__name__", str(protocol))
            message = (
                f"service {name}: it is not open yet; ask for it in a constructor, or await services.enter({name})"
            )
            raise PluginError(message, plugin=service_name(type(service)))
        return service

    async def enter(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol, opened if need be."""
        await trio.lowlevel.checkpoint()
        service: T = self._found(protocol)
        await self._lifespans.enter(service)
        return service

    def settings(self, plugin: str, /) -> dict[str, Any]:
        """Return the plain settings of a plugin."""
        return self._plugin_settings(plugin)

    def _found(self, protocol: Any) -> Any:
        service = self._offered.get(protocol)
        if service is None:
            service = self._found_before.get(protocol)
        if service is None and self.brought is not None:
            service = self._found_before[protocol] = self._brought_by(protocol, self.brought)
        if service is None:
            name = getattr(protocol, "__name__", str(protocol))
            hint = "enable the service that does, or install one (llmspell plugin list --group services)"
            raise ComponentNotFoundError(f"service {name}: nothing offers it; {hint}", address=name)
        return service

    def _brought_by(self, protocol: Any, brought: LazyRegistry[Any]) -> Any:
        name = service_name(protocol)
        if name not in brought.candidates:
            return None
        service = brought.get(name)
        if service.provides is not protocol:
            given = f"{service.provides.__module__}.{service.provides.__name__}"
            wanted = f"{protocol.__module__}.{protocol.__name__}"
            raise PluginError(f"service {name}: it implements {given}, not {wanted}; rename one", plugin=name)
        return service
