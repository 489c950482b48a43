"""What ``tool invoke`` shows: tables for records, files for bytes on a terminal, a pager for what is long."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import packages
from installed import clean_environment
from terminal import CONTROL_C, Terminal

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
RECORDS = [{"name": "ada", "born": 1815}, {"name": "alan", "field": "logic"}]
PAGER = """
import sys
told = sys.stdin.read()
terminal = open("/dev/tty")
print(f"PAGING {len(told.splitlines())} LINES", repr(told[:40]), flush=True)
while terminal.readline().strip() != "q":
    pass
print("PAGED", flush=True)
"""


ECHO = """
from typing import Any
from llmspell_hookspecs import tool

@tool
def echo(value: Any) -> Any:
    "Return what it is given."
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value
"""


class Desk:
    """A person's folder, and their command line in a pipe or on a terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pager = folder / "pager.py"
        pager.write_text(f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{PAGER}")
        packages.install(folder, "echo-tools", name="echo", code=ECHO, group="llmspell.tools", attribute="echo")
        own = {"TMPDIR": str(folder), "PAGER": f"{sys.executable} {pager}", "PYTHONPATH": str(folder)}
        self.environment = {**clean_environment(folder), **own}
        self.program: tuple[str, ...] = (sys.executable, "-m", "llmspell")
        self.terminals: list[Terminal] = []

    def invoke(self, tool: str, parameters: Any, *more: str) -> str:
        command = [sys.executable, "-m", "llmspell", "tool", "invoke", tool, self._written(parameters), *more]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def look(self, tool: str, parameters: Any, *more: str) -> Terminal:
        arguments = ("tool", "invoke", tool, self._written(parameters), *more)
        terminal = Terminal(*arguments, folder=self.folder, environment=self.environment, program=self.program)
        self.terminals.append(terminal)
        return terminal

    def _written(self, parameters: Any) -> str:
        (self.folder / "call.json").write_text(json.dumps(parameters))
        return "@call.json"

    @property
    def saved(self) -> list[Path]:
        return sorted(self.folder.glob("llmspell-*"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    for terminal in made.terminals:
        terminal.close()


def test_records_are_a_table_and_json_for_programs_stays(desk: Desk) -> None:
    shown = desk.invoke("echo", {"value": RECORDS})
    told = json.loads(desk.invoke("echo", {"value": RECORDS}, "--output", "json"))

    assert [line.split() for line in shown.splitlines()] == [
        ["name", "born", "field"],
        ["ada", "1815"],
        ["alan", "logic"],
    ]
    assert told["result"] == RECORDS


def test_a_column_without_content_is_in_the_table_and_says_what_it_holds(desk: Desk) -> None:
    records = [{"a": 1, "b": None, "c": "", "d": [], "e": "x"}, {"a": None, "b": None, "c": "", "d": [1], "e": ""}]

    shown = desk.invoke("echo", {"value": records})

    assert [line.split() for line in shown.splitlines()] == [
        ["a", "b", "c", "d", "e"],
        ["1", "null", '""', "[]", "x"],
        ["null", "null", '""', "1"],
    ]


def test_records_beside_facts_are_a_table_below_them(desk: Desk) -> None:
    with zipfile.ZipFile(desk.folder / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
        archive.writestr("setup.exe", "x")

    shown = desk.invoke("archive_handler", {"operation": "list", "path": "a.zip"}).splitlines()

    assert shown[0].startswith("2 files and folders in ")
    assert {"format: zip", "file count: 2", ""} <= set(shown)
    assert [line.split()[:3] for line in shown[-2:]] == [["notes.txt", "file", "5"], ["setup.exe", "file", "1"]]
    assert "never written" in shown[-1]


def test_a_text_that_is_the_json_of_records_is_a_table_and_scripts_get_the_text(desk: Desk) -> None:
    pytest.importorskip("jq", reason="jq comes with the extra data")
    call = {"input": {"people": RECORDS}, "query": ".people"}
    (desk.folder / "a.lua").write_text(f"print(Tool.invoke('json_processor', JSON.parse([[{json.dumps(call)}]])).text)")

    shown = desk.invoke("json_processor", call)
    other = desk.invoke("json_processor", {**call, "query": ".people[0]"})
    told = json.loads(desk.invoke("json_processor", call, "--output", "json"))
    script = subprocess.run(
        [sys.executable, "-m", "llmspell", "run", "a.lua"],
        cwd=desk.folder, env=desk.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert [line.split() for line in shown.splitlines()] == [
        ["name", "born", "field"],
        ["ada", "1815"],
        ["alan", "logic"],
    ]
    assert json.loads(other) == RECORDS[0]
    assert told["result"] == RECORDS
    assert json.loads(script.stdout) == json.loads(told["text"]) == RECORDS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "list": [1, 2]}, None),
        ({"rows": RECORDS, "more": {"a": {"b": 1}}}, None),
        ([1, {"a": 1}], None),
        ([], None),
        ("a text", "a text"),
    ],
)
def test_what_is_no_list_of_records_is_shown_as_ever(desk: Desk, value: Any, expected: str | None) -> None:
    shown = desk.invoke("echo", {"value": value})

    assert (shown.strip() if expected else json.loads(shown)) == (expected or value)


def test_what_a_terminal_would_obey_is_spelled_out_in_tables(desk: Desk) -> None:
    shown = desk.invoke("echo", {"value": [{"a\x1b[2J": "b\x1b[2J"}]})

    assert "\x1b" not in shown
    assert shown.count(r"\x1b[2J") == 2


def test_bytes_are_saved_for_a_terminal_and_stay_base64_in_a_pipe(desk: Desk) -> None:
    (desk.folder / "picture.png").write_bytes(PICTURE)
    call = {"operation": "read", "path": "picture.png"}

    piped = desk.invoke("file_operations", call)
    assert desk.saved == []
    terminal = desk.look("file_operations", call)
    terminal.expect(f"({len(PICTURE)} bytes)")
    terminal.expect("\n")
    assert terminal.wait() == 0

    assert base64.b64decode(piped) == PICTURE
    [file] = desk.saved
    assert file.read_bytes() == PICTURE
    assert (file.suffix, file.stat().st_mode & 0o777) == (".png", 0o600)
    assert str(file) in re.sub(r"\s", "", terminal.shown)
    assert base64.b64encode(PICTURE).decode()[:40] not in terminal.shown


def test_what_was_converted_to_a_binary_format_is_saved_under_its_ending(desk: Desk) -> None:
    pytest.importorskip("openpyxl", reason="the extra data")
    terminal = desk.look(
        "csv_analyzer", {"operation": "convert", "input": "a,b\n1,2\n", "options": {"format": "excel"}}
    )

    assert terminal.wait() == 0

    [file] = desk.saved
    assert file.suffix == ".xlsx"
    assert zipfile.is_zipfile(file)


def long(lines: int = 200) -> dict[str, Any]:
    return {"value": "\n".join(f"line {number}\x1b[2J" for number in range(lines))}


def test_a_long_answer_is_paged_on_a_terminal_and_a_ctrl_c_is_the_pagers(desk: Desk) -> None:
    terminal = desk.look("echo", long())

    terminal.expect("PAGING 200 LINES")
    terminal.expect(r"'line 0\\x1b[2J\nline 1\\x1b[2J")
    terminal.type(CONTROL_C)
    terminal.enter("q")
    terminal.expect("PAGED")

    assert terminal.wait() == 0
    assert "line 199" not in terminal.shown


@pytest.mark.parametrize("how", ["short", "--no-pager", "pipe", "json", "broken"])
def test_nothing_else_is_paged(desk: Desk, how: str) -> None:
    if how == "broken":
        desk.environment["PAGER"] = 'less "'

    if how == "pipe":
        shown = desk.invoke("echo", long())
    else:
        more = {"--no-pager": ["--no-pager"], "json": ["--output", "json"]}.get(how, [])
        terminal = desk.look("echo", long(10 if how == "short" else 200), *more)
        assert terminal.wait() == 0
        shown = terminal.shown

    assert ("line 9" if how == "short" else "line 199") in shown
    assert "PAGING" not in shown


def test_a_pager_that_ends_early_is_no_error(desk: Desk) -> None:
    desk.environment["PAGER"] = "true"

    terminal = desk.look("echo", long(100_000))

    assert terminal.wait() == 0
    assert "llmspell:" not in terminal.shown


def test_bytes_that_cannot_be_saved_are_shown_as_they_are(desk: Desk) -> None:
    nowhere = "import tempfile; tempfile.tempdir = '/nonexistent'; from llmspell.cli.main import main; main()"
    desk.program = (sys.executable, "-c", nowhere)

    terminal = desk.look("echo", {"value": {"base64": "AAECAwQ="}})
    assert terminal.wait() == 0

    assert "AAECAwQ=" in terminal.shown


def test_bytes_alone_are_saved_by_what_they_begin_with(desk: Desk) -> None:
    for begin in ("89504e470d0a1a0a", "255044462d", "00"):
        assert desk.look("echo", {"value": f"hex:{begin}"}).wait() == 0

    assert sorted(file.suffix for file in desk.saved) == [".bin", ".pdf", ".png"]
