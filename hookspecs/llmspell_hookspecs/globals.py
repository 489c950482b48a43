"""The globals of one run of a script, constructed of what plugins bring.

Invariant: what goes wrong with one names its plugin and takes away nothing but that one; of two that bring one name the
first stands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .errors import PluginError
from .foreign import Blamed, text_of
from .language import ScriptGlobal, ScriptScope
from .plugin import Services

__all__ = ["GlobalFactory", "load_globals"]

GlobalFactory = Callable[[Services, ScriptScope], ScriptGlobal]
_log = logging.getLogger("llmspell")


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
