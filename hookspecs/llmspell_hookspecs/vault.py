"""The topic vault: the master key of the person, what is locked with it, and the secrets that are kept so.

The master key is in the file that ``LLMSPELL_MASTER_KEY_FILE`` names, or in the system's keyring, or is made of the
passphrase in ``LLMSPELL_MASTER_PASSPHRASE``: the first of these that there is. Without one nothing is locked, and
nothing is kept in its place as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pydantic import SecretStr

__all__ = ["Vault"]


@runtime_checkable
class Vault(Protocol):
    """Locks and unlocks with the master key, which never leaves it, and keeps secrets by name in a file."""

    async def lock(self, data: bytes, purpose: str, /) -> bytes:
        """Return bytes from which only the master key, and the same purpose, lead back.

        Raises:
            StorageError: There is no master key, or it cannot be used; the message says what to do.
        """

    async def unlock(self, locked: bytes, purpose: str, /) -> bytes:
        """Return what was locked.

        Raises:
            StorageError: There is no master key, it is another one, or what was locked is damaged.
        """

    def peek(self, name: str, /) -> SecretStr | None:
        """Return a secret as the host read it when it began, for who cannot wait; None if there is none to be had."""

    async def names(self) -> Sequence[str]:
        """Return the names of the secrets, in order; needs no master key."""

    async def get(self, name: str, /) -> SecretStr | None:
        """Return a secret, None if there is none of this name; raises as `unlock` does."""

    async def set(self, name: str, secret: SecretStr, /) -> None:
        """Keep a secret.

        Raises:
            InvalidInputError: The name or the secret is none.
            StorageError: As `lock` does, or the file cannot be written.
        """

    async def remove(self, name: str, /) -> bool:
        """Forget a secret; False if there was none."""
