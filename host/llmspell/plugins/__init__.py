"""Plugins: found by entry point, loaded inside a guard, registered through pluggy."""

from __future__ import annotations

from .discovery import OWN, Candidate, Installed, choose, scan_all
from .groups import GROUPS, PLUGINS, ROWS, Group, group_of, name_problem, plugin_name, service_name
from .loading import Loader, construct, load
from .plugins import Plugins
from .registrar import Registrar
from .services import BroughtServices
from .shelf import Shelf

__all__ = [
    "GROUPS",
    "OWN",
    "PLUGINS",
    "ROWS",
    "BroughtServices",
    "Candidate",
    "Group",
    "Installed",
    "Loader",
    "Plugins",
    "Registrar",
    "Shelf",
    "choose",
    "construct",
    "group_of",
    "load",
    "name_problem",
    "plugin_name",
    "scan_all",
    "service_name",
]
