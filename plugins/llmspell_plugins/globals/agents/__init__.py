"""The global Agent and what it answers: the builder of agents, and agents as scripts hold them."""

from __future__ import annotations

from .agent import AgentGlobal

__all__ = ["AgentGlobal"]
