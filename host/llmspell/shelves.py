"""The shelves of services and storages: what discovery chose and what was handed over, made when first asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from llmspell.plugins import Candidate, Shelf, construct, load, plugin_name
from llmspell_hookspecs import PluginError, PluginInfo, Services, Storage

__all__ = ["service_shelf", "storage_shelf"]

TableOf = Callable[[str], dict[str, Any]]


def service_shelf(
    candidates: Iterable[Candidate], handed: Iterable[Any], table_of: TableOf, services: Services
) -> Shelf[Any]:
    """Answer the services that plugins bring, by name.

    Args:
        candidates: What discovery chose.
        handed: What was handed over; it wins.
        table_of: Answers a plugin's own settings.
        services: What they are constructed with.
    """

    def make(info: PluginInfo, target: Any) -> Any:
        made = construct(info, target, table_of(info.name), services) if inspect.isclass(target) else target
        if not inspect.isclass(getattr(made, "provides", None)):
            message = f"service {info.name}: it does not say which protocol it keeps; give its class provides = ..."
            raise PluginError(message, plugin=info.name)
        return made

    return _shelf("service", candidates, ("llmspell.services", handed), make)


def storage_shelf(
    candidates: Iterable[Candidate], handed: Iterable[Any], table_of: TableOf, services: Services
) -> Shelf[Storage]:
    """Answer the storages, by name; as `service_shelf`."""

    def make(info: PluginInfo, target: Any) -> Storage:
        made = construct(info, target, table_of(info.name), services) if inspect.isclass(target) else target
        if not isinstance(made, Storage):
            message = f"storage {info.name}: it does not keep the protocol Storage; see llmspell_hookspecs.storage"
            raise PluginError(message, plugin=info.name)
        return made

    return _shelf("storage", candidates, ("llmspell.storage", handed), make)


def _shelf(
    word: str,
    candidates: Iterable[Candidate],
    handed: tuple[str, Iterable[Any]],
    make: Callable[[PluginInfo, Any], Any],
) -> Shelf[Any]:
    group, items = handed
    shelf: Shelf[Any] = Shelf(word, candidates, lambda found: make(found.info, load(found.info, found.point)))
    for item in items:
        info = PluginInfo(plugin_name(item), group)
        shelf.put_later(info.name, partial(make, info, item))
    return shelf
