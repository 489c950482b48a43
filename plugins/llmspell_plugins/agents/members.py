"""The members of a composite agent: agents, workflows and tools by their addresses, asked through the runner.

Invariant: a member runs as any call does, so hooks, limits, budget, correlation and depth are those of the run around
it. What a guard denies to a member is denied: nobody else is asked in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import structs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import AgentInput, AgentOutput, Calls, InvalidInputError, Message, Services, ToolError
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, AgentInfo, ToolRecord
from llmspell_hookspecs.agents import Agent, AgentContext, Agents
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.tool import ToolResult

from .callable import address_of
from .toolbox import told_of

__all__ = ["Composite", "Member", "Members", "MembersOption", "together_of"]


class Member(BaseModel):
    """A member of a composite agent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str = Field(min_length=1, max_length=300, description="Its name, or the address of a workflow or a tool.")
    capabilities: tuple[str, ...] = Field(default=(), description="What it is good for, beside what it says itself.")
    when: tuple[str, ...] = Field(default=(), description="Words of which a question for it has one; none for all.")
    weight: float = Field(default=1.0, ge=0, le=1e9, allow_inf_nan=False, description="What its vote counts.")


def _as_table(given: Any) -> Any:
    return {"agent": given} if isinstance(given, str) else given


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


MembersOption = Annotated[
    tuple[Annotated[Member, BeforeValidator(_as_table)], ...],
    BeforeValidator(_as_list),
    Field(min_length=1, max_length=1000, description="Its members: names, addresses, or tables with `agent`."),
]
"""What options of composites take as ``agents``."""


class Members:
    """The members of one composite agent.

    Args:
        config: The composite's.
        services: What it may use of the host.
        given: Who they are.

    Attributes:
        all: Them, by address, in order.

    Raises:
        ComponentNotFoundError: One of them is not there.
        InvalidInputError: One is named twice.
    """

    def __init__(self, config: AgentConfig, services: Services, given: Sequence[Member]) -> None:
        self._calls = services.get(Calls)
        self._agents = services.get(Agents)
        self.all: dict[str, Member] = {}
        for member in given:
            named = member.agent if ":" in member.agent else f"agent:{member.agent}"
            address = address_of(services, config.name, named)
            if address in self.all:
                message = f"agent {config.name}: {address} is its member twice; name each once"
                raise InvalidInputError(message, field="options.agents")
            self.all[address] = member

    def info(self, address: str) -> AgentInfo | None:
        """Return what is known of a member that is an agent."""
        kind, _, name = address.partition(":")
        found = self._agents.get(name) if kind == "agent" else None
        return None if found is None else found.info

    def words(self, address: str) -> frozenset[str]:
        """Return what a member is good for: its own words, and those of the composite."""
        info = self.info(address)
        own = () if info is None else (*info.capabilities, *info.tags)
        return frozenset(word.casefold() for word in (*own, *self.all[address].capabilities))

    async def ask(self, address: str, input: AgentInput, time_s: float | None = None) -> AgentOutput:
        """Ask a member and return its answer.

        Args:
            address: Which.
            input: What.
            time_s: How long it may take; its own limit counts as well.

        Raises:
            ToolError: It is a tool, which says that it failed.
            Exception: Whatever else became of it.
        """
        kind = address.partition(":")[0]
        if kind == "agent":
            return AgentOutput.of(await self._calls.call(address, input, deadline_s=time_s))
        given = dict(input.parameters)
        if kind == "workflow" or "input" not in given:
            given["input"] = input.text
        answer = await self._calls.call(address, given, lenient=True, deadline_s=time_s)
        if not isinstance(answer, ToolResult):
            return AgentOutput.of(answer)
        status, text = await told_of(answer)
        if status == "failed":
            raise ToolError(f"{address}: {text.removeprefix('error: ')}")
        return AgentOutput(text)


class Composite(Agent):
    """An agent that answers by its members; what it remembers are the questions and what it answered."""

    repeatable = False  # its members may act on the world

    async def answer(self, input: AgentInput, context: AgentContext, output: AgentOutput) -> AgentOutput:
        """Hand on an answer as one chunk, remember the turn, and return the answer."""
        if context.sink is not None and output.text:
            await context.sink(AgentChunk(text=output.text))
        if input.messages is None:
            self.remember([Message("user", input.text), Message("assistant", output.text)])
        return output


def together_of(outputs: Sequence[AgentOutput], text: str, metadata: Mapping[str, Any]) -> AgentOutput:
    """Return one answer of several, with all that they used."""
    usage = ModelUsage()
    calls: list[ToolRecord] = []
    for output in outputs:
        usage = usage + output.usage
        calls += output.tool_calls
    model = next((output.model for output in reversed(outputs) if output.model), "")
    return structs.replace(
        AgentOutput(text, tuple(calls), model, usage, sum(output.steps for output in outputs)), metadata=metadata
    )
