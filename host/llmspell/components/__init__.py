"""Components: what has an address; how tools, models and agents are run."""

from __future__ import annotations

from .addresses import Addresses, CallOptions, ComponentRunner
from .agents import AgentRegistry, AgentRunner
from .envelope import to_script_result
from .models import ModelRunner, ProviderRegistry
from .tools import ToolRegistry, ToolRunner

__all__ = [
    "Addresses",
    "AgentRegistry",
    "AgentRunner",
    "CallOptions",
    "ComponentRunner",
    "ModelRunner",
    "ProviderRegistry",
    "ToolRegistry",
    "ToolRunner",
    "to_script_result",
]
