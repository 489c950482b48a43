"""The globals of scripts: loaded when the first script runs, and for each run constructed from what the plugins bring.

Invariant: one object per global and run. What goes wrong with one names its plugin and takes away nothing but that one;
of two that bring one name the host's own stands, else the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from llmspell.plugins import OWN, LazyRegistry
from llmspell_hookspecs import PluginError, ScriptGlobal, ScriptScope, Services
from llmspell_hookspecs.foreign import Blamed, text_of

__all__ = ["GlobalFactory", "Globals", "load_globals"]

GlobalFactory = Callable[[Services, ScriptScope], ScriptGlobal]
_log = logging.getLogger("llmspell")


class Globals:
    """The globals of scripts: loaded when the first script runs.

    Args:
        shelf: The plugins of the group.
    """

    def __init__(self, shelf: LazyRegistry[GlobalFactory]) -> None:
        self._shelf = shelf
        self._factories: list[tuple[str, GlobalFactory]] | None = None

    async def load(self, services: Services, scope: ScriptScope) -> dict[str, Any]:
        """Construct the globals of a run; see `load_globals`."""
        return await self._shelf.build(lambda: load_globals(self._known(), services, scope))

    def _known(self) -> Iterable[tuple[str, GlobalFactory]]:
        """Return their names and factories, the host's own first."""
        if self._factories is None:
            found = list(self._shelf.loadable())
            self._factories = sorted(found, key=lambda each: self._shelf.info(each[0]).distribution != OWN)
        return self._factories


def load_globals(
    factories: Iterable[tuple[str, GlobalFactory]], services: Services, scope: ScriptScope
) -> dict[str, Any]:
    """Construct the globals of a run; one that cannot be constructed, or whose name another one brought, is left out.

    Args:
        factories: For each plugin its name and what constructs its global, most often the class.
        services: What the globals may use of the host.
        scope: The run.
    """
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for plugin, factory in factories:
        try:
            with Blamed(partial(_failed, plugin)):
                brought = {str(name): value for name, value in factory(services, scope).script_globals().items()}
        except PluginError as error:
            _log.warning("%s", error)
            continue
        for name, value in brought.items():
            if name in origin:
                message = "script global %s: %s and %s both bring it, and the first stands; disable one of them"
                _log.warning(message, name, origin[name], plugin)
            else:
                origin[name], found[name] = plugin, value
    return found


def _failed(plugin: str, error: BaseException) -> PluginError:
    message = f"script global {plugin}: it cannot be constructed: {text_of(error)}; repair it, or disable the plugin"
    return PluginError(message, plugin=plugin)
