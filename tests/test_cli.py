"""The command line: nouns and verbs, exit codes, one-line errors, signals, plugins that are broken."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from llmspell.cli.invocation import OPTIONS
from llmspell.cli.main import main
from llmspell.cli.root import COMMANDS
from waiting import PATIENCE_S

TOOLS = '''
from pydantic import BaseModel
import trio
from llmspell_hookspecs import Tool, ToolContext, ToolError, ToolResult

class Parameters(BaseModel):
    """."""
    text: str = ""
    count: int = 1
    tags: list[str] = []

class Echo(Tool[Parameters]):
    """Return what it was given."""
    name = "echo_back"
    async def run(self, parameters: Parameters, context: ToolContext) -> object:
        if parameters.text == "fail":
            raise ToolError("echo_back: it was told to fail; say something else")
        if parameters.text == "no":
            return ToolResult(success=False, message="it would not")
        return parameters.model_dump()

class Sleeper(Tool[Parameters]):
    """Sleep until cancelled."""
    name = "sleeper"
    async def run(self, parameters: Parameters, context: ToolContext) -> object:
        print("asleep", flush=True)
        try:
            await trio.sleep_forever()
        finally:
            print("woken", flush=True)

class Stubborn(Tool[Parameters]):
    """Sleep whatever comes."""
    name = "stubborn"
    async def run(self, parameters: Parameters, context: ToolContext) -> object:
        print("asleep", flush=True)
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
'''
GUARD = """
from llmspell_hookspecs import Cancel, hookimpl

@hookimpl(kind="guard", name="no_secrets")
def before_tool_execution(context):
    if context.subject.parameters.get("text") == "secret":
        return Cancel("secrets stay here")

@hookimpl(name="shout", specname="before_tool_execution")
def shout(context):
    if context.subject.parameters.get("text") == "loud":
        return context.modify(parameters={**context.subject.parameters, "text": "LOUD"})
"""


class Machine:
    """A machine with a home, a project, and packages that are installed as pip leaves them."""

    def __init__(self, root: Path) -> None:
        self.started: list[subprocess.Popen[str]] = []
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.site = root / "site"
        self.site.mkdir()
        self.user_file = root / "user" / "llmspell.toml"
        self.user_file.parent.mkdir()
        self.environment = {
            "LLMSPELL_CONFIG_HOME": str(self.user_file.parent),
            "LLMSPELL_DATA_HOME": str(root / "data"),
        }

    def install(self, name: str, source: str, entry_points: str) -> None:
        (self.site / f"{name}.py").write_text(source)
        metadata = self.site / f"{name}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(textwrap.dedent(entry_points))

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.site), "HOME": str(self.site), **self.environment}
        process = subprocess.Popen(
            [sys.executable, "-m", "llmspell", *arguments],
            cwd=self.project,
            env=known,
            text=True,
            stdin=subprocess.PIPE,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            **options,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(stdin, timeout=PATIENCE_S)
        return process.returncode, out, err


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def equipped(machine: Machine) -> Machine:
    machine.install(
        "toolbox",
        TOOLS + GUARD,
        """
        [llmspell.tools]
        echo_back = toolbox:Echo
        sleeper = toolbox:Sleeper
        stubborn = toolbox:Stubborn
        [llmspell.plugins]
        guardian = toolbox
        """,
    )
    return machine


@pytest.fixture
def here(machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line in this process: code, output, error output."""
    monkeypatch.chdir(machine.project)
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(arguments)
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from llmspell.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'pydantic', 'msgspec', 'rich', 'pluggy', 'stevedore', 'lupa', 'llmspell_hookspecs'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )

    for arguments in (["--help"], ["config", "--help"], ["run", "--help"], ["hook", "point", "--help"], ["version"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert ("llmspell 0" if arguments == ["version"] else "Usage: llmspell") in done.stdout
        assert "heavy: []" in done.stdout


def test_a_tools_examples_are_shown_and_tried(here: Any) -> None:
    code, out, _ = here("tool", "test", "calculator")
    _, told, _ = here("tool", "info", "calculator")
    _, needs, _ = here("tool", "test", "http_request")

    assert (code, out.count("passed")) == (0, 3)
    assert "llmspell tool invoke calculator '{" in told
    assert "skipped  it needs the network" in needs


def test_every_verb_has_help(here: Any) -> None:
    verbs = ["run", "exec", "plugin list", "plugin info", "plugin enable", "plugin disable", "plugin doctor"]
    verbs += ["hook point list", "hook point show", "hook list", "hook order", "tool list", "tool info", "tool test"]
    verbs += [
        "tool invoke",
        "event tail",
        "config show",
        "config path",
        "config validate",
        "trust",
        "untrust",
        "version",
    ]

    for verb in verbs:
        code, out, _ = here(*verb.split(), "--help")
        assert code == 0
        assert out.startswith(f"Usage: llmspell {verb}")


@pytest.mark.parametrize("words", ["plugins list", "hooks list", "hooks points list", "tools list"])
def test_a_noun_answers_to_its_plural(here: Any, words: str) -> None:
    code, out, err = here(*words.split(), "--output", "json")

    assert (code, err) == (0, "")
    assert isinstance(json.loads(out), list)


def test_what_lies_within_a_parameter_is_given_as_tool_info_spells_it(here: Any) -> None:
    cut = here("tool", "invoke", "text_manipulator", "operation=truncate", "input=12345678", "options.max_length=5")
    split = here("tool", "invoke", "text_manipulator", "--operation", "split", "--input", "1,2", "options.delimiter=,")
    product = here("tool", "invoke", "calculator", "input=x*y", 'variables={"y": 3}', "variables.x=4")

    assert [json.loads(out)["result"] for _, out, _ in (cut, split, product)] == ["12...", ["1", "2"], 12.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plugni", "list"], "llmspell: there is no command 'plugni'; did you mean plugin?\n"),
        (["plugin", "lst"], "llmspell: there is no command 'lst'; did you mean list?\n"),
        (
            ["tool", "call"],
            "llmspell: there is no command 'call'; there are info, invoke, list, test; see llmspell tool --help\n",
        ),
        (
            ["hook", "point", "describe"],
            "llmspell: there is no command 'describe'; there are list, show; see llmspell hook point --help\n",
        ),
        (
            ["tool", "invoke", "calculator", "input=1", "input=2"],
            "llmspell: 'input' is given twice; give each parameter once\n",
        ),
        (
            ["tool", "invoke", "calculator", "variables.x=1", "variables.x=2"],
            "llmspell: 'variables.x' is given twice; give each parameter once\n",
        ),
        (["state", "set", "a=1", "b=2", "a=3"], "llmspell: 'a' is given twice; give each key once\n"),
        (["run"], "llmspell: Missing argument 'FILE'; see llmspell run --help\n"),
        (
            ["run", "gone.lua"],
            "llmspell: Invalid value for 'FILE': File 'gone.lua' does not exist; see llmspell run --help\n",
        ),
        (
            ["--set", "a", "version"],
            "llmspell: Invalid value for '--set': 'a' has no '='; write it as limits.depth=8\n",
        ),
        (["config", "show", "limit"], "llmspell: there is no section 'limit'; 'llmspell config show' lists all\n"),
        (["plugin", "info", "lau"], "llmspell: plugin 'lau' is not installed; did you mean lua?\n"),
        (["plugin", "list", "--group", "tool"], None),
        (["tool", "list", "--category", "nope"], None),
        (
            ["tool", "invoke", "calculator", "--inptu", "1"],
            "llmspell: there is no option or parameter '--inptu'; did you mean '--input'?\n",
        ),
        (
            ["tool", "invoke", "calculator", "--expalin"],
            "llmspell: there is no option or parameter '--expalin'; did you mean '--explain'?\n",
        ),
        (["tool", "invoke", "calculator", "-x"], None),
        (["provider", "test", "nope"], None),
        (["trust"], None),
        (["tool", "info", "calculater"], None),
        (["tool", "invoke", "calculater"], None),
        (["tool", "invoke", "calculator", "{"], None),
        (["tool", "invoke", "calculator", "input"], None),
        (["hook", "order", "before_tool_executoin"], None),
        (["hook", "point", "show", "nothing"], None),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(here: Any, arguments: list[str], message: str | None) -> None:
    code, out, err = here(*arguments)

    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("llmspell: ")
    assert message is None or err == message


@pytest.mark.parametrize(
    "words",
    [
        ["operation=uppercase", "input=abc"],
        ["--operation", "uppercase", "--input", "abc"],
        ["--operation=uppercase", "input=abc"],
        ['{"operation": "uppercase", "input": "abc"}'],
    ],
)
def test_parameters_of_a_tool_are_pairs_flags_or_json(here: Any, words: list[str]) -> None:
    code, out, err = here("tool", "invoke", "text_manipulator", *words, "--output", "json")

    assert (code, err) == (0, "")
    assert json.loads(out)["result"]["result"] == "ABC"


def test_the_words_of_a_flag_may_be_joined_by_dashes(here: Any) -> None:
    code, out, _ = here("tool", "invoke", "diff_calculator", "--old-text", "a", "--new-text", "b", "--format=simple")

    assert code == 0
    assert "a" in out


def test_wrong_settings_are_one_line_and_code_2(here: Any, machine: Machine) -> None:
    machine.user_file.write_text("[limits]\ndepht = 3")

    code, out, err = here("config", "validate")

    line = f"llmspell: {machine.user_file}:2: there is no setting limits.depht; did you mean limits.depth?\n"
    assert (code, out, err) == (2, "", line)


def test_a_project_file_that_loosens_is_refused_until_it_is_trusted(here: Any, machine: Machine) -> None:
    file = machine.project / "llmspell.toml"
    file.write_text("[limits]\ndepth = 36\n")

    refused = here("config", "show", "limits.depth")
    trusted = here("trust", ".")
    shown = here("config", "show", "limits.depth")
    untrusted = here("untrust", ".")
    again = here("config", "show", "limits.depth")

    assert refused[0] == 2
    assert f"run 'llmspell trust {machine.project}'" in refused[2]
    assert trusted[:2] == (0, f"{file} is trusted until it changes\n  it sets limits.depth = 36\n")
    assert shown[:2] == (0, "limits.depth = 36\n")
    assert untrusted[:2] == (0, f"{file} is trusted no longer\n")
    assert again == refused


def test_config_show_says_where_each_value_came_from(here: Any, machine: Machine) -> None:
    machine.user_file.write_text("[limits]\nhops = 3\n")

    code, out, _ = here("config", "show", "limits", "--origin", "--set", "limits.depth=5")

    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["key", "value", "origin"],
        ["limits.cache_bytes", "67108864", "default"],
        ["limits.depth", "5", "--set", "limits.depth"],
        ["limits.hops", "3", f"{machine.user_file}:2"],
        ["limits.forks", "64", "default"],
        ["limits.descendants", "1000", "default"],
        ["limits.operation_time_s", "none", "default"],
    ]


def test_config_show_masks_secrets(here: Any) -> None:
    for options in ([], ["--origin"], ["--output", "json"], ["--output", "json", "--origin"]):
        _, out, _ = here("config", "show", "--set", "plugins.audit.api_key=hunter2", *options)
        assert "hunter2" not in out
        assert "********" in out


def test_config_path_names_all_files(here: Any, machine: Machine) -> None:
    machine.user_file.write_text("")

    code, out, _ = here("config", "path", "--output", "json")

    project = str(machine.project / "llmspell.toml")
    assert (code, json.loads(out)) == (
        0,
        [
            {"layer": "machine", "path": "/etc/llmspell/llmspell.toml", "exists": False},
            {"layer": "user", "path": str(machine.user_file), "exists": True},
            {"layer": "project", "path": project, "exists": False},
        ],
    )


def test_an_option_means_the_same_before_the_noun_and_behind_the_verb(here: Any) -> None:
    before = here("--output", "json", "--set", "limits.depth=5", "config", "show", "limits")
    behind = here("config", "show", "limits", "--output", "json", "--set", "limits.depth=5")

    assert before == behind
    assert json.loads(before[1])["depth"] == 5


def test_a_file_named_in_the_environment_takes_the_project_files_place(here: Any, machine: Machine) -> None:
    (machine.project / "other.toml").write_text("[limits]\ndepth = 36\n")
    machine.environment["LLMSPELL_CONFIG"] = "other.toml"

    code, out, _ = machine.run("config", "show", "limits.depth")

    assert (code, out) == (0, "limits.depth = 36\n")


def test_warnings_go_to_standard_error(here: Any, machine: Machine) -> None:
    machine.user_file.write_text("[plugins.audit]\nrequierd = true")

    _, out, err = here("config", "show", "limits.depth")
    _, _, quiet = here("config", "show", "limits.depth", "--set", "logging.level=error")

    assert out == "limits.depth = 32\n"
    assert f"Z warning llmspell.settings: {machine.user_file}:2: plugins.audit.requierd is taken" in err
    assert quiet == ""


def test_version_is_the_distributions(here: Any) -> None:
    from importlib.metadata import version

    assert here("--version") == (0, f"llmspell {version('llmspell')}\n", "")
    assert json.loads(here("version", "--output", "json")[1])["llmspell"] == version("llmspell")


BROKEN = {
    "syntax": "def (:\n",
    "missing": "import no_such_module\n",
    "exits": "raise SystemExit(7)\n",
    "asserts": "assert False\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_management_commands_work_with_a_broken_plugin(machine: Machine, kind: str) -> None:
    machine.install("broken", BROKEN[kind], "[llmspell.plugins]\nbroken = broken\n[llmspell.tools]\nbad = broken:Bad")

    listed = machine.run("plugin", "list", "--group", "plugins", "--output", "json")
    doctor = machine.run("plugin", "doctor", "--output", "json")
    disabled = machine.run("plugin", "disable", "broken")
    after = machine.run("plugin", "doctor", "--output", "json")

    assert listed[0] == 0
    rows = [row for row in json.loads(listed[1]) if not row["optional"]]
    assert [(row["name"], row["distribution"], row["status"]) for row in rows] == [
        ("approval_gate", "llmspell", "enabled"),
        ("broken", "broken", "enabled"),
        ("event_tail", "llmspell", "enabled"),
        ("journal", "llmspell", "enabled"),
        ("model_retry", "llmspell", "enabled"),
        ("monitor", "llmspell", "enabled"),
        ("sessions", "llmspell", "enabled"),
    ]
    assert doctor[0] == 1
    finding = next(row for row in json.loads(doctor[1]) if row["plugin"]["name"] == "broken")
    assert finding["status"] == "failed"
    assert "Traceback" not in doctor[2]
    assert disabled[0] == 0
    assert next(row for row in json.loads(after[1]) if row["plugin"]["name"] == "broken")["status"] == "disabled"


def test_listing_and_switching_import_no_plugin(machine: Machine) -> None:
    witness = machine.site / "imported"
    source = f"open({str(witness)!r}, 'w')\n"
    machine.install("spy", source, "[llmspell.plugins]\nspy = spy\n[llmspell.tools]\nspy_tool = spy:Tool")

    results = [
        machine.run("plugin", verb, *names)
        for verb, names in (("list", ()), ("disable", ("spy",)), ("info", ("spy",)), ("enable", ("spy",)))
    ]

    assert [code for code, _, _ in results] == [0, 0, 0, 0]
    assert not witness.exists()


def test_a_disabled_plugin_is_never_imported(machine: Machine) -> None:
    witness = machine.site / "imported"
    machine.install("spy", f"open({str(witness)!r}, 'w')\n", "[llmspell.plugins]\nspy = spy\n")
    machine.run("plugin", "disable", "spy")

    listed = machine.run("tool", "list")
    doctor = machine.run("plugin", "doctor")

    assert listed[0] == 0
    assert not witness.exists(), doctor
    machine.run("plugin", "enable", "spy")
    machine.run("tool", "list")
    assert witness.exists()


def test_switching_a_plugin_edits_the_users_file_and_keeps_comments(here: Any, machine: Machine) -> None:
    machine.user_file.write_text("# mine\n")

    first = here("plugin", "disable", "calculator")
    second = here("plugin", "disable", "calculator")
    shown = json.loads(here("plugin", "info", "calculator", "--output", "json")[1])

    assert first == (0, f"calculator is disabled in {machine.user_file}\n", "")
    assert second == (0, f"calculator was disabled already in {machine.user_file}\n", "")
    assert machine.user_file.read_text().startswith("# mine\n")
    assert shown["status"] == "disabled"


def test_switching_says_if_another_layer_has_the_last_word(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_PLUGINS__CALCULATOR__ENABLED", "true")

    code, _, err = here("plugin", "disable", "calculator")

    assert code == 0
    assert err == (
        "llmspell: warning: calculator is still enabled, for LLMSPELL_PLUGINS__CALCULATOR__ENABLED says so\n"
    )


def test_the_option_project_names_the_folder_also_where_plugins_are_switched(here: Any, machine: Machine) -> None:
    other = machine.project.parent / "other"
    other.mkdir()
    (other / "llmspell.toml").write_text("[limits]\ndepth = 5\n")
    assert here("trust", str(other))[0] == 0

    for_the_user = here("plugin", "disable", "calculator", "--project", str(other))
    in_the_project = here("plugin", "disable", "text_manipulator", "--local", "--project", str(other))
    before_the_noun = here("--project", str(other), "plugin", "enable", "text_manipulator", "--local")

    assert for_the_user == (0, f"calculator is disabled in {machine.user_file}\n", "")
    assert in_the_project == (0, f"text_manipulator is disabled in {other / 'llmspell.toml'}\n", "")
    assert before_the_noun == (0, f"text_manipulator is enabled in {other / 'llmspell.toml'}\n", "")
    assert not (machine.project / "llmspell.toml").exists()


def test_no_verb_of_the_hosts_takes_a_general_options_name_for_its_own() -> None:
    general = {name: option for option in OPTIONS for name in option.opts}

    def commands(command: click.Command) -> Iterator[click.Command]:
        yield command
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                yield from commands(inner)

    for verb in COMMANDS:
        module, _, attribute = COMMANDS[verb][0].partition(":")
        for command in commands(getattr(importlib.import_module(module), attribute)):
            for own in command.params:
                assert own in OPTIONS or not general.keys() & {*own.opts, *own.secondary_opts}, (verb, own.name)


def test_disabling_in_a_project_that_is_not_trusted_leaves_its_file_as_it_was(here: Any, machine: Machine) -> None:
    code, out, err = here("plugin", "disable", "calculator", "--local")

    assert (code, out) == (2, "")
    assert "is left as it was" in err
    assert "llmspell trust" in err
    assert not (machine.project / "llmspell.toml").exists()
    assert here("exec", "return 1")[0] == 0


@pytest.mark.parametrize("locked", ["plugins.disabled", "plugins.calculator", "plugins.calculator.enabled"])
@pytest.mark.parametrize("spelled", ["calculator", "tool:calculator"])
def test_switching_what_the_machine_locks_leaves_the_file_as_it_was(
    here: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch, locked: str, spelled: str
) -> None:
    administrator = machine.project.parent / "machine.toml"
    administrator.write_text(f'[policy]\nlocked = ["{locked}"]\n')
    monkeypatch.setattr("llmspell.settings.layers.MACHINE_FILE", administrator)
    machine.user_file.write_text("# mine\n")

    code, out, err = here("plugin", "disable", spelled)

    assert (code, out) == (2, "")
    assert f"{locked} is locked by {administrator}" in err
    assert machine.user_file.read_text() == "# mine\n"


def test_a_tool_is_called_with_pairs_json_a_file_or_standard_input(equipped: Machine) -> None:
    (equipped.project / "call.json").write_text('{"text": "12", "count": 3}')
    expected = {"text": "12", "count": 3, "tags": []}

    by_pairs = equipped.run("tool", "invoke", "echo_back", "text=12", "count=3")
    by_json = equipped.run("tool", "invoke", "echo_back", '{"text": "12", "count": 3}')
    by_file = equipped.run("tool", "invoke", "echo_back", "@call.json")
    by_stdin = equipped.run("tool", "invoke", "echo_back", "-", stdin='{"text": "12", "count": 3}')
    envelope = equipped.run("tool", "invoke", "echo_back", "text=12", "count=3", "--output", "json")

    for code, out, err in (by_pairs, by_json, by_file, by_stdin):
        assert (code, err) == (0, "")
        assert json.loads(out) == expected
    assert json.loads(envelope[1])["result"] == expected


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["text=fail"], "llmspell: echo_back: it was told to fail; say something else\n"),
        (["text=no"], "llmspell: tool echo_back: it would not\n"),
        (["count=many"], None),
    ],
)
def test_a_tool_that_fails_is_one_line_and_code_1(equipped: Machine, pairs: list[str], message: str | None) -> None:
    code, _, err = equipped.run("tool", "invoke", "echo_back", *pairs)

    assert (code, err.count("\n")) == (1, 1)
    assert message is None or err == message


def test_a_guard_denies_what_the_command_line_asks_for(equipped: Machine) -> None:
    code, out, err = equipped.run("tool", "invoke", "echo_back", "text=secret")

    assert (code, out) == (1, "")
    assert "secrets stay here" in err
    assert "no_secrets" in err


def test_the_order_of_hooks_is_shown_with_its_reason(equipped: Machine) -> None:
    code, out, _ = equipped.run("hook", "order", "BeforeToolExecution", "--output", "json")

    rows = json.loads(out)
    assert code == 0
    assert [(row["order"], row["kind"], row["plugin"], row["hook"]) for row in rows] == [
        (1, "transform", "guardian", "shout"),
        (2, "guard", "guardian", "no_secrets"),
    ]
    assert all(row["why"] for row in rows)


def test_a_traceback_is_shown_with_debug_only(equipped: Machine) -> None:
    plain = equipped.run("tool", "invoke", "echo_back", "text=fail")
    debug = equipped.run("--debug", "tool", "invoke", "echo_back", "text=fail")

    assert "Traceback" not in plain[2]
    assert "Traceback" in debug[2]
    assert debug[0] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_everything_cleanly(equipped: Machine, number: signal.Signals, code: int) -> None:
    process = equipped.start("tool", "invoke", "sleeper")
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"

    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, out) == (code, "woken\n")
    assert err == {130: "llmspell: interrupted\n", 143: "llmspell: terminated\n"}[code]


def test_the_second_interrupt_ends_what_will_not_be_cancelled(equipped: Machine) -> None:
    process = equipped.start("tool", "invoke", "stubborn")
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"

    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130


def test_nobody_reading_is_no_error(machine: Machine) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    process = machine.start("hook", "point", "list", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (141, "")


LANGUAGE = '''
import importlib
import json
from llmspell_hookspecs import Calls
from llmspell_hookspecs.errors import ScriptError

class Adapter:
    def adapt_context(self, context): return None
    def adapt_result(self, value, context): return None

class Toy:
    """A language of four words: say, call, fail, return."""
    name = "toy"
    extensions = (".toy",)
    hook_adapter = Adapter()

    def __init__(self, settings=None, services=None): pass

    async def run(self, script, interface):
        for number, line in enumerate(script.source.splitlines(), 1):
            word, _, rest = line.partition(" ")
            if word == "say":
                interface.scope.write(rest + " " + ",".join(script.arguments) + chr(10))
            elif word == "call":
                name, _, values = rest.partition(" ")
                await interface.services.get(Calls).call("tool:" + name, json.loads(values or "{}"))
            elif word == "fail":
                raise ScriptError(f"{script.name}:{number}: {rest}", file=script.name, line=number, trace="the trace")
            elif word == "return":
                return json.loads(rest)
'''


@pytest.fixture
def scripted(equipped: Machine) -> Machine:
    equipped.install("toylang", LANGUAGE, "[llmspell.languages]\ntoy = toylang:Toy\n")
    equipped.user_file.write_text('default_language = "toy"\n')
    return equipped


def test_a_script_gets_what_stands_behind_the_dashes(scripted: Machine) -> None:
    (scripted.project / "a.toy").write_text("say hello\nreturn 3")

    plain = scripted.run("run", "a.toy", "--", "--fast", "x")
    as_json = scripted.run("run", "--output", "json", "a.toy")

    assert plain == (0, "hello --fast,x\n", "")
    assert as_json == (0, "3\n", "hello \n")


@pytest.mark.parametrize(
    ("code", "printed", "as_json"),
    [
        ('return "a b"', "a b\n", '"a b"\n'),
        ("return 3", "3\n", "3\n"),
        ("return null", "", "null\n"),
        ("return [1]", "[\n  1\n]\n", "[\n  1\n]\n"),
    ],
)
def test_exec_prints_what_the_code_answers(scripted: Machine, code: str, printed: str, as_json: str) -> None:
    assert scripted.run("exec", code) == (0, printed, "")
    assert scripted.run("exec", code, "--language", "toy", "--output", "json") == (0, as_json, "")


def test_a_script_that_fails_names_file_and_line_with_code_1(scripted: Machine) -> None:
    (scripted.project / "a.toy").write_text("say hello\nfail it broke")

    plain = scripted.run("run", "a.toy")
    verbose = scripted.run("-v", "run", "a.toy")

    assert plain == (1, "hello \n", "llmspell: a.toy:2: it broke\n")
    assert verbose[2].endswith("llmspell: a.toy:2: it broke\nthe trace\n")


def test_a_language_that_is_not_there_is_named(scripted: Machine) -> None:
    code, _, err = scripted.run("exec", "x", "--language", "toi")

    assert (code, err.count("\n")) == (2, 1)
    assert "toy" in err


def test_explain_shows_what_each_hook_did(scripted: Machine) -> None:
    code, out, err = scripted.run("exec", 'call echo_back {"text": "loud"}\nreturn 1', "--language", "toy", "--explain")

    heading, *rows = out.splitlines()[1:]
    assert (code, err, out.splitlines()[0]) == (0, "", "1")
    assert heading.split() == ["order", "point", "component", "hook", "kind", "answer", "time", "change"]
    assert [row.split()[:6] for row in rows] == [
        ["1", "before_tool_execution", "tool:echo_back", "guardian.shout", "transform", "Modified"],
        ["2", "before_tool_execution", "tool:echo_back", "guardian.no_secrets", "guard", "Continue"],
    ]
    assert '"loud" -> "LOUD"' in rows[0]


def test_explain_follows_a_script_that_was_denied(scripted: Machine) -> None:
    source = 'call echo_back {"text": "secret"}'

    code, out, err = scripted.run("exec", source, "--language", "toy", "--explain", "--output", "json")

    trace = json.loads(out)["trace"]
    assert code == 1
    assert "secrets stay here" in err
    assert [(row["hook"], row["result"], row["detail"]) for row in trace][:2] == [
        ("shout", "Continue", ""),
        ("no_secrets", "Cancel", "secrets stay here"),
    ]


def test_a_required_plugin_that_is_broken_stops_scripts_and_not_the_listing(scripted: Machine) -> None:
    scripted.install("broken", "1 / 0\n", "[llmspell.plugins]\nbroken = broken\n")
    scripted.user_file.write_text('default_language = "toy"\n[plugins]\nrequired = ["broken"]\n')

    refused = scripted.run("exec", "return 1")
    listed = scripted.run("plugin", "list", "--output", "json")

    assert refused[0] == 1
    assert "broken" in refused[2]
    assert listed[0] == 0
    assert next(row for row in json.loads(listed[1]) if row["name"] == "broken")["required"] is True


def test_the_log_is_written_at_the_level_in_settings(scripted: Machine) -> None:
    scripted.install("broken", "1 / 0\n", "[llmspell.plugins]\nbroken = broken\n")

    default = scripted.run("exec", "return 1")
    quiet = scripted.run("exec", "return 1", "--set", "logging.level=off")

    assert "Z warning llmspell: plugin broken" in default[2]
    assert quiet == (0, "1\n", "")


def test_a_table_fits_the_terminal(machine: Machine) -> None:
    import pty

    leader, follower = pty.openpty()
    process = machine.start("hook", "point", "list", stdout=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        shown += piece
        if not piece:
            break
    process.communicate(timeout=PATIENCE_S)
    os.close(leader)

    assert process.returncode == 0
    assert b"before_tool_execution" in shown


def test_an_interrupt_ends_a_lua_script_that_never_waits(machine: Machine) -> None:
    (machine.project / "loop.lua").write_text('print("looping")\nwhile true do end\n')
    process = machine.start("run", "loop.lua")
    assert process.stdout is not None
    assert process.stdout.readline() == "looping\n"

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (130, "llmspell: interrupted\n")


def test_a_lua_script_that_fails_names_file_and_line(machine: Machine) -> None:
    (machine.project / "wrong.lua").write_text('print("a")\nlocal x = nil\nx.y = 3\n')

    code, out, err = machine.run("run", "wrong.lua")

    assert (code, out, err.count("\n")) == (1, "a\n", 1)
    assert err.startswith("llmspell: wrong.lua:3: ")


def test_a_script_whose_output_nobody_reads_ends_quietly(machine: Machine) -> None:
    (machine.project / "talk.lua").write_text("for i = 1, 1e7 do print(i) end\n")
    process = machine.start("run", "talk.lua")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"

    process.stdout.close()
    _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize("words", ["", "plugin", "plugins", "hook", "hook point", "tool", "agent", "state", "config"])
def test_a_bare_noun_prints_its_help(here: Any, words: str) -> None:
    assert here(*words.split()) == here(*words.split(), "--help")
    assert here(*words.split())[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["exec", "error('x')"], 1, "script"),
        (["exec", "Tool.invoke('nothing', {})"], 1, "script"),
        (["run", "gone.lua"], 2, "usage"),
        (["plugni"], 2, "usage"),
        (["plugin", "list", "--no-such-option"], 2, "usage"),
        (["tool", "info", "nothing"], 2, "not_found"),
        (["state", "get", "nothing"], 1, "failed"),
        (["config", "show", "--set", "limits.depth=x"], 2, "invalid_settings"),
    ],
)
def test_an_error_is_one_json_value_for_programs(here: Any, arguments: list[str], code: int, word: str) -> None:
    ended, out, err = here("--output", "json", *arguments)

    error = json.loads(out)["error"]
    assert (ended, error["exit"], error["code"]) == (code, code, word)
    assert err == f"llmspell: {error['message']}\n"


ODD_VALUES = {
    "return 0/0": None,
    "return 1/0": None,
    r"return 'a\0b\27'": "a\x00b\x1b",
    "return {[1] = 'a', [5] = 'b'}": {"1": "a", "5": "b"},
    "return {}": {},
    "return nil": None,
}


@pytest.mark.parametrize("code", ODD_VALUES)
def test_standard_output_is_one_json_value_whatever_a_script_prints_and_answers(here: Any, code: str) -> None:
    ended, out, err = here("exec", "print('for people') " + code, "--output", "json")

    assert ended == 0
    assert json.loads(out) == ODD_VALUES[code] or out.strip() == "[]"
    assert err == "for people\n"


def test_json_has_a_word_for_values_that_it_has_none_for() -> None:
    from llmspell_hookspecs.any_json import to_json

    ring: list[Any] = []
    ring.append(ring)

    for value in (2**70, 10**6000, b"x", {(1, 2): {None: True}}, "\ud800", {"\udce9": 1}, float("nan"), {1, "a"}, ring):
        assert to_json(value).isprintable()
        json.loads(to_json(value))


def test_hook_order_shows_a_disabled_hook_and_which_settings_did_it(here: Any) -> None:
    _, out, _ = here("hook", "order", "model_error", "--set", 'hooks.disabled=["model_retry.*"]', "--output", "json")

    row = next(row for row in json.loads(out) if row["plugin"] == "model_retry")
    assert (row["order"], row["enabled"]) == (None, False)
    assert row["why"].startswith("disabled by hooks.disabled (--set")


def test_plugin_info_tells_settings_with_default_and_origin_and_what_a_plugin_brings(here: Any) -> None:
    _, out, _ = here("plugin", "info", "sqlite", "--set", "storage.sqlite.busy_s=7", "--output", "json")
    _, hooks, _ = here("plugin", "info", "plugins:model_retry", "--output", "json")

    told = json.loads(out)
    assert told["description"].startswith("A storage in one SQLite file")
    assert (told["settings"]["busy_s"]["value"], told["settings"]["busy_s"]["default"]) == (7, 5.0)
    assert told["settings"]["busy_s"]["origin"].startswith("--set")
    assert told["settings"]["batch_s"]["origin"] == "default"
    assert any("model_error: transform" in hook for hook in json.loads(hooks)["hooks"])


def test_tool_info_shows_the_fields_of_nested_options_and_what_is_allowed(here: Any) -> None:
    csv, http = here("tool", "info", "csv_analyzer")[1], here("tool", "info", "http_request")[1]

    assert "options.delimiter" in csv
    assert "allowed" in csv
    rows = {line.split()[0]: line for line in http.splitlines() if line}
    assert "none, basic, bearer" in rows["auth.type"]
    assert rows["auth.username"].split()[1:3] == ["string", "no"]


def test_the_reference_lists_what_is_allowed_and_the_fields_of_nested_options() -> None:
    text = (Path(__file__).parent.parent / "docs" / "reference" / "tools.md").read_text()

    assert '- `method` (default `"GET"`; one of GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE): What' in text
    assert "- `options.delimiter`" in text
    assert "- `auth.type` (required; one of none, basic, bearer" in text


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('plugins.disabled=["calculater"]', "nothing called 'calculater' is installed; did you mean calculator?"),
        ('plugins.required=["ghost"]', "required plugin ghost is not installed"),
        ('hooks.disabled=["model_retri.*"]', "hooks.disabled: no hook is called 'model_retri.*'"),
        ('plugins.prefer={ghost = "x"}', "plugins.prefer: nothing called 'ghost' is installed"),
        ("plugins.ghost.enabled=true", "plugins.ghost: nothing called 'ghost' is installed"),
        ("storage.backend=sqlit", "storage.backend: nothing called 'sqlit' is installed; did you mean sqlite?"),
        ("default_language=lau", "default_language: nothing called 'lau' is installed; did you mean lua?"),
        ("providers.mine.type=opnai", "providers.mine: nothing called 'opnai' is installed; did you mean openai?"),
    ],
)
def test_the_doctor_finds_what_settings_name_and_what_is_not_there(here: Any, setting: str, told: str) -> None:
    code, out, err = here("plugin", "doctor", "--set", setting)

    assert code == 1
    assert told in out
    assert ("1 of" in err) is ("required" in setting)
    assert here("config", "validate", "--set", setting)[0] in (1, 2)


WRONG = {
    "hookless": ("x = 1", "plugin wrong: it brings no hook and no point"),
    "misnamed": (
        "from llmspell_hookspecs import hookimpl\n@hookimpl\ndef before_tool_executon(context): ...",
        "plugin wrong: Unknown hook point: before_tool_executon; the nearest are before_tool_execution",
    ),
    "broken": ("import nothing_here", "plugin wrong (wrong 1.2): it cannot be imported: ModuleNotFoundError"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_validate_and_the_doctor_find_a_plugin_that_cannot_be_loaded(machine: Machine, kind: str) -> None:
    source, told = WRONG[kind]
    machine.install("wrong", source, "[llmspell.plugins]\nwrong = wrong")

    validated, doctor = machine.run("config", "validate"), machine.run("plugin", "doctor")
    switched_off = machine.run("config", "validate", "--set", 'plugins.disabled=["wrong"]')

    assert validated[:2] == (1, "")
    assert validated[2].startswith(f"llmspell: {told}")
    assert (doctor[0], doctor[2]) == (
        1,
        f"llmspell: 1 of {doctor[1].count(chr(10)) - 1} plugins cannot be loaded: wrong\n",
    )
    assert switched_off[0] == 0


def test_options_alone_are_no_verb_and_print_the_help(here: Any) -> None:
    assert here("agent", "--output", "json") == here("agent", "--help")
    assert here("--offline") == here("--help")


def test_a_password_in_a_variable_with_a_host_is_refused_and_shown_nowhere(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://ann:hunter22@127.0.0.1:9")

    code, out, err = here("--output", "json", "provider", "list")

    row = next(row for row in json.loads(out) if row["name"] == "ollama")
    assert (code, row["available"]) == (0, False)
    assert row["reason"].startswith("OLLAMA_HOST: it holds a user")
    assert "hunter22" not in out + err


def test_validate_names_what_nobody_has_and_what_is_missing(here: Any, machine: Machine) -> None:
    machine.user_file.write_text(
        "[plugins]\nrequired = ['vanished']\n[plugins.prefer]\ncalculatr = 'llmspell'\n"
        "[plugins.audti]\nenabled = true\n"
        "[hooks]\ndisabled = ['model_retry.*', 'modle_retry.*']\norder = ['model_retry < nobody']\n"
    )

    code, _, err = here("config", "validate")

    assert code == 1
    for told in (
        f"{machine.user_file}:2: plugins.required: required plugin vanished is not installed",
        "plugins.prefer: nothing called 'calculatr' is installed; did you mean calculator?",
        "plugins.audti: nothing called 'audti' is installed",
        f"{machine.user_file}:8: hooks.disabled: no hook is called 'modle_retry.*'; did you mean model_retry.",
        f"{machine.user_file}:9: hooks.order: no plugin or hook is called 'nobody'",
    ):
        assert told in err
    assert "'model_retry.*'" not in err


def test_the_project_is_the_folder_that_a_person_names(here: Any, machine: Machine) -> None:
    other = machine.project.parent / "other"
    other.mkdir()
    (other / "llmspell.toml").write_text("[limits]\ndepth = 5\n")

    assert here("--project", str(other), "config", "show", "limits.depth")[1] == "limits.depth = 5\n"
    assert here("config", "show", "limits.depth", "--project", str(other))[1] == "limits.depth = 5\n"
    assert here("config", "path", "--project", "/no/such")[0] == 0
    assert here("config", "show", "--project", "/no/such")[0] == 2


def test_in_the_root_of_the_file_system_what_is_kept_lies_with_the_users_data(
    here: Any, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")

    assert here("state", "set", "key", "1")[0] == 0
    assert here("state", "get", "key")[1] == "1\n"
    assert list(machine.project.parent.glob("data/no-project/.llmspell/state.db"))
    assert here("plugin", "disable", "calculator", "--local")[0] == 2


def test_settings_order_two_hooks_of_others(here: Any, machine: Machine) -> None:
    from llmspell.hooks import HookRegistry
    from llmspell_hookspecs.catalog import PointCatalog
    from llmspell_hookspecs.topics import own_points

    registry = HookRegistry(PointCatalog(own_points()), orders=[("late.check", "early")])
    registry.register("before_tool_execution", lambda context: None, plugin="early", name="check", priority="high")
    registry.register("before_tool_execution", lambda context: None, plugin="late", name="check", priority="low")

    order = [(info.plugin, why) for info, why in registry.order("before_tool_execution")]

    assert [plugin for plugin, _ in order] == ["late", "early"]
    assert "before early" in order[0][1]
