"""What a tool makes of being cut off is no end of its own: nothing begins because of it, and a deadline is told."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from kernel import make_tool, opened
from llmspell_hookspecs import Redirect, ToolContext, ToolError
from llmspell_hookspecs.errors import OperationTimeoutError
from llmspell_hookspecs.workflows import Workflows
from scripted_model import ScriptedModel, asks, says


@pytest.mark.parametrize("who", ["agent", "workflow", "redirect"])
@pytest.mark.parametrize("how", ["caller", "deadline"])
@pytest.mark.parametrize("ends", ["raises", "answers"])
async def test_nothing_begins_after_a_cancellation_that_a_tool_turned_into_an_end_of_its_own(
    who: str, how: str, ends: str
) -> None:
    """microsoft/agent-framework-go 1077, ahmadrosid/nakama 787: what a cancelled tool said was taken for an answer."""
    charged: list[int] = []
    begun = trio.Event()

    async def waits(_parameters: dict[str, Any], _context: ToolContext) -> str:
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if ends == "raises":
                raise ToolError("the connection broke") from None
        return "nothing found"

    async def charge(_parameters: dict[str, Any], _context: ToolContext) -> str:
        charged.append(1)
        return "charged"

    model = ScriptedModel(asks(("waits", {})), asks(("charge", {})), says("done"))
    stages = [{"name": "a", "tool": "waits", "on_error": "continue"}, {"name": "b", "tool": "charge"}]
    async with opened(model, make_tool("waits", waits), make_tool("charge", charge)) as host:
        agent = await host.agents.create(name="a", model="scripted/play", tools=["waits", "charge"])
        workflow = await host.get(Workflows).create({"name": "w", "stages": stages})
        if who == "redirect":
            host.hooks.register("tool_error", lambda _: Redirect("tool:charge"), match="waits", name="falls back")
        deadline_s = 0.05 if how == "deadline" else None

        async def go() -> None:
            try:
                match who:
                    case "agent":
                        await agent.run("go", deadline_s=deadline_s)
                    case "workflow":
                        await workflow.run(None, deadline_s=deadline_s)
                    case _:
                        await host.call("tool:waits", {}, deadline_s=deadline_s)
            except Exception as error:
                assert how == "deadline", error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go)
            await begun.wait()
            if how == "caller":
                nursery.cancel_scope.cancel()

    assert len(charged) == (1 if (who, how, ends) == ("redirect", "deadline", "raises") else 0)


@pytest.mark.parametrize("hooked", [False, True])
async def test_a_deadline_is_told_whatever_the_clean_up_raises(hooked: bool) -> None:
    """microsoft/agent-framework-go 1077, from the other side: the time was over, and something else was told."""
    told: list[float] = []

    async def waits(_parameters: dict[str, Any], _context: ToolContext) -> str:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in its clean-up")

    async with opened(make_tool("waits", waits)) as host:
        host.hooks.register("tool_timeout", lambda context: told.append(1), kind="observe")
        if hooked:
            host.hooks.register("before_tool_execution", lambda context: None, kind="guard")
            host.hooks.register("tool_error", lambda context: None)
        with pytest.raises(OperationTimeoutError, match=r"it took longer than 0\.05 s") as caught:
            await host.call("tool:waits", {}, deadline_s=0.05)

    assert told == [1]
    assert "in its clean-up" in str(caught.value.__cause__)


async def test_a_stage_that_was_cut_off_is_asked_about_whatever_its_tool_made_of_that() -> None:
    """docs/durable-workflows.md: a stage that failed, as against one that was cut off."""
    begun = trio.Event()

    async def waits(_parameters: dict[str, Any], _context: ToolContext) -> str:
        begun.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ToolError("the connection broke") from None
        return ""

    stages = [{"name": "a", "tool": "waits", "on_error": "continue"}, {"name": "b", "function": lambda context: 1}]
    async with opened(make_tool("waits", waits, repeatable=False), settings={"storage": {"backend": "memory"}}) as host:
        workflows = host.get(Workflows)
        made = await workflows.create({"name": "w", "stages": stages, "durable": True})
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(made.run, run_id="r"))
                await begun.wait()
                scope.cancel()
        output = await workflows.resume("r")

    assert (output.status, output.error.partition(":")[0]) == ("paused", "a")
