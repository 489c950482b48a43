"""The storage encrypted: another backend, with every value encrypted before it gets there.

Invariant: without a master key it is not opened, and nothing is written in the clear in its place.
"""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Services, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.kind import Registries, Registry
from llmspell_hookspecs.vault import Vault

from .cipher import Algorithm
from .sealed import Sealed

__all__ = ["Encrypted", "EncryptedSettings"]


class EncryptedSettings(BaseModel):
    """What ``encrypted`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inner: str = Field(default="sqlite", min_length=1, description="The backend that keeps what is encrypted.")
    algorithm: Algorithm = Field(default="aes-256-gcm", description="How new keys encrypt.")


class Encrypted(Sealed):
    """A storage around another one."""

    name: ClassVar[str] = "encrypted"
    Settings: ClassVar[type[EncryptedSettings]] = EncryptedSettings

    def __init__(self, settings: EncryptedSettings, services: Services) -> None:
        self._settings = settings
        self._registry: Registry[Storage] = services.get(Registries).of("llmspell.storage")
        if settings.inner == self.name:
            raise StorageError("storage encrypted: inner is itself; name the backend that keeps what is encrypted")
        super().__init__(None, services.get(Vault), settings.algorithm, f"encrypted {settings.inner}")

    async def __aenter__(self) -> Self:
        """Open it, and the one below."""
        self.sealed = await self._registry.enter(self._settings.inner)
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it; the host closes the one below."""
        await self.close()
