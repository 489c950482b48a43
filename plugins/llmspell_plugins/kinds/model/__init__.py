"""The kind model: who provides models, how they are asked, and how their chunks are handed on."""

from __future__ import annotations

from .runner import MODEL, ModelRunner

__all__ = ["MODEL", "ModelRunner"]
