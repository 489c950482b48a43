"""Backups: copies of all that the storage keeps, and the way back to one."""

from __future__ import annotations

from .service import BackupService
from .settings import BackupSettings

__all__ = ["BackupService", "BackupSettings"]
