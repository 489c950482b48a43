"""The supervisor: an llm agent whose tools are other agents, which it asks in rounds and reports about.

Invariant: what becomes of a member is told to the supervisor's model, also a failure or a denial, and the run goes on.
No more than ``max_depth`` supervisors are within each other, whoever made them.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import AgentInput, AgentOutput, Services
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.operation import Operations

from .llm import Llm
from .members import Members, MembersOption

__all__ = ["Supervisor", "SupervisorOptions"]

_DEPTH: Final = "supervisors"
"""What of the baggage says how many supervisors are around an operation."""


class SupervisorOptions(BaseModel):
    """What a supervisor takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: MembersOption
    max_depth: int = Field(default=3, ge=1, le=16, description="How many supervisors may be within each other.")
    rounds: int = Field(default=10, ge=1, le=1000, description="How often its model is asked, the report included.")
    report: str = Field(default="", max_length=10_000, description="How its answer is to look.")
    model_options: dict[str, Any] = Field(default={}, description="What only its model's provider knows.")


class Supervisor(Llm):
    """Ask other agents as tools, in rounds, and report what came of it."""

    kind: ClassVar[str] = "supervisor"
    capabilities: ClassVar[tuple[str, ...]] = ("streaming", "tools", "context", "composite", "supervision")
    Options: ClassVar[type[BaseModel] | None] = SupervisorOptions
    repeatable: ClassVar[bool] = False

    def __init__(self, config: AgentConfig, services: Services) -> None:
        """Find the agents, so that a wrong name is told at once."""
        given = SupervisorOptions.model_validate(dict(config.options))
        members = Members(config, services, given.agents)
        told = [config.system_prompt] if config.system_prompt else []
        told.append("You lead a team. Ask its members by their tools, each with all that it needs to know:")
        told += [f"- {_described(members, address)}" for address in members.all]
        if given.report:
            told.append(f"When you have what you need, report: {given.report}")
        working = structs.replace(
            config,
            tools=(*config.tools, *members.all),
            system_prompt="\n".join(told),
            max_steps=min(config.max_steps, given.rounds),
            options=given.model_options,
        )
        super().__init__(working, services)
        self._most = given.max_depth
        self._operations = services.get(Operations)

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Converse until its model asks for no more agents.

        Raises:
            ResourceLimitError: Too many supervisors are within each other, or it asks too often.
        """
        depth = int(context.operation.baggage.get(_DEPTH, "0")) + 1
        if depth > self._most:
            message = (
                f"agent {self.config.name}: it would be supervisor {depth} within others; ask a member that is none, "
                "or raise max_depth"
            )
            raise ResourceLimitError(message, resource="max_depth", limit=self._most)
        self._operations.carry(_DEPTH, str(depth))
        return await super().run(input, context)


def _described(members: Members, address: str) -> str:
    info = members.info(address)
    words = ", ".join(sorted(members.words(address)))
    told = "" if info is None else info.description
    return f"{address.partition(':')[2]}: {told or address}" + (f" ({words})" if words else "")
