"""Services that plugins bring: found by the name of their protocol, constructed when they are first asked for.

The entry point in ``llmspell.services`` is named as the protocol is, in snake case: ``state`` keeps ``State``, so one
look-up finds it and nothing else is imported. The class says so too: ``provides = State``.

Invariant: a service that settings disable is not imported; one that keeps another protocol than was asked for is not
handed out.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from llmspell.closing import close_each, named
from llmspell_hookspecs import PluginError

from .groups import service_name
from .plugins import closer_of
from .shelf import Shelf

__all__ = ["BroughtServices"]

_CLOSING_S: Final = 5.0


class BroughtServices:
    """The services of plugins.

    Args:
        shelf: The plugins of the group, by name.
    """

    def __init__(self, shelf: Shelf[Any]) -> None:
        self._shelf = shelf
        self._found: list[Any] = []

    def find(self, protocol: type[Any]) -> Any:
        """Answer the service that keeps this protocol, None if there is none.

        Raises:
            PluginError: It cannot be loaded, or it keeps another protocol.
        """
        name = service_name(protocol)
        if name not in self._shelf.names():
            return None
        service = self._shelf.get(name)
        if service.provides is not protocol:
            kept = f"{service.provides.__module__}.{service.provides.__name__}"
            message = f"service {name}: it keeps {kept}, not {protocol.__module__}.{protocol.__name__}; rename one"
            raise PluginError(message, plugin=name)
        if not any(service is known for known in self._found):
            self._found.append(service)
        return service

    async def close(self) -> None:
        """Close the services that have an ``aclose``, the last one first."""
        kept = [(_name_of(service), closer_of(service)) for service in reversed(self._found)]
        closers = [named(f"service {name}", closer) for name, closer in kept if closer is not None]
        self._found.clear()
        await close_each(closers, _CLOSING_S)


def _name_of(service: object) -> str:
    name = inspect.getattr_static(service, "name", None)
    return name if isinstance(name, str) else type(service).__name__
