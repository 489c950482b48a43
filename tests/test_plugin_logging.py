"""The plugin logging: what it writes is what happened, without secrets, whatever becomes of disk and host."""

from __future__ import annotations

import enum
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import deploy_points
from kernel import FAILS, SCENARIOS, Bench, make_plugin, make_tool, opened
from listening_log import Watched, logged, rows
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, Phase, ToolContext
from llmspell_hookspecs.context import ComponentRef, Metadata, OperationRef
from llmspell_hookspecs.errors import OperationCancelledError, ToolError
from llmspell_hookspecs.topics import own_points
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.logging import LoggingSettings
from llmspell_plugins.hooks.logging import plugin as plugin_module
from llmspell_plugins.hooks.logging.line import LineMaker
from llmspell_plugins.hooks.logging.record import Record, Rows
from llmspell_plugins.hooks.logging.selection import level_of
from llmspell_plugins.hooks.security.secrets import Redactor
from llmspell_plugins.hooks.shown import cut_bytes
from scripted_model import ScriptedModel, asks, says
from test_logging_file import child, held
from waiting import PATIENCE_S, until

TOKEN = "ghp_" + "a1B2c3D4e5" * 4
FOREIGN = "\x1b[31mred\x07 \u202egnp\u2066 line\nfeed \x9b2J \udc80 \u2028 end"
REDACTOR = Redactor()


async def _echo(parameters: dict[str, Any], context: ToolContext) -> Any:
    if "fail" in parameters:
        raise ToolError(parameters["fail"], code="broken")
    return parameters.get("answer", parameters)


ECHO = make_tool("echo", _echo)
DENIES = make_plugin(
    "denies",
    ("before_tool_execution", lambda context: Cancel("not today", "denied"), {"kind": "guard", "match": "denied"}),
    ("after_tool_execution", lambda context: Cancel("not that", "denied"), {"kind": "guard", "match": "withheld"}),
)


def record_of(value: Any, **more: Any) -> Record:
    """Return a record as a hook at a notice makes it."""
    where = ComponentRef("tool", more.pop("name", "echo")), OperationRef("o-1", "c-1")
    return Record(0.0, "info", Phase.NOTICE, HookContext("some_notice", value, *where, Metadata(), **more))


def line_of(value: Any, form: Any = "json", **settings: Any) -> str:
    made = LoggingSettings(**settings)
    redactor = REDACTOR if made.content == "redacted" else None
    return LineMaker(Rows(made, redactor), form, made.line_bytes).line(record_of(value)).decode()


# End to end.


async def test_a_call_of_a_tool_is_a_line_with_what_was_asked_and_what_came_of_it(tmp_path: Path) -> None:
    async with opened(ECHO, Watched, settings=logged(tmp_path)) as host:
        await host.call("tool:echo", {"text": "hello"})
        with pytest.raises(ToolError):
            await host.call("tool:echo", {"fail": "it broke"})

    (row,) = rows(tmp_path, "after_tool_execution")
    assert (row["level"], row["component"], row["status"]) == ("info", "tool:echo", "completed")
    assert row["request"]["parameters"] == row["result"]["result"] == {"text": "hello"}
    assert row["elapsed_ms"] >= 0
    (row,) = rows(tmp_path, "tool_error")
    assert (row["level"], row["status"]) == ("error", "failed")
    assert row["error"] == {"type": "ToolError", "code": "broken", "message": "it broke"}
    assert [row["point"] for row in rows(tmp_path)][::3] == ["system_startup", "system_shutdown"]


async def test_a_turn_of_an_agent_is_told_with_its_model_and_its_tool_under_one_correlation(tmp_path: Path) -> None:
    model = ScriptedModel(asks(("echo", {"text": "seven"})), says("it said seven"))
    async with opened(ECHO, model, Watched, settings=logged(tmp_path)) as host:
        agent = await host.agents.create(name="asker", model="scripted/play", tools=["echo"])
        await agent.run("ask it")

    found = rows(tmp_path, "after_model_call", "after_tool_execution", "after_agent_execution")
    assert [row["component"] for row in found] == [
        "model:scripted/play",
        "tool:echo",
        "model:scripted/play",
        "agent:asker",
    ]
    assert len({row["correlation"] for row in found}) == 1
    assert {row.get("parent") for row in found[:3]} == {found[3]["operation"]}
    assert (found[3]["request"]["text"], found[3]["result"]["text"]) == ("ask it", "it said seven")


async def test_a_workflow_is_told_with_its_stages_and_its_tool(tmp_path: Path) -> None:
    stages = [{"name": "say", "tool": "echo", "input": {"text": "hello"}}]
    async with opened(ECHO, Watched, settings=logged(tmp_path)) as host:
        await host.get(Workflows).create({"name": "greet", "stages": stages})
        await host.call("workflow:greet", {})

    found = rows(tmp_path, "after_tool_execution", "after_workflow_stage", "after_workflow_complete")
    assert [row["component"] for row in found] == ["tool:echo", "workflow_stage:greet.say", "workflow:greet"]
    assert len({row["correlation"] for row in found}) == 1


def test_the_command_line_enables_it_and_its_calls_are_logged(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    places = {"LLMSPELL_CONFIG_HOME": str(tmp_path / "user"), "LLMSPELL_DATA_HOME": str(tmp_path / "data")}

    def llmspell(*arguments: str) -> str:
        command = [sys.executable, "-m", "llmspell", *arguments]
        given = {**os.environ, **places, "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    log = tmp_path / ".llmspell" / "operations.log"
    call = f'Tool.invoke("calculator", {{operation = "evaluate", input = "1 + 1"}}) print("{TOKEN}")'
    llmspell("exec", call)
    assert not log.exists()
    llmspell("hook", "enable", "logging")
    llmspell("exec", call)
    llmspell("hook", "disable", "logging")
    llmspell("exec", call)

    found = [json.loads(line) for line in log.read_text().splitlines()]
    (row,) = [row for row in found if row["point"] == "after_tool_execution"]
    assert row["component"] == "tool:calculator"
    assert (row["language"], row["request"]["parameters"]["input"]) == ("lua", "1 + 1")
    assert [row["point"] for row in found].count("after_script_run") == 1
    assert TOKEN not in log.read_text()


# What is logged.


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

    tools = ECHO, make_tool("late", late), make_tool("denied", _echo), make_tool("withheld", _echo)
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
    async with opened(make_tool("denied", _echo), DENIES, Watched, settings=logged(tmp_path)) as host:
        with pytest.raises(OperationCancelledError):
            await host.call("tool:denied", {})

    (row,) = rows(tmp_path, "tool_error")
    assert row["status"] == "cancelled"
    assert row["decision"].pop("hook").startswith("denies.")
    assert row["decision"] == {"result": "Cancel", "code": "denied", "reason": "not today"}


async def test_what_its_caller_leaves_is_no_warning(tmp_path: Path) -> None:
    async def wait(parameters: Any, context: ToolContext) -> None:
        await trio.sleep_forever()

    async with opened(make_tool("wait", wait), Watched, settings=logged(tmp_path)) as host:
        with trio.move_on_after(0.01):
            await host.call("tool:wait", {})

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
    async with opened(ECHO, make_tool("other", _echo), Watched, settings=settings) as host:
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


# What a line tells.


async def test_secrets_are_taken_out_of_arguments_results_and_errors_however_deep(tmp_path: Path) -> None:
    nested = {"deep": [{"header": f"Bearer {TOKEN}"}, {TOKEN: 1}], "password": "hunter2", "n": {"secret": {"x": "abc"}}}
    url = "postgres://me:hunter2@host/db?token=hunter2"
    async with opened(ECHO, Watched, settings=logged(tmp_path, level="trace")) as host:
        await host.call("tool:echo", {"given": nested, "answer": {"found": nested, "url": url}})
        with pytest.raises(ToolError):
            await host.call("tool:echo", {"fail": f"cannot use {TOKEN} at {url}"})
        await host.state.set("login/api_token", "hunter2")
        host.events.publish_nowait("it.happened", {"token": TOKEN, "text": TOKEN})
        host.events.publish_nowait(f"it.{TOKEN}")

    text = (tmp_path / "it.log").read_text()
    assert "[REDACTED:github_token:" in text
    for secret in (TOKEN, TOKEN[:12], "hunter2", '"abc"'):
        assert secret not in text
    assert rows(tmp_path, "after_state_write")


async def test_without_content_neither_arguments_nor_results_nor_texts_of_errors_are_told(tmp_path: Path) -> None:
    tools = ECHO, make_tool("denied", _echo)
    async with opened(*tools, DENIES, Watched, settings=logged(tmp_path, level="trace", content="none")) as host:
        await host.call("tool:echo", {"text": "some words"})
        for name, given in (("echo", {"fail": "some words"}), ("denied", {"text": "some words"})):
            with pytest.raises((ToolError, OperationCancelledError)):
                await host.call(f"tool:{name}", given)

    text = (tmp_path / "it.log").read_text()
    assert "some words" not in text
    assert "not today" not in text
    assert rows(tmp_path, "tool_error")[0]["error"] == {"type": "ToolError", "code": "broken"}


async def test_full_content_is_what_hooks_see(tmp_path: Path) -> None:
    async with opened(ECHO, Watched, settings=logged(tmp_path, content="full")) as host:
        await host.call("tool:echo", {"text": TOKEN, "api_key": "hunter2"})

    (row,) = rows(tmp_path, "after_tool_execution")
    assert row["request"]["parameters"]["text"] == TOKEN
    assert "hunter2" not in json.dumps(row["request"]), "the host hides that from every hook"


async def test_what_the_plugin_security_put_in_a_secrets_place_stays(tmp_path: Path) -> None:
    settings = logged(tmp_path)
    settings["plugins"]["security"] = {"enabled": True}
    async with opened(ECHO, Watched, settings=settings) as host:
        answer = await host.call("tool:echo", {"text": TOKEN})

    (row,) = rows(tmp_path, "after_tool_execution")
    assert row["request"]["parameters"]["text"] == row["result"]["result"]["text"] == answer.result["text"]
    assert answer.result["text"].startswith("[REDACTED:")


async def test_without_the_library_that_finds_secrets_it_is_left_out_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    async with opened(ECHO, Watched, settings=logged(tmp_path)) as host:
        (failed,) = [info for info in host.plugins.infos if info.error]
        await host.call("tool:echo", {})
    async with opened(ECHO, Watched, settings=logged(tmp_path, content="none")) as host:
        assert not [info for info in host.plugins.infos if info.error]

    assert """pip install 'llmspell[logging]', or set content = "none\"""" in failed.error


@given(st.integers(0, 4200), st.sampled_from([" ", "\n", "(", "'", "ä "]), st.sampled_from([512, 2000, 4096]))
def test_no_cut_leaves_half_a_secret(before: int, between: str, line_bytes: int) -> None:
    text = ("word " * 1000)[:before] + between + TOKEN + between + "https://me:hunter2secret@host/" + "tail " * 1000

    line = line_of({"text": text}, line_bytes=line_bytes)

    assert len(line.encode()) <= line_bytes
    shown = json.loads(line)["subject"]["text"]
    assert "ghp_" not in shown
    assert "hunter" not in shown


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(FOREIGN),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner) | st.frozensets(st.text())
    ),
    max_leaves=30,
)


@given(VALUES, st.sampled_from(["json", "console"]), st.sampled_from(["none", "redacted", "full"]))
def test_whatever_is_told_is_one_printable_line_that_json_can_read(value: Any, form: str, content: str) -> None:
    line = line_of(value, form, content=content, line_bytes=512)

    assert len(line.encode()) <= 512
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if form == "json":
        json.loads(line)


class Colour(enum.Enum):
    RED = 1


class Rude:
    def __str__(self) -> str:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        return 1


class RudeMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1 << 80, "1208925819614629174706176"),
        (1 << 70_000, "a number of 70001 bits"),
        (float("nan"), "nan"),
        (b"abc", "3 bytes"),
        (Decimal("1.50"), "1.50"),
        (Colour.RED, "Colour.RED"),
        (Rude(), "a Rude"),
        ({Rude(): 1}, {"a Rude": 1}),
        ({1: {2: (3, "x")}}, {"1": {"2": [3, "x"]}}),
        ("x" * 10_000_000, None),
        (list(range(1_000_000)), None),
        (RudeMapping(), "(left out)"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_value_of_any_type_is_told_and_a_large_one_in_part(value: Any, told: Any) -> None:
    shown = json.loads(line_of({"it": value} if not isinstance(value, RudeMapping) else value))["subject"]

    if told is None:
        assert "..." in json.dumps(shown)
    else:
        assert shown == (told if told == "(left out)" else {"it": told})


def test_a_line_whose_names_alone_are_too_long_tells_the_least() -> None:
    maker = LineMaker(Rows(LoggingSettings(), None), "json", 512)
    names = ComponentRef("tool", "\U0001f600" * 200), OperationRef("o-1", "\x1b" * 200, session_id="\x1b" * 200)

    row = json.loads(maker.line(Record(0.0, "info", Phase.NOTICE, HookContext("p" * 5000, {}, *names, Metadata()))))

    assert row == {"time": "1970-01-01T00:00:00.000000Z", "level": "info", "point": "p" * 100, "subject": "(left out)"}


def test_a_value_in_a_circle_and_one_nested_without_end_are_told_in_part() -> None:
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]

    for value in (circle, deep):
        assert "..." in line_of(value)


@given(st.text(), st.integers(3, 40))
def test_a_cut_is_valid_and_never_longer(text: str, most: int) -> None:
    cut = cut_bytes(text, most)

    assert len(cut.encode()) <= most
    assert text.encode(errors="backslashreplace").startswith(cut.removesuffix("...").encode())


async def test_the_console_shows_people_a_line_without_what_steers_their_terminal(tmp_path: Path) -> None:
    settings = logged(tmp_path, format="console", include=["tool:*"])
    async with opened(ECHO, Watched, settings=settings) as host:
        await host.call("tool:echo", {"text": FOREIGN})
        with pytest.raises(ToolError):
            await host.call("tool:echo", {"fail": FOREIGN})

    done, failed = (tmp_path / "it.log").read_text().split("\n")[:-1]
    assert " info    after_tool_execution tool:echo completed " in done
    assert " ms operation=" in done
    assert " error   tool_error tool:echo failed " in failed
    assert "it.log" not in done
    for line in (done, failed):
        assert line.isprintable()
        assert "\\u001b[31mred" in line


def test_each_line_is_read_by_jq(tmp_path: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed, so that only Python's json has read the lines")

    async def run() -> None:
        async with opened(ECHO, Watched, settings=logged(tmp_path, level="trace")) as host:
            for value in (FOREIGN, 1.5, 1 << 80, [None, {"a": {"b": "ä" * 5000}}], "x" * 10_000, float("inf")):
                await host.call("tool:echo", {"value": value})

    trio.run(run)
    command = ["jq", "-c", ".", str(tmp_path / "it.log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["point"] for line in done.stdout.split("\n")[:-1]] == [
        row["point"] for row in rows(tmp_path)
    ]


# What becomes of it.


async def test_lines_are_there_while_the_host_runs(tmp_path: Path) -> None:
    async with opened(ECHO, Watched, settings=logged(tmp_path, include=["tool:*"])) as host:
        await host.call("tool:echo", {})
        with trio.fail_after(PATIENCE_S):
            while Watched.newest.stats()["written"] < 1:
                await trio.sleep(0.01)
        assert len(rows(tmp_path)) == 1


async def test_rotation_keeps_as_many_files_as_it_says_and_loses_no_line_of_them(tmp_path: Path) -> None:
    settings = logged(tmp_path, include=["after_tool_execution"], rotate_bytes=20_000, keep=3)
    async with opened(ECHO, Watched, settings=settings) as host:
        for number in range(500):
            await host.call("tool:echo", {"number": number, "text": "x" * (number % 200)})
    stats = Watched.newest.stats()

    numbers = [json.loads(line)["request"]["parameters"]["number"] for line in held(tmp_path / "it.log")]
    assert numbers == list(range(500))[-len(numbers) :]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.log", "it.log.1", "it.log.2", "it.log.3"]
    assert all(path.stat().st_size <= 20_000 for path in tmp_path.iterdir())
    assert (stats["written"], stats["lost"], stats["pending"]) == (500, 0, 0)
    assert stats["rotations"] > 3


async def use_a_log_that_cannot_be_written(host: Host) -> tuple[list[Any], dict[str, int]]:
    """Call tools until the log was tried twice; return what events told of it."""
    async with host.events.subscribe("logging.*") as events:
        for lost in (20, 40):
            for _ in range(20):
                await host.call("tool:echo", {})
            with trio.fail_after(PATIENCE_S):
                while Watched.newest.stats()["lost"] < lost:
                    await trio.sleep(0.01)
        told = []
        while (event := events.receive_nowait()) is not None:
            told.append(event)
    return told, Watched.newest.stats()


@pytest.mark.parametrize("place", ["/dev/full", "missing/it.log", "folder", "fifo", "link"])
async def test_a_log_that_cannot_be_written_is_told_once_and_harms_nobody(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    settings = {**logged(tmp_path, path=str(tmp_path / place), include=["tool:*"]), "events": {}}
    async with opened(ECHO, Watched, settings=settings) as host:
        told, stats = await use_a_log_that_cannot_be_written(host)
        (problem,) = host.problems

    assert [event.type for event in told] == ["logging.unwritten"]
    assert told[0].data["path"] == str(tmp_path / place)
    assert f"log {tmp_path / place}: it cannot be written: " in str(problem)
    assert (stats["written"], stats["lost"]) == (0, 40)


async def test_what_is_missing_is_told_in_the_log_when_that_can_be_written_again(tmp_path: Path) -> None:
    place = tmp_path / "later" / "it.log"
    async with opened(ECHO, Watched, settings=logged(tmp_path, path=str(place), include=["tool:*"])) as host:
        await use_a_log_that_cannot_be_written(host)
        place.parent.mkdir()
        await host.call("tool:echo", {})
    stats = Watched.newest.stats()

    first, second = rows(place.parent)
    assert first["subject"] == "40 records that belong here could not be written"
    assert (first["level"], first["point"], second["point"]) == ("warning", "logging", "after_tool_execution")
    assert (stats["written"], stats["lost"]) == (1, 40)


async def test_more_than_can_be_kept_is_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "_MOST", 50)
    async with opened(Watched, settings=logged(tmp_path, level="trace", include=["after_event_emit"])) as host:
        for _ in range(80):  # without a pause, so that nothing is written meanwhile
            host.events.publish_nowait("it.happened")
    stats = Watched.newest.stats()

    lost = [row["subject"] for row in rows(tmp_path, "logging")]
    assert (stats["written"], stats["lost"], stats["pending"]) == (50, 30, 0)
    assert lost == ["30 records that belong here could not be written"]


def test_a_host_whose_disk_becomes_full_goes_on_and_leaves_whole_lines(tmp_path: Path) -> None:
    with child("record", tmp_path, json.dumps({"include": ["tool:*"]}), 30_000, 400) as process:
        out, _ = process.communicate(timeout=PATIENCE_S)

    told = json.loads(out)
    assert process.returncode == 0
    assert 0 < (tmp_path / "it.log").stat().st_size <= 30_000
    assert len(rows(tmp_path, "after_tool_execution")) == told["written"] > 0
    assert told["written"] + told["lost"] == 400
    assert len(told["problems"]) == 1
    assert "it cannot be written: File too large" in told["problems"][0]


@pytest.mark.long
def test_a_host_that_is_killed_while_it_records_leaves_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "it.log"
    settings = json.dumps({"level": "trace", "rotate_bytes": 50_000, "keep": 1000})
    for _ in range(5):
        size = log.stat().st_size if log.exists() else 0
        full = len(list(tmp_path.glob("it.log.*")))
        with child("record", tmp_path, settings):
            until(
                lambda full=full, size=size: (
                    len(list(tmp_path.glob("it.log.*"))) > full  # type: ignore[misc]
                    or (log.exists() and log.stat().st_size > size)
                )
            )

        assert {json.loads(line)["level"] for line in held(log)} >= {"trace", "info"}


async def test_two_hosts_of_one_process_write_to_one_path(tmp_path: Path) -> None:
    settings = logged(tmp_path, include=["tool:*"], rotate_bytes=20_000, keep=100)
    async with (
        opened(ECHO, Watched, settings=settings) as one,
        opened(ECHO, Watched, settings=settings) as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_call_often, one, "one")
        nursery.start_soon(_call_often, other, "other")

    found = [json.loads(line)["request"]["parameters"] for line in held(tmp_path / "it.log")]
    for name in ("one", "other"):
        assert [each["number"] for each in found if each["name"] == name] == list(range(200))


async def _call_often(host: Host, name: str) -> None:
    for number in range(200):
        await host.call("tool:echo", {"name": name, "number": number})
