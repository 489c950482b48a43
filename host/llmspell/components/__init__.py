"""Components: what has an address, and how tools are run."""

from __future__ import annotations

from .addresses import Addresses, CallOptions, ComponentRunner
from .envelope import bare, to_script_result
from .tool_registry import ToolRegistry
from .tool_runner import ToolRunner

__all__ = [
    "Addresses",
    "CallOptions",
    "ComponentRunner",
    "ToolRegistry",
    "ToolRunner",
    "bare",
    "to_script_result",
]
