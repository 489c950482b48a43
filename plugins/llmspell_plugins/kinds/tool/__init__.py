"""The kind tool: how tools are found, told of, prepared and run."""

from __future__ import annotations

from .runner import TOOL, TOOL_DISCOVERY, ToolRunner

__all__ = ["TOOL", "TOOL_DISCOVERY", "ToolRunner"]
