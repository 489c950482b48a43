"""Registration: pluggy holds a plugin's hooks, the registry takes them in.

pluggy's own call path is not used, nor its look at every attribute: what it is given has been found by `find_hooks`.

Invariant: a plugin is registered with all of its hooks or with none, and takes nobody else's out.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pluggy

from llmspell.hooks import Hook, HookRegistry
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_hookspecs.finding import Found, find_hooks
from llmspell_hookspecs.points import PROJECT, points_of
from llmspell_hookspecs.signature import check_declared

__all__ = ["Registrar"]


class Registrar(pluggy.PluginManager):
    """pluggy's manager over our registry.

    Args:
        registry: Takes the hooks in.
    """

    def __init__(self, registry: HookRegistry) -> None:
        super().__init__(PROJECT)
        self._registry = registry

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Return pluggy's options for what has been found, None for anything else."""
        return {"specname": None} if isinstance(plugin, _Hooks) and name in vars(plugin) else None

    def declare(self, namespace: Any) -> None:
        """Take in the points that a module or class declares; None declares none.

        Raises:
            HookRegistrationError: A name belongs to another point.
        """
        for point in () if namespace is None else points_of(namespace):
            self._registry.catalog.add(point)

    def take(self, plugin: Any, name: str) -> tuple[int, int]:
        """Register a plugin's points and hooks; returns how many points and hooks.

        Raises:
            HookRegistrationError: One of them is wrong, or the name is taken; none is registered then.
            HookOrderError: Their constraints form a cycle; none is registered then.
        """
        if self.has_plugin(name):
            raise HookRegistrationError(f"plugin {name}: another of this name is registered; rename one of them")
        points = list(points_of(plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)))
        catalog = self._registry.catalog
        declared = [point for point in points if point not in catalog]
        added: list[Hook] = []
        try:
            for point in points:
                catalog.add(point)
            found = find_hooks(plugin, name, [point.name for point in catalog])
            for each in found:
                added.append(self._add(each, name))  # noqa: PERF401 - what was added before a failure is taken out
            routines = {each.attribute: each.function for each in found if inspect.isroutine(each.function)}
            stands = dict.fromkeys((each.attribute for each in found), _stands_in)
            self.register(_Hooks(**{**stands, **routines}), name=name)
        except Exception:
            for hook in added:
                self._registry.remove(hook)
            for point in declared:
                catalog.remove(point)
            raise
        return len(points), len(added)

    def _add(self, found: Found, plugin: str) -> Hook:
        options = found.options
        point, pattern = self._registry.catalog.resolve(options.specname or found.attribute)
        check_declared(found, plugin, point)
        if pattern is not None and options.match is None:
            message = f"plugin {plugin}: {options.specname} names a component; say match={pattern!r} instead"
            raise HookRegistrationError(message, hook=found.attribute, point=point.name)
        return self._registry.add(point, found.function, options, plugin=plugin)


def _stands_in(context: object) -> None:
    """Stands in for an object that can be called, which pluggy takes for no function."""


class _Hooks(SimpleNamespace):
    """What pluggy is given of a plugin: its hooks by name."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other
