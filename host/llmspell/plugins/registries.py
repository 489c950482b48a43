"""The plugins of all groups: what was handed over in code and what is installed, chosen by settings and group by group.

Invariant: what was handed over and what was found go the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmspell.settings import Settings
from llmspell_hookspecs.groups import KINDS, PLUGINS
from llmspell_hookspecs.kind import ComponentGroup

from .discovery import Candidate, Installed, choose
from .handed import sort_handed
from .loading import Loader
from .registry import LazyRegistry

__all__ = ["PluginRegistries"]


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
        self._plugins = plugins if isinstance(plugins, str | bytes | dict) else _listed(plugins)
        self._settings = settings
        self._loader = loader
        self._discover = discover
        self._made: dict[str, LazyRegistry[Any]] = {}
        self.handed = sort_handed(self._plugins, settings, loader.groups)

    def candidates(self, group: str) -> list[Candidate]:
        """Return what may be loaded of a group, and what is refused with the reason."""
        handed = self.handed.get(group, ())
        chosen = choose(group, self._settings, self.installed, discover=self._discover)
        return [*(each for each in handed if self._settings.plugin(each.info.name, group).enabled), *chosen]

    def of(self, group: str) -> LazyRegistry[Any]:
        """Return the plugins of a group."""
        made = self._made.get(group)
        if made is None:
            made = LazyRegistry(group, self.candidates(group), self._loader, self.apart)
            self._made[group] = made
        return made

    def others(self) -> Iterator[LazyRegistry[Any]]:
        """Yield the plugins of each group but hook plugins and kinds, which the host loads itself."""
        for group in dict.fromkeys((*self.installed.groups, *self.handed)):
            if group not in (PLUGINS, KINDS):
                yield self.of(group)

    def know(self, row: ComponentGroup) -> None:
        """Take in the group of a kind's components.

        Raises:
            PluginError: Another kind has brought this group.
        """
        self._loader.groups.add(row)
        self.handed = sort_handed(self._plugins, self._settings, self._loader.groups)


def _listed(plugins: Iterable[Any]) -> Any:
    """Return what can be gone through more than once."""
    return list(plugins) if isinstance(plugins, Iterable) else plugins
