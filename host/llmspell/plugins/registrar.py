"""Registration: pluggy validates a plugin's hooks, the registry takes them in.

pluggy's own call path is not used. Its look at every attribute is replaced by ours, which asks for our marker only.

Invariant: a plugin is registered with all of its hooks or with none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pluggy

from llmspell.hooks import HookRegistry, check_subject
from llmspell_hookspecs import PROJECT, HookError, HookOptions, HookPoint, HookRegistrationError, points_of

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
        """Answer pluggy's options for a marked function, None for anything else."""
        if name.startswith("__"):
            return None
        marked = _attribute(plugin, name)
        options = getattr(marked, "llmspell_options", None)
        return getattr(marked, "llmspell_impl", None) if isinstance(options, HookOptions) else None

    def take(self, plugin: Any, name: str) -> int:
        """Register a plugin's points and hooks; answers how many hooks.

        Raises:
            HookRegistrationError: One of them is wrong; none is registered then.
            HookOrderError: Their constraints form a cycle; none is registered then.
        """
        for point in points_of(plugin if inspect.ismodule(plugin) or inspect.isclass(plugin) else type(plugin)):
            self._registry.catalog.add(point)
        try:
            self._validate(plugin, name)
            return self._register(plugin, name)
        except Exception:
            self._registry.remove_plugin(name)
            if self.has_plugin(name):
                self.unregister(name=name)
            raise

    def _validate(self, plugin: Any, name: str) -> None:
        try:
            self.register(plugin, name=name)
        except (pluggy.PluginValidationError, ValueError) as error:
            message = f"plugin {name}: {' '.join(str(error).split())}; mend the hook's declaration"
            raise HookRegistrationError(message) from error

    def _register(self, plugin: Any, name: str) -> int:
        count = 0
        for attribute in self._marked(plugin):
            function = getattr(plugin, attribute)
            options: HookOptions = function.llmspell_options
            point, pattern = self._registry.catalog.resolve(options.specname or attribute)
            _check(function, name, point)
            if pattern is not None and options.match is None:
                message = f"plugin {name}: {options.specname} names a component; say match={pattern!r} instead"
                raise HookRegistrationError(message, hook=attribute, point=point.name)
            self._registry.add(point, function, options, plugin=name)
            count += 1
        return count

    def _marked(self, plugin: Any) -> list[str]:
        names = vars(plugin) if inspect.ismodule(plugin) else dir(plugin)
        return [name for name in names if self.parse_hookimpl_opts(plugin, name) is not None]


def _attribute(plugin: object, name: str) -> Any:
    if inspect.ismodule(plugin) or inspect.isclass(plugin):
        return vars(plugin).get(name) if inspect.ismodule(plugin) else getattr(plugin, name, None)
    return getattr(type(plugin), name, None)


def _check(function: Callable[..., Any], plugin: str, point: HookPoint) -> None:
    parameters = list(inspect.signature(function).parameters)
    if parameters != ["context"]:
        raise _wrong(function, plugin, point, f"it takes ({', '.join(parameters)})", "its one argument is 'context'")
    check_subject(function, "context", f"hook {plugin}.{getattr(function, '__name__', 'hook')}", point)


def _wrong(function: Callable[..., Any], plugin: str, point: HookPoint, problem: str, remedy: str) -> HookError:
    name = getattr(function, "__name__", "hook")
    message = f"hook {plugin}.{name} at {point.name}: {problem}; {remedy}"
    return HookRegistrationError(message, hook=name, point=point.name)
