"""Members of composite agents for tests: agents that say, fail, wait and hand on what their options tell them to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import trio
from pydantic import BaseModel, ConfigDict

from kernel import opened, run
from llmspell import Host
from llmspell_hookspecs import Agent, AgentInput, AgentOutput, ToolError
from llmspell_hookspecs.agents import AgentContext, AgentHandle
from llmspell_hookspecs.model import ModelUsage

__all__ = ["Sayer", "in_host", "sayer"]


class SayerOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    says: str = "{name}: {text}"
    fails: int = 0
    sleeps: float = 0.0


class Sayer(Agent):
    """Say what its options tell it to, after failing as often as they tell it to."""

    kind: ClassVar[str] = "sayer"
    Options: ClassVar[type[BaseModel] | None] = SayerOptions
    asked: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, config: Any, services: Any) -> None:
        super().__init__(config, services)
        self._given = SayerOptions.model_validate(dict(config.options))
        self._fails = self._given.fails

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        Sayer.asked.append((self.config.name, input.text))
        await trio.sleep(self._given.sleeps)
        if self._fails:
            self._fails -= 1
            raise ToolError(f"{self.config.name}: it broke", code="broken")
        text = self._given.says.format(name=self.config.name, text=input.text)
        return AgentOutput(text, usage=ModelUsage(1, 2), steps=1)


async def sayer(
    host: Host, name: str, *, says: str = "", fails: int = 0, sleeps: float = 0, **more: Any
) -> AgentHandle:
    """Make a member."""
    options: dict[str, Any] = {"fails": fails, "sleeps": sleeps, **({"says": says} if says else {})}
    return await host.agents.create(name=name, kind="sayer", options=options, **more)


def in_host(
    main: Callable[[Host], Awaitable[Any]],
    *plugins: Any,
    virtual: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Run a test in a host that has the kind ``sayer``; what the members were asked is in ``Sayer.asked``."""
    Sayer.asked.clear()

    async def opening() -> Any:
        async with opened(Sayer, *plugins, settings=settings) as host:
            return await main(host)

    return run(opening, virtual=virtual)
