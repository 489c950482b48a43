"""Text that somebody else wrote: what leaves for a terminal steers nothing, and every message is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell_hookspecs import LlmspellError
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.spelling import MESSAGE_CHARACTERS, one_line, spell_out
from terminal import Terminal
from waiting import PATIENCE_S

NUMBER_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"  # Cf, and seen
ODD = "\x1b]52;c;cHduZWQ=\x07\x1b[2J\x9b31m\u202egnp\u200b\u2028end"


def steers(text: str) -> list[str]:
    """The characters of a text that a terminal would obey or hide."""
    return [
        sign
        for sign in text
        if (unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") and sign not in "\n\t")
        or "\u202a" <= sign <= "\u202e"
        or sign in "\u200b\u2066\u2067\u2068\u2069\ufeff"
    ]


@given(st.text(st.characters(codec=None), max_size=40))
def test_what_is_spelled_out_steers_nothing_and_stays_as_it_is(text: str) -> None:
    shown = spell_out(text)

    assert steers(shown.replace("\r\n", "")) == []
    assert spell_out(shown) == shown


@pytest.mark.parametrize("text", ["plain", "a\nb\tc", "نمی‌خواهم", "👨‍👩‍👧 ❤️‍🔥", "日本語 é ✓", NUMBER_SIGNS])
def test_writing_of_all_languages_is_left_alone(text: str) -> None:
    assert spell_out(text) == text


@given(st.text(st.characters(codec=None), max_size=30), st.integers(0, 40))
def test_the_message_of_an_error_is_one_line_whatever_was_put_into_it(text: str, times: int) -> None:
    for made in (LlmspellError(text * times + "; do this"), ScriptError(text * times + "; do this", line=3)):
        assert len(str(made)) <= MESSAGE_CHARACTERS
        assert len(str(made).splitlines()) == 1
        assert steers(str(made).replace("\t", "\0")) == []
        assert str(made).endswith("; do this")


def test_a_long_message_keeps_its_place_and_its_remedy() -> None:
    line = one_line("file.lua:3: " + "x" * 5000 + "; write less")

    assert line.startswith("file.lua:3: xxx")
    assert line.endswith("xxx; write less")
    assert len(line) == MESSAGE_CHARACTERS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def environment(folder: Path, **more: str) -> dict[str, str]:
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **places, **more}


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "llmspell", *arguments],
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


PYTHON = f"odd = {ODD!r}\n"
PLACES = {
    "a script's output": ("o.lua", "print(odd)", ("run", "o.lua")),
    "a script's error": ("o.lua", "error(odd)", ("run", "o.lua")),
    "a traceback": ("o.lua", "error(odd)", ("run", "o.lua", "--debug", "-v")),
    "a warning in the log": (
        "o.lua",
        'Hook.register("BeforeToolExecution", function() error(odd) end) '
        'Tool.invoke("calculator", {operation="evaluate", input="1"})',
        ("run", "o.lua"),
    ),
    "a key in a listing": ("o.lua", "State.set(odd, odd)", ("state", "list")),
    "a cell of a table": ("o.lua", "return 1", ("tool", "list", "--tag", ODD)),
    "an argument": ("o.lua", "return 1", ("tool", "info", ODD)),
    "a value as JSON": ("o.lua", "return {[odd] = odd}", ("run", "o.lua", "--output", "json")),
    "an event": ("o.lua", "Event.publish('user.x', {odd = odd})", ("event", "tail", "o.lua")),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_terminal_gets_no_control_character_of_others(place: str, folder: Path) -> None:
    file, code, arguments = PLACES[place]
    escaped = "".join(f"\\{byte}" for byte in ODD.encode())
    (folder / file).write_text(f'local odd = "{escaped}"\n{code}\n')
    run(folder, "run", file)

    terminal = Terminal(*arguments, folder=folder, environment=environment(folder, NO_COLOR="1"))
    terminal.wait()
    terminal.close()

    shown = terminal.raw.decode().replace("\r\n", "\n")
    if "a cell" not in place and place != "a key in a listing":
        assert shown
    for sign in set(steers(ODD)) - {"\x1b"}:
        assert sign not in shown, ascii(shown)
    assert "\x1b]" not in shown, ascii(shown)
    assert "\x1b[2J" not in shown, ascii(shown)


def test_what_a_script_writes_to_a_pipe_is_exact(folder: Path) -> None:
    ended = run(folder, "exec", r'io.write("a\27[1mb\r\n")')

    assert ended.stdout == b"a\x1b[1mb\r\n"


@pytest.mark.parametrize(
    "encoding", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_a_letter_that_the_encoding_lacks_has_a_stand_in(encoding: dict[str, str], folder: Path) -> None:
    code = r'print("ok \u{2713}") return {["\u{2713}"] = 1}'

    for_people = run(folder, "exec", code, **encoding)
    for_programs = run(folder, "exec", code, "--output", "json", **encoding)

    assert (for_people.returncode, for_programs.returncode) == (0, 0)
    assert for_people.stdout.startswith(b"ok ")
    assert json.loads(for_programs.stdout) == {"\u2713": 1}
    assert b"Error" not in for_people.stderr + for_programs.stderr
