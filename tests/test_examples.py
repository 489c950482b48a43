"""Every example runs, through the command line, and prints what it is said to print."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from chat_server import ChatServer
from llmspell_testing import TemporarySettings
from waiting import PATIENCE_S

EXAMPLES = Path(__file__).parent.parent / "examples"
TOUR = """
== 1. Hooks
  signs    transform  at BeforeToolExecution
  careful  guard      at BeforeToolExecution
  notes    transform  at ToolError
  count    observe    at ToolError
  count    observe    at AfterToolExecution

== 2. A JSON file
  title: first quarter
  regions: 2, the highest target is for the south

== 3. A CSV file
  12 rows, 5 columns
  first row: 120 tea for 540.00 EUR

== 4. Sales against targets
  [transform signs]  5705.00 / 6000 x 100  becomes  5705.00 / 6000 * 100
  north: 5705.00 of 6000 EUR, 95.1 %
  [transform signs]  6901.25 / 6500 x 100  becomes  6901.25 / 6500 * 100
  south: 6901.25 of 6500 EUR, 106.2 %

== 5. Files, and a refusal
  wrote report.txt, 85 bytes
  [guard careful]    refuses to delete report.txt
  deleted: false
  because: denied by hook script:examples/tour.lua.careful at before_tool_execution: the tour keeps its files
  without the guard: deleted
  [transform notes]  the read failed, so the answer is an empty text
  notes: 0 characters

== 6. An agent
  it says: 35 * 12 = 420.
  it says: file_operations was denied: the tour keeps its data. I go on without it.

== 7. What the observer counted
  file_operations  completed 4, refused 2, failed 0
  json_processor   completed 1, refused 0, failed 0
  text_manipulator completed 2, refused 0, failed 0
  csv_analyzer     completed 3, refused 0, failed 0
  calculator       completed 5, refused 0, failed 0
"""
EVENTS = """
== 1. The more urgent comes first
  -10  put out the fire
    0  answer mail
    0  answer the phone
    5  tidy up

== 2. A question and its answer
  tea: 4.5
  gold: false
  weather: event weather.in: nobody is subscribed to it, so nobody answers

== 3. Only what a filter accepts
  alarm of sensor.door.3
  alarm of sensor.door.6

== 4. What became of them
  matched 2, delivered 2, dropped 0
  answers took a handler less than a second: true

== 5. What is on record
  events of jobs on record: """
SESSIONS = """\
== 1. Values, and a checkpoint
  checkpoint 1 holds 1 value; since then it is south
  restored: north
== 2. Artifacts, in versions
  version 1: 14 bytes
  version 2: 27 bytes
  the final one: {"north": 120, "south": 80}
  what is no JSON is stored as JSON: false
== 3. Who may read it
  another session may: false
  now it may: true
== 4. Its end
  suspended, and the script runs in no session
  completed after 2 checkpoints
"""
AGENT = (
    """
> what is 120 * 4.5?
  [calculator completed]
120 * 4.5 = 540.
""",
    """
> delete examples/data/sales.csv
  [file_operations denied]
file_operations was denied: the data are kept. I go on without it.
sales.csv is still there: true
""",
    """
(it came in pieces)

agent.completed  4
model.completed  8
tool.completed   5
tool.cancelled   1

asked 4 times, 5 tools used, """,
)

WORKFLOWS = {
    "sequential": ["true\t4 pieces, 59.50 EUR with tax", "the steps: net, gross, line"],
    "parallel": ["5\tHELLO", "2 of 3 branches succeeded", "failed: branch.broken/fail"],
    "conditional": ["5000\ta manager looks at it", "0\tnothing to do", "20\tit is paid"],
    "loop": ["1 4 9 16 25\tbreak: large enough", "1: COFFEE"],
    "map_reduce": ["6 words"],
    "pipeline": ["<tea> <coffee>", "4 steps ran"],
    "graph": ["package-1.0 with 3 notes", "false\tits stages wait for each other: a needs b needs a"],
    "adaptive": ["plan search write\tskipped: ask", "plan search ask write"],
    "agent": ["true\t6 * 7 = 42.", "step.1/model", "step.1/tool.call_0", "step.2/model"],
    "compensation": [
        "  book flight",
        "  book hotel",
        "  cancel hotel-7",
        "  cancel flight-7",
        "false\tcompensated",
        "stage pay: examples/workflows/compensation.lua:14: the card was refused",
    ],
}

TEAMS = {
    "delegating": [
        "agent:sums\t12 * 12 = 144.",
        "agent:files\tBasicAgent 'files' received: which files are there?",
        "false\tthe files are private",
        "turns\tagent:anything",
        "turns\tagent:sums",
        "turns\tagent:anything",
    ],
    "supervisor": [
        "agent_sums\tcompleted\t6 * 7 = 42.",
        "agent_critic\tcompleted\tBasicAgent 'critic' received: the plan",
        "agent_sums\tcompleted\t1 + 1 = 2.",
        "agent_critic\tdenied\tdenied: no critic today",
    ],
    "pipeline": [
        "BasicAgent 'reader' received: TEA AND COFFEE",
        "completed\t3 stages",
        "BasicAgent 'reader' received: tea",
        "",
        "writer:",
        "tea",
    ],
    "handoff": [
        "BasicAgent 'tax' received: how much is due?",
        "desk to tax",
        "asked: desk to tax, all",
        "BasicAgent 'tax' received: in short: how much?",
        "asked: desk to tax, all",
        "denied: it is Sunday",
    ],
    "pool": ["BasicAgent 'pool.1' received: hello", "members: 2", "false\tit is private", "members: 2"],
    "swarm": ["6 * 7 = 42.", "false\tits members do not agree"],
    "mesh": ["BasicAgent 'writer' received: tea", "false\tfacts.new\tagent:writer was denied"],
    "saga": [
        "  book flight",
        "  book hotel",
        "paid: BasicAgent 'bank' received: please pay",
        "  book flight",
        "  book hotel",
        "  cancel hotel",
        "  cancel flight",
        "false\tthe account is closed",
    ],
}

pytestmark = pytest.mark.long


@pytest.fixture
def examples(llmspell_settings: TemporarySettings) -> Path:
    """A copy of the examples in the current folder, for they write beside themselves."""
    folder = llmspell_settings.project / "examples"
    shutil.copytree(EXAMPLES / "data", folder / "data")
    shutil.copytree(EXAMPLES / "workflows", folder / "workflows")
    shutil.copytree(EXAMPLES / "agents", folder / "agents")
    for script in EXAMPLES.glob("*.lua"):
        shutil.copy(script, folder)
    return folder


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llmspell", "run", *arguments], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_tour_prints_what_each_tool_and_hook_did(examples: Path) -> None:
    printed = run("examples/tour.lua")

    assert printed.splitlines() == TOUR.splitlines()


def test_the_events_come_in_the_order_that_is_said_and_are_on_record_where_that_is_wanted(examples: Path) -> None:
    plain = run("examples/events.lua")
    recorded = [run("--set", "plugins.event_log.enabled=true", "examples/events.lua") for _ in range(2)]

    assert plain == f"{EVENTS.lstrip()}0\n"
    assert recorded == [f"{EVENTS.lstrip()}4\n", f"{EVENTS.lstrip()}8\n"]


def test_a_session_is_taken_through_its_life(examples: Path) -> None:
    assert run("examples/sessions.lua") == SESSIONS


def test_the_agent_uses_tools_over_the_files_and_is_denied_the_deletion(examples: Path) -> None:
    printed = run("examples/agent.lua")

    assert printed.startswith("model: offline/rules\n")
    assert all(part in printed for part in AGENT)
    assert '"name":"sales.csv"' in printed
    assert "first quarter" in printed
    assert (examples / "data" / "sales.csv").exists()


@pytest.mark.parametrize("pattern", WORKFLOWS)
def test_a_workflow_of_each_pattern_prints_what_it_yields(pattern: str, examples: Path) -> None:
    assert run(f"examples/workflows/{pattern}.lua").splitlines() == WORKFLOWS[pattern]


@pytest.mark.parametrize("kind", TEAMS)
def test_a_team_of_each_kind_answers_and_a_guard_denies_within_it(kind: str, examples: Path) -> None:
    assert run(f"examples/agents/{kind}.lua").splitlines() == TEAMS[kind]


def test_each_kind_of_team_has_an_example(examples: Path) -> None:
    ours = [each for each in entry_points(group="llmspell.agents") if each.value.startswith("llmspell_")]

    assert {each.name for each in ours if "composite" in each.load().capabilities} <= set(TEAMS)
    assert {path.stem for path in (examples / "agents").glob("*.lua")} == set(TEAMS)


def test_each_pattern_has_an_example(examples: Path) -> None:
    patterns = {point.name for point in entry_points(group="llmspell.workflows") if point.value.startswith("llmspell_")}

    assert patterns | {"compensation"} == set(WORKFLOWS)
    assert {path.stem for path in (examples / "workflows").glob("*.lua")} == set(WORKFLOWS)


def test_the_same_script_asks_a_real_provider_when_there_is_one(
    examples: Path, llmspell_settings: TemporarySettings
) -> None:
    with ChatServer() as server:
        llmspell_settings.write_user(
            f"""
            [providers.local]
            type = "openai_compatible"
            base_url = "{server.url}"
            """
        )
        printed = run("examples/agent.lua", "--", "--model", "local/parrot")

    assert printed.startswith("model: local/parrot\n")
    assert "what is 120 * 4.5?" in printed
    assert [spec["function"]["name"] for spec in server.requests[0].body["tools"]] == [
        "file_operations",
        "csv_analyzer",
        "calculator",
    ]


@pytest.mark.parametrize("script", ["agent.lua", "tour.lua"])
def test_each_script_runs_offline_as_it_does_without_a_key_and_tells_so_once(
    examples: Path, llmspell_settings: TemporarySettings, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    alone = run(f"examples/{script}")
    with ChatServer() as server:
        llmspell_settings.write_user(
            f"""
            [providers]
            default = "paid/model"

            [providers.paid]
            type = "openai_compatible"
            base_url = "{server.url}"
            """
        )
        monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-used")
        command = [sys.executable, "-m", "llmspell", "run", "--offline", f"examples/{script}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)

    assert done.returncode == 0
    assert done.stdout.replace("paid/model", "offline/rules") == alone
    assert done.stderr.count("\n") == 1
    assert "the offline provider answers, for every model" in done.stderr
    assert server.requests == []


def test_the_tour_leaves_nothing_behind(examples: Path) -> None:
    before = sorted(examples.rglob("*"))

    run("examples/tour.lua")

    assert sorted(examples.rglob("*")) == before


def test_the_tour_explains_itself(examples: Path) -> None:
    explained = run("--explain", "examples/tour.lua").splitlines()[len(TOUR.splitlines()) :]

    assert any("careful" in line and "guard" in line and "Cancel" in line for line in explained)
    assert any("signs" in line and "Modified" in line for line in explained)
    assert any("notes" in line and "Replace" in line for line in explained)


def test_every_script_among_the_examples_is_run_here() -> None:
    assert [path.name for path in sorted(EXAMPLES.glob("*.lua"))] == [
        "agent.lua",
        "composites.lua",
        "events.lua",
        "sessions.lua",
        "timeline.lua",
        "tour.lua",
    ]


def test_a_workflow_whose_process_died_is_resumed_and_nobody_is_charged_twice(
    llmspell_settings: TemporarySettings,
) -> None:
    script = str(EXAMPLES / "durable.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the first process ended with 1",
        "resumed: paused",
        "  count: done",
        "  charge: interrupted",
        "the ledger says: 42",
        "resumed: completed, charged 1 time",
    ]


def test_state_is_brought_to_a_new_form_and_back(llmspell_settings: TemporarySettings) -> None:
    script = str(EXAMPLES / "upkeep.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "a backup of 2 entries",
        "it would change 2 of 2 notes",
        "completed: tea is {'body': 'buy some tea', 'stars': 0, 'words': 3}",
        "undone: tea is {'text': 'buy some tea'}",
        "cleared: 0 notes",
        "restored: 2 notes",
    ]


def test_a_workflow_waits_for_a_person_and_runs_what_was_allowed_once(llmspell_settings: TemporarySettings) -> None:
    script = str(EXAMPLES / "approval.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "the run is paused",
        "  tool:transfer {'amount': 42.0}: it is a large amount",
        "  sent 42",
        "the run is completed: sent 42",
        "the next run is paused",
    ]


def test_a_run_is_recorded_runs_again_and_tells_what_a_hook_was_good_for(llmspell_settings: TemporarySettings) -> None:
    script = str(EXAMPLES / "replay.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "recorded 3 operations; the thermometer was asked 2 times",
        "again: the same sum is True; it was asked 2 times",
        "  as on record: True",
        "without the hook:",
        "  as on record: False",
        "  first at tool:thermometer: at before_tool_execution: code.in_celsius answered Modified in the record, "
        "nothing answers now",
        "    /parameters/unit: celsius -> fahrenheit",
    ]
