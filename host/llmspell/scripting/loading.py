"""The globals of scripts: loaded when the first script runs, and for each run constructed from what the plugins bring.

Invariant: one object per global and run; no two globals bring the same name; whatever goes wrong names its plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llmspell.plugins import Candidate, load, plugin_name
from llmspell_hookspecs import LlmspellError, PluginError, ScriptGlobal, ScriptScope, Services

__all__ = ["GlobalFactory", "Globals", "load_globals"]

GlobalFactory = Callable[[Services, ScriptScope], ScriptGlobal]


class Globals:
    """The globals of scripts: loaded when the first script runs."""

    def __init__(self, candidates: Iterable[Candidate], handed: Iterable[type[ScriptGlobal]]) -> None:
        self._candidates = list(candidates)
        self._factories: list[tuple[str, GlobalFactory]] = [(plugin_name(item), item) for item in handed]
        self._loaded = False

    def __call__(self) -> Iterable[tuple[str, GlobalFactory]]:
        """Answer their names and factories."""
        if not self._loaded:
            for candidate in self._candidates:
                if not candidate.info.error:
                    self._factories.append((candidate.info.name, load(candidate.info, candidate.point)))
            self._loaded = True
        return self._factories


def load_globals(
    factories: Iterable[tuple[str, GlobalFactory]], services: Services, scope: ScriptScope
) -> dict[str, Any]:
    """Construct the globals of a run.

    Args:
        factories: For each plugin its name and what constructs its global, most often the class.
        services: What the globals may use of the host.
        scope: The run.

    Raises:
        PluginError: A global cannot be constructed, or brings a name that another one brought.
    """
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for plugin, factory in factories:
        for name, value in _construct(plugin, factory, services, scope).items():
            if name in origin:
                message = f"script global {name}: both {origin[name]} and {plugin} bring it; disable one of the two"
                raise PluginError(message, plugin=plugin)
            origin[name] = plugin
            found[name] = value
    return found


def _construct(plugin: str, factory: GlobalFactory, services: Services, scope: ScriptScope) -> dict[str, Any]:
    try:
        return dict(factory(services, scope).script_globals())
    except Exception as error:
        reason = str(error) if isinstance(error, LlmspellError) else f"{type(error).__name__}: {error}"
        message = f"script global {plugin}: it cannot be constructed: {reason}; repair it, or disable the plugin"
        raise PluginError(message, plugin=plugin) from error
