"""Components: what has an address; how tools, models and agents are run."""

from __future__ import annotations

from .addresses import Addresses, CallOptions, ComponentRunner
from .agents import AgentRegistry, AgentRunner, is_agent_kind
from .envelope import to_script_result
from .models import ModelRunner, ProviderRegistry, is_provider
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
    "is_agent_kind",
    "is_provider",
    "to_script_result",
]
