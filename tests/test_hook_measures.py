"""``llmspell hook bench`` and ``llmspell hook stats``: what they tell is what was measured, and of whom."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_plugins.commands.hook.stats import of_trace
from waiting import PATIENCE_S, until

COUNTING = """
from llmspell_hookspecs import Cancel, hookimpl

@hookimpl(kind="guard", name="judge")
def before_tool_execution(context):
    return Cancel("no") if context.subject.parameters.get("input") == "bad" else None
"""
SCRIPT = """
for number = 1, 20 do Tool.execute("calculator", {input = "2 + 2"}) end
pcall(Tool.execute, "calculator", {input = "bad"})
Hook.register("BeforeToolExecution", function(context) error("broken") end, {name = "breaks"})
Tool.execute("calculator", {input = "1"})
print("up")
"""
STAYS = SCRIPT + 'local never = Event.subscribe("never") while true do Event.receive(never, 50) end'


class Desk:
    """A user's folder, with a script, and the processes that were started in it."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "LLMSPELL_CONFIG_HOME": str(root / "config"),
            "LLMSPELL_DATA_HOME": str(root / "data"),
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "llmspell", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.Popen(command, cwd=self.project, env=self.environment, **pipes)

    def run(self, *arguments: str, given: str | None = None) -> tuple[int, str, str]:
        with self.start(*arguments, stdin=subprocess.PIPE) as process:
            out, err = process.communicate(given, timeout=PATIENCE_S)
            return process.returncode, out, err

    def rows(self, *arguments: str, given: str | None = None) -> list[dict[str, Any]]:
        code, out, err = self.run(*arguments, "--output", "json", given=given)
        assert code == 0, err
        rows: list[dict[str, Any]] = json.loads(out)
        return rows


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_bench_times_each_kind_sync_and_async_at_each_number_and_none(desk: Desk) -> None:
    code, out, err = desk.run("hook", "bench", "--rounds", "3", "--output", "json")
    found = json.loads(out)

    assert (code, err) == (0, "")
    rows = {(row["kind"], row["way"], row["hooks"]): row for row in found["rows"]}
    kinds, ways = ("transform", "guard", "observe"), ("sync", "async")
    assert set(rows) == {("none", "", 0)} | {(k, w, n) for k in kinds for w in ways for n in (1, 10, 100)}
    none_us = rows["none", "", 0]["quickest_us"]
    for (kind, _, count), row in rows.items():
        assert 0 < row["quickest_us"] <= row["median_us"] <= row["slowest_us"]
        if kind == "none":
            assert row["a_hook_us"] is None
        else:
            assert row["a_hook_us"] == pytest.approx((row["quickest_us"] - none_us) / count, abs=0.01)
    assert rows["guard", "async", 100]["quickest_us"] > none_us
    assert (found["rounds"], found["besides"]) == (3, [])


def test_bench_tells_people_what_was_measured_on_what_and_which_hooks_stood_there_besides(desk: Desk) -> None:
    code, out, err = desk.run("hook", "bench", "--rounds", "3", "--set", "plugins.debugging.enabled=true")

    assert code == 0
    assert len(out.splitlines()) == 1 + 1 + 18
    assert "3 batches of about 1 ms each, on CPython" in err
    assert "besides there stood debugging.begin_before_model_call" in err


def test_a_trace_tells_calls_answers_and_percentiles_by_hook_and_point(desk: Desk) -> None:
    (desk.project / "a.lua").write_text(SCRIPT)
    debugging = ("--set", "plugins.debugging.enabled=true")
    code, trace, err = desk.run("run", "--explain", "--output", "json", *debugging, "a.lua")
    assert code == 0, err
    (desk.project / "trace.json").write_text(trace)

    rows = desk.rows("hook", "stats", "trace.json", "--point", "before_tool_execution")
    piped = desk.rows("hook", "stats", "-", "--plugin", "debugging", given=trace)

    by_name = {row["hook"].rpartition(".")[2]: row for row in rows}
    begins = by_name["begin_before_tool_execution"]
    assert (begins["calls"], begins["results"]) == (22, {"Continue": 22})
    assert 0 < begins["p50_us"] <= begins["p95_us"] <= begins["p99_us"]
    assert (by_name["breaks"]["failures"], by_name["breaks"]["results"]) == (1, {"error": 1})
    assert {row["plugin"] for row in piped} == {"debugging"}
    assert begins in piped


def test_processes_that_run_tell_what_they_have_counted_so_far(desk: Desk) -> None:
    (desk.project / "stays.lua").write_text(STAYS)
    with desk.start("run", "--set", "plugins.debugging.enabled=true", "stays.lua") as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            rows = desk.rows("hook", "stats", "--wait", "5", "--point", "before_tool_execution")
            again = desk.run("hook", "stats", "--wait", "5")
        finally:
            running.kill()

    by_name = {row["hook"].rpartition(".")[2]: row for row in rows}
    assert by_name["begin_before_tool_execution"]["calls"] == 22
    assert by_name["begin_before_tool_execution"]["breaker"] == "closed"
    assert by_name["begin_before_tool_execution"]["mean_us"] > 0
    assert by_name["breaks"]["failures"] == 1
    assert {row["process"] for row in rows} == {f"run[{running.pid}]"}
    assert again[0] == 0
    assert "begin_before_tool_execution" in again[1]


def test_where_no_process_runs_it_says_so_and_what_to_do(desk: Desk) -> None:
    code, out, err = desk.run("hook", "stats", "--wait", "0.3")

    assert (code, out) == (1, "")
    assert "no llmspell process of yours told of its hooks within 0.3 s; give a trace" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"trace": [1]}', '{"trace": [{"point": "x"}]}', "[" * 100_000])
def test_what_is_no_trace_is_wrong_usage(desk: Desk, text: str) -> None:
    code, out, err = desk.run("hook", "stats", "-", given=text)

    assert (code, out) == (2, "")
    assert "-: this is no trace; give a trace, as 'llmspell run --explain" in err
    assert "Traceback" not in err


def test_events_of_a_tail_are_none_of_hooks(desk: Desk) -> None:
    (desk.project / "stays.lua").write_text(STAYS)
    tail = desk.start("event", "tail", "--output", "json")
    requests = desk.project.parent / "data" / "run"
    until(lambda: list(requests.glob("tail-*.json")))
    with desk.start("run", "stays.lua") as running, tail:
        try:
            assert running.stdout is not None
            running.stdout.readline()
            desk.rows("hook", "stats", "--wait", "3")
        finally:
            running.terminate()
            running.wait(PATIENCE_S)
            tail.terminate()
        out, _ = tail.communicate(timeout=PATIENCE_S)

    assert "tool.completed" in out
    assert "hook_stats" not in out


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=200))
def test_a_percentile_is_the_least_time_that_so_many_calls_did_not_exceed(times: list[int]) -> None:
    call = {"point": "p", "plugin": "a", "hook": "h", "kind": "guard", "result": "Continue"}
    (row,) = of_trace([{**call, "elapsed_ns": took} for took in times])

    for part in (50, 95, 99):
        told_ns = row[f"p{part}_us"] * 1000
        enough = math.ceil(len(times) * part / 100)
        assert sum(took <= told_ns + 0.5 for took in times) >= enough
        assert sum(took < told_ns - 0.5 for took in times) < enough
