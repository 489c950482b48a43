"""The tables in settings that only a plugin's own model knows: checks each without making the plugin.

Invariant: what is checked is what would be handed to the plugin; nothing but the modules of plugins with a table is
imported, and no disabled one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel

from llmspell.settings import LoadedSettings, Settings
from llmspell_hookspecs import LlmspellError, SettingsError

from .discovery import GROUPS, Candidate, Installed, choose
from .loading import load, validated

__all__ = ["table_problems"]

_SECTIONS: Final = {"llmspell.tools": "tools", "llmspell.providers": "providers", "llmspell.storage": "storage"}
_Table = tuple[str, str, dict[str, Any], Candidate | None]
"""The section, the name in it, the table, and the plugin that it is for."""


def table_problems(loaded: LoadedSettings) -> list[SettingsError]:
    """Answer what is wrong with the tables of plugins, tools, providers and storages, each with its origin."""
    problems = []
    for section, name, table, candidate in _tables(loaded.settings):
        try:
            _check(section, name, table, candidate)
        except LlmspellError as error:
            key = str(error).partition(": ")[0]
            origin = _origin(loaded, key, f"{section}.{name}")
            problems.append(SettingsError(f"{origin}: {error}", origin=origin, key=key))
    return problems


def _origin(loaded: LoadedSettings, key: str, table: str) -> str:
    """Where the key stands, or else the first key of its table."""
    found = loaded.origins.get(key)
    if found is None:
        found = next((each for path, each in loaded.origins.items() if path.startswith(table)), None)
    return "default" if found is None else str(found)


def _tables(settings: Settings) -> Iterator[_Table]:
    installed = Installed()
    found = {group: {each.info.name: each for each in choose(group, settings, installed=installed)} for group in GROUPS}
    for section, tables, groups in (
        ("plugins", settings.plugins.__pydantic_extra__ or {}, [group for group in GROUPS if group not in _SECTIONS]),
        ("tools", settings.tools.__pydantic_extra__ or {}, ["llmspell.tools"]),
        ("providers", settings.providers.__pydantic_extra__ or {}, ["llmspell.providers"]),
        ("storage", settings.storage.__pydantic_extra__ or {}, ["llmspell.storage"]),
    ):
        for name in tables:
            table = _own_table(settings, section, name)
            kind = str(table.pop("type", name)) if section == "providers" else name
            candidates = [found[group][kind] for group in groups if kind in found[group]]
            if candidates or section != "plugins":  # a hook plugin may be installed elsewhere only
                yield section, name, table, candidates[0] if candidates else None


def _own_table(settings: Settings, section: str, name: str) -> dict[str, Any]:
    table_of = {
        "plugins": settings.plugin_table,
        "tools": settings.tool_table,
        "providers": settings.provider_table,
        "storage": settings.storage_table,
    }[section]
    return dict(table_of(name))


def _check(section: str, name: str, table: dict[str, Any], candidate: Candidate | None) -> None:
    if candidate is None:
        message = f"{section}.{name}: nothing of that name or type is installed; install it, or take the table out"
        raise SettingsError(message, key=f"{section}.{name}")
    if candidate.info.error:
        raise SettingsError(f"{section}.{name}: {candidate.info.error}", key=f"{section}.{name}")
    model = getattr(load(candidate.info, candidate.point), "Settings", None)
    if inspect.isclass(model) and issubclass(model, BaseModel):
        validated(model, table, f"{section}.{name}")
    elif table:
        key = f"{section}.{name}.{next(iter(table))}"
        raise SettingsError(f"{key}: this plugin takes no settings; take the table out", key=key)
