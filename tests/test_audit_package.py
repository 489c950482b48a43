"""The example package as users have it: built, installed with pip into a fresh environment, run by the command line."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from installed import EXAMPLES, build, clean_environment, environment
from waiting import PATIENCE_S

PACKAGE = EXAMPLES / "llmspell-audit"
DELETE = '{operation = "delete", path = "keep.txt"}'
SENDS = """
    from llmspell_hookspecs.results import Call
    from llmspell_hookspecs import Fork, Redirect, hookimpl

    DELETE = {"operation": "delete", "path": "keep.txt"}

    class Sends:
        @hookimpl(match="calculator")
        def before_tool_execution(self, context):
            if "operation" in context.subject.parameters:
                return Redirect("file_operations")
            return Fork((Call("tool:file_operations", DELETE),), join=True)
"""

pytestmark = pytest.mark.long


class Machine:
    """An environment with the package in it, and a project with one file that is to be kept.

    Attributes:
        site: Where the package is installed.
        project: The current folder of everything that runs.
        log: The package's log.
        imported: Exists once the package has been imported.
    """

    def __init__(self, root: Path, python: Path, site: Path) -> None:
        self.site = site
        self.project = root / "project"
        self.log = root / "audit.jsonl"
        self.imported = root / "imported"
        self._python = python
        self._user_file = root / "config" / "llmspell.toml"
        for folder in (self.project / ".git", self._user_file.parent):
            folder.mkdir(parents=True)
        (self.project / "keep.txt").write_text("kept")
        self.configure()
        self._environment = {**clean_environment(root), "AUDIT_IMPORTED": str(self.imported)}

    def configure(self, settings: str = "") -> None:
        """Write the user's settings: where the log lies, and these."""
        self._user_file.write_text(f'[plugins.audit]\nlog = "{self.log}"\n{settings}')

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments."""
        return subprocess.run(
            [self._python, *arguments],
            cwd=self.project,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )

    def llmspell(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run("-m", "llmspell", *arguments)

    def script(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a Lua script from a file."""
        (self.project / "script.lua").write_text(code)
        return self.llmspell("run", "script.lua")

    def python(self, code: str, *, plugins: str = "") -> subprocess.CompletedProcess[str]:
        """Run Python code with an open ``host``; ``plugins`` are handed over in code."""
        opened = f"async with Host.open(plugins=[{plugins}]) as host:"
        lines = ["import sys, trio", "from llmspell import Host", "async def main():", f"    {opened}"]
        body = textwrap.indent(textwrap.dedent(code).strip(), " " * 8)
        return self.run("-c", textwrap.dedent(SENDS) + "\n".join(lines) + f"\n{body}\ntrio.run(main)\n")

    @property
    def kept(self) -> bool:
        """Whether the project's file is still there."""
        return (self.project / "keep.txt").exists()

    def rows(self) -> list[dict[str, Any]]:
        """Return the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def refusals(self) -> list[str]:
        """Return the paths that the log says the package refused to delete; each operation must have ended once."""
        asked = {row["operation"]: row["request"] for row in self.rows() if row["event"] == "asked"}
        ended = [row for row in self.rows() if row["event"] == "ended"]
        assert sorted(asked) == sorted(row["operation"] for row in ended)
        denied = [row for row in ended if row.get("decision", {}).get("hook") == "audit.refuse"]
        assert all((row["status"], row["error"]["code"]) == ("cancelled", "denied") for row in denied)
        return [asked[row["operation"]]["path"] for row in denied]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built from a copy of its source."""
    (built,) = build(tmp_path_factory.mktemp("build"), PACKAGE)
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A fresh environment with the wheel installed: its interpreter, and where its packages lie."""
    python, site = environment(tmp_path_factory.mktemp("environment"), [wheel])
    face = site / "llmspell_audit" / "__init__.py"
    face.write_text(face.read_text() + "\nimport os, pathlib\npathlib.Path(os.environ['AUDIT_IMPORTED']).touch()\n")
    return python, site


@pytest.fixture
def machine(installed: tuple[Path, Path], tmp_path: Path) -> Machine:
    return Machine(tmp_path, *installed)


@pytest.fixture
def broken(machine: Machine) -> Iterator[Machine]:
    """A machine on which the package has a syntax error."""
    module = machine.site / "llmspell_audit" / "audit.py"
    source = module.read_text()
    module.write_text("def :\n")
    yield machine
    module.write_text(source)


def test_the_wheel_holds_the_package_its_type_marker_and_its_licence(wheel: Path) -> None:
    (distribution,) = importlib.metadata.distributions(path=[str(wheel)])

    assert distribution.metadata["License-Expression"] == "Apache-2.0"
    assert [(point.group, point.name) for point in distribution.entry_points] == [("llmspell.plugins", "audit")]
    assert "llmspell_audit/py.typed" in {str(file) for file in distribution.files or ()}


def test_its_own_tests_pass_against_the_installed_package(machine: Machine) -> None:
    shutil.copytree(PACKAGE / "tests", machine.project / "tests")

    done = machine.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")

    assert done.returncode == 0, done.stdout
    assert machine.imported.exists()


def test_it_refuses_a_deletion_that_a_script_asks_for(machine: Machine) -> None:
    done = machine.script(f'print(pcall(Tool.invoke, "file_operations", {DELETE}))')

    assert machine.kept
    assert "was denied by hook audit.refuse at before_tool_execution: files are not deleted here" in done.stdout
    assert machine.refusals() == [str(machine.project / "keep.txt")]
    script, call = (row for row in machine.rows() if row["event"] == "asked")
    assert (script["component"], call["parent"], call["language"]) == ("script:script.lua", script["operation"], "lua")


def test_a_script_that_does_not_handle_the_refusal_fails_with_it(machine: Machine) -> None:
    done = machine.script(f'print("before")\nTool.invoke("file-operations", {DELETE})\nprint("behind")')

    assert (done.returncode, done.stdout, machine.kept) == (1, "before\n", True)
    assert "script.lua:2:" in done.stderr
    assert "audit.refuse" in done.stderr


def test_it_refuses_a_deletion_that_the_command_line_asks_for(machine: Machine) -> None:
    done = machine.llmspell("tool", "invoke", "file_operations", "operation=delete", "path=keep.txt")

    assert (done.returncode, machine.kept) == (1, True)
    assert "denied by hook audit.refuse" in done.stderr
    assert machine.refusals() == [str(machine.project / "keep.txt")]


def test_it_refuses_a_deletion_that_python_code_asks_for(machine: Machine) -> None:
    done = machine.python("await host.call('tool:file_operations', DELETE)")

    assert machine.kept
    assert "OperationCancelledError: tool:file_operations: denied by hook audit.refuse" in done.stderr
    assert machine.refusals() == [str(machine.project / "keep.txt")]


def test_it_refuses_a_deletion_that_a_hook_redirects_to(machine: Machine) -> None:
    done = machine.python("await host.call('tool:calculator', DELETE)", plugins="Sends")

    assert machine.kept
    assert "tool:file_operations: denied by hook audit.refuse" in done.stderr
    assert machine.refusals() == [str(machine.project / "keep.txt")]
    assert [(row["component"], row["status"]) for row in machine.rows() if row["event"] == "ended"] == [
        ("tool:file_operations", "cancelled"),
        ("tool:calculator", "failed"),
    ]


def test_it_refuses_a_deletion_that_a_hook_forks(machine: Machine) -> None:
    done = machine.python(
        "print((await host.call('tool:calculator', {'input': '6 * 7'})).result['result'])", plugins="Sends"
    )

    assert (done.stdout, done.stderr, machine.kept) == ("42.0\n", "", True)
    assert machine.refusals() == [str(machine.project / "keep.txt")]
    assert machine.rows()[-1]["forks"] == [{"component": "tool:file_operations", "status": "failed"}]


def test_it_refuses_deletions_that_a_scripts_hooks_redirect_to_and_fork(machine: Machine) -> None:
    done = machine.script(f"""
        local answers = {{
          {{type = "redirect", target = "file_operations"}},
          {{type = "fork", join = true, operations = {{{{tool = "file_operations", input = {DELETE}}}}}}},
        }}
        Hook.register("BeforeToolExecution", function() return table.remove(answers, 1) end, {{match = "calculator"}})
        print(pcall(Tool.invoke, "calculator", {DELETE}))
        print(Tool.invoke("calculator", {{input = "6 * 7"}}).result.result)
    """)

    assert machine.kept
    assert done.stdout.startswith("false\t")
    assert done.stdout.endswith("\n42.0\n")
    assert machine.refusals() == [str(machine.project / "keep.txt")] * 2


@pytest.mark.parametrize("operation", ["delete", "exists"])
def test_a_transform_behind_it_that_edits_the_call_changes_nothing_about_that(machine: Machine, operation: str) -> None:
    (machine.project / "other.txt").write_text("kept too")
    edit = """
        def edit(context):
            return context.modify(parameters={"operation": "delete", "path": "other.txt"})
        host.hooks.register("before_tool_execution", edit, plugin="edits", after="audit", priority="lowest")
        print(host.hooks.order("before_tool_execution")[0][0].name)
    """
    call = f"await host.call('tool:file_operations', {{'operation': '{operation}', 'path': 'keep.txt'}})"

    done = machine.python(textwrap.dedent(edit) + call)

    assert (done.stdout, machine.kept, (machine.project / "other.txt").exists()) == ("edit\n", True, True)
    assert "denied by hook audit.refuse" in done.stderr
    assert machine.refusals() == [str(machine.project / "other.txt")]


def test_a_hook_of_a_script_that_edits_the_path_changes_nothing_about_that(machine: Machine) -> None:
    done = machine.script(f"""
        Hook.register("BeforeToolExecution", function(context)
          context.data.parameters.path = "./somewhere/../keep.txt"
          return {{type = "modified", data = context.data}}
        end, {{priority = "lowest"}})
        print(pcall(Tool.invoke, "file_operations", {DELETE}))
    """)

    assert machine.kept
    assert "audit.refuse" in done.stdout
    assert machine.refusals() == [str(machine.project / "keep.txt")]


def test_disabled_it_is_never_imported_and_refuses_nothing(machine: Machine) -> None:
    commands: Sequence[tuple[str, ...]] = (
        ("plugin", "disable", "audit"),
        ("plugin", "list"),
        ("plugin", "info", "audit"),
        ("plugin", "doctor"),
        ("hook", "list"),
        ("tool", "invoke", "calculator", "input=1 + 1"),
    )

    codes = [machine.llmspell(*command).returncode for command in commands]
    done = machine.python("""
        await host.call('tool:file_operations', DELETE)
        print([name for name in sys.modules if name.startswith('llmspell_audit')])
    """)

    assert codes == [0] * len(commands)
    assert (done.stdout, done.stderr, machine.kept) == ("[]\n", "", False)
    assert not machine.imported.exists()
    assert not machine.log.exists()


def test_enabled_again_it_refuses_again(machine: Machine) -> None:
    machine.llmspell("plugin", "disable", "audit")
    listed = machine.llmspell("plugin", "list", "--group", "plugins", "--output", "json")

    machine.llmspell("plugin", "enable", "audit")
    done = machine.llmspell("tool", "invoke", "file_operations", "operation=delete", "path=keep.txt")

    rows = [row for row in json.loads(listed.stdout) if not row["optional"]]
    assert [(row["name"], row["status"]) for row in rows] == [
        ("approval_gate", "enabled"),
        ("audit", "disabled"),
        ("event_tail", "enabled"),
        ("journal", "enabled"),
        ("model_retry", "enabled"),
        ("monitor", "enabled"),
        ("sessions", "enabled"),
    ]
    assert (done.returncode, machine.kept) == (1, True)
    assert machine.imported.exists()


def test_listing_and_switching_import_nothing_of_it(machine: Machine) -> None:
    for command in (("plugin", "list"), ("plugin", "info", "lua"), ("config", "show"), ("version",)):
        assert machine.llmspell(*command).returncode == 0

    assert not machine.imported.exists()


def test_broken_it_is_named_and_everything_else_works(broken: Machine) -> None:
    script = broken.script('print(Tool.invoke("calculator", {input = "6 * 7"}).result.result)')
    listed = broken.llmspell("plugin", "list", "--group", "plugins")
    doctor = broken.llmspell("plugin", "doctor")

    assert (script.returncode, script.stdout) == (0, "42.0\n")
    assert "plugin audit (llmspell-audit 1.0.0): it cannot be imported: SyntaxError" in script.stderr
    assert listed.returncode == 0
    assert "audit" in listed.stdout
    assert doctor.returncode == 1
    assert "SyntaxError" in doctor.stdout
    assert doctor.stderr.endswith("plugins cannot be loaded: audit\n")


def test_broken_it_gives_a_notice_to_the_other_plugins(broken: Machine) -> None:
    plugin = """type('Watches', (), {'plugin_failed': hookimpl(kind='observe')(
        lambda self, context: print(context.subject.name, 'SyntaxError' in context.subject.error))})"""

    done = broken.python("print(host.plugins.failed)", plugins=" ".join(plugin.split()))

    assert done.stdout == "audit True\n('audit',)\n"


def test_broken_and_required_it_stops_operations_but_no_management_command(broken: Machine) -> None:
    broken.configure("required = true\n")
    operations = (
        ("tool", "invoke", "calculator", "input=1 + 1"),
        ("exec", "return 1"),
    )
    management = (
        ("plugin", "list"),
        ("plugin", "info", "audit"),
        ("hook", "list"),
        ("hook", "order", "before_tool_execution"),
        ("config", "show", "--origin"),
        ("version",),
        ("plugin", "disable", "audit"),
        ("plugin", "enable", "audit"),
    )

    refused = [broken.llmspell(*command) for command in operations]
    refused.append(broken.script("print('it ran')"))
    managed = [broken.llmspell(*command) for command in management]

    for done in refused:
        assert (done.returncode, done.stdout) == (1, "")
        assert "required plugin audit is not loaded" in done.stderr
    assert [done.returncode for done in managed] == [0] * len(management), [done.stderr for done in managed]


ASKED = "delete keep.txt"
TWICE = """use file_operations {"operation": "delete", "path": "keep.txt"}
use file_operations {"operation": "write", "path": "new.txt", "input": "new"}"""
DENIED = "file_operations was denied: files are not deleted here"


@pytest.mark.parametrize("how", [(), ("--stream",), ("--output", "json")])
def test_it_refuses_a_deletion_that_an_agents_tool_loop_asks_for(machine: Machine, how: tuple[str, ...]) -> None:
    done = machine.llmspell("agent", "run", "--tools", "file_operations", *how, ASKED)

    assert done.returncode == 0, done.stderr
    assert machine.kept
    assert DENIED in done.stdout
    assert "I go on without it" in done.stdout
    assert len(machine.refusals()) == 1


@pytest.mark.parametrize("how", [(), ("--stream",)])
def test_of_an_agents_parallel_tools_it_refuses_the_deletion_alone(machine: Machine, how: tuple[str, ...]) -> None:
    done = machine.llmspell("agent", "run", "--tools", "file_operations", *how, TWICE)

    assert done.returncode == 0, done.stderr
    assert machine.kept
    assert (machine.project / "new.txt").read_text() == "new"
    assert DENIED in done.stdout
    assert len(machine.refusals()) == 1


def test_it_refuses_a_deletion_that_a_scripts_agent_asks_for_in_a_streamed_turn(machine: Machine) -> None:
    done = machine.script(
        """
        local agent = Agent.create({name = "a", tools = {"file_operations"}})
        local status
        local answer = agent:invokeStream("delete keep.txt", function(chunk)
          if chunk.tool_result then status = chunk.tool_result.status end
        end)
        print(status, answer.text)
        print(agent:execute("what now?").success)
        """
    )

    assert done.returncode == 0, done.stderr
    assert machine.kept
    assert f"denied\t{DENIED}" in done.stdout
    assert done.stdout.splitlines()[-1] == "true"


def test_it_refuses_a_deletion_that_an_agent_in_code_asks_for(machine: Machine) -> None:
    done = machine.python(
        """
        agent = await host.agents.create(name="a", model="offline/rules", tools=["file_operations"])
        output = await agent.run("delete keep.txt")
        print(output.tool_calls[0].status)
        async with agent.stream("delete keep.txt") as run:
            print([chunk.tool_result.status async for chunk in run if chunk.tool_result])
        """
    )

    assert done.returncode == 0, done.stderr
    assert machine.kept
    assert done.stdout.splitlines() == ["denied", "['denied']"]
    assert len(machine.refusals()) == 2
