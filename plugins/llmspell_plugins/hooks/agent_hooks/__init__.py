"""The plugin agent_hooks: interceptors of AGENT-HOOKS-0.1, asked at the eight points of that contract."""

from __future__ import annotations

from .allowing import AllowAll
from .plugin import AgentHooks, AgentHooksSettings

__all__ = ["AgentHooks", "AgentHooksSettings", "AllowAll"]
