"""The vault: the master key, what is locked with it, and secrets by name."""

from __future__ import annotations

from .service import VaultService, VaultSettings

__all__ = ["VaultService", "VaultSettings"]
