"""Verbs that packages bring: found, listed and run without a file of the host's, and harmless when they are broken."""

from __future__ import annotations

import importlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from llmspell.cli.main import main
from llmspell.cli.root import COMMANDS, NOUNS
from packages import install
from test_typing import PACKAGES

Run = Callable[..., tuple[int, str, str]]
GROUP = "llmspell.commands"
GREET = """
import click

@click.command()
@click.pass_obj
def verb(invocation):
    invocation.say('good morning')
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in os.environ if name.startswith("LLMSPELL")]:
        monkeypatch.delenv(name)
    for variable in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"LLMSPELL_{variable}_HOME", str(tmp_path / variable))
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    monkeypatch.chdir(project)
    yield site
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


@pytest.fixture
def run(site: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def bring(site: Path, package: str, name: str, code: str = GREET, attribute: str = "verb", summary: str = "") -> Path:
    return install(site, package, name=name, code=code, group=GROUP, attribute=attribute, summary=summary)


@pytest.fixture
def notes(site: Path) -> Path:
    return bring(site, "acme-notes", "notes", PACKAGES["commands"], "notes", "Keep notes of all kinds.")


# What one verb gets


def test_a_verb_of_a_package_uses_services_and_prints_for_people_or_programs(notes: Path, run: Run) -> None:
    added = run("notes", "add", "buy milk")
    listed = run("note", "list"), run("notes", "list"), run("--output", "json", "notes", "list")

    assert added == (0, "kept\n", "")
    assert listed[0][0] == 2
    assert listed[1] == (0, "key\nnote\n", "")
    assert json.loads(listed[2][1]) == [{"key": "note", "output": "", "config": ""}]


def test_a_verb_calls_a_component_by_its_address_and_explains_it(notes: Path, run: Run) -> None:
    code, out, err = run("notes", "sum", "2 + 2", "--explain")

    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("it is {")
    assert out.splitlines()[-1] == "no hook fired"


def test_a_verb_ends_with_the_documented_codes(notes: Path, run: Run) -> None:
    failed, wrong, own, missing = (
        run("notes", "sum", "2 +"),
        run("notes", "add", " "),
        run("notes", "list"),
        run("notes", "burn"),
    )

    assert (failed[0], failed[2].count("\n")) == (1, 1)
    assert failed[2].startswith("llmspell: calculator: '2 +': ")
    assert (wrong[0], wrong[2]) == (2, "llmspell: the note is empty; write something\n")
    assert own[:2] == (3, "there is no note\n")
    assert (missing[0], missing[2]) == (1, "llmspell: notes burn: nobody said yes; answer at a terminal\n")


def test_an_error_of_a_verb_is_json_where_that_is_wanted(notes: Path, run: Run) -> None:
    code, out, _ = run("notes", "add", "@nowhere.txt", "--output", "json")

    assert json.loads(out)["error"] | {"message": ""} == {"code": "usage", "message": "", "exit": 2}
    assert code == 2


def test_a_verb_takes_the_options_of_all_commands_but_those_whose_names_it_took(notes: Path, run: Run) -> None:
    run("notes", "add", "x")

    code, out, err = run("notes", "list", "mine", "--output", "theirs", "--set", "logging.level=off", "--offline")

    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["note", "theirs", "mine"]


def test_standard_input_and_files_are_read_for_a_verb(
    notes: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import io

    (tmp_path / "note.txt").write_text("\ufefffrom a file", encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a pipe"))

    run("notes", "add", "-")
    piped = run("state", "get", "note")
    run("notes", "add", f"@{tmp_path / 'note.txt'}")
    read = run("state", "get", "note")

    assert (piped[1], read[1]) == ("from a pipe\n", "from a file\n")


def test_a_misspelled_command_below_a_verb_names_the_nearest(notes: Path, run: Run) -> None:
    code, _, err = run("notes", "lits")

    assert (code, err) == (2, "llmspell: there is no command 'lits'; did you mean list?\n")


SHELF = """
from typing import Protocol
import click
from pydantic import BaseModel

class Shelf(Protocol):
    def tell(self) -> str: ...

class ShelfSettings(BaseModel):
    path: str = ''

class Books:
    provides, Settings = Shelf, ShelfSettings
    def __init__(self, settings, services):
        self.told = settings.path
    async def __aenter__(self):
        self.told += ' is open'
        return self
    async def __aexit__(self, *error):
        print('closed')
    def tell(self):
        return self.told

@click.command()
@click.pass_obj
def verb(invocation):
    async def use(host):
        return (await host.enter(Shelf)).tell()
    invocation.run(use, show=invocation.say)
"""


def test_a_verb_opens_the_service_of_its_package_whose_name_it_bears_and_whose_settings_are_not_its_own(
    site: Path, run: Run
) -> None:
    bring(site, "acme-shelf", "shelf", SHELF)
    info = site / "acme_shelf-1.0.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "[llmspell.services]\nshelf = acme_shelf_module:Books\n")
    Path("llmspell.toml").write_text("")
    setting = ("--set", "plugins.shelf.path=here")

    told, valid = run("shelf", *setting), run("config", "validate", *setting)
    listed = json.loads(run("plugin", "info", "shelf", "--output", "json", *setting)[1])

    assert told == (0, "closed\nhere is open\n", "")
    assert valid[0] == 0
    assert [row["status"] for row in listed] == ["ok", "ok"]


# What help shows


def test_help_lists_a_verb_by_its_packages_summary_and_imports_none(notes: Path, site: Path, run: Run) -> None:
    broken = bring(site, "acme-broken", "broken", "raise SystemExit(4)", summary="Break things.")

    code, out, err = run("--help")

    assert (code, err) == (0, "")
    assert "  notes     Keep notes of all kinds.\n" in out
    assert "  broken    Break things.\n" in out
    assert not notes.exists()
    assert not broken.exists()


def test_help_tells_the_verbs_of_one_package_apart_by_their_own_words_else_their_modules(site: Path, run: Run) -> None:
    folder = site / "acme_two"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit(4)\n")
    (folder / "one.py").write_text('# a comment\n\nr"""Do one thing.\n\nMore.\n"""\nraise SystemExit(4)\n')
    (folder / "two.py").write_text("raise SystemExit(4)\n")
    three = 'def bare(\n    a\n):\n    pass\n\ndef three(\n    a,\n):\n    """Do three.\n\n    More."""\n'
    four = 'def four(): r"""Do four."""\n'
    (folder / "both.py").write_text(f'"""Both."""\n{three}{four}raise SystemExit(4)\n')
    info = site / "acme_two-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-two\nVersion: 1.0\nSummary: Two \x1b[2Jthings.\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\none = acme_two.one:verb\ntwo = acme_two.two:verb\n"
        "three = acme_two.both : three\nfour = acme_two.both:four\n"
        "bare = acme_two.both:bare\nnone = acme_two.both:t.x\n"
    )

    _, out, _ = run("--help")

    assert "  one       Do one thing.\n" in out
    assert "  two       Two \\x1b[2Jthings.\n" in out
    for name, told in (("three", "Do three."), ("four", "Do four."), ("bare", "Both."), ("none", "Both.")):
        assert f"  {name:8}  {told}\n" in out


def test_of_one_package_in_two_folders_the_first_counts(site: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = site / "behind"
    behind.mkdir()
    bring(behind, "acme-hello", "hello", summary="The old one.")
    bring(site, "acme-hello", "hello", summary="The new one.")
    monkeypatch.setattr(sys, "path", [*sys.path, str(behind)])

    _, out, _ = run("--help")

    assert "The new one." in out
    assert "The old one." not in out
    assert run("hello")[:2] == (0, "good morning\n")


# Broken ones

FAULTS = {
    "no module": ("", "cannot be imported: AttributeError"),
    "an import that fails": ("import no_such_library", "cannot be imported: ModuleNotFoundError"),
    "an exit": ("raise SystemExit(4)", "cannot be imported: SystemExit: 4"),
    "an interrupt": ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt"),
    "a syntax error": ("def verb(:", "cannot be imported: SyntaxError"),
    "an assertion": ("assert not 1, 'never'", "cannot be imported: AssertionError: never"),
    "a text": ("verb = 'verb'", "is a str, no click command; decorate a function"),
    "a bare function": ("def verb(): pass", "is a function, no click command; decorate a function"),
    "a class": ("class verb: pass", "is a type, no click command; decorate a function"),
}
NAMES = {
    "Report": "is no name for a command",
    "re port": "is no name for a command",
    "--report": "is no name for a command",
    "répört": "is no name for a command",
    "plugin": "llmspell itself has a command of that name",
    "hooks": "llmspell itself has a command of that name",
    "tools": "it is the plural of tool, which answers to it",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_verb_is_named_on_one_line_and_harms_no_other(fault: str, site: Path, run: Run) -> None:
    code, said = FAULTS[fault]
    bring(site, "acme-broken", "broken", code, summary="Break things.")
    bring(site, "acme-hello", "hello")

    broken, helped, other, ours = run("broken", "now"), run("--help"), run("hello"), run("state", "list")

    assert (broken[0], broken[1], broken[2].count("\n")) == (1, "", 1)
    assert "broken" in broken[2]
    assert said in broken[2]
    assert "Traceback" not in broken[2]
    assert (helped[0], helped[2]) == (0, "")
    assert other == (0, "good morning\n", "")
    assert ours[0] == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_verb_of_a_wrong_name_is_told_in_help_and_takes_nobody_elses(name: str, site: Path, run: Run) -> None:
    before = {verb: run(verb, "--help") for verb in ("plugin", "hook", "tools", "tool")}
    marker = bring(site, "acme-wrong", name)

    after = {verb: run(verb, "--help") for verb in before}
    _, out, _ = run("--help")
    typed = run("--", name)

    assert after == before
    assert f"cannot be used: {NAMES[name]}" in " ".join(out.split()) or NAMES[name] in " ".join(out.split())
    assert typed[0] != 0 or name in ("plugin", "hooks", "tools")
    assert not marker.exists()


def test_of_two_packages_that_bring_one_name_neither_is_imported_until_settings_say_which(site: Path, run: Run) -> None:
    markers = [bring(site, f"acme-{word}", "hello", GREET.replace("morning", word)) for word in ("day", "night")]

    code, out, err = run("hello")
    _, helped, _ = run("--help")
    chosen = run("hello", "--set", "plugins.prefer.hello=acme-night")

    assert (code, out) == (1, "")
    assert "acme-day and acme-night both bring it" in err
    assert "acme-day and acme-night both bring it" in " ".join(helped.split())
    assert chosen == (0, "good night\n", "")
    assert [marker.exists() for marker in markers] == [False, True]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--set", 'plugins.disabled=["commands:hello"]'), "settings disable it"),
        (("--set", 'plugins.disabled=["hello"]'), "settings disable it"),
        (("--set", "plugins.trust=listed"), "acme-hello is not listed"),
        (("--set", "nonsense=1"), "nonsense"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["before the verb", "behind it"])
def test_a_verb_that_settings_refuse_is_not_imported(
    options: tuple[str, ...], said: str, behind: bool, site: Path, run: Run
) -> None:
    marker = bring(site, "acme-hello", "hello")

    code, out, err = run("hello", *options) if behind else run(*options, "hello")

    assert (code in (1, 2), out, err.count("\n")) == (True, "", 1)
    assert said in err
    assert not marker.exists()


def test_a_verb_is_disabled_and_enabled_like_any_plugin(site: Path, run: Run) -> None:
    bring(site, "acme-hello", "hello")

    disabled = run("plugin", "disable", "commands:hello")
    refused = run("hello")
    run("plugin", "enable", "commands:hello")

    assert disabled[0] == 0
    assert "settings disable it" in refused[2]
    assert run("hello") == (0, "good morning\n", "")


def test_the_doctor_and_the_list_know_verbs(site: Path, run: Run) -> None:
    bring(site, "acme-broken", "broken", "verb = 1")

    listed = json.loads(run("plugin", "list", "--group", "commands", "--output", "json")[1])
    told = json.loads(run("plugin", "info", "broken", "--output", "json")[1])

    assert {"broken", "state", "tool"} <= {row["name"] for row in listed}
    assert "no click command" in told["error"]


# Verbs below nouns


@pytest.mark.parametrize(
    "place", ["hook", "plugin", "config", "tool", "state", "notes", "hook.point"], ids=lambda place: f"below {place}"
)
def test_a_package_adds_a_verb_to_any_noun(place: str, notes: Path, site: Path, run: Run) -> None:
    noun = place.split(".")
    marker = bring(site, "acme-hello", f"{place}.greet", summary="Say good morning.")

    helped = run(*noun, "--help"), run("--help")
    imported = marker.exists()
    typed, plural = run(*noun, "greet"), run(*noun[:-1], f"{noun[-1].removesuffix('s')}s", "greets")
    elsewhere = run(f"{place}.greet"), run("greet")

    assert "greet" in helped[0][1].partition("Commands of plugins:")[2]
    assert "Say good morning." in helped[0][1]
    assert "greet" not in helped[1][1]
    assert not imported
    assert [code for code, _, _ in elsewhere] == [2, 2]
    assert typed == plural == (0, "good morning\n", "")


@pytest.mark.parametrize(
    ("name", "below", "said"),
    [
        ("hook.list", "hook", "hook has a command of that name"),
        ("hook.points", "hook", "hook has a command of that name"),
        ("hook.Greet", "hook", "'Greet' is no name for a command"),
        ("hook.nothing.greet", "hook", "there is no noun 'hook nothing' that it could stand below"),
        ("nothing.greet", "", "there is no noun 'nothing' that it could stand below"),
        ("run.greet", "", "there is no noun 'run' that it could stand below"),
    ],
)
def test_a_verb_below_a_noun_that_cannot_be_used_is_told_in_its_help_and_takes_nobody_elses(
    name: str, below: str, said: str, site: Path, run: Run
) -> None:
    before = run("hook", "list"), run("hook", "point", "list")
    marker = bring(site, "acme-wrong", name)

    _, helped, _ = run(*filter(None, [below]), "--help")

    assert f"cannot be used: {said}" in " ".join(helped.split())
    assert (run("hook", "list"), run("hook", "point", "list")) == before
    assert run(*name.split("."))[0] == (0 if name in ("hook.list", "hook.points") else 2 if "G" not in name else 1)
    assert not marker.exists()


def test_a_verb_below_a_noun_is_switched_off_and_named_when_it_is_broken(site: Path, run: Run) -> None:
    bring(site, "acme-hello", "hook.hello")
    bring(site, "acme-broken", "hook.broken", "raise SystemExit(4)")

    broken, off = run("hook", "broken"), run("hook", "hello", "--set", 'plugins.disabled=["commands:hook.hello"]')

    assert broken[:2] == off[:2] == (1, "")
    assert "SystemExit: 4" in broken[2]
    assert "'llmspell plugin enable commands:hook.hello' lets it be used" in off[2]
    assert run("hook", "hello") == (0, "good morning\n", "")


def test_help_knows_which_of_the_hosts_own_commands_are_nouns(run: Run) -> None:
    for name, (path, _) in COMMANDS.items():
        module, _, attribute = path.partition(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Group) is (name in NOUNS), name


def test_our_own_verbs_give_help_and_tell_wrong_usage_where_settings_are_wrong(site: Path, run: Run) -> None:
    Path("llmspell.toml").write_text("nonsense = 1\n")

    assert run("tool", "list", "--help")[0] == 0
    assert "'--tag'" in run("tool", "list", "--tga")[2]
    assert "nonsense" in run("tool", "list")[2]


def test_no_verb_of_the_hosts_own_is_a_plugins(site: Path, run: Run) -> None:
    """What must work when plugins are broken is not brought by one."""
    assert {"plugin", "hook", "config", "trust", "run", "exec", "version"} <= set(COMMANDS)
    assert textwrap.dedent(run("--help")[1]).count("Commands of plugins:") == 1
