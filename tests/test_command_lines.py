"""Every command line that can be mistyped, made from the commands themselves: one line, a remedy, and exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from llmspell.cli.invocation import OPTIONS
from llmspell.cli.main import main
from llmspell.cli.root import cli
from llmspell_plugins.commands.meant import finite, moment
from packages import install
from waiting import PATIENCE_S

Run = Callable[..., tuple[int, str, str]]
HOOK = "from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl\n"
DENIER = HOOK + "@hookimpl(kind='guard')\ndef before_tool_execution(context): return Cancel('not today')\n"
LISTINGS = {"list", "show", "info", "order", "path", "doctor", "validate", "version"}
"""The verbs that answer with what there is."""
NEEDED = {
    "agent show": ["llm"],
    "tool info": ["calculator"],
    "hook point show": ["system_startup"],
    "hook order": ["before_model_call"],
}
NEEDED["plugin info"] = ["calculator"]
OF_RUNS = {"approval show", "artifact show", "backup info", "backup validate", "journal show", "log show"}
OF_RUNS |= {"session show", "workflow show", "workflow validate"}
"""Listings of what a run, or a file, has: see `test_cli_workflow`."""


def verbs(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from verbs(found, (*path, name))


VERBS = {" ".join(path): (path, command) for path, command in verbs()}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LLMSPELL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LLMSPELL_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("LLMSPELL_DATA_HOME", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def mistyped(command: click.Command) -> Iterator[tuple[list[str], str]]:
    """What may be typed wrongly behind a command, and what must be said about it."""
    options = [option for option in command.params if isinstance(option, click.Option)]
    for option in options:
        longest = max(option.opts, key=len)
        typo = longest[:-2] + longest[-1] + longest[-2] if longest[-1] != longest[-2] else longest[:-1]
        yield [typo], f"'{longest}'"
        yield [longest[:-1] + "\x1b]x" * 50_000], ""
        if option.is_flag or option.count:
            yield [f"{longest}=x"], longest
            continue
        yield [longest], longest
        if not option.multiple and option not in OPTIONS:
            given = str(option.type.choices[0]) if isinstance(option.type, click.Choice) else "1"
            yield [longest, given, longest, given], f"{longest} is given twice"
        if isinstance(option.type, click.Choice):
            yield [longest, "x;y"], str(option.type.choices[0])
        if isinstance(option.type, click.types.FloatParamType | click.types.IntParamType):
            yield [longest, "x;y"], longest
            yield [longest, "-1"], longest
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield [name[:-1] + "_" + name[-1]], name
        yield ["\x1b[2Jnothing"], "--help"
        return
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    if arguments and arguments[0].required:
        yield [], str(arguments[0].make_metavar(click.Context(command)))
    if all(each.nargs == 1 for each in arguments):
        yield ["x"] * (len(arguments) + 1), ""


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_mistyped_is_told_on_one_line_with_a_remedy(verb: str, run: Run) -> None:
    path, command = VERBS[verb]
    wrong = list(mistyped(command))

    for arguments, said in wrong:
        code, out, err = run(*path, *arguments)

        assert (code, out) == (2, ""), arguments
        assert err.count("\n") == 1, err
        assert err.isascii(), err
        assert len(err) <= 501, err
        assert "\x1b" not in err, err
        assert "--help" in err or "did you mean" in err.lower() or ";" in err, err
        assert said in err, err


TIMES = [
    (verb, option.opts[0])
    for verb, (_, command) in VERBS.items()
    for option in command.params
    if isinstance(option, click.Option) and option.callback in (finite, moment)
]


@pytest.mark.parametrize("given", ["nan", "inf", "soon"])
@pytest.mark.parametrize(("verb", "option"), TIMES, ids=[" ".join(each) for each in TIMES])
def test_what_is_no_time_is_refused_wherever_one_is_taken(verb: str, option: str, given: str, run: Run) -> None:
    path, command = VERBS[verb]
    needed = ["x" for each in command.params if isinstance(each, click.Argument) and each.required]

    code, out, err = run(*path, *needed, option, given)

    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "write" in err or "not a valid float" in err, err


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.split(" ")[-1] in LISTINGS and verb not in OF_RUNS])
def test_every_listing_has_json(verb: str, run: Run) -> None:
    code, out, err = run(*VERBS[verb][0], *NEEDED.get(verb, []), "--output", "json")

    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), dict | list)


@pytest.mark.parametrize("noun", [verb for verb, (_, command) in VERBS.items() if isinstance(command, click.Group)])
def test_a_bare_noun_says_what_help_says(noun: str, run: Run) -> None:
    assert run(*noun.split()) == run(*noun.split(), "--help")


def test_the_page_of_the_command_line_names_each_variable_that_is_read() -> None:
    root = Path(__file__).parent.parent
    rooms = (root / "host", root / "plugins" / "llmspell_plugins" / "commands")
    code = "".join(path.read_text() for room in rooms for path in room.rglob("*.py"))
    page = (root / "docs" / "reference" / "command-line.md").read_text()

    read = set(re.findall(r'"((?:LLMSPELL|XDG)_[A-Z_]+[A-Z]|NO_COLOR)"', code))

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) - {"LLMSPELL_SECTION__KEY"} == read


def outside(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as a process, beside a plugin that denies each tool."""
    (folder / "site").mkdir()
    install(folder / "site", "denier", name="denier", code=DENIER)
    places = {"LLMSPELL_CONFIG_HOME": str(folder / "user"), "LLMSPELL_DATA_HOME": str(folder / "data")}
    return subprocess.run(
        [sys.executable, "-m", "llmspell", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder / "site"), **places},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


ASK = ("agent", "run", "--model", "offline/rules", "--tool", "calculator", "what is 2 + 2?")
INVOKE = ("tool", "invoke", "calculator", "input=1")
DENIED = "denied by hook denier.before_tool_execution at before_tool_execution: not today"


@pytest.mark.parametrize("more", [(), ("--stream",)])
def test_a_person_who_asks_an_agent_sees_which_hook_denied_its_tool(more: tuple[str, ...], tmp_path: Path) -> None:
    ended = outside(tmp_path, *ASK, *more)

    assert (ended.returncode, ended.stderr) == (0, f"[calculator {DENIED}]\n")
    assert "not today" in ended.stdout


def test_a_program_that_asks_an_agent_is_told_which_hook_denied_its_tool(tmp_path: Path) -> None:
    (record,) = json.loads(outside(tmp_path, *ASK, "--output", "json").stdout)["tool_calls"]

    assert (record["status"], record["hook"]) == ("denied", "denier.before_tool_execution")
    assert record["point"] == "before_tool_execution"


def traced(value: Any) -> list[tuple[str, str]]:
    return [(row["plugin"], row["result"]) for row in value["trace"]]


@pytest.mark.parametrize("asked", [ASK, INVOKE, ("exec", 'Tool.invoke("calculator", {input = "1"})')])
def test_what_explain_shows_is_one_value_also_of_what_failed(asked: tuple[str, ...], tmp_path: Path) -> None:
    ended = outside(tmp_path, *asked, "--explain", "--output", "json")

    value = json.loads(ended.stdout)
    assert ("denier", "Cancel") in traced(value)
    assert ("value" in value, "error" in value) == ((True, False) if asked is ASK else (False, True))


def test_explain_shows_people_a_table(tmp_path: Path) -> None:
    ended = outside(tmp_path, *INVOKE, "--explain")

    assert "denier.before_tool_execution" in ended.stdout
    assert DENIED in ended.stderr


@pytest.mark.parametrize("words", ["trust", "untrust", "config show", "exec 1", "plugin disable x --local"])
def test_a_current_folder_that_is_gone_is_told_with_what_to_do(words: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    code = (
        f"import os, sys; os.mkdir({str(gone)!r}); os.chdir({str(gone)!r}); os.rmdir({str(gone)!r})\n"
        f"from llmspell.cli.main import main; main({words.split()!r})"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert done.stderr == (
        "llmspell: settings: the current folder cannot be used: No such file or directory; "
        "change to another, or give --project\n"
    )
