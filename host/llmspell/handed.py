"""What is handed over in code to ``Host.open(plugins=...)``, told apart by what each thing is.

Invariant: everything goes to exactly one place; what is nothing else is a plugin of hooks.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from llmspell.components import is_agent_kind, is_provider
from llmspell_hookspecs import ScriptGlobal, Storage, Tool

__all__ = ["Handed", "sort_handed"]


class Handed(Struct):
    """What was handed over, by what it is.

    Attributes:
        hooks: Modules, classes or objects with hooks.
        tools: Subclasses of `Tool`, or objects of them.
        agents: Kinds of agents.
        providers: Model providers.
        languages: What keeps `Language`.
        globals: Subclasses of `ScriptGlobal`.
        services: What says which protocol it ``provides``.
        storages: What keeps `Storage`.
    """

    hooks: list[Any]
    tools: list[Any]
    agents: list[Any]
    providers: list[Any]
    languages: list[Any]
    globals: list[Any]
    services: list[Any]
    storages: list[Any]


def sort_handed(plugins: Iterable[Any]) -> Handed:
    """Tell apart what was handed over."""
    handed = Handed([], [], [], [], [], [], [], [])
    for item in plugins:
        kind = item if inspect.isclass(item) else type(item)
        if issubclass(kind, Tool):
            handed.tools.append(item)
        elif is_agent_kind(item):
            handed.agents.append(item)
        elif is_provider(item):
            handed.providers.append(item)
        elif issubclass(kind, ScriptGlobal):
            handed.globals.append(item)
        elif inspect.isclass(getattr(item, "provides", None)):
            handed.services.append(item)
        elif issubclass(kind, Storage):
            handed.storages.append(item)
        elif all(hasattr(item, name) for name in ("extensions", "hook_adapter", "run")):
            handed.languages.append(item)
        else:
            handed.hooks.append(item)
    return handed
