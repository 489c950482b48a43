"""The version of llmspell, as its distribution has it."""

from __future__ import annotations

from importlib.metadata import version

__all__ = ["VERSION"]

VERSION = version("llmspell")
