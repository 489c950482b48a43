"""``llmspell model``: what is listed, looked up and tested, with no network."""

from __future__ import annotations

import json

import pytest

from llmspell.cli.main import main
from llmspell_testing import TemporarySettings


def call(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    return int(ended.value.code or 0), out, err


def test_models_are_listed_with_what_they_can(
    llmspell_settings: TemporarySettings, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(call(capfd, "model", "list", "--available", "--output", "json")[1])

    found = {row["model"]: row for row in rows}
    assert {"offline/rules", "offline/echo"} <= set(found)
    assert (found["offline/rules"]["default"], found["offline/echo"]["default"]) == (True, False)
    assert found["offline/rules"]["tools"] is True


def test_a_name_as_people_write_it_is_looked_up(
    llmspell_settings: TemporarySettings, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "model: offline/echo\n" in call(capfd, "model", "info", "echo")[1]
    assert "known: no\n" in call(capfd, "model", "info", "offline/nope")[1]

    code, out, err = call(capfd, "model", "info", "nope/x")
    assert (code != 0, out, err.count("\n")) == (True, "", 1)


def test_a_model_is_asked_one_question(llmspell_settings: TemporarySettings, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _err = call(capfd, "model", "test", "offline/echo", "--prompt", "are you there")

    assert (code, out.splitlines()[-1]) == (0, "are you there")
