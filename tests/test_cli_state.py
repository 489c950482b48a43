"""``llmspell state``, as people call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main
from llmspell_testing.isolation import TemporarySettings, isolate


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    return isolate(tmp_path, monkeypatch)


@pytest.fixture
def llmspell(places: TemporarySettings, capfd: pytest.CaptureFixture[str]) -> Any:
    """Call the command line; returns code, standard output and standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("k", "text"), {"k": "text"}),
        (("k", "3"), {"k": 3}),
        (("k", '{"a": [1, null]}'), {"k": {"a": [1, None]}}),
        (("k", "a=b"), {"k": "a=b"}),
        (("k", "-1"), {"k": -1}),
        (("k=3",), {"k": 3}),
        (("k=a=b", "l=", "m=true"), {"k": "a=b", "l": "", "m": True}),
    ],
)
def test_what_is_set_is_got_and_listed(llmspell: Any, arguments: tuple[str, ...], kept: dict[str, Any]) -> None:
    code, out, err = llmspell("state", "set", *arguments, "--output", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert rows if len(kept) > 1 else [rows] == [{"scope": "global", "key": key, "version": 1} for key in kept]

    for key, value in kept.items():
        code, out, err = llmspell("state", "get", key, "--output", "json")
        assert json.loads(out) == {"scope": "global", "key": key, "value": value, "version": 1}
    assert llmspell("states", "list")[1].split() == sorted(kept)
    assert json.loads(llmspell("state", "list", "--output", "json")[1]) == [
        {"scope": "global", "key": key} for key in sorted(kept)
    ]


def test_people_see_values_as_they_are(llmspell: Any) -> None:
    llmspell("state", "set", "text=two words", "none=null", "list=[1]")

    assert llmspell("state", "get", "text")[1] == "two words\n"
    assert llmspell("state", "get", "none")[1] == "null\n"
    assert llmspell("state", "get", "list")[1] == "[\n  1\n]\n"
    assert llmspell("state", "list", "t")[1] == "text\n"
    assert llmspell("state", "list", "x")[1] == "nothing is kept in scope global under x\n"
    assert llmspell("state", "set", "text", "other")[1].split() == ["key", "version", "text", "2"]


def test_scopes_share_nothing(llmspell: Any) -> None:
    llmspell("state", "set", "k", "1", "--scope", "agent:writer")

    assert llmspell("state", "get", "k", "--scope", "agent:writer")[:2] == (0, "1\n")
    assert llmspell("state", "get", "k")[0] == 1
    assert llmspell("exec", "print(State.agent_get('writer', 'k'))")[1] == "1\n"


@pytest.mark.parametrize("verb", ["get", "delete"])
def test_a_key_that_is_not_there_ends_with_one_and_one_line(llmspell: Any, verb: str) -> None:
    code, out, err = llmspell("state", verb, "k", "--scope", "custom")

    assert (code, out) == (1, "")
    assert err == (
        "llmspell: state k: there is none in scope custom; 'llmspell state list --scope custom' shows the keys\n"
    )


def test_what_is_deleted_is_gone(llmspell: Any) -> None:
    llmspell("state", "set", "a=1", "b=2")

    assert llmspell("state", "delete", "a")[:2] == (0, "a is deleted\n")
    assert json.loads(llmspell("state", "delete", "b", "--output", "json")[1])["deleted"] is True
    assert llmspell("state", "list")[1] == "nothing is kept in scope global\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("set", "k"), 2, "'k' has no '='; write KEY VALUE or key=value pairs"),
        (("set", "k=1", "x"), 2, "'x' has no '='"),
        (("set",), 2, "Missing argument"),
        (("set", "a..b", "1"), 1, "state key 'a..b': it holds '..'; take that out"),
        (("get", "k", "--scope", "agnt:x"), 1, "did you mean agent:x?"),
        (("get", "k", "--set", "storage.backend=sqlit"), 2, "did you mean sqlite"),
        (("get", "k", "--set", "storage.sqlite.path=/dev/null/x"), 1, "storage /dev/null/x:"),
        (("get", "k", "--set", "storage.sqlite.pth=x"), 1, "storage.sqlite.pth: there is none of this name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(llmspell: Any, arguments: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = llmspell("state", *arguments)

    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_setting_chooses_where_it_lies(llmspell: Any, places: TemporarySettings) -> None:
    places.write_user('[storage.sqlite]\npath = "kept/mine.db"\n')

    llmspell("state", "set", "k", "1")

    assert (places.project / "kept" / "mine.db").exists()
    assert not (places.project / ".llmspell").exists()
    assert llmspell("state", "get", "k", "--set", "storage.backend=memory")[0] == 1
