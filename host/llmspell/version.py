"""The version of llmspell, as its distribution has it."""

from __future__ import annotations

from importlib.metadata import distribution

__all__ = ["DISTRIBUTION", "VERSION"]

DISTRIBUTION = distribution("llmspell")
VERSION = DISTRIBUTION.version
