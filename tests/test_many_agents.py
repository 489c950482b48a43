"""Two hundred agents with ten turns each at once in one process, against a chat server on loopback."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
from pydantic import BaseModel

from chat_server import ChatServer
from kernel import opened
from llmspell_hookspecs import Tool, ToolContext
from llmspell_plugins.services.monitor import memory_bytes

AGENTS, TURNS = 200, 10
pytestmark = pytest.mark.long


class Numbers(BaseModel):
    a: int
    b: int


class Add(Tool[Numbers]):
    """Add two numbers."""

    name = "add"

    async def run(self, parameters: Numbers, context: ToolContext) -> Any:
        return parameters.a + parameters.b


async def test_two_hundred_agents_at_once_each_get_their_own_answers_in_bounded_memory() -> None:
    wrong: list[str] = []
    peaks: list[int] = []

    with ChatServer() as server:
        settings = {"providers": {"local": {"type": "openai_compatible", "base_url": server.url}}}
        async with opened(Add, settings=settings) as host:
            agents = [
                await host.agents.create(name=f"a{number}", model="local/echo", tools=["add"])
                for number in range(AGENTS)
            ]

            async def converse(number: int) -> None:
                for turn in range(TURNS):
                    asked = expected = f"agent {number} in turn {turn}"
                    if turn % 5 == 4:
                        asked, expected = f'use add {{"a": {number}, "b": {turn}}}', f"tool said: {number + turn}"
                    output = await agents[number].run(asked)
                    if output.text != expected:
                        wrong.append(f"{asked}: {output.text}")

            before = memory_bytes()
            async with trio.open_nursery() as nursery:
                for number in range(AGENTS):
                    nursery.start_soon(converse, number)
            gc.collect()
            peaks.append(memory_bytes() - before)
            assert [len(agent.conversation) for agent in agents] == [24] * AGENTS
            assert sum(agent.info.runs for agent in agents) == AGENTS * TURNS
        count = len(server.requests)

    assert wrong == []
    assert count == AGENTS * (TURNS + 2)
    assert peaks[0] < 150e6
