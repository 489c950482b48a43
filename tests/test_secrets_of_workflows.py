"""What workflows are given in secret is seen by their stages alone: no hook, event or kept question shows it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import HookContext, HookResult, ToolContext
from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.points import Phase
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.workflows import Workflows
from test_secrets_of_models import HIDDEN, SECRETS, each_secret

STAGE = {"name": "use", "tool": "made", "input": {"given": "{{input}}"}}


def patterns(secret: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a workflow of each pattern that has this secret wherever one may stand."""
    literal = {"name": "said", "tool": "made", "input": {"given": dict(secret)}}
    item = {**STAGE, "input": {"given": "{{loop:current_item}}"}}
    branches = [{"name": "x", "stages": [STAGE]}, {"name": "y", "stages": [literal]}]
    known = {"type": "shared_data_equals", "key": "password", "value": "another"}
    return {
        "sequential": {
            "stages": [STAGE, literal, {"name": "shares", "function": share, "input": "{{input}}"}],
            "shared": dict(secret),
        },
        "loop": {"pattern": "loop", "items": [dict(secret)], "stages": [item]},
        "conditional": {
            "pattern": "conditional",
            "shared": {"password": HIDDEN},
            "branches": [
                {"name": "b", "condition": known, "stages": [literal]},
                {"name": "d", "default": True, "stages": [STAGE]},
            ],
        },
        "parallel": {"pattern": "parallel", "branches": branches},
    }


def share(context: Any) -> None:
    for key, value in context.shared.items():
        context.shared[key] = value
        assert HIDDEN in repr(context.shared[key])
        assert HIDDEN in repr(context.input)


def look_everywhere(host: Host, told: list[str]) -> set[str]:
    """Register a guard and an observer at every point that may stand around a workflow; returns those asked."""
    asked: set[str] = set()

    def look(context: HookContext[Any]) -> None:
        asked.add(context.point)
        told.append(f"{context!r} {context.subject} {context.request}")

    for point in host.hooks.points():
        if point.phase is Phase.AROUND:
            continue
        host.hooks.register(point.name, look, kind="observe")
        if point.phase in (Phase.BEFORE, Phase.CHECK, Phase.DECISION) and point.name != "model_chunk":
            host.hooks.register(point.name, look, kind="guard")
    return asked


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("pattern", patterns({}))
@each_secret
async def test_no_hook_event_or_log_around_a_workflow_holds_a_secret_and_its_tool_has_it(
    name: str, pattern: str, durable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret, told, ran = SECRETS[name], list[str](), list[Any]()

    async def tool(parameters: dict[str, Any], context: ToolContext) -> Any:
        ran.append(parameters["given"])
        return {"result": 1}

    async with opened(make_tool("made", tool), trace=True) as host:
        asked = look_everywhere(host, told)
        definition = {"name": "w", **patterns(secret)[pattern]}
        async with host.events.subscribe("**", capacity=1000) as events:
            handle = await host.get(Workflows).create(definition)
            output = await handle.run(secret, durable=durable)
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
        told.append(repr(host.trace) + caplog.text)

    assert output.status == "completed"
    assert ran
    assert all(given == secret for given in ran)
    assert {"before_workflow_start", "before_workflow_stage"} <= asked
    assert HIDDEN not in "".join(told)


async def test_the_question_about_a_stage_is_kept_masked_and_what_is_allowed_runs_with_the_secret() -> None:
    ran: list[Any] = []

    async def tool(parameters: dict[str, Any], context: ToolContext) -> Any:
        ran.append(parameters["given"])
        return {"result": 1}

    secret = {"password": HIDDEN, "to": "somebody"}
    async with opened(make_tool("made", tool)) as host:
        ask = Cancel("somebody looks first", "approval_required")
        host.hooks.register("before_workflow_stage", lambda context: ask, kind="guard", match="w.use")
        handle = await host.get(Workflows).create({"name": "w", "stages": [STAGE]})
        paused = await handle.run(secret, durable=True, run_id="r")
        (question,) = await host.get(Approvals).list()
        await host.get(Approvals).allow(question.id)
        output = await host.get(Workflows).resume("r")

    assert (paused.status, output.status) == ("paused", "completed")
    assert question.call["input"]["given"]["to"] == "somebody"
    assert HIDDEN not in repr(question)
    assert ran == [secret]


@pytest.mark.parametrize("point", ["before_workflow_start", "before_workflow_stage", "loop_iteration_start"])
async def test_what_a_hook_left_masked_runs_as_it_was_beside_what_it_changed(point: str) -> None:
    ran: list[Any] = []

    async def tool(parameters: dict[str, Any], context: ToolContext) -> Any:
        ran.append(parameters["given"])
        return {"result": 1}

    def change(context: HookContext[Any]) -> HookResult:
        name = "item" if point == "loop_iteration_start" else "input"
        held = getattr(context.subject, name)
        if point == "before_workflow_stage":
            return context.modify(input={"given": {**held["given"], "to": "another"}})
        return context.modify(**{name: {**held, "to": "another"}})

    async with opened(make_tool("made", tool)) as host:
        host.hooks.register(point, change)
        definition = {"name": "w", "pattern": "loop", "items": "{{input.all}}", "stages": [STAGE]}
        given: Any = {"password": HIDDEN, "to": "somebody"}
        definition["stages"] = [{**STAGE, "input": {"given": "{{loop:current_item}}"}}]
        if point == "before_workflow_start":
            definition = {"name": "w", "stages": [STAGE]}
        handle = await host.get(Workflows).create(definition)
        await handle.run(given if point == "before_workflow_start" else {"all": [given]})

    assert ran == [{"password": HIDDEN, "to": "another"}]


async def test_what_holds_no_secret_reaches_a_function_as_it_was_given() -> None:
    seen: list[Any] = []
    given = {"rows": [{"n": 1}], "pair": (1, 2), "tags": {"a"}}
    async with opened() as host:
        stages = [{"name": "look", "function": lambda context: seen.append(context.input), "input": "{{input}}"}]
        handle = await host.get(Workflows).create({"name": "w", "stages": stages})
        await handle.run(given)

    assert seen[0] == given
    assert seen[0] is given


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("pattern", ["sequential", "parallel", "graph", "adaptive", "loop", "pipeline", "map_reduce"])
async def test_no_hook_or_event_shows_a_secret_that_stages_yield_and_whoever_runs_them_has_it(
    pattern: str, durable: bool
) -> None:
    secret = {"password": HIDDEN, "n": 1}
    told, had = list[str](), list[Any]()

    async def make(context: Any) -> Any:
        return dict(secret)

    async def take(context: Any) -> Any:
        had.append(context.output("a"))
        return [dict(secret)]

    definition: dict[str, Any] = {"name": "w", "pattern": pattern, "stages": [{"name": "a", "function": make}]}
    if pattern == "map_reduce":
        definition["reduce"] = {"name": "b", "function": take}
    else:
        definition["stages"].append({"name": "b", "function": take})
    if pattern in ("loop", "pipeline", "map_reduce"):
        definition["items"] = [1]
    async with opened(trace=True) as host:
        asked = look_everywhere(host, told)
        host.hooks.register("after_workflow_stage", lambda context: told.append(repr(context)))
        async with host.events.subscribe("**", capacity=1000) as events:
            handle = await host.get(Workflows).create(definition)
            output = await handle.run(durable=durable)
            while (event := events.receive_nowait()) is not None:
                told.append(repr(event))
        told.append(repr(host.trace))

    assert {"after_workflow_stage", "after_workflow_complete"} <= asked
    assert HIDDEN not in "".join(told)
    assert secret in output.outputs.values()
    assert [secret] in output.outputs.values()
    assert HIDDEN in repr(output.output)
    assert had
    assert pattern in ("parallel", "map_reduce", "graph") or had == [secret]
