"""A weather tool for llmspell, asked of a service over HTTP."""

from __future__ import annotations

from .weather import weather

__all__ = ["weather"]
