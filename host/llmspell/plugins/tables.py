"""The tables in settings that only a plugin's own model knows: checks each without making the plugin.

Invariant: what is checked is what would be handed to the plugin; nothing but the modules of plugins with a table is
imported, and no disabled one.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any, Final

from msgspec import structs
from pydantic import BaseModel

from llmspell.hooks import HookRegistry
from llmspell.settings import SCHEMA, LoadedSettings, Settings
from llmspell.settings.tighten import OwnModel, value_at
from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.groups import KINDS
from llmspell_hookspecs.kind import ComponentKind
from llmspell_hookspecs.loading import settings_of
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.services import HookInfo
from llmspell_hookspecs.spelling import meant, one_line

from .discovery import OWN, Installed, canonical, choose, scan_all
from .groups import Candidate, Groups, sort_handed
from .loading import load
from .registry import PluginRegistries

__all__ = [
    "TableModels",
    "components_in",
    "known_groups",
    "origin_of",
    "table_problems",
    "tell_unknown",
    "unknown_names",
]

_log = logging.getLogger("llmspell.plugins")
_SEE_HOOKS: Final = "take it out ('llmspell hook list' shows what there is)"
_Table = tuple[str, str, dict[str, Any], Candidate | None]
"""The section, the name in it, the table, and the plugin that it is for."""


def table_problems(loaded: LoadedSettings, installed: Installed) -> list[SettingsError]:
    """Return what is wrong with the tables of plugins, tools, providers and storages, each with its origin."""
    problems = []
    for section, name, table, candidate in _tables(loaded.settings, installed):
        try:
            _check(section, name, table, candidate)
        except LlmspellError as error:
            key = str(error).partition(": ")[0]
            origin = origin_of(loaded, key, f"{section}.{name}")
            problems.append(SettingsError(f"{origin}: {error}", origin=origin, key=key))
    return problems


def unknown_names(
    settings: Settings, known: Iterable[PluginInfo], hooks: Iterable[HookInfo] | None = None
) -> list[tuple[str, str]]:
    """Return the keys that name plugins, packages, tools or hooks that there are not, each with what is wrong.

    Args:
        settings: Name them.
        known: What is installed or was handed over, whatever became of it.
        hooks: What is registered; None if that is not known.
    """
    named: list[tuple[str, str, set[str]]] = []
    infos = list(known)
    named_at_all = infos if settings.plugins_mentioned else ()
    spelled = {name for info in named_at_all for name in info.spellings}
    named += [("plugins.disabled", name, spelled) for name in settings.plugins.disabled]
    named += [("plugins.prefer", name, spelled) for name in settings.plugins.prefer]
    named += [(f"plugins.{name}", name, spelled) for name in settings.tables("plugins")]
    there: dict[str, set[str]] = {}
    for info in infos:
        there.setdefault(info.group.removeprefix("llmspell."), set()).add(info.name)
    packages = {OWN, *(info.distribution for info in infos if info.distribution)}
    known_packages = {canonical(package) for package in packages}
    named += [
        (key, name, packages)
        for key, name in (
            *(("plugins.trusted", name) for name in settings.plugins.trusted),
            *((f"plugins.prefer.{plugin}", name) for plugin, name in settings.plugins.prefer.items()),
        )
        if canonical(name) not in known_packages
    ]
    for section in SCHEMA.sections:
        mine, known_here = getattr(settings, section), there.get(section, set())
        if section != "plugins":
            named += [(f"{section}.disabled", name, known_here) for name in getattr(mine, "disabled", ())]
            named += [
                (f"{section}.{name}", str(table.get("type", name)) if mine.typed else name, known_here)
                for name, table in settings.tables(section).items()
            ]
    named += [("storage.backend", value_at(settings, ("storage", "backend")), there.get("storage", set()))]
    named += [("default_language", settings.default_language, there.get("languages", set()))]
    problems = _misplaced(settings, infos)
    for key, name, wanted in named:
        if name not in wanted:
            hint = meant(name, wanted, "take it out, or install it")
            what = f"nothing called {one_line(name, 100)!r} is installed"
            if key.endswith("s.disabled") and key not in ("plugins.disabled", "hooks.disabled"):
                what = f"nothing is named {one_line(name, 100)!r}, unless it is an alias"
            problems.append((key, one_line(f"{one_line(key, 150)}: {what}; {hint}")))
    if hooks is not None:
        hooks = list(hooks)
        present = [f"{hook.plugin}.{hook.name}" for hook in hooks]
        for pattern in settings.hooks.disabled:
            if not any(fnmatchcase(name, pattern) for name in present):
                hint = meant(pattern, set(present), _SEE_HOOKS)
                text = f"hooks.disabled: no hook is called {pattern!r}; {hint}"
                problems.append(("hooks.disabled", one_line(text)))
        words = {word for hook in hooks for word in (hook.plugin, hook.name, f"{hook.plugin}.{hook.name}")}
        for name in (name for order in settings.hooks.orders for name in order if name not in words):
            hint = meant(name, words, _SEE_HOOKS)
            problems.append(("hooks.order", one_line(f"hooks.order: no plugin or hook is called {name!r}; {hint}")))
    return problems


def _misplaced(settings: Settings, infos: Collection[PluginInfo]) -> list[tuple[str, str]]:
    """Return the tables of ``[plugins]`` with settings for what has its table in another section."""
    problems = []
    for name in settings.tables("plugins"):
        own = settings.plugin(name).own
        groups = {info.group.removeprefix("llmspell.") for info in infos if name in info.spellings} if own else set()
        if groups and groups <= set(SCHEMA.sections) - {"plugins"}:
            section = min(groups)
            key = f"plugins.{name}.{next(iter(own))}"
            what = f"{name} is no plugin of hooks or services but one of {section}, so nobody reads this"
            problems.append((key, one_line(f"{one_line(key, 150)}: {what}; write it in [{section}.{name}]")))
    return problems


def tell_unknown(settings: Settings, registries: PluginRegistries, groups: Groups, registry: HookRegistry) -> None:
    """Log what `unknown_names` finds and which hooks are idle, and which tables were meant for what was handed over.

    A class is known by its own name, so ``plugins=[Redact]`` does not get ``[plugins.redact]``, which is for a package
    that this host does not load. Of an installed package only what looks mistyped is a warning, since it may be written
    for one that is not installed.
    """
    installed = registries.installed
    given = [each.info for group in registries.handed.values() for each in group]
    known = [*scan_all(installed), *given]
    for key, problem in unknown_names(settings, known, registry.infos()):
        if key != "storage.backend":  # told to whoever opens it, as an error
            _log.warning("%s", problem)
    owned = {info.name for info in known if info.distribution}
    registry.components = components_in(known, groups)
    for hook, line in registry.idle():
        quiet = hook.plugin in owned and "did you mean" not in line and not registry.names_others(hook)
        _log.log(logging.INFO if quiet else logging.WARNING, "%s", line)
    names = {info.name for info in given}
    missed = {info.name for info in registries.apart} - names
    for section in SCHEMA.sections:
        for name in sorted(missed & set(settings.tables(section))):
            near = next((other for other in names if other.casefold() == name.replace("_", "").casefold()), "")
            if near:
                hint = f"give {near} the attribute name = {name!r}"
                _log.warning("%s.%s: what was handed over is called %r; %s", section, name, near, hint)


def components_in(known: Iterable[PluginInfo], groups: Groups) -> Mapping[str, Collection[str]]:
    """Return the components of each topic of which all are known: agents, say, are named as they are made."""
    names: dict[str, set[str]] = {}
    for info in known:
        names.setdefault(info.group, set()).add(info.name)
    found: dict[str, set[str]] = {"plugin": set().union(*names.values())}
    for row in map(groups.row, names):
        if row.topic:
            found.setdefault(row.topic, {*row.besides}).update(names[row.name])
    return found


def origin_of(loaded: LoadedSettings, key: str, table: str = "") -> str:
    """Return where a key stands, or else the first key of its table."""
    found = loaded.origins.get(key)
    if found is None:
        found = next((each for path, each in loaded.origins.items() if path.startswith(table or key)), None)
    return "default" if found is None else str(found)


def known_groups(settings: Settings, installed: Installed) -> Groups:
    """Return the groups that there are; imports the kinds of components, of which a broken one is passed over here."""
    groups = Groups()
    for candidate in choose(KINDS, settings, installed):
        with suppress(LlmspellError):
            kind = load(candidate).target
            if inspect.isclass(kind) and issubclass(kind, ComponentKind) and kind.group is not None:
                groups.add(kind.group)
    return groups


class TableModels:
    """Finds who knows the keys of a plugin's table; imports it, which is done only if a project's file has the table.

    Args:
        handed: What was handed over in code.
        installed: What is installed, if that is known.
    """

    def __init__(self, handed: Iterable[Any] = (), installed: Installed | None = None) -> None:
        self._handed = handed
        self._installed = installed

    @property
    def installed(self) -> Installed:
        """What is installed: the packages are read when it is first asked for, and once."""
        self._installed = self._installed or Installed()
        return self._installed

    def __call__(self, settings: Settings, section: str, name: str) -> OwnModel | None:
        """Return who knows the keys of a table; None if nobody does."""
        groups = known_groups(settings, self.installed)
        given = [each for group in sort_handed(self._handed, settings, groups).values() for each in group]
        found = [each for each in given if each.info.name == name and groups.row(each.info.group).section == section]
        found += [each for *at, _, each in _tables(settings, self.installed) if at == [section, name] and each]
        for candidate in found[:1]:
            with suppress(LlmspellError):
                model = getattr(load(candidate).target, "Settings", None)
                if inspect.isclass(model) and issubclass(model, BaseModel):
                    return OwnModel(model, name, candidate.info.group)
        return None


def _tables(settings: Settings, installed: Installed) -> Iterator[_Table]:
    groups = known_groups(settings, installed)
    rows = [groups.row(group) for group in installed.groups]
    found = {row.name: {each.info.name: each for each in choose(row.name, settings, installed)} for row in rows}
    for section in SCHEMA.sections:
        mine = [row for row in rows if row.section == section]
        for name in settings.tables(section):
            table = dict(settings.table(section, name))
            kind = str(table.pop("type", name)) if any(row.typed for row in mine) else name
            candidates = [found[row.name][kind] for row in mine if kind in found[row.name]]
            if candidates or section != "plugins":  # a hook plugin may be installed elsewhere only
                yield section, name, table, candidates[0] if candidates else None


def _check(section: str, name: str, table: dict[str, Any], candidate: Candidate | None) -> None:
    if candidate is None:
        message = f"{section}.{name}: nothing of that name or type is installed; install it, or take the table out"
        raise SettingsError(message, key=f"{section}.{name}")
    if candidate.info.error:
        raise SettingsError(f"{section}.{name}: {candidate.info.error}", key=f"{section}.{name}")
    settings_of(structs.replace(candidate.info, name=name), load(candidate).target, table, section)
