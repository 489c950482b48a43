"""``llmspell event timeline``: of a script, of a file and of a running process, for people and for programs."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.cli.main import main
from llmspell_hookspecs import Event
from llmspell_hookspecs.any_json import to_json
from llmspell_hookspecs.timeline import TimelineQuery
from llmspell_plugins.commands.event.tree import tree_lines
from llmspell_plugins.services.timeline import Selection
from test_event_tail import Desk, ended, wait_until
from test_timeline import Forest, gone, things

Run = Callable[..., tuple[int, str, str]]
SCRIPT = """
local agent = Agent.create({name = "clerk", model = "offline/rules", tools = {"calculator"}})
local flow = Workflow.sequential({name = "report", steps = {{name = "ask", agent = agent, input = "what is 2 + 2?"}}})
Event.on("user.created", function(event)
    Tool.invoke("calculator", {operation = "evaluate", input = "1 + 1"})
    Event.publish("user.greeted", {name = "Ann\\27[31m"})
end)
Event.publish("user.created", {id = 1})
flow:execute({})
"""
TREE = """
T  script:a.lua  E
├─ +E  user.created  script:a.lua  {"id":1}
│  ├─ +E  tool:calculator  E
│  └─ +E  user.greeted  script:a.lua  {"name":"Ann\\u001b[31m"}
└─ +E  workflow:report  E
   └─ +E  workflow_stage:report.ask  E
      └─ +E  agent:clerk  E
         ├─ +E  model:offline/rules  E
         ├─ +E  tool:calculator  E
         └─ +E  model:offline/rules  E

18 events, 1 root, longest chain 6, E in all
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    for variable in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"LLMSPELL_{variable}_HOME", str(tmp_path / variable))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def without_times(text: str) -> str:
    text = re.sub(r"\d+\.\d m?s\b", "E", text)
    return re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "T", text).strip()


def export(run: Run) -> str:
    """Return the events of the script as ``event tail`` writes them."""
    Path("a.lua").write_text(SCRIPT)
    code, out, err = run("event", "tail", "--output", "json", "a.lua")
    assert (code, err) == (0, "")
    return out


def test_what_a_script_set_off_is_one_tree_with_times(run: Run) -> None:
    Path("a.lua").write_text(SCRIPT)

    code, out, err = run("event", "timeline", "a.lua")

    assert (code, err) == (0, "")
    assert without_times(out) == TREE.strip()


def test_exported_events_give_the_same_tree_whatever_the_order_of_their_lines(run: Run) -> None:
    Path("events.jsonl").write_text(export(run))

    code, out, err = run("event", "timeline", "--file", "events.jsonl")

    assert (code, err) == (0, "")
    assert without_times(out) == TREE.strip()


def test_they_are_read_from_standard_input_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = export(run)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n" + exported + "\n\n"))

    _, out, _ = run("event", "timeline", "--file", "-")

    assert without_times(out) == TREE.strip()


@pytest.mark.long
def test_the_log_of_events_gives_the_tree_of_a_process_that_has_ended(desk: Desk) -> None:
    desk.run("hook", "enable", "event_log")
    assert desk.run("run", desk.script(SCRIPT))[0] == 0
    code, exported, err = desk.run("event", "export")
    (desk.project / "events.jsonl").write_text(exported)

    shown = desk.run("event", "timeline", "--file", "events.jsonl")

    assert (code, err) == (0, "")
    assert (shown[0], shown[2]) == (0, "")
    assert without_times(shown[1]) == TREE.strip()


QUERIES = {
    "--pattern user.*": ["user.created", "user.greeted"],
    "--pattern user.* --limit 1": ["user.created"],
    "--component tool:* --pattern *.completed": ["tool.completed", "tool.completed"],
    "--component workflow*:* --roots": [],
    "--roots": ["script.started"],
    "--leaves --pattern user.* --pattern nothing.*": ["user.greeted"],
    "--depth 1 --pattern *.started": ["script.started", "workflow.started"],
    "--since 2100-01-01": [],
    "--until 2000-01-01T00:00:00+00:00": [],
    "--since 0 --until 9e9 --roots": ["script.started"],
    "--last 1e6 --roots": ["script.started"],
    "--tag none": [],
    "--language python": [],
    "--correlation c-none": [],
    "--sort depth --limit 2": ["script.started", "user.created"],
    "--reverse --limit 1": ["script.completed"],
    "--longest": ["script.started", "workflow.started", "workflow_stage.started", "agent.started"],
    "--longest --pattern user.*": ["user.created", "user.greeted"],
}


def test_queries_choose_and_programs_get_the_entries_and_counts(run: Run) -> None:
    Path("events.jsonl").write_text(export(run))

    for query, types in QUERIES.items():
        arguments = ("event", "timeline", "--file", "events.jsonl", "--output", "json", *query.split())
        code, out, err = run(*arguments)

        answer = json.loads(out)
        found = [entry["event"]["type"] for entry in answer["entries"]]
        assert (code, err) == (0, "")
        assert found[: len(types) or 1] == types, query
        assert len(found) == len(types) or query == "--longest"
        assert answer["stats"]["recorded"] == 18


def test_people_get_a_table_or_a_chain_where_they_ask_for_it(run: Run) -> None:
    Path("events.jsonl").write_text(export(run))

    table = run("event", "timeline", "--file", "events.jsonl", "--sort", "time", "--limit", "2")[1].splitlines()
    chain = run("event", "timeline", "--file", "events.jsonl", "--longest")[1].splitlines()
    nothing = run("event", "timeline", "--file", "events.jsonl", "--tag", "none")[1]

    assert [line.split()[0] for line in table[1:]] == ["1", "2"]
    assert [line.split(". ")[0].strip() for line in chain] == [str(number) for number in range(1, len(chain) + 1)]
    assert "agent:clerk" in chain[3]
    assert nothing == "there are no such events\n"


def test_what_a_script_did_before_it_failed_is_shown(run: Run) -> None:
    Path("a.lua").write_text('Event.publish("user.created")\nerror("no")\n')

    code, out, err = run("event", "timeline", "a.lua")

    assert code == 1
    assert "failed: a.lua:2: no" in out
    assert "└─ +E  user.created" in without_times(out)
    assert err == "llmspell: a.lua:2: no\n"


def test_programs_get_one_value_from_a_script_that_failed_too(run: Run) -> None:
    Path("a.lua").write_text('print("said")\nerror("no")\n')

    code, out, err = run("event", "timeline", "a.lua", "--output", "json")

    assert code == 1
    assert [entry["event"]["type"] for entry in json.loads(out)["entries"]] == ["script.started", "script.failed"]
    assert err.splitlines() == ["said", "llmspell: a.lua:2: no"]


def test_an_end_that_a_script_makes_up_does_not_hide_how_it_ended(run: Run) -> None:
    Path("a.lua").write_text("""
        local mine = Event.subscribe("mine")
        Event.publish("mine")
        local cause = Event.receive(mine).causation_id
        Event.publish("script.completed", {operation_id = cause, duration_ms = 1, component = {kind = "script"}})
        error("no")
    """)

    _, out, _ = run("event", "timeline", "a.lua")

    assert re.search(r"script:a\.lua  .*failed: a\.lua:6: no", out)
    assert "  script.completed  script:a.lua" in out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "line 1 is no event: JSON is malformed"),
        ('\n{"data": 1}', "line 2 is no event: Object missing required field `type`"),
        ('{"type": ""}', "line 1 is no event"),
        ('{"type": "a", "data": ' + "[" * 100_000, "line 1 is no event"),
        ('{"type": "' + "x" * 600 + '"}', "line 1 is no event"),
        ('{"type": "a", "tags": [1]}', "line 1 is no event: Expected `str`, got `int`"),
    ],
)
def test_a_line_that_is_no_event_is_named(content: str, said: str, run: Run) -> None:
    Path("events.jsonl").write_text(content)

    code, out, err = run("event", "timeline", "--file", "events.jsonl")

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"events.jsonl: {said}" in err
    assert "give what 'llmspell event export' writes" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--file", "none.jsonl"), "none.jsonl: it cannot be read"),
        (("--file", "events.jsonl", "a.lua"), "exclude each other"),
        (("--file", "events.jsonl", "--seconds", "1"), "exclude each other"),
        (("--file", "events.jsonl", "--since", "tomorrow"), "'tomorrow' is no time"),
        (("--file", "events.jsonl", "--until", "inf"), "inf is no number of seconds"),
        (("--file", "events.jsonl", "--last", "nan"), "nan is no number of seconds"),
        (("--seconds", "nan"), "nan is no number of seconds"),
        (("--file", "events.jsonl", "--pattern", "{a"), "event pattern '{a'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: tuple[str, ...], said: str, run: Run) -> None:
    Path("events.jsonl").write_text('{"type": "a"}\n')
    Path("a.lua").write_text("")

    code, out, err = run("event", "timeline", *arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_rings_and_causes_that_are_not_there_are_told(run: Run) -> None:
    lines = [("a", "b"), ("b", "a"), ("c", "b"), ("d", "elsewhere")]
    rows = [json.dumps({"type": f"event.{id}", "id": id, "causation_id": cause}) for id, cause in lines]
    Path("events.jsonl").write_text("\n".join(rows))

    _, out, _ = run("event", "timeline", "--file", "events.jsonl")

    assert without_times(out).splitlines()[:4] == [
        "T  event.a",
        "└─ +E  event.b",
        "   └─ +E  event.c",
        "T  event.d  (its cause is not here)",
    ]
    assert "1 of a cause that is not here" in out
    assert "1 ring of causes cut (a -> b -> a)" in out


@given(things, gone, st.sampled_from(["", "roots", "leaves"]), st.integers(1, 40))
def test_each_event_that_is_asked_for_has_one_line_but_ends_share_that_of_their_start(
    things: list[tuple[bool, int, bool]], gone: set[int], only: Any, limit: int
) -> None:
    events = Forest(things, gone).events
    selection = Selection(events, TimelineQuery(only=only, limit=limit))

    lines = list(tree_lines(selection, to_json))

    ends = {end for start, end in selection.causes.ends.items() if {start, end} <= selection.nearest.keys()}
    assert len(lines) == len([place for place in selection.places if place not in ends])
    assert all("\n" not in line for line in lines)


def test_a_deep_chain_of_a_file_costs_text_that_grows_with_its_events_alone() -> None:
    events = [Event("deep", id=str(number), causation_id=str(number - 1)) for number in range(1, 5001)]

    lines = list(tree_lines(Selection(events, TimelineQuery()), to_json))

    assert len(lines) == 5000
    assert max(map(len, lines)) < 200


@pytest.mark.long
def test_a_running_process_is_watched_until_ctrl_c(desk: Desk) -> None:
    watching = desk.start("event", "timeline")
    wait_until(lambda: desk.requests())
    code, _, err = desk.run("run", desk.script(SCRIPT))
    assert (code, err) == (0, "")
    watching.send_signal(signal.SIGINT)

    code, out, err = ended(watching)

    assert (code, err) == (0, "")
    assert without_times(out) == TREE.strip()
    assert desk.requests() == []


@pytest.mark.long
def test_watching_ends_by_itself_after_a_time(desk: Desk) -> None:
    code, out, err = desk.run("event", "timeline", "--seconds", "0.2")

    assert (code, out, err) == (0, "there are no such events\n", "")
    assert desk.requests() == []
