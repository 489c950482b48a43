"""The storages of a host, by name; implements the contract's `Storages`."""

from __future__ import annotations

from collections.abc import Callable

import trio

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError

from .registry import LazyRegistry

__all__ = ["StorageRegistry"]


class StorageRegistry:
    """Opens storages, each once for all who ask.

    Args:
        registry: The backends.
        backend: Returns the name of the one that settings choose.
    """

    def __init__(self, registry: LazyRegistry[Storage], backend: Callable[[], str]) -> None:
        self._registry = registry
        self._backend = backend

    async def open(self, name: str = "", /) -> Storage:
        """Return an open storage; see the contract's `Storages`."""
        await trio.lowlevel.checkpoint()
        name = name or self._backend()
        if self._registry.closing:
            raise StorageError(f"storage {name}: the host closes; use it while it is open", code="closed")
        return await self._registry.enter(name)
