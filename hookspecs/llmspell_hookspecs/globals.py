"""The globals of one run of a script, constructed of what plugins bring.

Invariant: what goes wrong with one names its plugin and takes away nothing but that one; of two that bring one name the
first stands. A script sees those that it was given, and is told of one that there is not.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from functools import partial
from typing import Any

from .errors import InvalidInputError, PluginError
from .foreign import Blamed, text_of
from .language import Language, ScriptGlobal, ScriptScope
from .plugin import Services
from .script import ScriptRun
from .spelling import told

__all__ = ["GlobalFactory", "acting_names", "granted_globals", "load_globals"]

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


def acting_names(script: ScriptRun, language: Language, granted: Set[str] | None) -> frozenset[str]:
    """Return the names of what a language brings itself and acts by.

    Args:
        script: Runs in it.
        language: The language.
        granted: The names that the script may see; None for all.

    Raises:
        InvalidInputError: It does not say, and the script is to have fewer globals than there are.
    """
    acting: frozenset[str] | None = getattr(language, "acting", None)
    if acting is None and granted is not None:
        message = f"script {script.name}: {language.name} can withhold no globals; run it without, or take another"
        raise InvalidInputError(message, field="language")
    return acting or frozenset()


def granted_globals(
    script: ScriptRun, granted: Set[str] | None, offered: Mapping[str, Any], others: Collection[str]
) -> dict[str, Any]:
    """Return those of the globals that a script has been given.

    Args:
        script: Asked for them.
        granted: The names that it may see; None for all.
        offered: Those that were made.
        others: The names of all others that there are.

    Raises:
        InvalidInputError: It asks for one that there is not; the nearest is named.
    """
    if granted is None:
        return dict(offered)
    for name in sorted(set(script.globals or ()).difference(offered, others)):
        near = difflib.get_close_matches(name[:80], sorted({*offered, *others}), 1)
        advice = f"did you mean {near[0]!r}?" if near else "leave it out"
        raise InvalidInputError(f"script {script.name}: globals: there is no {told(name)}; {advice}", field="globals")
    return {name: value for name, value in offered.items() if name in granted}


def _failed(plugin: str, error: BaseException) -> PluginError:
    message = f"script global {plugin}: it cannot be constructed: {text_of(error)}; repair it, or disable the plugin"
    return PluginError(message, plugin=plugin)
