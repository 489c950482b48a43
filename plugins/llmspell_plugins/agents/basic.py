"""The basic agent: says what it was told. For trying out scripts and hooks; it asks no model."""

from __future__ import annotations

from typing import ClassVar

from llmspell_hookspecs import Agent, AgentInput, AgentOutput, Message
from llmspell_hookspecs.agent import AgentChunk
from llmspell_hookspecs.agents import AgentContext

__all__ = ["Basic"]


class Basic(Agent):
    """Return what it was told, without asking a model, and remember it."""

    kind: ClassVar[str] = "basic"
    capabilities: ClassVar[tuple[str, ...]] = ("streaming", "context")

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Return what it was told."""
        text = f"BasicAgent '{self.config.name}' received: {input.text}"
        if context.sink is not None:
            await context.sink(AgentChunk(text=text))
        if input.messages is None:
            self.remember([Message("user", input.text), Message("assistant", text)])
        return AgentOutput(text, steps=1)
