"""The hook plugins of a host: discovered or handed over, constructed, registered, and what became of each.

Invariant: one that fails is named and leaves nothing behind; it never stops the host. While a required one is missing
operations are refused with its name.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import structs

from llmspell.closing import close_each
from llmspell.hooks import HookRegistry
from llmspell.settings import Settings
from llmspell_hookspecs import LlmspellError, PluginInfo, Services

from .discovery import PLUGINS, Candidate
from .loading import construct, load
from .registrar import Registrar

__all__ = ["Plugins", "plugin_name"]

_CLOSING_S: Final = 5.0


class Plugins:
    """The hook plugins of one host.

    Args:
        registry: Takes their hooks in.
        settings: Say which are loaded, and with what.
        services: What they are constructed with.

    Attributes:
        infos: What became of each, in the order of loading; ``error`` is empty if it is loaded.
    """

    def __init__(self, registry: HookRegistry, settings: Settings, services: Services) -> None:
        self.infos: list[PluginInfo] = []
        self._settings = settings
        self._services = services
        self._registrar = Registrar(registry)
        self._objects: list[tuple[str, Any]] = []

    def load(self, handed: Iterable[Any], chosen: Iterable[Candidate]) -> None:
        """Load what was handed over, then what discovery chose."""
        for plugin in handed:
            name = plugin_name(plugin)
            info = PluginInfo(name, PLUGINS, module=_module(plugin), required=self._settings.plugin_required(name))
            if self._settings.plugin_enabled(name):
                self._take(info, plugin)
        for candidate in chosen:
            self._discovered(candidate)

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of those that are loaded."""
        return tuple(info.name for info in self.infos if not info.error)

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of those that could not be loaded."""
        return tuple(info.name for info in self.infos if info.error)

    def refusal(self) -> str:
        """Answer why operations are refused; empty if no required plugin is missing."""
        missing = [name for name in self._settings.required_plugins() if name not in self.loaded]
        if not missing:
            return ""
        name = missing[0]
        error = next((info.error for info in self.infos if info.name == name), "")
        why = error or "it is not installed, or it is disabled"
        return (
            f"required plugin {name} is not loaded: {why}; "
            f"repair it, or take it out of plugins.required (llmspell plugin doctor)"
        )

    async def close(self) -> None:
        """Close the plugins that have an ``aclose``, the last one first."""
        closers = [getattr(plugin, "aclose", None) for _, plugin in reversed(self._objects)]
        self._objects.clear()
        await close_each(filter(inspect.iscoroutinefunction, closers), _CLOSING_S)

    def _discovered(self, candidate: Candidate) -> None:
        info = candidate.info
        if info.error or info.name in self.loaded:
            error = info.error or f"plugin {info.name}: one of this name was handed over in code; rename one of them"
            self.infos.append(structs.replace(info, error=error))
            return
        try:
            target = load(info, candidate.point)
        except LlmspellError as error:
            self.infos.append(structs.replace(info, error=str(error)))
            return
        self._take(info, target)

    def _take(self, info: PluginInfo, target: Any) -> None:
        try:
            plugin = construct(info, target, self._settings.plugin_table(info.name), self._services)
            self._registrar.take(plugin, info.name)
        except LlmspellError as error:
            text = str(error) if info.name in str(error) else f"plugin {info.name}: {error}"
            self.infos.append(structs.replace(info, error=text))
            return
        self._objects.append((info.name, plugin))
        self.infos.append(info)


def plugin_name(plugin: Any) -> str:
    """Answer the name of a plugin that was handed over: its ``name``, or its module's or class's own."""
    given = getattr(plugin, "name", None)
    if isinstance(given, str):
        return given
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return plugin.__name__.rpartition(".")[2]
    return type(plugin).__name__


def _module(plugin: Any) -> str:
    if inspect.ismodule(plugin):
        return plugin.__name__
    holder: Sequence[Any] = [plugin if inspect.isclass(plugin) else type(plugin)]
    return f"{holder[0].__module__}:{holder[0].__qualname__}"
