from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import built_in
from benchmarks.built_in_turns import EIGHT

from chat_server import ChatServer

ROOT = Path(__file__).parent.parent
CONTENDERS = ["floor: httpx on trio", "llmspell", "strands-agents", "pydantic-ai"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def rows_of(done: subprocess.CompletedProcess[str]) -> dict[str, set[str]]:
    assert done.returncode == 0, done.stderr
    rows: dict[str, set[str]] = {}
    for row in json.loads(done.stdout)["rows"]:
        assert row["median_ns"] > 0 or row["row"].startswith("one ")
        rows.setdefault(row["row"], set()).add(row["contender"])
    return rows


def a_run(**medians: float) -> str:
    rows = [{"row": "sync hooks, 5", "contender": name, "median_ns": ns} for name, ns in medians.items()]
    return json.dumps({"rows": rows})


def compare(folder: Path, now: str, before: str) -> subprocess.CompletedProcess[str]:
    (folder / "before.json").write_text(before)
    (folder / "now.json").write_text(now)
    baseline = str(folder / "baseline.json")
    assert run("compare", str(folder / "before.json"), "--baseline", baseline, "--store").returncode == 0
    return run("compare", str(folder / "now.json"), "--baseline", baseline)


def test_hooks_yields_its_rows_with_us_and_a_floor_in_each() -> None:
    rows = rows_of(run("hooks", "--json", "--rounds", "1"))

    assert list(rows) == ["hook point, no hook"] + [f"{k} hooks, {n}" for k in ("sync", "async") for n in (1, 5, 10)]
    for contenders in rows.values():
        assert {"llmspell", "pluggy"} <= contenders
        assert any(name.startswith("floor") for name in contenders)


def test_operations_yields_its_rows_and_the_cost_of_one_hook_more() -> None:
    rows = rows_of(run("operations", "--json", "--rounds", "1"))

    assert {"bare operation", "host.call of a tool", "host.call, guard, transform and observer"} <= set(rows)
    assert {"one sync hook more", "one async hook more", "operation, 5 async hooks"} <= set(rows)
    assert all("llmspell" in contenders for contenders in rows.values())


def test_events_yields_its_rows_with_its_bars_and_names_absent_peers() -> None:
    hide = "import sys; sys.modules['pyee'] = sys.modules['bubus'] = None; from benchmarks.__main__ import main; main()"
    command = [sys.executable, "-c", hide, "events", "--rounds", "1", "--json"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    rows = rows_of(done)
    assert {"llmspell", "llmspell, awaited", "trio memory channel", "asyncio.Queue"} <= rows[
        "1000 events to one async subscriber"
    ]
    assert rows["1000 events, 1000 other patterns"] == {"llmspell", "llmspell, no other pattern"}
    assert {"pyee", "bubus"} <= set(json.loads(done.stdout)["absent"])


PEERS = {
    "strands-agents": "strands",
    "google-adk": "google.adk",
    "pydantic-ai": "pydantic_ai",
    "openai-agents": "agents",
}


def is_installed(contender: str) -> bool:
    """Return whether a contender can be imported; ours and the floor always can, a mere folder of its name cannot."""
    try:
        spec = importlib.util.find_spec(PEERS.get(contender, "llmspell"))
    except ModuleNotFoundError:
        return False
    return spec is not None and spec.origin is not None


def test_turns_yields_its_rows_with_every_peer_and_the_cost_of_one_hook_more() -> None:
    rows = rows_of(run("turns", "--json", "--rounds", "1"))

    assert list(rows)[:2] == ["text turn", "one-tool turn"]
    assert list(rows)[2:] == ["text turn, 1 hook", "text turn, 101 hooks", "one hook more inside a turn"]
    assert {"llmspell", *(name for name in PEERS if is_installed(name))} <= rows["one-tool turn"]
    listed = (name for name in PEERS if is_installed(name) and name != "openai-agents")  # its runs take one object
    assert {"llmspell", *listed} <= rows["one hook more inside a turn"]


@pytest.mark.parametrize("contender", CONTENDERS)
def test_many_agents_at_once_are_all_answered_from_the_server(contender: str) -> None:
    if not is_installed(contender):
        pytest.skip("a peer that is not installed; the extra bench brings it")
    with ChatServer() as server:
        command = [sys.executable, "-m", "benchmarks.crowd", contender, server.url, "3", "5"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["turns"] == 15
    assert found["peak_bytes"] > 1 << 20
    assert len(server.requests) == 3 * (5 + 1)
    assert max(len(request.messages) for request in server.requests) == 2 * 4 + 3


def test_startup_yields_its_rows_and_help_imports_nothing_heavy() -> None:
    done = run("startup", "--json", "--rounds", "1")

    assert list(rows_of(done)) == ["llmspell --help", "llmspell version", "script", "import"]
    assert json.loads(done.stdout)["notes"][0].startswith("llmspell --help imports none of ")


def test_a_table_names_the_bars_and_the_peers_that_are_absent(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['strands'] = None; from benchmarks.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", hide, "hooks", "--rounds", "1"], cwd=ROOT, capture_output=True, text=True
    )

    assert "absent: strands-agents is not installed" in done.stdout
    assert "[bar: half of strands-agents: not judged]" in done.stdout
    assert "[bar: 60 ns over the floor" in done.stdout


def test_compare_names_a_row_that_got_slower_than_everyone_beside_it(tmp_path: Path) -> None:
    done = compare(
        tmp_path, now=a_run(llmspell=300, floor=100, pluggy=200), before=a_run(llmspell=100, floor=100, pluggy=200)
    )

    assert done.returncode == 1
    assert done.stdout == "sync hooks, 5: 3.00 x floor, was 1.00 x\n"


@pytest.mark.parametrize(
    "now",
    [
        a_run(llmspell=500, floor=500, pluggy=1000),
        a_run(llmspell=110, floor=100, pluggy=200),
        a_run(llmspell=105, floor=50, pluggy=200),
        a_run(llmspell=50, floor=100, pluggy=200),
    ],
    ids=["a slower machine", "within the tolerance", "a floor that was lucky", "faster"],
)
def test_compare_is_content_with(tmp_path: Path, now: str) -> None:
    done = compare(tmp_path, now=now, before=a_run(llmspell=100, floor=100, pluggy=200))

    assert (done.returncode, done.stdout) == (0, "compare: nothing got slower by more than 30%\n")


def test_storing_one_groups_run_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    baseline = tmp_path / "baseline.json"
    baseline.write_text('{"another row": {"floor": 2.0}, "sync hooks, 5": {"gone": 1.0}}')
    (tmp_path / "now.json").write_text(a_run(llmspell=300, floor=100, pluggy=200))

    done = run("compare", str(tmp_path / "now.json"), "--baseline", str(baseline), "--store")

    assert done.returncode == 0
    stored = json.loads(baseline.read_text())
    assert stored == {"another row": {"floor": 2.0}, "sync hooks, 5": {"floor": 3.0, "pluggy": 1.5}}


def test_the_stored_baseline_knows_every_row() -> None:
    stored: dict[str, Any] = json.loads((ROOT / "benchmarks" / "baseline.json").read_text())

    assert {"hook point, no hook", "sync hooks, 10", "bare operation", "llmspell --help"} <= set(stored)
    many = stored["1000 events to one async subscriber"]
    assert {"asyncio.Queue", "blinker", "pyee", "trio memory channel"} <= set(many)
    assert set(stored["10 events to one async subscriber"]) == {"bubus"}


def test_a_word_that_is_no_group_and_a_file_without_a_run_are_wrong_usage(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[]")

    assert run("speed").returncode == 2
    assert "there is no group 'speed'" in run("speed").stderr
    assert run("compare", str(wrong)).returncode == 2


@pytest.mark.parametrize("plugins", ["none", ",".join(EIGHT)])
@pytest.mark.parametrize("tool", ["0", "1"])
def test_the_turns_with_built_in_hooks_say_the_same_with_all_of_them(plugins: str, tool: str) -> None:
    with ChatServer() as server:
        for url in ([], [server.url]):
            command = [sys.executable, "-m", "benchmarks.built_in_turns", plugins, "3", tool, *url]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["turns"] == 3


async def test_built_in_yields_its_rows_with_each_plugin_alone_and_says_what_part_of_a_turn_they_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {"none": (1000.0, 900.0)}
    monkeypatch.setattr(built_in, "run_turns", lambda plugins, *how: times.get(plugins, (1100.0, 1100.0)))

    run = await built_in.measure_built_in(1)

    assert len({timing.row for timing in run.timings}) == len(run.notes) == 4
    assert {timing.contender for timing in run.timings} == {"floor: none of them", "llmspell"} | {
        f"only {name}" for name in EIGHT
    }
    assert (
        run.notes[0]
        == "text turn, eight hooks, in process: all eight cost 10.0 % of a turn (+0.1 us; +0.2 us of processors)"
    )


def test_journal_yields_calls_on_record_beside_those_that_are_not() -> None:
    rows = rows_of(run("journal", "--json", "--rounds", "1"))

    assert len(rows) == 3
    assert all(contenders == {"llmspell", "llmspell, journal off"} for contenders in rows.values())
