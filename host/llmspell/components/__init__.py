"""Components: what has an address; how tools, models and agents are run."""

from __future__ import annotations

from .addresses import Addresses, CallOptions, ComponentRunner
from .agent_registry import AgentRegistry, is_agent_kind
from .agent_runner import AgentRunner
from .envelope import bare, to_script_result
from .model_runner import ModelRunner
from .provider_registry import ProviderRegistry, is_provider
from .tool_registry import ToolRegistry
from .tool_runner import ToolRunner

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
    "bare",
    "is_agent_kind",
    "is_provider",
    "to_script_result",
]
