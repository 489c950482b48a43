"""Models: who provides them, how they are asked, and how their chunks are handed on."""

from __future__ import annotations

from .providers import ProviderRegistry
from .runner import MODEL, ModelRunner

__all__ = ["MODEL", "ModelRunner", "ProviderRegistry"]
