"""Branches that a run may do without: however one fails, the run is partial and names it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from msgspec import structs

from kernel import make_tool, opened
from llmspell_hookspecs import Modified
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError
from llmspell_hookspecs.workflows import Workflows

MEMORY = {"storage": {"backend": "memory"}}
KEPT = {"name": "kept", "stages": [{"name": "s", "function": lambda context: 1}]}


async def dawdle(context: Any) -> None:
    await trio.sleep(100)


def fail(context: Any) -> None:
    raise ValueError("it broke")


def optional(*stages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    named = [{"name": f"s{place}", **stage} for place, stage in enumerate(stages)]
    return {"name": "may", "required": False, "stages": named, **fields}


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize(
    ("branch", "failed"),
    [
        (optional({"function": fail}), ["branch.may/s0"]),
        (optional({"function": dawdle}, timeout_s=1), ["branch.may"]),
        (optional({"function": fail, "on_error": "continue"}), ["branch.may/s0"]),
        (
            optional({"function": fail, "on_error": "continue"}, {"function": dawdle}, timeout_s=1),
            ["branch.may/s0", "branch.may"],
        ),
        (optional({"function": dawdle, "timeout_s": 1}), ["branch.may/s0"]),
    ],
)
async def test_a_branch_that_failed_or_took_too_long_makes_the_run_partial_and_is_named(
    branch: dict[str, Any], failed: list[str], durable: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create({"name": "w", "pattern": "parallel", "branches": [KEPT, branch]})
        output = await made.run(run_id="r", durable=durable)
        again = await made.resume("r") if durable else output

    assert (output.status, [*output.failed]) == ("partial", failed)
    assert f"failed: {', '.join(failed)}" in output.summary
    assert (again.status, [*again.failed]) == ("partial", failed)
    assert output.output["kept"] == 1


async def test_why_a_branch_failed_is_told_to_scripts(autojump_clock: trio.testing.MockClock) -> None:
    async def wait(parameters: Any, context: Any) -> None:
        await trio.sleep(100)

    source = """
    local steps = {{name = "s", tool = "waits"}}
    local branches = {{name = "may", required = false, timeout_ms = 1000, steps = steps}}
    local run = Workflow.parallel{name = "w", branches = branches}:execute()
    return {run.status, run.failed_steps[1], run.lacking["branch.may"]}
    """
    async with opened(make_tool("waits", wait)) as host:
        status, failed, why = await host.run_source(source)

    assert (status, failed) == ("partially_completed", "branch.may")
    assert "took longer than 1 s" in why


async def test_a_branch_that_a_hook_says_failed_is_named() -> None:
    def change(context: Any) -> Any:
        outcomes = [structs.replace(each, status="failed", error="no") for each in context.subject.outcomes]
        return Modified(structs.replace(context.subject, outcomes=tuple(outcomes)))

    async with opened() as host:
        host.hooks.register("parallel_join", change)
        branches = [optional({"function": lambda context: 1})]
        made = await host.get(Workflows).create({"name": "w", "pattern": "parallel", "branches": branches})
        output = await made.run()

    assert (output.status, [*output.failed], output.output) == ("partial", ["branch.may"], {})
    assert dict(output.details["lacking"]) == {"branch.may": "no"}


async def test_the_time_of_a_branch_that_was_chosen_holds(autojump_clock: trio.testing.MockClock) -> None:
    branch = {"name": "b", "condition": "always", "timeout_s": 1, "stages": [{"name": "s", "function": dawdle}]}
    async with opened() as host:
        made = await host.get(Workflows).create({"name": "w", "pattern": "conditional", "branches": [branch]})
        with pytest.raises(LlmspellError, match="branch b: it took longer than 1 s"):
            await made.run()


@pytest.mark.parametrize(
    ("pattern", "fields", "told"),
    [
        ("conditional", {"condition": "always", "required": False}, "branch kept is not required: only parallel does"),
        ("parallel", {"condition": "always"}, "branch kept has a condition, or is the default: all of parallel run"),
        ("parallel", {"default": True}, "choose the pattern conditional"),
    ],
)
async def test_what_a_branch_says_that_its_pattern_does_not_heed_is_refused(
    pattern: str, fields: dict[str, Any], told: str
) -> None:
    async with opened() as host:
        with pytest.raises(InvalidInputError, match=told):
            await host.get(Workflows).create({"name": "w", "pattern": pattern, "branches": [{**KEPT, **fields}]})
