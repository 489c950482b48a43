"""Settings: layers with origin, policy that only tightens, errors that name the line and the nearest right key."""

from __future__ import annotations

from .layers import change, load_settings
from .model import PluginTable, Settings
from .schema import SCHEMA, Origin
from .view import LoadedSettings, plain, rows

__all__ = [
    "SCHEMA",
    "LoadedSettings",
    "Origin",
    "PluginTable",
    "Settings",
    "change",
    "load_settings",
    "plain",
    "rows",
]
