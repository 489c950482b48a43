"""A model that says what it was told, and a storage that keeps its entries in one readable file, for llmspell."""

from __future__ import annotations

from .notebook import Notebook
from .provider import Echo

__all__ = ["Echo", "Notebook"]
