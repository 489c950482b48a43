"""How a value is encrypted: a header with the key's number, a nonce, and AES-256-GCM or ChaCha20-Poly1305.

The header and the name under which the value lies are associated data: under another name it cannot be read.

Invariant: no key encrypts more than `MOST_WRITES` values, since nonces are random (NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final, Literal

from msgspec import Struct

from llmspell_hookspecs.errors import StorageError

__all__ = ["MOST_WRITES", "Algorithm", "DataKey", "Keys", "Ring", "number_of"]

Algorithm = Literal["aes-256-gcm", "chacha20-poly1305"]
MOST_WRITES: Final = 1 << 31
_FIRST: Final = 0xE5
_HEADER: Final = struct.Struct("<BI")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_SMALLEST: Final = _HEADER.size + _NONCE_BYTES + _TAG_BYTES


class DataKey(Struct, frozen=True):
    """A key of values, as it is kept.

    Attributes:
        number: In the header of what it encrypted.
        algorithm: How it encrypts.
        locked: The key, locked with the master key.
    """

    number: int
    algorithm: str
    locked: bytes


class Keys(Struct, frozen=True):
    """The keys of a storage, as they are kept.

    Attributes:
        keys: The last one is what new values are encrypted with.
        plain: Whether values that were there before may not be encrypted yet.
    """

    keys: tuple[DataKey, ...]
    plain: bool = False


class Ring:
    """The keys of a storage, open.

    Args:
        ciphers: By number.
        current: The number of the one that new values are encrypted with.
        plain: Whether what is not encrypted is read as it is.
    """

    def __init__(self, ciphers: dict[int, Any], current: int, *, plain: bool) -> None:
        self.current = current
        self.plain = plain
        self.numbers = frozenset(ciphers)
        self._ciphers = ciphers
        self._header = _HEADER.pack(_FIRST, current)

    def encrypt(self, key: str, value: bytes) -> bytes:
        """Return what lies in the storage below."""
        nonce = os.urandom(_NONCE_BYTES)
        header = self._header
        encrypted: bytes = self._ciphers[self.current].encrypt(nonce, value, header + key.encode())
        return header + nonce + encrypted

    def decrypt(self, key: str, value: bytes) -> bytes:
        """Return the value.

        Raises:
            StorageError: It cannot be read.
        """
        from cryptography.exceptions import InvalidTag

        number = number_of(value)
        if number is None or number not in self._ciphers:
            if self.plain:
                return value
            reason = "it is not encrypted" if number is None else f"the key {number} that encrypted it is gone"
            raise StorageError(f"storage key {key!r}: {reason}; restore a backup", code="damaged")
        start = _HEADER.size + _NONCE_BYTES
        try:
            plain: bytes = self._ciphers[number].decrypt(
                value[_HEADER.size : start], value[start:], value[: _HEADER.size] + key.encode()
            )
        except InvalidTag:
            if self.plain:
                return value
            message = f"storage key {key!r}: it was changed, or put there from another key; restore a backup"
            raise StorageError(message, code="damaged") from None
        return plain

    def is_current(self, key: str, value: bytes) -> bool:
        """Return whether a value is encrypted with the key for new ones."""
        if number_of(value) != self.current:
            return False
        if not self.plain:
            return True
        strict = Ring(self._ciphers, self.current, plain=False)
        try:
            strict.decrypt(key, value)
        except StorageError:
            return False
        return True


def number_of(value: bytes) -> int | None:
    """Return the number of the key that a value is encrypted with; None if it is not encrypted."""
    if len(value) < _SMALLEST or value[0] != _FIRST:
        return None
    number: int = _HEADER.unpack_from(value)[1]
    return number
