"""What is handed over in code to ``Host.open(plugins=...)``, told apart by what each thing is.

Invariant: everything goes to exactly one group and is treated there as what is found; what is no plugin, and what comes
twice, is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from functools import partial
from typing import Any

from msgspec import structs

from llmspell.settings import Settings
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.groups import PLUGINS, name_problem, plugin_name
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.spelling import one_line, told

from .discovery import Candidate
from .groups import Groups

__all__ = ["sort_handed"]


def sort_handed(plugins: Iterable[Any], settings: Settings, groups: Groups) -> dict[str, list[Candidate]]:
    """Return what was handed over by group, also what settings disable.

    Raises:
        InvalidInputError: It is no list of plugins.
    """
    if isinstance(plugins, str | bytes | dict) or not isinstance(plugins, Iterable):
        message = f"plugins: {type(plugins).__name__} is no list of plugins; write plugins=[...]"
        raise InvalidInputError(message, field="plugins")
    handed: dict[str, list[Candidate]] = {}
    for item in plugins:
        candidate = _candidate(item, settings, groups)
        info, group = candidate.info, handed.setdefault(candidate.info.group, [])
        if any(other.info.name == info.name for other in group):
            error = f"plugin {info.name}: another of this name was handed over before it; rename one of them"
            candidate = structs.replace(candidate, info=structs.replace(info, error=error))
        group.append(candidate)
    return handed


def _candidate(item: Any, settings: Settings, groups: Groups) -> Candidate:
    """Return what was handed over, with what is wrong with it."""
    module = "code"
    try:
        with Blamed(partial(_unnameable, type(item))):
            module = _module(item)
            target = getattr(item, "llmspell_tool", item) if inspect.isfunction(item) else item
            row, name, given = groups.of(target), plugin_name(target), inspect.getattr_static(target, "name", None)
            says = inspect.getattr_static(target, "required", None) is True
    except PluginError as error:
        return Candidate(PluginInfo(error.plugin, PLUGINS, module=module, error=str(error)), target=item)
    group = row.name
    problem = name_problem(name, row.section, Settings.keys_of(row.section or "plugins"))
    if isinstance(given, bytes | int | float | list | tuple | dict | set):
        problem = f"its name is {told(given, 80)}, no text; give it one"
    if problem:
        shown = one_line(name, 100)
        refusal = f"plugin {shown or module}: {problem}"
        return Candidate(PluginInfo(shown or module, group, module=module, required=says, error=refusal), target=target)
    required = says or bool(settings.plugin(name, group).required)
    return Candidate(PluginInfo(name, group, module=module, required=required), target=target)


def _module(item: Any) -> str:
    if inspect.ismodule(item):
        return item.__name__
    holder: Any = item if inspect.isclass(item) or inspect.isfunction(item) else type(item)
    return f"{holder.__module__}:{holder.__qualname__}"


def _unnameable(kind: type, error: BaseException) -> PluginError:
    name = kind.__name__
    return PluginError(f"plugin {name}: it cannot be looked at: {text_of(error)}; repair it", plugin=name)
