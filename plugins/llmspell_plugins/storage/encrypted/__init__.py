"""The storage encrypted: another backend whose values are encrypted before they get there."""

from __future__ import annotations

from .sealed import Sealed
from .storage import Encrypted, EncryptedSettings

__all__ = ["Encrypted", "EncryptedSettings", "Sealed"]
