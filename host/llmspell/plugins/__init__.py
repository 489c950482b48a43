"""Plugins: found by entry point, loaded inside a guard, registered through pluggy."""

from __future__ import annotations

from .discovery import OWN, Candidate, Installed, choose, scan_all
from .groups import GROUPS, PLUGINS, ROWS, Group, group_of, name_problem, plugin_name, service_name
from .handed import sort_handed
from .lifespan import Lifespans, open_lifespans
from .loading import Loader, construct, load
from .plugins import Plugins
from .registrar import Registrar
from .registry import LazyRegistry
from .services import ServiceRegistry
from .storages import StorageRegistry

__all__ = [
    "GROUPS",
    "OWN",
    "PLUGINS",
    "ROWS",
    "Candidate",
    "Group",
    "Installed",
    "LazyRegistry",
    "Lifespans",
    "Loader",
    "Plugins",
    "Registrar",
    "ServiceRegistry",
    "StorageRegistry",
    "choose",
    "construct",
    "group_of",
    "load",
    "name_problem",
    "open_lifespans",
    "plugin_name",
    "scan_all",
    "service_name",
    "sort_handed",
]
