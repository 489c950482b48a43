"""The kind agent: how agents are made, run and shut down, and how their chunks are handed on."""

from __future__ import annotations

from .runner import AGENT, AgentRunner

__all__ = ["AGENT", "AgentRunner"]
