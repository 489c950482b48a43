"""The globals of scripts: imported when a script first needs them, constructed for each run.

Invariant: one object per global and run, and of the host's own none that the script cannot reach. What goes wrong with
one names its plugin and takes away nothing but that one; of two that bring one name the host's own stands, else the
first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Set
from functools import partial
from typing import Any

from llmspell.plugins import OWN, LazyRegistry
from llmspell_hookspecs import ScriptGlobal, Services
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.language import ScriptScope

__all__ = ["GlobalFactory", "load_globals", "make_globals"]

GlobalFactory = Callable[[Services, ScriptScope], ScriptGlobal]
_log = logging.getLogger("llmspell")


async def make_globals(
    shelf: LazyRegistry[GlobalFactory],
    services: Services,
    scope: ScriptScope,
    words: Collection[str] | None,
    granted: Set[str] | None = None,
) -> dict[str, Any]:
    """Construct the globals of a run; see `load_globals`.

    Args:
        shelf: The plugins of the group.
        services: What the globals may use of the host.
        scope: The run.
        words: All by which the script can reach a global; None for all there are. The host's own globals have the
            names of their entry points, and only those among the words are imported.
        granted: The names that the script may see, None for all; of the host's own no others are imported.
    """
    own = {name for name in shelf.names() if shelf.info(name).distribution == OWN}
    unnamed = own.difference(words) if words is not None else set()
    unnamed |= own.difference(granted) if granted is not None else set()
    names = sorted(set(shelf.names()).difference(unnamed), key=lambda name: (name not in own, name))
    found = list(shelf.loadable(names))
    return await shelf.build(lambda: load_globals(found, services, scope, unnamed))


def load_globals(
    factories: Iterable[tuple[str, GlobalFactory]],
    services: Services,
    scope: ScriptScope,
    unnamed: Iterable[str] = (),
) -> dict[str, Any]:
    """Construct the globals of a run; one that cannot be constructed, or whose name another one brought, is left out.

    Args:
        factories: For each plugin its name and what constructs its global, most often the class.
        services: What the globals may use of the host.
        scope: The run.
        unnamed: Those of the host's that the script cannot reach: not constructed, and yet nobody else's.
    """
    found: dict[str, Any] = {}
    origin: dict[str, str] = {name: name for name in unnamed}
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
