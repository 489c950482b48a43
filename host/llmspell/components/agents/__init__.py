"""Agents: the kinds they are made from, how they are made, run and shut down, and how their chunks are handed on."""

from __future__ import annotations

from .registry import AgentRegistry
from .runner import AGENT, AgentRunner

__all__ = ["AGENT", "AgentRegistry", "AgentRunner"]
