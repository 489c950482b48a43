"""Many agents at once in one process, against a chat server: ``python -m benchmarks.crowd CONTENDER URL AGENTS TURNS``.

Each agent has one conversation; all but every fifth turn are answered with text, that one with a tool's answer, which
the server cannot know. Every answer is checked. Prints JSON: how many turns, how long they took together once all
agents were made (in nanoseconds), and how much memory the process had at most.

Every agent has a client of its own, with one connection that it keeps: a pool of httpx looks at each of its connections
at each request, which takes longer than all else if there are 200. That favours the peers.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

from .timing import OURS
from .turn_peers import Turn, add

__all__ = ["CONTENDERS"]

Make = Callable[[], Awaitable[Turn]]
"""Makes another agent."""
_MODEL: Final = "echo"
_TIMEOUT_S: Final = 60


def main(arguments: list[str]) -> None:
    """Run one contender and print what came of it."""
    name, url, agents, turns = arguments
    library, contender = CONTENDERS[name]
    opened = contender(url)
    if library == "trio":
        import trio

        took_ns = trio.run(_on_trio, opened, int(agents), int(turns))
    else:
        took_ns = asyncio.run(_on_asyncio(opened, int(agents), int(turns)))
    print(json.dumps({"turns": int(agents) * int(turns), "took_ns": took_ns, "peak_bytes": _peak_bytes()}))


async def _on_trio(opened: AbstractAsyncContextManager[Make], agents: int, turns: int) -> int:
    import trio

    async with opened as make:
        made = [await make() for _ in range(agents)]
        started = perf_counter_ns()
        async with trio.open_nursery() as nursery:
            for number, turn in enumerate(made):
                nursery.start_soon(_converse, turn, number, turns)
        return perf_counter_ns() - started


async def _on_asyncio(opened: AbstractAsyncContextManager[Make], agents: int, turns: int) -> int:
    async with opened as make:
        made = [await make() for _ in range(agents)]
        started = perf_counter_ns()
        async with asyncio.TaskGroup() as group:
            for number, turn in enumerate(made):
                group.create_task(_converse(turn, number, turns))
        return perf_counter_ns() - started


async def _converse(turn: Turn, agent: int, turns: int) -> None:
    """Have a conversation that no other agent has."""
    for number in range(turns):
        if number % 5 == 4:
            asked, expected = f'use add {{"a": {agent}, "b": {number}}}', f"tool said: {agent + number}"
        else:
            asked = expected = f"agent {agent} in its turn {number}"
        answer = await turn(asked)
        if answer != expected:
            raise RuntimeError(f"agent {agent}: it said {answer!r} instead of {expected!r}")


def _peak_bytes() -> int:
    """Return the most memory that this process had: the highest VmRSS, which starts anew with the program."""
    [kilobytes] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


@asynccontextmanager
async def _floor(url: str) -> AsyncIterator[Make]:
    """Keep a list of messages and a table of tools."""
    import httpx

    tools = {"add": add}
    number = {"type": "integer"}
    schema = {"type": "object", "properties": {"a": number, "b": number}, "required": ["a", "b"]}
    told = [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": schema}}]
    shared = ssl.create_default_context()

    async with AsyncExitStack() as stack:

        async def make() -> Turn:
            client = httpx.AsyncClient(base_url=url, verify=shared, timeout=_TIMEOUT_S, trust_env=False)
            await stack.enter_async_context(client)
            messages: list[dict[str, Any]] = []

            async def turn(text: str) -> str:
                messages.append({"role": "user", "content": text})
                while True:
                    body = {"model": _MODEL, "messages": messages, "tools": told}
                    answer = (await client.post("/chat/completions", json=body)).raise_for_status().json()
                    message = answer["choices"][0]["message"]
                    messages.append(message)
                    if not message.get("tool_calls"):
                        said: str = message["content"]
                        return said
                    for call in message["tool_calls"]:
                        arguments = json.loads(call["function"]["arguments"])
                        result = str(await tools[call["function"]["name"]](**arguments))
                        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

            return turn

        yield make


@asynccontextmanager
async def _ours(url: str) -> AsyncIterator[Make]:
    """Open a host; its connections are shared, as they are for anyone."""
    from llmspell import Host

    from .turn_subject import Add

    settings = {"providers": {"server": {"type": "openai_compatible", "base_url": url}}, "agents": {"count": 1000}}
    async with Host.open(settings, plugins=[Add], discover=False) as host:

        async def make() -> Turn:
            agent = await host.agents.create(model=f"server/{_MODEL}", tools=["add"])

            async def turn(text: str) -> str:
                return (await agent.run(text)).text

            return turn

        yield make


@asynccontextmanager
async def _strands(url: str) -> AsyncIterator[Make]:
    import strands
    from strands.models.openai import OpenAIModel

    tool = strands.tool(add)

    async with _openai_clients(url) as client:

        async def make() -> Turn:
            model = OpenAIModel(client=await client(), model_id=_MODEL)
            agent = strands.Agent(model=model, tools=[tool], callback_handler=None)

            async def turn(text: str) -> str:
                answer: str = (await agent.invoke_async(text)).message["content"][0]["text"]
                return answer

            return turn

        yield make


@asynccontextmanager
async def _pydantic_ai(url: str) -> AsyncIterator[Make]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with _openai_clients(url) as client:

        async def make() -> Turn:
            model = OpenAIChatModel(_MODEL, provider=OpenAIProvider(openai_client=await client()))
            agent = Agent(model, tools=[add])
            history: list[Any] = []

            async def turn(text: str) -> str:
                run = await agent.run(text, message_history=history)
                history[:] = run.all_messages()
                answer: str = run.output
                return answer

            return turn

        yield make


@asynccontextmanager
async def _openai_clients(url: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    import openai

    shared = ssl.create_default_context()
    async with AsyncExitStack() as stack:

        async def make() -> Any:
            http = openai.DefaultAsyncHttpxClient(verify=shared, timeout=_TIMEOUT_S, trust_env=False)
            client = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)
            return await stack.enter_async_context(client)

        yield make


CONTENDERS: Final[dict[str, tuple[str, Callable[[str], AbstractAsyncContextManager[Make]]]]] = {
    "floor: httpx on trio": ("trio", _floor),
    OURS: ("trio", _ours),
    "strands-agents": ("asyncio", _strands),
    "pydantic-ai": ("asyncio", _pydantic_ai),
}
"""By name: the event loop, and what answers a maker of agents."""


if __name__ == "__main__":
    main(sys.argv[1:])
