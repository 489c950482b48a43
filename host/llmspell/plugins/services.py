"""The services of a host: what the host offers, and what plugins bring, each by its protocol.

The entry point of a service is named as its protocol is, in snake case: ``state`` implements ``State``, so that one
look-up finds it and nothing else is imported. The class says so too: ``provides = State``.

Invariant: a service that settings disable is not imported; one that implements another protocol than was asked for, or
is not open yet, is not handed out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import trio

from llmspell_hookspecs.errors import ComponentNotFoundError, PluginError
from llmspell_hookspecs.groups import service_name

from .lifespan import Lifespans
from .registry import LazyRegistry

__all__ = ["ServiceRegistry"]

T = TypeVar("T")


class ServiceRegistry:
    """Services by protocol; implements the contract's `Services`.

    Args:
        lifespans: Open what plugins bring.
        plugin_settings: Returns a plugin's own table.

    Attributes:
        brought: The services of plugins, by name; None until plugins are known.
    """

    def __init__(self, lifespans: Lifespans, plugin_settings: Callable[[str], dict[str, Any]]) -> None:
        self.brought: LazyRegistry[Any] | None = None
        self._lifespans = lifespans
        self._plugin_settings = plugin_settings
        self._offered: dict[type[Any], Any] = {}
        self._found_before: dict[Any, Any] = {}

    def offer(self, protocol: type[Any], service: Any) -> None:
        """Offer a service under its protocol."""
        self._offered[protocol] = service

    def get(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol; see the contract's `Services`."""
        service: T = self._found(protocol)
        if not self._lifespans.ask(service):
            name = getattr(protocol, "__name__", str(protocol))
            message = (
                f"service {name}: it is not open yet; ask for it in a constructor, or await services.enter({name})"
            )
            raise PluginError(message, plugin=service_name(type(service)))
        return service

    async def enter(self, protocol: Callable[..., T], /) -> T:
        """Return the service that implements this protocol, opened if need be."""
        await trio.lowlevel.checkpoint()
        service: T = self._found(protocol)
        await self._lifespans.enter(service)
        return service

    def settings(self, plugin: str, /) -> dict[str, Any]:
        """Return the plain settings of a plugin."""
        return self._plugin_settings(plugin)

    def _found(self, protocol: Any) -> Any:
        service = self._offered.get(protocol)
        if service is None:
            service = self._found_before.get(protocol)
        if service is None and self.brought is not None:
            service = self._found_before[protocol] = self._brought_by(protocol, self.brought)
        if service is None:
            known = ", ".join(offered.__name__ for offered in self._offered)
            name = getattr(protocol, "__name__", str(protocol))
            raise ComponentNotFoundError(f"service {name}: nothing offers it; there are {known}", address=name)
        return service

    def _brought_by(self, protocol: Any, brought: LazyRegistry[Any]) -> Any:
        name = service_name(protocol)
        if name not in brought.candidates:
            return None
        service = brought.get(name)
        if service.provides is not protocol:
            given = f"{service.provides.__module__}.{service.provides.__name__}"
            wanted = f"{protocol.__module__}.{protocol.__name__}"
            raise PluginError(f"service {name}: it implements {given}, not {wanted}; rename one", plugin=name)
        return service
