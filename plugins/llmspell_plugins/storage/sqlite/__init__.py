"""The storage SQLite, the default: one file, several processes."""

from __future__ import annotations

from .storage import SQLite, SQLiteSettings

__all__ = ["SQLite", "SQLiteSettings"]
