"""Tools: which there are, and how they are validated, judged, held to limits and run."""

from __future__ import annotations

from .registry import ToolRegistry
from .runner import TOOL, TOOL_DISCOVERY, ToolRunner

__all__ = ["TOOL", "TOOL_DISCOVERY", "ToolRegistry", "ToolRunner"]
