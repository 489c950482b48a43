"""``llmspell session``, as people call it; and running within a session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main
from llmspell_testing.isolation import isolate


@pytest.fixture
def llmspell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Call the command line; returns code, standard output and standard error."""
    isolate(tmp_path, monkeypatch)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_a_session_is_made_listed_shown_saved_handed_on_and_deleted(llmspell: Any) -> None:
    code, out, _ = llmspell("session", "create", "report", "--tag", "weekly", "--custom", '{"week": 3}')
    assert code == 0
    id = out.strip()

    assert json.loads(llmspell("session", "list", "--output", "json")[1])[0]["custom"] == {"week": 3}
    assert llmspell("sessions", "list", "--tag", "other")[1].strip() == "there are no sessions"
    assert id in llmspell("session", "list", "--status", "active", "--name", "rep*")[1]
    assert "saved as checkpoint 1: 0 values" in llmspell("session", "save", id)[1]
    shown = llmspell("session", "show", id)[1]
    assert f"report {id}: active" in shown
    assert "week: 3" in shown
    assert llmspell("session", "suspend", id)[:2] == (0, f"session {id} is suspended\n")
    assert llmspell("session", "resume", id)[:2] == (0, f"session {id} goes on\n")
    assert llmspell("session", "complete", id)[0] == 0
    assert llmspell("session", "archive", id)[0] == 0
    exported = json.loads(llmspell("session", "export", id)[1])
    assert (exported["session"]["status"], exported["state"]) == ("archived", {})
    assert llmspell("session", "delete", id)[:2] == (0, f"session {id} is deleted\n")
    code, _, err = llmspell("session", "delete", id)
    assert (code, err.count("\n")) == (2, 1)


def test_what_is_run_within_a_session_carries_it_and_is_kept(llmspell: Any, tmp_path: Path) -> None:
    id = llmspell("session", "create", "work")[1].strip()
    script = tmp_path / "work.lua"
    script.write_text(f'print(Session.get_current())\nState.save("session:{id}", "k", 1)\n')

    code, out, err = llmspell("run", str(script), "--set", f"plugins.sessions.current={id}")

    assert (code, out, err) == (0, f"{id}\n", "")
    found = json.loads(llmspell("session", "show", id, "--output", "json")[1])
    assert (found["operations"], found["live"], len(found["saved"])) == (2, False, 1)
    assert llmspell("session", "restore", id)[0] == 0


def test_a_script_cannot_leave_the_session_that_it_was_started_in(llmspell: Any) -> None:
    id, other = (llmspell("session", "create")[1].strip() for _ in range(2))
    source = f"""
        print(pcall(Session.set_current, nil))
        print(pcall(Session.set_current, "{other}"))
        print(Session.set_current("{id}"), Session.get_current() == "{id}")
    """

    code, out, _ = llmspell("exec", source, "--set", f"plugins.sessions.current={id}")

    assert (code, out.count("was started within session"), "true\ttrue" in out) == (0, 2, True)


@pytest.mark.parametrize(("before", "told"), [(None, "there is none"), ("suspend", "it is suspended")])
def test_nothing_runs_within_a_session_that_cannot_be_held(llmspell: Any, before: str | None, told: str) -> None:
    id = "gone" if before is None else llmspell("session", "create")[1].strip()
    if before is not None:
        llmspell("session", before, id)

    code, out, err = llmspell("exec", "print('it ran')", "--set", f"plugins.sessions.current={id}")

    assert (code, out) == (1, "")
    assert f"session {id}: {told}" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "none"), 2, "session none: there is none"),
        (("show", "a/b"), 1, "it is no id"),
        (("list", "--since", "soon"), 2, "'soon' is no time"),
        (("list", "--status", "odd"), 2, "'odd' is not one of"),
        (("create", "--custom", "[1]"), 2, "it is no JSON object"),
        (("create", "x" * 300), 1, "session name"),
    ],
)
def test_what_is_wrong_is_one_line(llmspell: Any, arguments: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = llmspell("session", *arguments)

    assert (found, out) == (code, "")
    assert told in err
    assert "Traceback" not in err
