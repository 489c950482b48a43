"""Plugins: found by entry point, loaded inside a guard, registered through pluggy.

What only looks at what is installed imports no trio: verbs are found, and some answered, without a host.
"""

from __future__ import annotations

from .discovery import OWN, Installed
from .groups import Groups

__all__ = ["OWN", "Groups", "Installed"]
