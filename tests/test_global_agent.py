"""The global Agent in a host: whose agents a script sees, and what is left of them when it ends."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from kernel import make_tool, opened, run
from llmspell import Host
from llmspell_hookspecs import HookContext, ToolContext
from llmspell_hookspecs.agents import AgentHandle


def in_host(main: Callable[[Host], Awaitable[Any]], *plugins: Any) -> Any:
    async def opening() -> Any:
        async with opened(*plugins) as host:
            return await main(host)

    return run(opening)


def test_a_name_that_another_script_took_over_shows_nothing_of_its_agent() -> None:
    free, seen = trio.Event(), trio.Event()

    async def meet(parameters: dict[str, Any], context: ToolContext) -> None:
        if parameters["who"] == "first":
            free.set()
            while not told.get("second"):
                await trio.sleep(0.001)
        else:
            told["second"] = True
            await seen.wait()

    told: dict[str, Any] = {}

    async def main(host: Host) -> Any:
        async def first() -> None:
            told["first"] = await host.run_source(
                """
                Agent.create{name = "shared", type = "basic"}:destroy()
                Tool.invoke("meet", {who = "first"})
                local known, details = pcall(Agent.get_details, "shared")
                return {Agent.has("shared"), Agent.get("shared") == nil, known, #Agent.list()}
                """
            )
            seen.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await free.wait()
            await host.run_source(
                """
                Agent.create{name = "shared", type = "basic", system_prompt = "a secret"}
                Tool.invoke("meet", {who = "second"})
                """
            )

    in_host(main, make_tool("meet", meet))

    assert told["first"] == [False, True, False, 0]


def test_agents_that_a_script_shut_down_are_gone() -> None:
    async def main(host: Host) -> int:
        kind = type(await host.agents.create(name="own", kind="basic"))
        await host.run_source(
            """
            for number = 1, 200 do
              local agent = Agent.create{name = "one" .. number, type = "basic"}
              agent:execute("hello")
              agent:destroy()
            end
            collectgarbage()
            Tool.invoke("count", {})
            """
        )
        return len([each for each in told if each is kind])

    told: list[type[AgentHandle]] = []

    async def count(parameters: dict[str, Any], context: ToolContext) -> None:
        gc.collect()
        told.extend(type(each) for each in gc.get_objects())

    assert in_host(main, make_tool("count", count)) < 20


def test_an_agent_that_is_ready_after_its_script_has_ended_is_shut_down() -> None:
    begun, ended, shut = trio.Event(), trio.Event(), trio.Event()

    async def slow(context: HookContext[Any]) -> None:
        begun.set()
        await ended.wait()

    async def nap(parameters: dict[str, Any], context: ToolContext) -> None:
        await begun.wait()

    async def main(host: Host) -> Any:
        host.hooks.register("before_agent_init", slow, timeout_s=5)
        host.hooks.register("after_agent_shutdown", lambda context: shut.set(), kind="observe")
        await host.run_source(
            """
            Event.subscribe("go", function() Agent.create{name = "late", type = "basic"} end)
            Event.publish("go", {})
            Tool.invoke("nap", {})
            """
        )
        ended.set()
        with trio.move_on_after(2):
            await shut.wait()
        return host.agents.list()

    assert in_host(main, make_tool("nap", nap)) == []


ANSWERS = [
    '{type = "redirect", target = "agent:NAME"}',
    '{type = "fork", operations = {{address = "agent:NAME", input = {text = "hello"}}}}',
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(("target", "reached"), [("own", ["own"]), ("hosts", ["hosts"]), ("others", [])])
def test_a_hook_of_a_script_reaches_no_other_scripts_agent(answer: str, target: str, reached: list[str]) -> None:
    made, done = trio.Event(), trio.Event()
    asked: list[str] = []

    async def hold(parameters: dict[str, Any], context: ToolContext) -> None:
        made.set()
        await done.wait()

    async def plain(parameters: dict[str, Any], context: ToolContext) -> str:
        return "plain"

    def note(context: HookContext[Any]) -> None:
        asked.append(context.component.name)

    async def main(host: Host) -> None:
        await host.agents.create(name="hosts", kind="basic")
        host.hooks.register("before_agent_execution", note, kind="observe")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run_source, 'Agent.create{name = "others", type = "basic"} Tool.invoke("hold", {})')
            await made.wait()
            await host.run_source(
                f"""
                Agent.create{{name = "own", type = "basic"}}
                Hook.register("BeforeToolExecution", function() return {answer.replace("NAME", target)} end)
                pcall(Tool.invoke, "plain", {{}})
                """
            )
            done.set()

    in_host(main, make_tool("hold", hold), make_tool("plain", plain))

    assert asked == reached
