"""``llmspell workflow``, as people call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main
from llmspell_testing.isolation import TemporarySettings, isolate

SUM = """
name = "sum"
[[stages]]
name = "add"
tool = "calculator"
input = {operation = "evaluate", input = "{{input.a}} + 1"}
[[stages]]
name = "double"
tool = "calculator"
input = {operation = "evaluate", input = "2 * {{step:add:output.result}}"}
"""
ASKS = """
name = "asks"
durable = true
[[stages]]
name = "write"
tool = "file_operations"
input = {operation = "write", path = "made.txt", content = "x"}
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    found = isolate(tmp_path, monkeypatch)
    (found.project / "sum.toml").write_text(SUM)
    (found.project / "asks.toml").write_text(ASKS)
    return found


@pytest.fixture
def llmspell(places: TemporarySettings, capfd: pytest.CaptureFixture[str]) -> Any:
    """Call the command line; returns code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_workflow_in_a_file_runs_and_tells_of_each_stage(llmspell: Any) -> None:
    code, out, err = llmspell("workflow", "run", "sum.toml", "--input", '{"a": 20}')

    assert code == 0
    assert json.loads(out)["result"] == 42
    lines = err.splitlines()
    assert lines[0] == "add: tool calculator"
    assert lines[1].startswith("add: completed after ")
    assert lines[2] == "double: tool calculator"


def test_with_json_the_result_is_one_value_and_nothing_else_is_told(llmspell: Any) -> None:
    code, out, err = llmspell(
        "workflow", "run", "sum.toml", "--input", '{"a": 1}', "--durable", "--id", "r1", "--output", "json"
    )

    assert (code, err) == (0, "")
    assert json.loads(out)["status"] == "completed"
    assert json.loads(out)["run_id"] == "r1"


def test_a_run_that_is_kept_is_listed_shown_answered_again_and_deleted(llmspell: Any) -> None:
    llmspell("workflow", "run", "sum.toml", "--input", '{"a": 20}', "--durable", "--id", "r1")

    rows = json.loads(llmspell("workflow", "list", "--output", "json")[1])
    shown = json.loads(llmspell("workflow", "show", "r1", "--output", "json")[1])
    table = llmspell("workflow", "show", "r1")[1]
    again = llmspell("workflow", "resume", "r1")
    cancelled = llmspell("workflow", "cancel", "r1")
    deleted = llmspell("workflow", "delete", "r1")
    missing = llmspell("workflow", "delete", "r1")

    assert [(row["run_id"], row["name"], row["status"]) for row in rows] == [("r1", "sum", "completed")]
    assert [stage["path"] for stage in shown["stages"]] == ["add", "double"]
    assert shown["input"] == {"a": 20}
    assert "double" in table and "completed" in table
    assert (again[0], json.loads(again[1])["result"]) == (0, 42)
    assert (cancelled[0], deleted[0], missing[0]) == (1, 0, 1)
    assert "there is none" in missing[2]


def test_a_definition_is_checked_drawn_and_its_faults_are_one_line(llmspell: Any, places: TemporarySettings) -> None:
    (places.project / "wrong.toml").write_text(SUM.replace("step:add", "step:ad"))

    valid = llmspell("workflow", "validate", "sum.toml")
    warned = llmspell("workflow", "validate", "asks.toml")
    wrong = llmspell("workflow", "validate", "wrong.toml")
    text = llmspell("workflow", "show", "sum.toml", "--diagram", "text")[1]
    mermaid = llmspell("workflow", "show", "sum.toml", "--diagram", "mermaid")[1]

    assert valid == (0, "sum is in order: sequential, 2 stages\n", "")
    assert "a crash within it interrupts the run" in warned[2]
    assert (wrong[0] > 0, len(wrong[2].splitlines())) == (True, 1)
    assert "there is no stage 'ad'" in wrong[2]
    assert text.splitlines() == ["sum (sequential)", "  - add: tool:calculator", "  - double: tool:calculator"]
    assert mermaid.splitlines() == [
        "flowchart TD",
        '  start(["sum"])',
        '  n0["add: tool:calculator"]',
        "  start --> n0",
        '  n1["double: tool:calculator"]',
        "  n0 --> n1",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "none.toml"), "cannot be read"),
        (("resume", "r9"), "there is none"),
        (("show", "r9"), "there is none"),
        (("run", "sum.toml", "--input", '{"price": 14'), "--input: it is no JSON: "),
        (("run", "sum.toml", "--input", "{'price': 14}"), "--input: it is no JSON: "),
        (("resume", "r9", "--stage", "a=done", "--output-of", 'a={"b":1'), "--output-of a: it is no JSON: "),
        (("resume", "r9", "--stage", "a"), "write PATH=again"),
        (("resume", "r9", "--output-of", "a=1"), "--stage PATH=done beside it"),
    ],
)
def test_what_people_get_wrong_is_one_line(llmspell: Any, arguments: tuple[str, ...], told: str) -> None:
    code, _, err = llmspell("workflow", *arguments)

    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_what_waits_for_a_person_is_listed_and_allowed_from_the_command_line(
    llmspell: Any, places: TemporarySettings
) -> None:
    places.write_user(
        """
        [plugins.security]
        enabled = true
        rules = [{name = "look", action = "ask", tools = ["calculator"]}]
        """
    )

    llmspell("workflow", "run", "sum.toml", "--input", '{"a": 20}', "--durable", "--id", "r1")
    (asked,) = json.loads(llmspell("approval", "list", "--output", "json")[1])
    waits = llmspell("workflow", "show", "r1")
    denied = llmspell("approval", "deny", asked["id"])
    refused = llmspell("approval", "allow", asked["id"])
    reopened = llmspell("approval", "reopen", asked["id"])
    allowed = llmspell("approval", "allow", asked["id"], "--by", "Ada")
    goes_on = llmspell("workflow", "show", "r1")
    resumed = llmspell("workflow", "resume", "r1", "--output", "json")
    shown = json.loads(llmspell("approval", "show", asked["id"], "--output", "json")[1])

    assert (asked["run_id"], asked["path"], asked["address"]) == ("r1", "add", "tool:calculator")
    assert f"add waits for an answer: llmspell approval show|allow|deny {asked['id']}" in waits[1]
    assert "--stage" not in waits[1] + goes_on[1]
    assert (denied[0], refused[0] > 0, reopened[0]) == (0, True, 0)
    assert f"approval reopen {asked['id']}" in refused[2]
    assert "add is allowed: llmspell workflow resume r1" in goes_on[1]
    assert "workflow resume r1" in allowed[1]
    assert json.loads(resumed[1])["outputs"]["add"]["result"] == 21
    assert (shown["status"], shown["by"]) == ("consumed", "Ada")


FAILS = """
name = "fails"
durable = true
[[stages]]
name = "read"
tool = "file_operations"
input = {operation = "read", path = "missing.txt"}
"""


def test_a_durable_run_that_fails_tells_the_id_with_which_it_is_resumed(
    llmspell: Any, places: TemporarySettings
) -> None:
    (places.project / "fails.toml").write_text(FAILS)

    failed = llmspell("workflow", "run", "fails.toml")
    as_json = llmspell("workflow", "run", "fails.toml", "--output", "json", "--id", "r2")
    once = llmspell("workflow", "run", "fails.toml", "--no-durable")
    (places.project / "missing.txt").write_text("there")
    told = next(line for line in failed[2].splitlines() if "llmspell workflow resume " in line)
    resumed = llmspell("workflow", "resume", told.split()[-1])

    assert failed[0] == 1
    assert failed[2].splitlines()[0] == f"run {told.split()[-1]}"
    assert "it is kept: llmspell workflow resume r2" in as_json[2]
    assert "resume" not in once[2]
    assert resumed[0] == 0
    assert "there" in resumed[1]


def test_runs_are_listed_newest_first(llmspell: Any) -> None:
    for run in ("a", "c", "b"):
        llmspell("workflow", "run", "sum.toml", "--input", '{"a": 1}', "--durable", "--id", run)

    rows = json.loads(llmspell("workflow", "list", "--output", "json")[1])
    newest = json.loads(llmspell("workflow", "list", "--output", "json", "--limit", "1")[1])

    assert [row["run_id"] for row in rows] == ["b", "c", "a"]
    assert [row["run_id"] for row in newest] == ["b"]
