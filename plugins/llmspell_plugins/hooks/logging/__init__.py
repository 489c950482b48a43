"""The plugin logging: a line for each thing that happened, as JSON or for people, in a file that is rotated."""

from __future__ import annotations

from .plugin import Logging, LoggingSettings

__all__ = ["Logging", "LoggingSettings"]
