"""The plugin logging: what it writes is what happened, whatever becomes of the disk and of the host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import make_plugin, opened
from listening_log import ECHO, Watched, child, held, logged, rows
from llmspell import Host
from llmspell_hookspecs import Cancel
from llmspell_hookspecs.errors import ToolError
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.hooks.logging import plugin as plugin_module
from scripted_model import ScriptedModel, asks, says
from waiting import PATIENCE_S, until

TOKEN = "ghp_" + "a1B2c3D4e5" * 4


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


async def test_where_a_hook_refuses_to_let_that_be_told_the_log_is_tried_again_all_the_same(tmp_path: Path) -> None:
    silent = make_plugin("silent", ("before_event_emit", lambda context: Cancel("hush"), {"match": "logging.*"}))
    place = tmp_path / "later" / "it.log"
    async with opened(ECHO, silent, Watched, settings=logged(tmp_path, path=str(place), include=["tool:*"])) as host:
        told, _ = await use_a_log_that_cannot_be_written(host)
        place.parent.mkdir()
        await host.call("tool:echo", {})
        assert "it cannot be written" in str(host.problems[0])

    assert told == []
    assert len(rows(place.parent, "after_tool_execution")) == 1


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
