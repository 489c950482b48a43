"""What arguments of verbs mean: JSON, a text, or something begun as JSON that is refused by its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main
from llmspell_testing.isolation import isolate


@pytest.fixture
def llmspell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    isolate(tmp_path, monkeypatch)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize("broken", ['{"a": 1', "[1, 2", '"open', "{'a': 1}", ' {"a" 1}', "[" * 100_000])
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("state", "set", "k", "{}"), "the value of k"),
        (("state", "set", "k={}"), "the value of k"),
        (("tool", "invoke", "calculator", "operation=evaluate", "input=1", "variables={}"), "the parameter variables"),
    ],
)
def test_what_begins_as_json_and_is_none_is_refused_by_its_place(
    llmspell: Any, arguments: tuple[str, ...], place: str, broken: str
) -> None:
    code, out, err = llmspell(*(argument.replace("{}", broken) for argument in arguments))

    assert (code, out) == (2, "")
    assert f"{place}: it is " in err
    assert "Traceback" not in err


def test_what_begins_otherwise_is_a_text(llmspell: Any) -> None:
    llmspell("state", "set", "note", "it is {half")

    assert llmspell("state", "get", "note")[1] == "it is {half\n"
