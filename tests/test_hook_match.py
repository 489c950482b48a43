"""What a hook's pattern is held against at each kind of component, and the warning where it can fit nothing."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import Cancel, OperationCancelledError
from llmspell_hookspecs.errors import LlmspellError
from llmspell_hookspecs.state import State
from llmspell_hookspecs.workflows import Workflows

BUY: dict[str, Any] = {
    "name": "buy",
    "stages": [
        {"name": "dear", "function": lambda context: 1},
        {"name": "cheap", "function": lambda context: 2, "compensate": {"function": lambda context: 3}},
    ],
}
LOOP: dict[str, Any] = {
    "name": "buy",
    "pattern": "loop",
    "while": "always",
    "max_iterations": 2,
    **{"stages": BUY["stages"]},
}


async def write_state(host: Host) -> None:
    await host.get(State).set("key", 1, scope="session:s1")


async def run_script(host: Host) -> None:
    await host.run_source("return 1", name="folder/some.lua")


async def call_tool(host: Host) -> None:
    await host.call("tool:text_manipulator", {"operation": "uppercase", "input": "a"})


async def run_workflow(host: Host) -> None:
    made = host.get(Workflows).get("buy") or await host.get(Workflows).create(LOOP)
    await made.run()


@pytest.mark.parametrize(
    ("point", "act", "fits", "misses"),
    [
        ("before_tool_execution", call_tool, ("text_manipulator", "text_*"), ("text-manipulator", "Text_*")),
        ("before_workflow_start", run_workflow, ("buy", "b?y"), ("workflow:buy", "buy.dear")),
        ("before_workflow_stage", run_workflow, ("buy.dear", "buy.*", "*.dear", "*"), ("buy", "dear", "buy.deer")),
        ("around_workflow_stage", run_workflow, ("buy.dear",), ("workflow_stage:buy.dear",)),
        ("condition_evaluation", run_workflow, ("buy",), ("buy.dear",)),
        ("before_state_write", write_state, ("session:s1", "session:*"), ("s1", "key")),
        ("before_script_run", run_script, ("some.lua", "*.lua"), ("folder/some.lua",)),
    ],
)
async def test_a_pattern_fits_the_name_of_the_component(
    point: str, act: Any, fits: tuple[str, ...], misses: tuple[str, ...]
) -> None:
    async def wraps(context: Any) -> Any:
        asked.append(context.component.name)
        yield

    def watches(context: Any) -> None:
        asked.append(context.component.name)

    async with opened() as host:
        for match in (*fits, *misses):
            asked: list[str] = []
            options = {"kind": "wrap"} if point.startswith("around") else {}
            handle = host.hooks.register(point, wraps if options else watches, match=match, name="h", **options)
            await act(host)
            handle.unregister()

            assert bool(asked) == (match in fits), match


@pytest.mark.parametrize(
    ("point", "match", "told"),
    [
        ("before_workflow_stage", "buy", "formed as workflow.stage, so it is not asked; did you mean buy.*?"),
        ("before_workflow_stage", "workflow_stage:buy.dear", "did you mean buy.dear?"),
        ("before_workflow_start", "workflow:buy", "formed as workflow, so it is not asked; did you mean buy?"),
        ("before_workflow_stage", "buy.*", ""),
        ("before_workflow_stage", "*y", ""),
        ("before_workflow_stage", "[a:]*", ""),
        ("before_workflow_start", "buy.dear", ""),
        ("workflow_error", "buy", ""),
        ("workflow_error", "buy.dear", ""),
        ("before_state_write", "agent:*", ""),
    ],
)
async def test_a_pattern_that_fits_no_name_of_its_points_form_is_told_of(
    point: str, match: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as host:
        host.hooks.register(point, lambda context: None, match=match, name="h")

    assert len(caplog.messages) == bool(told)
    assert told in "".join(caplog.messages)


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ("buy.deer", "fits no stage of workflow buy, so it is not asked; did you mean buy.dear?"),
        ("buy.dear", ""),
        ("buy.undo cheap", ""),
        ("buy.d*r", ""),
        ("buy.elsewhere", ""),
        ("buy.more.dear", ""),
        ("sell.deer", ""),
    ],
)
async def test_a_pattern_near_a_stage_that_there_is_is_told_of_as_the_workflow_is_made(
    match: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as host:
        host.hooks.register("before_workflow_stage", lambda context: Cancel("no"), kind="guard", match=match, name="g")
        await host.get(Workflows).create(BUY)

    assert len(caplog.messages) == bool(told)
    assert told in "".join(caplog.messages)


async def test_a_guard_that_fits_a_stage_denies_it() -> None:
    async with opened() as host:
        made = await host.get(Workflows).create(BUY)
        host.hooks.register("before_workflow_stage", lambda context: Cancel("no"), kind="guard", match="buy.dear")

        with pytest.raises((OperationCancelledError, LlmspellError), match="no"):
            await made.run()
