"""The service Storages: the storages of a host, by name."""

from __future__ import annotations

from typing import Any, ClassVar

import trio

from llmspell_hookspecs import Services, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.kind import Registries, Registry
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.storage import Storages

__all__ = ["OpenStorages"]


class OpenStorages:
    """Opens storages, each once for all who ask; implements the contract's `Storages`."""

    name: ClassVar[str] = "storages"
    provides: ClassVar[type[Any]] = Storages

    def __init__(self, settings: None, services: Services) -> None:
        self._registry: Registry[Storage] = services.get(Registries).of("llmspell.storage")
        self._settings = services.get(SettingsAccess)

    async def open(self, name: str = "", /) -> Storage:
        """Return an open storage; see the contract's `Storages`."""
        await trio.lowlevel.checkpoint()
        name = name or self._settings.section("storage").backend
        if self._registry.closing:
            raise StorageError(f"storage {name}: the host closes; use it while it is open", code="closed")
        return await self._registry.enter(name)
