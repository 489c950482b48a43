"""Storage backends: memory, SQLite (the default) and LMDB."""

from __future__ import annotations
