"""The groups of plugins that one host knows, and what is handed over in code to ``Host.open(plugins=...)``, by group.

Its own groups are as the contract has them; component kinds bring others.

Invariant: whatever is found by entry point and whatever is handed over in code is judged by the same row. What is
handed over goes to exactly one group; what is no plugin, and what comes twice, is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, Final

from msgspec import Struct, structs

from llmspell.settings import SCHEMA, Settings
from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of
from llmspell_hookspecs.groups import GROUPS, KINDS, PLUGINS, name_problem, plugin_name
from llmspell_hookspecs.kind import ComponentGroup
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.spelling import one_line, told

__all__ = ["AT_START", "OWN_GROUPS", "STARTED", "Candidate", "Groups", "holds_one", "sort_handed"]

OWN_GROUPS: Final = frozenset(row.name for row in GROUPS)
STARTED: Final = "llmspell.services"
"""The group of which one may say ``eager``: what packages bring there is imported at start."""
AT_START: Final = frozenset({PLUGINS, KINDS, STARTED})
"""The groups of which what packages bring is imported as a host starts, and may have a say in all that it does."""


class Candidate(Struct, frozen=True):
    """What may be loaded, or why not.

    Attributes:
        info: What is known of it; ``info.error`` says why it is refused.
        point: The entry point; None for what was handed over in code.
        target: What was handed over.
    """

    info: PluginInfo
    point: EntryPoint | None = None
    target: Any = None


class Groups:
    """The groups by name."""

    def __init__(self) -> None:
        self._rows = {row.name: row for row in GROUPS}

    def add(self, row: ComponentGroup) -> None:
        """Take in the group of a kind's components.

        Raises:
            PluginError: Another kind has brought this group.
        """
        known = self._rows.get(row.name)
        if known is not None and known != row:
            raise PluginError(f"group {row.name}: {known.word} is in it already; choose another name")
        self._rows[row.name] = row

    def row(self, name: str) -> ComponentGroup:
        """Return the row of a group; that of a kind which is not loaded says its name and nothing else."""
        row = self._rows.get(name)
        if row is None:
            word = name.removeprefix("llmspell.")
            section = word if word in SCHEMA.sections else "plugins"
            row = ComponentGroup(name, word.removesuffix("s").replace("_", " "), lambda item: False, section)
        return row

    def of(self, item: Any) -> ComponentGroup:
        """Return the group of something that was handed over in code; what is nothing else brings hooks."""
        own = [row for row in self._rows.values() if row.name not in OWN_GROUPS]
        return next(row for row in (*own, *GROUPS) if row.is_one(item))


def holds_one(row: ComponentGroup, handed: Mapping[str, Iterable[Candidate]]) -> bool:
    """Return whether something that was handed over may be of a group: it is, or it cannot be looked at."""
    try:
        with Blamed(lambda error: PluginError(text_of(error))):
            return any(row.is_one(each.target) for group in handed.values() for each in group)
    except PluginError:  # told where it is sorted
        return True


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
    problem = name_problem(name, row.section, SCHEMA.keys_of(row.section or "plugins"))
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
