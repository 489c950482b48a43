"""Plugins: found by entry point, loaded inside a guard, registered through pluggy."""

from __future__ import annotations

from .discovery import OWN, Candidate, Installed, choose, scan_all
from .groups import OWN_GROUPS, Groups
from .lifespan import Lifespans, open_lifespans
from .loading import Loader, load
from .plugins import Plugins
from .registrar import Registrar
from .registries import PluginRegistries
from .registry import LazyRegistry
from .services import ServiceRegistry

__all__ = [
    "OWN",
    "OWN_GROUPS",
    "Candidate",
    "Groups",
    "Installed",
    "LazyRegistry",
    "Lifespans",
    "Loader",
    "PluginRegistries",
    "Plugins",
    "Registrar",
    "ServiceRegistry",
    "choose",
    "load",
    "open_lifespans",
    "scan_all",
]
