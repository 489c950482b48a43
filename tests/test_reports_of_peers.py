"""Situations from public reports about comparable projects, tried here; each test names its source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kernel import make_tool, opened
from llmspell_hookspecs import HookContext, LlmspellError, Message, ModelChunk, ModelRequest
from scripted_model import ScriptedModel, asks, says


class Charges:
    """A tool that must not run twice."""

    def __init__(self) -> None:
        self.calls = 0

    async def charge(self, _parameters: dict[str, Any], _context: object) -> str:
        self.calls += 1
        return "charged"


@pytest.mark.parametrize("kind", ["transform", "guard", "observe"])
async def test_a_hook_that_fails_after_a_tool_does_not_make_it_run_again(kind: Any) -> None:
    """strands-agents/harness-sdk 4338: the finished call stayed open, and the next run repeated it."""
    model, charges = ScriptedModel(asks(("charge", {})), says("done"), says("again")), Charges()

    def fails(context: HookContext[Any]) -> None:
        raise RuntimeError("after")

    async with opened(model, make_tool("charge", charges.charge)) as host:
        host.hooks.register("AfterToolExecution", fails, kind=kind, name="fails")
        agent = await host.agents.create(name="a", model="scripted/play", tools=["charge"])
        texts = [(await agent.run(question)).text for question in ("one", "two")]

    assert (texts, charges.calls) == (["done", "again"], 1)
    told = [message for message in model.requests[-1].messages if message.role == "tool"]
    assert [message.tool_use_id for message in told] == ["use-1"]


async def test_one_of_several_tools_that_fails_leaves_the_results_of_the_others() -> None:
    """langchain-ai/langgraph 7412, strands-agents/harness-sdk 1796: a failure beside others lost results, or itself."""

    async def work(parameters: dict[str, Any], _context: object) -> int:
        return 6 // int(parameters["by"])

    model = ScriptedModel(asks(*[("work", {"by": by}) for by in (1, 0, 2)]), says("done"))
    async with opened(model, make_tool("work", work)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["work"])
        await agent.run("work")

    first, second, third = (message.content for message in model.requests[-1].messages if message.role == "tool")
    assert (first, third) == ("6", "3")
    assert "ZeroDivisionError" in second


async def test_a_wrap_that_fails_in_its_clean_up_leaves_that_of_the_others_in_order() -> None:
    """pytest-dev/pluggy 244: clean-ups further out were left to the garbage collector."""
    seen: list[str] = []

    async def outer(context: HookContext[Any]) -> AsyncIterator[None]:
        seen.append("outer in")
        try:
            yield
        finally:
            seen.append("outer out")

    async def inner(context: HookContext[Any]) -> AsyncIterator[None]:
        seen.append("inner in")
        yield
        raise RuntimeError("clean-up")

    async with opened(make_tool("charge", Charges().charge)) as host:
        host.hooks.register("AroundToolExecution", outer, kind="wrap", name="outer", priority="high")
        host.hooks.register("AroundToolExecution", inner, kind="wrap", name="inner")
        result = await host.call("tool:charge", {})
        seen.append("returned")

    assert result.result == "charged"
    assert seen == ["outer in", "inner in", "outer out", "returned"]


async def test_who_follows_a_stream_and_raises_a_foreign_cancellation_hangs_nobody() -> None:
    """openai/openai-agents-python 3830: the dispatcher died of it, and the run waited for it for ever."""

    async def sink(chunk: ModelChunk) -> None:
        raise asyncio.CancelledError("of its own")

    async with opened(ScriptedModel(says("a b c"))) as host:
        with pytest.raises(LlmspellError):
            await host.models.complete(ModelRequest("scripted/play", (Message("user", "hello"),)), sink=sink)


@pytest.mark.parametrize(
    "source",
    [
        "local outer, inner, value = pcall(pcall, Tool.invoke, 'charge', {}) return outer and inner and value",
        "return select(2, coroutine.resume(coroutine.create(function() return Tool.invoke('charge', {}) end)))",
    ],
)
async def test_a_tool_is_called_from_nested_protected_calls_and_coroutines_of_lua(source: str) -> None:
    """scoder/lupa 48: a yield through two protected calls failed."""
    async with opened(make_tool("charge", Charges().charge)) as host:
        assert (await host.run_source(source, language="lua"))["data"] == "charged"


async def test_an_error_that_passes_through_a_coroutine_of_lua_keeps_its_words() -> None:
    """scoder/lupa 144: the text of the Python error was lost."""

    async def fails(_parameters: dict[str, Any], _context: object) -> None:
        raise ValueError("no such number: Hello")

    source = "return tostring(select(2, coroutine.resume(coroutine.create(function() Tool.invoke('f', {}) end))))"
    async with opened(make_tool("f", fails)) as host:
        assert "no such number: Hello" in await host.run_source(source, language="lua")
