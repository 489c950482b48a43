"""Plugins: found by entry point, loaded inside a guard, registered through pluggy."""

from __future__ import annotations

from .discovery import GROUPS, OWN, PLUGINS, Candidate, Installed, choose, scan_all
from .loading import construct, load
from .plugins import Plugins, plugin_name
from .registrar import Registrar
from .services import BroughtServices
from .shelf import Shelf

__all__ = [
    "GROUPS",
    "OWN",
    "PLUGINS",
    "BroughtServices",
    "Candidate",
    "Installed",
    "Plugins",
    "Registrar",
    "Shelf",
    "choose",
    "construct",
    "load",
    "plugin_name",
    "scan_all",
]
