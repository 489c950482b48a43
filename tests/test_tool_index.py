"""The index of tools: a listing imports no tool that has told of itself before, and is never out of date."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import installed
import packages
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_plugins.tool_index import ToolIndex

# Runs the command line, and says on standard error which tools it imported.
SPY = """
import sys
from llmspell.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("imported", *sorted(name for name in sys.modules if name.startswith("llmspell_plugins.tools.")), file=sys.stderr)
sys.exit(code)
"""
TOOL = """
from llmspell_hookspecs import Tool
from pydantic import BaseModel

class None_(BaseModel):
    pass

class Weather(Tool[None_]):
    name = "weather"
    description = "Tells the weather."
    aliases = ("forecast",)

    async def run(self, parameters, context):
        return "rain"
"""


class Machine:
    """A person's machine: a folder of packages, and data of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages = root / "packages"  # unlike pip's own, what is noted here is no news to the index
        self.packages.mkdir()
        self.file = root / "data" / "cache" / "tools.json"
        self.python = sys.executable

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(map(str, (self.packages, self.root / "site-packages")))
        environment = {**installed.clean_environment(self.root), "PYTHONPATH": path}
        command = [self.python, "-c", SPY, *arguments]
        output = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.root, env=environment, stdout=output, stderr=output, text=True)

    def run(self, *arguments: str) -> tuple[str, str, Sequence[str]]:
        """Run the command line; return its output, what it says, and which tools of the box it imported."""
        process = self.start(*arguments)
        out, error = process.communicate()
        assert process.returncode == 0, error
        said, _, modules = error.rpartition("imported")
        return out, said, [name for name in modules.split() if name.count(".") == 3]

    def listed(self) -> dict[str, dict[str, Any]]:
        out, _, _ = self.run("tool", "list", "--output", "json")
        return {each["name"]: each for each in json.loads(out)}

    def install(self, code: str = TOOL, distribution: str = "weather-tools") -> Path:
        """Install a package with a tool; return what is touched when it is imported."""
        return packages.install(
            self.packages, distribution, name="weather", code=code, group="llmspell.tools", attribute="Weather"
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_listing_imports_no_tool_that_has_told_of_itself(machine: Machine) -> None:
    marker = machine.install()
    cold, _, asked = machine.run("tool", "list", "--output", "json")
    marker.unlink()

    warm, said, imported = machine.run("tool", "list", "--output", "json")

    assert len(asked) > 40
    assert (imported, said, marker.exists()) == ([], "", False)
    assert json.loads(warm) == json.loads(cold)
    assert len(json.loads(warm)) >= 46


def test_scripts_and_aliases_import_only_the_tool_they_use(machine: Machine) -> None:
    machine.run("tool", "list")

    script = "local tools = Tool.list() return #tools + #Tool.categories() .. tostring(Tool.exists('nowhere'))"
    out, _, by_script = machine.run("exec", script)
    _, _, by_alias = machine.run("tool", "info", "datetime-handler")

    assert by_script == []
    assert out.strip().endswith("false")
    assert "llmspell_plugins.tools.utility.date_time_handler" in by_alias
    assert len(by_alias) < 5


def test_an_edited_tool_is_told_anew_at_once_also_if_its_time_stays(machine: Machine) -> None:
    machine.install()
    file = machine.packages / "weather_tools_module.py"
    before = machine.listed()["weather"]["description"]
    times = file.stat()

    file.write_text(file.read_text().replace("Tells the", "Tells of the"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert file.stat().st_mtime_ns == times.st_mtime_ns
    assert (before, machine.listed()["weather"]["description"]) == ("Tells the weather.", "Tells of the weather.")


def test_what_a_tool_has_of_other_files_of_its_package_counts(machine: Machine) -> None:
    package = machine.packages / "weather"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "texts.py").write_text("TEXT = 'Tells the weather.'")
    machine.install(TOOL.replace("from llmspell", "from weather.texts import TEXT\nfrom llmspell", 1))
    told = TOOL.replace('"Tells the weather."', "TEXT").replace("from llm", "from .texts import TEXT\nfrom llm", 1)
    (package / "tool.py").write_text(told)
    points = machine.packages / "weather_tools-1.0.dist-info" / "entry_points.txt"
    points.write_text("[llmspell.tools]\nweather = weather.tool:Weather\n")
    before = machine.listed()["weather"]["description"]

    (package / "texts.py").write_text("TEXT = 'Tells of storms.'")

    assert (before, machine.listed()["weather"]["description"]) == ("Tells the weather.", "Tells of storms.")


def test_what_a_tool_has_of_a_base_class_elsewhere_counts(machine: Machine) -> None:
    base = machine.packages / "weather_base.py"
    base.write_text(TOOL.replace("class Weather", "class Base"))
    machine.install("from weather_base import Base\nclass Weather(Base):\n    description = Base.description\n")
    before = machine.listed()["weather"]

    base.write_text(base.read_text().replace("Tells", "Knows").replace("forecast", "outlook"))
    after = machine.listed()["weather"]

    assert (before["description"], before["aliases"]) == ("Tells the weather.", ["forecast"])
    assert (after["description"], after["aliases"]) == ("Knows the weather.", ["outlook"])


def test_an_editable_installation_is_told_anew_at_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "weather").mkdir(parents=True)
    (source / "weather" / "__init__.py").write_text(TOOL)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "weather-tools"\nversion = "1"\n'
        '[project.entry-points."llmspell.tools"]\nweather = "weather:Weather"\n'
    )
    machine = Machine(tmp_path)
    machine.python = str(installed.editable(tmp_path / "environment", source))
    before = machine.listed()["weather"]["description"]
    warm = machine.run("tool", "list")[2]

    (source / "weather" / "__init__.py").write_text(TOOL.replace("Tells", "Knows"))

    assert warm == []
    assert (before, machine.listed()["weather"]["description"]) == ("Tells the weather.", "Knows the weather.")


def test_a_tool_whose_library_is_gone_or_whose_settings_are_wrong_is_not_told_of(machine: Machine) -> None:
    library = machine.root / "site-packages" / "barometer.py"
    library.parent.mkdir()
    library.write_text("")
    settings = "class Limits(BaseModel):\n    hours: int = 24\nWeather.Settings = Limits\n"
    machine.install("import barometer\n" + TOOL + settings)
    there = machine.listed()

    unfit = machine.run("tool", "list", "--set", "tools.weather.hours=soon")
    library.unlink()
    gone = machine.run("tool", "list")

    assert "weather" in there
    assert "weather" not in unfit[0] and "tools.weather.hours" in unfit[1]
    assert "weather" not in gone[0] and "No module named 'barometer'" in gone[1]


@pytest.mark.parametrize(
    "code",
    [
        TOOL.replace('description = "Tells the weather."', "description = property(lambda self: 'Now: rain.')"),
        TOOL + "\n    def __init__(self, settings, services):\n        self.description = 'Now: rain.'\n",
    ],
    ids=["property", "constructor"],
)
def test_a_tool_that_makes_up_what_it_tells_is_asked_each_time(machine: Machine, code: str) -> None:
    marker = machine.install(code)
    machine.listed()
    marker.unlink()

    told = machine.listed()["weather"]["description"]

    assert (told, marker.exists()) == ("Now: rain.", True)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def mistyped(file: Path) -> None:
    entries = json.loads(file.read_bytes())
    for entry in entries.values():
        entry["summary"]["aliases"] = 7
    file.write_text(json.dumps(entries))


def foreign(file: Path) -> None:
    entries = json.loads(file.read_bytes())
    for entry in entries.values():
        entry["summary"]["description"] = "Planted."
    file.write_text(json.dumps(entries))
    try:
        os.chown(file, 65534, 65534)
    except PermissionError:
        pytest.skip("only an administrator may give a file away")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("harm", [cut, mistyped, foreign, pipe, folder])
def test_an_index_that_is_none_is_passed_over(machine: Machine, harm: Callable[[Path], None]) -> None:
    expected = machine.listed()
    harm(machine.file)

    out, said, _ = machine.run("tool", "list", "--output", "json")

    assert {each["name"]: each for each in json.loads(out)} == expected
    assert said == ""


def test_an_index_that_was_cut_is_made_again(machine: Machine) -> None:
    machine.listed()
    cut(machine.file)

    machine.listed()

    assert machine.run("tool", "list")[2] == []


@pytest.mark.parametrize("place", ["file", "read-only"])
def test_where_no_index_can_be_written_the_tools_are_asked(machine: Machine, place: str) -> None:
    machine.file.parent.parent.mkdir()
    if place == "file":
        machine.file.parent.write_text("")
    else:
        machine.file.parent.symlink_to("/proc/self/fdinfo")  # a folder in which nobody makes a file

    out, said, imported = machine.run("tool", "list")

    assert "calculator" in out
    assert (said, len(imported) > 40) == ("", True)


def test_processes_that_write_at_once_leave_a_whole_index(machine: Machine) -> None:
    machine.install()

    processes = [machine.start("tool", "list", "--set", f"tools.output_bytes={size}") for size in range(1000, 1004)]
    whole = 0
    while any(process.poll() is None for process in processes):
        if machine.file.exists():
            whole += bool(json.loads(machine.file.read_bytes()))
    told = [process.communicate() for process in processes]

    assert len({out for out, _ in told}) == 1
    assert "calculator" in told[0][0]
    assert machine.run("tool", "list")[2] == []
    assert [each.name for each in machine.file.parent.iterdir()] == ["tools.json"]


def test_what_stands_on_the_path_of_imports_may_be_no_text_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [tmp_path / "site-packages", "/nonexistent/dist-packages", *sys.path])
    info = PluginInfo("weather", "llmspell.tools", "weather-tools", "1", "llmspell_plugins:Weather")

    index = ToolIndex(tmp_path, {"plugins": {}, "tools": {}})

    assert index.find(info) is None
