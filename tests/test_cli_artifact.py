"""``llmspell artifact``, as people call it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main
from llmspell_testing.isolation import isolate


@pytest.fixture
def llmspell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Any:
    """Call the command line; returns code, standard output and standard error."""
    isolate(tmp_path, monkeypatch)

    def call(*arguments: str) -> tuple[int, bytes, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capfdbinary.readouterr()
        return int(ended.value.code or 0), out, err.decode()

    return call


def test_a_file_is_put_listed_shown_got_back_and_deleted(llmspell: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    Path("data.bin").write_bytes(content)

    assert llmspell("artifact", "put", "data.bin", "--tag", "raw", "--custom", '{"by": "ann"}')[:2] == (0, b"host/1\n")
    [row] = json.loads(llmspell("artifact", "list", "--tag", "raw", "--output", "json")[1])
    assert (row["artifact"], row["size_bytes"], row["custom"]) == ("host/1", len(content), {"by": "ann"})
    shown = llmspell("artifact", "show", "1")[1].decode()
    assert "data.bin host/1: user_input, application/octet-stream, 25.0 KiB" in shown
    assert llmspell("artifact", "get", "host/1")[1] == content
    assert llmspell("artifact", "get", "host/1", "--to", "copy.bin")[0] == 0
    assert Path("copy.bin").read_bytes() == content
    assert llmspell("artifact", "verify")[0] == 0
    assert llmspell("artifact", "delete", "host/1")[:2] == (0, b"artifact host/1 is deleted\n")
    assert llmspell("artifact", "delete", "host/1")[0] == 1
    assert b"1 contents are taken out" in llmspell("artifact", "gc", "--grace", "0")[1]
    assert llmspell("artifact", "list")[1].strip() == b"there are no artifacts"
    audit = json.loads(llmspell("artifact", "audit", "--output", "json")[1])
    assert [each["action"] for each in audit if each["artifact"] == "host/1"][-1] == "delete"


def test_a_damage_is_told_and_ends_with_1(llmspell: Any) -> None:
    Path("data.bin").write_bytes(bytes(range(256)) * 100)
    llmspell("artifact", "put", "data.bin")
    [file] = [file for file in Path(".llmspell/content").rglob("*") if file.is_file()]
    file.write_bytes(b"damaged")

    code, out, err = llmspell("artifact", "verify")
    assert (code, b"corrupt: host/1" in out, err.count("\n")) == (1, True, 1)
    code, out, err = llmspell("artifact", "get", "host/1")
    assert (code, out) == (1, b"")
    assert "its content was changed" in err


def test_who_runs_in_another_session_is_refused_until_it_is_granted(llmspell: Any) -> None:
    owner, other = (llmspell("session", "create")[1].decode().strip() for _ in range(2))
    Path("secret.txt").write_text("text")
    place = llmspell("artifact", "put", "secret.txt", "--session", owner)[1].decode().strip()
    within = ("--set", f"plugins.sessions.current={other}")

    code, out, err = llmspell("artifact", "get", place, *within)
    assert (code, out) == (1, b"")
    assert f"session:{other} may not read it" in err
    assert llmspell("artifact", "grant", place, f"session:{other}", "read")[0] == 0
    assert llmspell("artifact", "get", place, *within)[1] == b"text"
    assert llmspell("artifact", "revoke", place, f"session:{other}")[0] == 0
    assert llmspell("artifact", "get", place, *within)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "host/1"), 2, "artifact host/1: there is none"),
        (("show", "host/x"), 2, "is no artifact; write SESSION/NUMBER"),
        (("put", "none.txt"), 1, "none.txt cannot be read"),
        (("put", "none.txt", "--custom", "[]"), 2, "it is no JSON object"),
        (("grant", "host/1", "x", "read"), 1, "artifact principal 'x'"),
        (("grant", "host/1", "*", "all"), 2, "'all' is not one of"),
    ],
)
def test_what_is_wrong_is_one_line(llmspell: Any, arguments: tuple[str, ...], code: int, told: str) -> None:
    found, out, err = llmspell("artifact", *arguments)

    assert (found, out) == (code, b"")
    assert told in err
    assert "Traceback" not in err
