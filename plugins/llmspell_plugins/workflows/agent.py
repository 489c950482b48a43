"""The pattern agent: one durable run of an agent, whose model calls and tools are the stages.

A run of an agent that is durable is a run of this, so that whatever resumes, approves, cancels or shows runs of
workflows does so with agents, too. Its options are what the agent was made from: whoever resumes it on another host
needs nothing else.

Invariant: what a stage yields is what the agent goes by, so a run that is resumed asks no model twice for one answer
and runs no tool twice that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from llmspell_hookspecs import Services
from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.workflows import WorkflowDefinition, WorkflowRun

__all__ = ["AgentPattern", "AgentPatternOptions"]


class AgentPatternOptions(BaseModel):
    """What the pattern takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: Mapping[str, Any]
    """What the agent is made from, as `Agents.create` takes it."""


class AgentPattern:
    """Implements the contract's `Pattern`; yields the agent's answer."""

    name: ClassVar[str] = "agent"
    description: ClassVar[str] = "One run of an agent: its model calls and its tools, as they come."
    Options: ClassVar[type[BaseModel] | None] = AgentPatternOptions
    ordered: ClassVar[bool] = False

    def __init__(self, settings: None, services: Services) -> None:
        """Take who runs agents when one is run."""
        self._services = services

    def problem(self, definition: WorkflowDefinition, options: Any, /) -> str:
        """Return what is wrong with a definition."""
        if definition.stages or definition.branches or definition.reduce:
            return "it is one run of an agent and has stages; leave them out"
        return ""

    async def run(self, run: WorkflowRun, /) -> Any:
        """Run the agent once."""
        config: Mapping[str, Any] = run.options.agent
        return await self._services.get(Agents).within(run, config)
