"""The plugin debugging: what ran within what, when, how it ended and what was changed on the way, as a trace."""

from __future__ import annotations

from .plugin import Debugging, DebuggingSettings

__all__ = ["Debugging", "DebuggingSettings"]
