"""Plugins: found by entry point, loaded inside a guard, registered through pluggy."""

from __future__ import annotations

from .discovery import OWN, Installed
from .groups import Groups
from .lifespan import Lifespans, open_lifespans
from .loading import Loader
from .plugins import Plugins
from .registry import LazyRegistry, PluginRegistries, ServiceRegistry

__all__ = [
    "OWN",
    "Groups",
    "Installed",
    "LazyRegistry",
    "Lifespans",
    "Loader",
    "PluginRegistries",
    "Plugins",
    "ServiceRegistry",
    "open_lifespans",
]
