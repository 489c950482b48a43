"""What the plugin logging logs: levels, patterns, samples, fields, and at which points it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import deploy_points
from kernel import FAILS, SCENARIOS, Bench, make_tool, opened
from listening_log import DENIES, ECHO, Watched, echo, logged, rows
from llmspell_hookspecs import Phase, ToolContext
from llmspell_hookspecs.errors import OperationCancelledError
from llmspell_hookspecs.topics import own_points
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.logging.selection import level_of


@pytest.mark.parametrize(
    ("level", "points"),
    [
        ("error", {"tool_error"}),
        ("warning", {"tool_error", "tool_timeout", "after_tool_execution"}),
        ("info", {"tool_error", "tool_timeout", "after_tool_execution"}),
        ("debug", {"tool_error", "tool_timeout", "after_tool_execution", "before_tool_execution"}),
        (
            "trace",
            {"tool_error", "tool_timeout", "after_tool_execution", "before_tool_execution", "tool_resource_released"},
        ),
    ],
)
async def test_a_level_takes_its_own_and_what_weighs_more(tmp_path: Path, level: str, points: set[str]) -> None:
    async def late(parameters: Any, context: ToolContext) -> None:
        await trio.sleep_forever()

    tools = ECHO, make_tool("late", late), make_tool("denied", echo), make_tool("withheld", echo)
    settings = logged(tmp_path, level=level, include=["tool:*"])
    async with opened(*tools, DENIES, Watched, settings=settings) as host:
        await host.call("tool:echo", {})
        for address, options in (("denied", {}), ("withheld", {}), ("late", {"deadline_s": 0.01})):
            with pytest.raises(Exception, match=address):
                await host.call(f"tool:{address}", {}, **options)

    found = rows(tmp_path)
    assert {row["point"] for row in found} - {"tool_parameter_validation", "tool_security_check"} - (
        {"tool_resource_allocated"} if level == "trace" else set()
    ) == points
    told = {(row["component"], row["level"]) for row in found if "decision" in row}
    refused = {("tool:denied", "warning"), ("tool:withheld", "warning")}
    assert told == (set() if level == "error" else refused)
    assert all(row["level"] != "info" for row in found) or level in ("info", "debug", "trace")


async def test_who_refused_is_told_with_code_and_reason(tmp_path: Path) -> None:
    async with opened(make_tool("denied", echo), DENIES, Watched, settings=logged(tmp_path)) as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:denied", {})

    (row,) = rows(tmp_path, "tool_error")
    assert row["status"] == "cancelled"
    assert row["decision"].pop("hook").startswith("denies.")
    assert row["decision"] == {"result": "Cancel", "code": "denied", "reason": "not today"}


async def test_what_its_caller_leaves_is_no_warning(tmp_path: Path) -> None:
    begun = trio.Event()

    async def wait(parameters: Any, context: ToolContext) -> None:
        begun.set()
        await trio.sleep_forever()

    tools = make_tool("wait", wait)
    async with opened(tools, Watched, settings=logged(tmp_path)) as host, trio.open_nursery() as nursery:
        nursery.start_soon(host.call, "tool:wait", {})
        await begun.wait()
        nursery.cancel_scope.cancel()

    (row,) = rows(tmp_path, "tool_error")
    assert (row["level"], row["status"]) == ("info", "cancelled")


def test_each_point_of_the_contract_has_a_level_that_its_phase_explains() -> None:
    levels = {point.name: level_of(point) for point in own_points()}

    assert {name for name, level in levels.items() if level == "error"} == {
        *(point.name for point in own_points() if point.phase is Phase.ERROR),
        *("plugin_failed", "event_handler_error"),
    }
    assert {name for name, level in levels.items() if level == "trace"} == {
        *("model_chunk", "before_event_emit", "after_event_emit", "workflow_shared_data"),
        *("tool_resource_allocated", "tool_resource_released"),
    }


@pytest.mark.parametrize("point", ["before_deploy", "after_deploy", "deploy_choice", "deploy_check", "deploy_notice"])
async def test_points_that_others_brought_are_logged_too(tmp_path: Path, point: str) -> None:
    settings = logged(tmp_path, level="debug")
    for plugins in ([deploy_points, Watched], [Watched, deploy_points]):
        async with opened(*plugins, settings=settings) as host:
            await host.hooks.fire(point, deploy_points.Deployment("plain"))

    found = rows(tmp_path, point)
    content = [row.get("request") or row["subject"] for row in found]
    assert content == [{"text": "plain"}] * 2


LOGGED = sorted(point.name for point in own_points() if point.phase is not Phase.AROUND)


@pytest.mark.parametrize("point", LOGGED)
async def test_what_happens_at_each_point_is_logged(tmp_path: Path, point: str) -> None:
    from kernel import MORE_PLUGINS, SETTINGS

    bench = Bench()
    plugins = [*bench.plugins, *MORE_PLUGINS.get(point, []), Watched]
    settings = {**SETTINGS.get(point, {}), **logged(tmp_path, level="trace", include=[point])}
    async with opened(*plugins, settings=settings) as host:
        try:
            await SCENARIOS[point](host, bench)
        except FAILS.get(point, ()):
            pass

    assert {row["point"] for row in rows(tmp_path)} == {point}


@pytest.mark.parametrize(
    ("include", "exclude", "logs"),
    [
        (["after_*"], [], {"after_tool_execution/echo", "after_tool_execution/other"}),
        (["AfterToolExecution"], [], {"after_tool_execution/echo", "after_tool_execution/other"}),
        (["tool:e*"], [], {"before_tool_execution/echo", "after_tool_execution/echo"}),
        (["after_*", "tool:e*"], [], {"after_tool_execution/echo"}),
        (["tool:*"], ["tool:echo"], {"before_tool_execution/other", "after_tool_execution/other"}),
        (["tool:*"], ["before_*"], {"after_tool_execution/echo", "after_tool_execution/other"}),
        (["model:*"], [], set()),
    ],
)
async def test_include_and_exclude_say_of_which_points_and_of_what(
    tmp_path: Path, include: list[str], exclude: list[str], logs: set[str]
) -> None:
    exclude = [*exclude, "tool_*", "system_*", "plugin_*", "*_emit"]
    settings = logged(tmp_path, level="debug", include=include, exclude=exclude)
    async with opened(ECHO, make_tool("other", echo), Watched, settings=settings) as host:
        for name in ("echo", "other"):
            await host.call(f"tool:{name}", {})
        stands = {hook.point for hook in host.hooks.list() if hook.plugin == "watched" and hook.name == "log"}

    found = rows(tmp_path) if (tmp_path / "it.log").exists() else []
    assert {f"{row['point']}/{row['component'].partition(':')[2]}" for row in found} == logs
    assert {each.partition("/")[0] for each in logs} <= stands
    assert not {"before_tool_execution", "tool_timeout"} & stands or "before_*" not in exclude


async def test_where_nothing_is_logged_no_hook_stands(tmp_path: Path) -> None:
    async with opened(ECHO, Watched, settings=logged(tmp_path, level="info")) as host:
        stands = {hook.point for hook in host.hooks.list() if hook.plugin == "watched"}

    assert {"after_tool_execution", "tool_error"} <= stands
    assert not {"before_tool_execution", "tool_resource_released", "before_event_emit", "model_chunk"} & stands


async def test_a_name_of_no_point_is_told_as_the_host_opens(tmp_path: Path) -> None:
    settings = logged(tmp_path, include=["after_*", "before_tol_execution"])
    async with opened(Watched, settings=settings) as host:
        (problem,) = host.problems

    assert "there is no hook point 'before_tol_execution' to include or exclude" in str(problem)


async def test_a_sample_holds_whole_calls_and_about_as_many_as_it_says(tmp_path: Path) -> None:
    stages = [{"name": "say", "tool": "echo"}, {"name": "fail", "tool": "echo", "input": {"fail": "no"}}]
    settings = logged(tmp_path, sample=0.5, include=["workflow:*", "workflow_stage:*", "tool:*"])
    async with opened(ECHO, Watched, settings=settings) as host:
        await host.get(Workflows).create({"name": "greet", "stages": stages, "on_error": "continue"})
        for _ in range(200):
            await host.call("workflow:greet", {})
        left_out = Watched.newest.stats()["left_out"]

    points: dict[str, set[str]] = {}
    for row in rows(tmp_path):
        if row["level"] == "info":
            points.setdefault(row["correlation"], set()).add(f"{row['point']}/{row['component']}")
    assert 50 < len(points) < 150
    assert len(set(map(frozenset, points.values()))) == 1, "some calls are told in part"
    assert len(rows(tmp_path, "tool_error")) == 200, "an error was not told"
    assert left_out > 0


async def test_fields_say_what_a_line_tells(tmp_path: Path) -> None:
    settings = logged(tmp_path, fields=["level", "component"], include=["tool:*"])
    async with opened(ECHO, Watched, settings=settings) as host:
        await host.call("tool:echo", {})

    assert rows(tmp_path) == [{"level": "info", "component": "tool:echo"}]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"level": "loud"}, "level"),
        ({"fields": ["time", "colour"]}, "fields"),
        ({"fields": []}, "fields"),
        ({"sample": 1.5}, "sample"),
        ({"keep": 0}, "keep"),
        ({"colour": True}, "colour"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    async with opened(Watched, settings=logged(tmp_path, **settings)) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]

    assert told in failed.error
    assert "\n" not in failed.error
