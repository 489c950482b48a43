"""What a start imports: the lists are held name by name, since what is imported though nobody needs it is what is slow.

Whoever adds a name here says that each call of that verb is to pay for it.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

import installed
import packages
from llmspell import Host
from llmspell.settings import Settings, load_settings, plain
from llmspell_hookspecs.masking import mask

# Runs the command line, and prints the modules that it imported as the last line.
SPY = """
import sys
before = {*sys.modules}
from llmspell.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print(*sorted({*sys.modules} - before))
"""
HELP = {
    "": "llmspell",
    "llmspell": "cli",
    "llmspell.cli": "failure invocation main outlet root signals verbs",
}
TOOL_LIST = {
    "": """
        llmspell llmspell_hookspecs llmspell_plugins
    """,
    "llmspell": """
        cli plugins security settings version
    """,
    "llmspell.cli": """
        failure invocation log main outlet output root signals verbs
    """,
    "llmspell.plugins": """
        discovery groups loading
    """,
    "llmspell.security": """
        hosts
    """,
    "llmspell.settings": """
        environment layers model place schema tighten trust view
    """,
    "llmspell_hookspecs": """
        addresses agent agent_life agents any_json bounds commands components context difference durations
        errors event foreign function globs groups host_rules keys kind language loading log_lines marker
        masking model network operation parameters path_rules paths payload plugin points policy regular results
        schema script secret sections selection services spelling state storage toml tool trace values
    """,
    "llmspell_plugins": """
        commands settings tool_index
    """,
    "llmspell_plugins.commands": """
        meant tool tool_answer
    """,
    "llmspell_plugins.settings": """
        agents event_tail journal monitor providers result_cache storage tools variables
    """,
}
OTHERS = """
    annotated_types click msgspec platformdirs pluggy pydantic pydantic_core stevedore typing_extensions
    typing_inspection
"""
HIDING = """
from msgspec import structs
from llmspell_hookspecs import Modified, hookimpl

@hookimpl
def after_tool_discovery(context):
    kept = [tool for tool in context.subject.tools if tool["name"] != "calculator"]
    return Modified(structs.replace(context.subject, tools=tuple(kept)))
"""


def names(table: dict[str, str]) -> set[str]:
    return {f"{package}.{name}".strip(".") for package, inside in table.items() for name in inside.split()}


class Machine:
    """A person's machine; settings, data and packages of their own lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> tuple[str, str, set[str]]:
        """Run the command line; return what it prints, what it says, and what it imported."""
        environment = {**installed.clean_environment(self.folder), "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-c", SPY, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        printed, _, modules = done.stdout.rstrip("\n").rpartition("\n")
        return printed, done.stderr, set(modules.split())

    def tools(self, *arguments: str) -> set[str]:
        """Return the names of the tools that are listed."""
        return {each["name"] for each in json.loads(self.run("tool", "list", "--output", "json", *arguments)[0])}


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] in TOOL_LIST[""].split()}


def of_others(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules - ours(modules)}
    return {name for name in tops - sys.stdlib_module_names if not name.startswith("_")}


def test_help_imports_click_and_nothing_else(tmp_path: Path) -> None:
    _, _, modules = Machine(tmp_path).run("--help")

    assert ours(modules) == names(HELP)
    assert of_others(modules) == {"click"}


def test_a_listing_of_tools_imports_no_tool_no_host_and_no_trio(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run("tool", "list")  # the index learns what the tools tell

    _, said, modules = machine.run("tool", "list")

    assert said == ""
    assert ours(modules) == names(TOOL_LIST)
    assert of_others(modules) == names({"": OTHERS})


def test_a_listing_is_the_same_with_a_host_and_without(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for arguments in ([], ["--category", "web"], ["--search", "pdf"], ["--output", "json"]):
        machine.run("tool", "list")

        without, _, few = machine.run("tool", "list", *arguments)
        with_one, _, many = machine.run("tool", "list", *arguments, "--log-level", "warning")

        assert "llmspell.host" not in few
        assert "llmspell.host" in many
        assert without == with_one != ""


def test_a_package_that_hooks_the_listing_has_its_say_at_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    before = machine.tools()
    packages.install(tmp_path, "hiding-tools", name="hiding", code=HIDING)

    after = machine.tools()

    assert before - after == {"calculator"}
    assert "calculator" in machine.tools("--set", 'plugins.disabled=["hiding"]')


def test_what_a_package_brings_or_breaks_is_told_by_the_next_listing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run("tool", "list")
    eager = "class Plugin:\n    eager = True\n"
    for group, code in (("tools", "raise ImportError('no weather')"), ("services", eager)):
        packages.install(tmp_path, f"broken-{group}", name="weather", code=code, group=f"llmspell.{group}")

        _, said, modules = machine.run("tool", "list")

        assert "weather" in said
        assert "llmspell.host" in modules


def test_a_misspelled_setting_is_told_by_a_listing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run("tool", "list")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llmspell.toml").write_text('[plugins]\ndisabled = ["aproval_gate"]\n')

    _, said, _ = machine.run("tool", "list")

    assert "aproval_gate" in said


async def test_no_plugin_of_the_box_has_a_say_in_a_listing_unless_settings_enable_it() -> None:
    async with Host.open(settings=False, discover=False) as host:
        asked = {hook.point for hook in host.hooks.list()}

    assert not asked & {"before_tool_discovery", "after_tool_discovery"}


def test_what_stands_where_nothing_is_set_is_what_would_be_read_from_nothing() -> None:
    assert Settings.model_construct() == Settings.model_validate({})
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if inspect.isclass(model) and issubclass(model, BaseModel):
            assert model.model_construct() == model.model_validate({}) == getattr(Settings.model_construct(), name)


def test_settings_are_opened_as_pydantic_opens_them(tmp_path: Path) -> None:
    given = {
        "plugins": {"weather": {"enabled": False, "api_key": "sesame-street", "deep": {"token": ["sesame-street"]}}},
        "tools": {"disabled": ["calculator"], "web_search": {"google": {"api_key": "sesame-street"}}},
        "security": {"paths": {"read": ["."]}},
        "limits": {"depth": 8},
    }

    for loaded in (load_settings(False), load_settings(given, cwd=tmp_path, environment={}, machine=tmp_path / "none")):
        whole = mask(loaded.settings.model_dump())
        assert plain(loaded) == whole
        assert plain(loaded, "security.paths") == whole["security"]["paths"]
        assert plain(loaded, "plugins.weather.deep") == whole["plugins"].get("weather", {}).get("deep")
        assert plain(loaded, "limits.depth.more") is None
        assert "sesame" not in str(plain(loaded))
