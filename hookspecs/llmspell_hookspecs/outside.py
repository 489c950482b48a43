"""Services outside a host: for whoever makes a plugin to look at it, and runs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import ComponentNotFoundError

__all__ = ["NoServices", "needs_a_host"]


def needs_a_host(problem: BaseException | None) -> bool:
    """Return whether a constructor used what only a running host has, which says nothing against it."""
    while problem is not None and not isinstance(problem, _OutsideError):
        problem = problem.__cause__
    return problem is not None


class _OutsideError(ComponentNotFoundError):
    """A service was used outside a host."""


class NoServices:
    """Services outside a host: a constructor may ask for one and keep it, but not use it."""

    def get(self, protocol: Callable[..., Any], /) -> Any:
        """Return what stands for the service."""
        return _Unavailable(getattr(protocol, "__name__", "service"))

    async def enter(self, protocol: Callable[..., Any], /) -> Any:
        """Open nothing."""
        return self.get(protocol)

    def settings(self, plugin: str, /) -> dict[str, Any]:
        """Return no settings."""
        return {}


class _Unavailable:
    """What stands for a service that only a running host has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Say that it cannot be used yet."""
        message = f"service {self._name}: {attribute} cannot be used in a constructor; use it when a hook is called"
        raise _OutsideError(message, address=self._name)
