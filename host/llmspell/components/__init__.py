"""Components: what has an address; how tools are run."""

from __future__ import annotations

from .addresses import Addresses
from .tools import ToolRegistry, ToolRunner

__all__ = ["Addresses", "ToolRegistry", "ToolRunner"]
