"""Plugins are switched in settings files of every layout: rightly, with the rest as it was, or not at all."""

from __future__ import annotations

import errno
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell.cli.main import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a project in which the command line runs."""
    (tmp_path / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("LLMSPELL_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LLMSPELL_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "project" / "llmspell.toml"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(words)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def trusted(run: Run) -> None:
    assert run("trust")[0] == 0


def enabled(run: Run) -> bool:
    code, out, _ = run("plugin", "list", "--output", "json", "--group", "tools")
    assert code == 0
    tools = {row["name"]: row["status"] for row in json.loads(out)}
    return bool(tools["calculator"] == "enabled")


def rest(text: str) -> dict[str, Any]:
    table = tomllib.loads(text.removeprefix("\ufeff"))
    plugins = table.pop("plugins", {})
    plugins["disabled"] = [name for name in plugins.get("disabled", []) if name != "calculator"]
    for spelled in ("calculator", "tools:calculator"):
        plugins.get(spelled, {}).pop("enabled", None)
    return table | {"plugins": plugins}


LAYOUTS = {
    "nothing": "",
    "a byte order mark": "\ufeff# mine\n[limits]\ndepth = 5\n",
    "a byte order mark alone": "\ufeff",
    "line ends of Windows": '# mine\r\n[plugins]\r\ndisabled = ["a"]\r\n[limits]\r\ndepth = 5\r\n',
    "Windows, without the table": "# mine\r\n[limits]\r\ndepth = 5\r\n",
    "no line end": "[limits]\ndepth = 5 # mine",
    "only a comment": "# mine",
    "dotted keys": 'plugins.disabled = ["a"]\nlimits.depth = 5 # mine\n',
    "dotted keys of another plugin": "plugins.sqlite.enabled = true\nlimits.depth = 5 # mine\n",
    "an inline table": 'plugins = {disabled = ["a"]} # mine\nlimits = {depth = 5}\n',
    "an empty inline table": "plugins = {}\nlimits = {depth = 5} # mine\n",
    "an inline table of its own": "[plugins]\ncalculator = {enabled = true} # mine\n",
    "a table of its own": "[plugins.calculator]\nenabled = true # mine\n[limits]\ndepth = 5\n",
    "a table under its whole name": '[plugins."tools:calculator"]\nenabled = true # mine\n',
    "lines with comments": '[plugins]\ndisabled = [\n  # mine\n  "a", # slow\n  # end\n]\n[limits]\ndepth = 5\n',
    "a comment behind the last": '[plugins]\ndisabled = [\n  "a",\n  "b" # mine\n]\n',
    "a comment below the last": '[plugins]\ndisabled = [\n  "a",\n  "b"\n  # mine\n]\n',
    "commas at the front": '[plugins]\ndisabled = [\n    "a"\n  , "b" # mine\n]\n',
    "a comment and nothing else": "[plugins]\ndisabled = [\n  # mine\n]\n",
    "tables in several places": "[plugins.b]\nx = 1\n[limits]\ndepth = 5 # mine\n[plugins.c]\nx = 1\n",
    "its table behind another": "[plugins.b]\nx = 1\n[limits]\ndepth = 5\n[plugins] # mine\nrequired = []\n",
    "its table before another": "[plugins] # mine\nrequired = []\n[limits]\ndepth = 5\n[plugins.c]\nx = 1",
    "quoted keys": "[\"plugins\"] # mine\n'disabled' = ['a']\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_trusted_project_has_a_plugin_switched_in_any_layout(layout: str, file: Path, run: Run) -> None:
    file.write_bytes(LAYOUTS[layout].encode())
    trusted(run)

    disabled = run("plugin", "disable", "calculator", "--local")
    written = file.read_bytes().decode()
    was_enabled = enabled(run)
    again = run("plugin", "enable", "calculator", "--local")

    assert (disabled, was_enabled) == ((0, f"calculator is disabled in {file}\n", ""), False)
    assert (again, enabled(run)) == ((0, f"calculator is enabled in {file}\n", ""), True)
    for text in (written, file.read_bytes().decode()):
        assert rest(text) == rest(LAYOUTS[layout])
        assert ("# mine" in text) is ("# mine" in LAYOUTS[layout])
        assert text.startswith("\ufeff") is LAYOUTS[layout].startswith("\ufeff")
        if "Windows" in layout:
            assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_project_that_nobody_trusted_is_left_as_it_was(layout: str, file: Path, run: Run) -> None:
    file.write_bytes(LAYOUTS[layout].encode())
    before = run("config", "show")[0]

    code, out, err = run("plugin", "disable", "calculator", "--local")

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is left as it was" in err
    assert file.read_bytes() == LAYOUTS[layout].encode()
    assert run("config", "show")[0] == before


ODD: dict[str, str | Callable[[Path], object]] = {
    "another encoding": lambda file: file.write_bytes(b"# \xe9\n"),
    "UTF-16": lambda file: file.write_bytes("[limits]\n".encode("utf-16")),
    "no TOML": "[limits\ndepth = 5\n",
    "a table twice": "[limits]\ndepth = 5\n[limits]\nhops = 3\n",
    "a text for the table": 'plugins = "x"\n',
    "a list for the table": "plugins = []\n",
    "tables for the table": "[[plugins]]\nx = 1\n",
    "a number for the list": "[plugins]\ndisabled = 3\n",
    "a text for the list": '[plugins]\ndisabled = "calculator"\n',
    "a table for the list": "[plugins.disabled]\na = 1\n",
    "tables for the list": "[[plugins.disabled]]\na = 1\n",
    "numbers in the list": "[plugins]\ndisabled = [1, 2]\n",
    "a number for the plugin": "[plugins]\ncalculator = 3\n",
    "a text for the plugin": '[plugins]\ncalculator = "enabled"\n',
    "tables for the plugin": "[[plugins.calculator]]\nenabled = true\n",
    "a key that there is none of": "[limts]\ndepth = 5\n",
    "too much": "#" * (1024 * 1024 - 5),
    "more than too much": "#" * (1024 * 1024 + 5),
    "many levels": "[plugins.calculator]\nx = " + "[" * 5000 + "]" * 5000 + "\n",
    "a folder": lambda file: file.mkdir(),
    "a pipe": os.mkfifo,
    "a link to nothing": lambda file: file.symlink_to("nothing"),
    "a link to itself": lambda file: file.symlink_to(file),
    "a device": lambda file: file.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_file_that_cannot_be_changed_is_one_line_and_left_as_it_was(kind: str, file: Path, run: Run) -> None:
    build = ODD[kind]
    if isinstance(build, str):
        file.write_text(build)
    else:
        build(file)
    before = file.read_bytes() if file.is_file() else file.lstat().st_mode
    commands = run("config", "show")[0]
    run("trust")

    code, out, err = run("plugin", "disable", "calculator", "--local")

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(file) in err
    assert "internal" not in err
    assert (file.read_bytes() if file.is_file() else file.lstat().st_mode) == before
    assert [each.name for each in file.parent.iterdir() if each.name not in (".git", file.name)] == []
    assert run("config", "show")[0] == commands


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_may_not_be_written_is_one_line(
    there: bool, file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there:
        file.write_text("[limits]\ndepth = 5\n")
        trusted(run)

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", refuse)

    code, out, err = run("plugin", "disable", "calculator", "--local")

    assert (code, out) == (2, "")
    assert err == f"llmspell: {file}: it cannot be written: Read-only file system; allow it, or edit it by hand\n"
    assert run("config", "show")[0] == 0


def test_a_write_that_fails_leaves_nothing_behind(file: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[limits]\ndepth = 5\n")
    trusted(run)

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("llmspell_hookspecs.regular.os.replace", refuse)

    assert run("plugin", "disable", "calculator", "--local")[0] == 2
    assert sorted(each.name for each in file.parent.iterdir()) == [".git", "llmspell.toml"]


def test_a_linked_file_stays_a_link_and_its_rights_stay(file: Path, run: Run) -> None:
    real = file.with_name("real.toml")
    real.write_text("# mine\n")
    real.chmod(0o640)
    file.symlink_to("real.toml")
    trusted(run)

    assert run("plugin", "disable", "calculator", "--local")[0] == 0
    assert (file.is_symlink(), real.stat().st_mode & 0o777) == (True, 0o640)
    assert real.read_text().startswith("# mine\n")


def test_enabling_takes_a_plugin_off_under_all_its_names(file: Path, run: Run) -> None:
    file.write_text('[plugins]\ndisabled = ["tool:calculator", "a", "tools:calculator"]\n')
    trusted(run)

    assert run("plugin", "enable", "calculator", "--local")[0] == 0
    assert enabled(run)
    assert tomllib.loads(file.read_text()) == {"plugins": {"disabled": ["a"]}}


def test_enabling_under_the_whole_name_says_what_still_disables_it(file: Path, run: Run) -> None:
    file.write_text('[plugins]\ndisabled = ["calculator"]\n')
    trusted(run)

    _, _, err = run("plugin", "enable", "tools:calculator", "--local")

    assert err == f"llmspell: warning: tools:calculator is still disabled, for {file}:2 says so\n"


def test_one_is_enabled_after_the_other_where_the_file_is_what_stops_commands(file: Path, run: Run) -> None:
    file.write_text('[plugins]\ndisabled = ["calculator", "sqlite"]\n')
    assert run("config", "show")[0] == 2

    first = run("plugin", "enable", "calculator", "--local")
    second = run("plugin", "enable", "sqlite", "--local")

    assert (first[0], second) == (0, (0, f"sqlite is enabled in {file}\n", ""))
    assert run("config", "show")[0] == 0


def test_the_folder_to_trust_is_the_projects_if_its_file_lies_below(file: Path, run: Run) -> None:
    below = file.parent / "config" / "llmspell.toml"
    below.parent.mkdir()
    below.write_text('[plugins]\ndisabled = ["calculator"]\n[storage.sqlite]\npath = "data/state.db"\n')
    (file.parent / "data").mkdir()

    err = run("config", "show")[2]
    assert f"run 'llmspell trust {file.parent}'" in err
    assert run("trust", str(file.parent))[0] == 0
    assert run("config", "show")[0] == 0
