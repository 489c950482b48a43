"""The documents tell the truth: references are what the code says, README's commands and examples run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from llmspell_hookspecs.topics import own_points
from packages import install, llmspell

ROOT = Path(__file__).parent.parent


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_references_are_what_the_code_says() -> None:
    pages = generator().references()

    stale = [name for name, text in pages.items() if (ROOT / "docs" / "reference" / name).read_text() != text]

    assert stale == [], "run python docs/generate.py"


def test_the_documents_name_exactly_the_points_there_are() -> None:
    declared = {point.name for point in own_points()}

    named = set(re.findall(r"^### (\w+)$", (ROOT / "docs" / "reference" / "hook-points.md").read_text(), re.MULTILINE))

    assert named == declared


def blocks(language: str, file: str = "README.md") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / file).read_text(), re.DOTALL)


def test_the_first_plugin_of_the_readme_refuses_what_it_says(tmp_path: Path) -> None:
    plugin, use = blocks("python")[:2]
    (tmp_path / "careful.py").write_text(plugin)
    (tmp_path / "use.py").write_text(use)

    answer = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert "denied" in answer.stdout


def test_the_agent_of_the_how_to_answers(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(blocks("python", "docs/how-to.md")[0])

    answer = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("2 + 2 = 4. [('calculator', 'completed')] ModelUsage(")
    assert "I am no model, only rules" in answer.stdout


def test_the_workflow_of_the_page_runs_from_a_file_from_code_and_from_a_script(tmp_path: Path) -> None:
    page = "docs/write-a-workflow.md"
    (tmp_path / "sum.toml").write_text(blocks("toml", page)[0])
    (tmp_path / "use.py").write_text(blocks("python", page)[0])
    (tmp_path / "use.lua").write_text(blocks("lua", page)[0])

    done = {}
    for command in [*blocks("sh", page)[0].splitlines(), f"{sys.executable} use.py", "llmspell run use.lua"]:
        words = shlex.split(command)
        words[:1] = [sys.executable, "-m", "llmspell"] if words[0] == "llmspell" else words[:1]
        answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        done[command] = answer.stdout

    validated, shown, ran, python, lua = done.values()
    assert "sum" in validated
    assert "gross" in shown
    assert "49.98" in ran
    assert python == "completed 42.00 EUR workflow sum: completed, 2 stages\n"
    assert lua == "true\t42.00 EUR\n"


def test_the_page_of_workflows_names_each_pattern_and_its_options() -> None:
    from importlib.metadata import entry_points

    page = (ROOT / "docs" / "write-a-workflow.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", page, re.MULTILINE))
    patterns = {each.name: each.load() for each in entry_points(group="llmspell.workflows")}
    ours = {name: pattern for name, pattern in patterns.items() if pattern.__module__.startswith("llmspell_plugins")}

    assert set(rows) == set(ours)
    for name, pattern in ours.items():
        fields = {} if pattern.Options is None else pattern.Options.model_fields
        told = set(re.findall(r"`(\w+)`", rows[name]))
        known = {*fields, "while", "branches", "reduce", "required", "timeout_s", "max_concurrency"}
        known |= {"condition", "default"} if name == "conditional" else set()
        assert told <= known, name


SPLIT = '''
from typing import ClassVar

from pydantic import BaseModel

from llmspell_hookspecs import ModelChunk, ModelResponse, ProviderInfo


class Nothing(BaseModel):
    """Has no settings."""


class Plugin:
    """Parts an address over three chunks."""

    rank: ClassVar[int] = 1
    Settings: ClassVar[type[BaseModel]] = Nothing

    def __init__(self, settings, services):
        pass

    def info(self):
        return ProviderInfo("split", default_model="model", streams=True)

    def at(self, endpoint, /):
        return self

    async def complete(self, model, request, sink, /):
        pieces = "Write to jo", "hn.doe@exa", "mple.com"
        for piece in pieces if sink is not None else ():
            await sink(ModelChunk(text=piece))
        return ModelResponse("".join(pieces))
'''

IN_PYTHON = """
import trio

from llmspell import Host
from llmspell_hookspecs import Message, ModelRequest


async def main():
    async with Host.open() as host:

        async def show(chunk):
            assert chunk.text
            print(chunk.text, end="|")

        response = await host.models.complete(ModelRequest("split/model", (Message("user", "?"),)), sink=show)
        print(response.text)

        agent = await host.agents.create(name="clerk", model="split/model")
        async with agent.stream("?") as run:
            async for chunk in run:
                await show(chunk)
        print(run.output.text, agent.conversation[-1].content, sep=";")


trio.run(main)
"""

IN_LUA = """
local agent = Agent.create({name = "clerk", model = "split/model"})
local pieces = {}
local answer = agent:stream("?", function(chunk) pieces[#pieces + 1] = chunk.text .. chunk.chunk_index end)
print(table.concat(pieces, "|"), answer.text, answer.chunks_received)
"""


def test_the_redaction_of_the_how_to_holds_in_every_way_in(tmp_path: Path) -> None:
    install(tmp_path, "redact", name="redact", code=blocks("python", "docs/how-to.md")[1])
    install(tmp_path, "split", name="split", code=SPLIT, group="llmspell.providers")
    (tmp_path / "use.py").write_text(IN_PYTHON)
    (tmp_path / "use.lua").write_text(IN_LUA)
    clean = "Write to (address)"

    def told(*command: str) -> str:
        path = {**os.environ, "PYTHONPATH": str(tmp_path)}
        answer = subprocess.run([sys.executable, *command], cwd=tmp_path, env=path, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    assert told("use.py") == f"Write to |(address)|{clean}\nWrite to |(address)|{clean};{clean}\n"
    assert told("-m", "llmspell", "run", "use.lua") == f"Write to 0|(address)1\t{clean}\t2\n"
    for how in ([], ["--stream"]):
        assert told("-m", "llmspell", "agent", "run", "?", "--model", "split/model", *how) == f"{clean}\n"


def test_the_package_of_the_page_on_packages_passes_its_own_tests(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "packages.md").read_text()
    files = re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    for name, text in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests"]

    answer = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True)

    package = "src/llmspell_parrot"
    names = ["pyproject.toml", f"{package}/__init__.py", f"{package}/verb.py", "tests/test_parrot.py"]
    assert [name for name, _ in files] == names
    assert answer.returncode == 0, answer.stdout
    points = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "src" / "llmspell_parrot-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llmspell-parrot\nVersion: 1.0.0\nSummary: A parrot.\n")
    for group, brought in points.items():
        with (info / "entry_points.txt").open("a") as file:
            file.write("\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in brought.items()), ""]))
        for name, value in brought.items():
            module = (tmp_path / package / ("verb.py" if ".verb:" in value else "__init__.py")).read_text()
            assert re.search(rf"^(async def|def|class) {value.rpartition(':')[2]}\b", module, re.MULTILINE), name

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "llmspell", *arguments]
        return subprocess.run(words, cwd=tmp_path, env=path, capture_output=True, text=True)

    said, silent, helped = run("parrot", "nut"), run("parrot", "", "--output", "json"), run("--help")
    assert (said.returncode, said.stdout, said.stderr) == (0, "nutnut\n", "")
    assert (silent.returncode, silent.stderr) == (1, "llmspell: parrot: it says nothing; give it a nut\n")
    assert "  parrot    A parrot.\n" in helped.stdout


CONFORM = """
from pantry.echoes import Echoes
from pantry.shelf import Shelf

from llmspell_testing import ProviderConformance, StorageConformance


class TestShelf(StorageConformance):
    durable = False
    shared = False

    def make(self, folder):
        return Shelf()


class TestEchoes(ProviderConformance):
    plugins = (Echoes,)
    model = "echoes/wall"
    speaks_chat = False

    def table(self, base_url):
        return {}
"""


@pytest.fixture
def pantry(tmp_path: Path) -> Path:
    """A folder with the package of docs/protocols.md, installed."""
    page = (ROOT / "docs" / "protocols.md").read_text()
    files = dict(re.findall(r"^`([\w./]+)`\n\n```\w+\n(.*?)```", page, re.DOTALL | re.MULTILINE))
    groups = tomllib.loads(files.pop("pyproject.toml"))["project"]["entry-points"]
    (tmp_path / "pantry").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    info = tmp_path / "llmspell_pantry-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llmspell-pantry\nVersion: 1.0\nSummary: A pantry.\n")
    lines = [
        line
        for group, brought in groups.items()
        for line in (f"[{group}]", *(f"{k} = {v}" for k, v in brought.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def test_each_plugin_of_the_page_with_one_of_each_does_what_it_says(pantry: Path) -> None:
    def run(*arguments: str) -> str:
        done = llmspell(pantry, *arguments)
        return (done.stdout + done.stderr).strip()

    def shout(*parameters: str) -> str:
        return run("tool", "invoke", "shout", *parameters)

    assert " failed " not in run("plugin", "doctor")
    assert run("tool", "invoke", "nap", "seconds=0") == "0.0 s"
    assert shout("text= hi ", "times=2") == "HIHI"
    assert shout("text=hi", "tmies=2").endswith("it takes text, times")
    assert shout("text=swear").endswith("nobody shouts 'swear'")
    assert shout("text=darn").endswith("mind your words")
    (pantry / "project").mkdir()
    there = ("--project", str(pantry / "project"), "tool", "invoke", "shout")
    (pantry / "project" / "llmspell.toml").write_text('[plugins.every_kind]\nrefused = ["swear", "curse"]\n')
    assert run(*there, "text=curse").endswith("nobody shouts 'curse'")
    (pantry / "project" / "llmspell.toml").write_text("[plugins.every_kind]\nrefused = []\n")
    assert "plugins.every_kind.refused = [] loosens policy" in run(*there, "text=swear")
    (pantry / "words.txt").write_text("heck")
    words = ("--set", 'plugins.word_list.file="words.txt"')
    assert run(*words, "tool", "invoke", "shout", "text=heck").endswith("mind your words")
    keep = ("--set", "storage.backend=shelf", "state", "set", "a", "1", "--output", "json")
    assert json.loads(run(*keep))["version"] == 1
    assert run("agent", "run", "--model", "echoes/wall", "hi") == "hi"
    assert run("exec", 'Mood.setTo("wild") return Mood.now() .. Mood.kinds[1]') == "wildcalm"
    assert run("brew", "tea", "--cups", "2") == "tea tea"
    assert "  brew      Brew drinks.\n" in run("--help") or "A pantry." in run("--help")
    assert "A drink is about to be brewed." in run("hook", "point", "show", "before_brew")
    assert "description:  Brews drinks: brew:tea." in run("plugin", "info", "kinds:brew")
    assert "description:  Say a text loudly." in run("plugin", "info", "shout")
    assert "WordList" in run("plugin", "info", "word_list")


@pytest.mark.long
def test_the_modules_of_that_page_pass_strict_types(pantry: Path) -> None:
    paths = ":".join(str(ROOT / each) for each in ("host", "hookspecs", "plugins", "testing"))
    (pantry / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {paths}\n")
    (pantry / "pantry" / "__init__.py").touch()
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(pantry), "-p", "pantry"]

    answer = subprocess.run(command, cwd=pantry, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stdout


def test_the_storage_and_the_provider_of_that_page_conform(pantry: Path) -> None:
    (pantry / "test_them.py").write_text(CONFORM)
    path = {**os.environ, "PYTHONPATH": str(pantry)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_them.py"]

    answer = subprocess.run(command, cwd=pantry, env=path, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stdout


@pytest.mark.long
def test_the_package_of_the_page_passes_strict_types(tmp_path: Path) -> None:
    module, verb, test = blocks("python", "docs/packages.md")
    (tmp_path / "llmspell_parrot.py").write_text(module)
    (tmp_path / "verb.py").write_text(verb)
    (tmp_path / "test_parrot.py").write_text(test)
    paths = ":".join(str(ROOT / each) for each in ("host", "hookspecs", "plugins", "testing"))
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {paths}\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--cache-dir",
        str(tmp_path),
        "test_parrot.py",
        "llmspell_parrot.py",
        "verb.py",
    ]

    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, ["about to run calculator", "42.0"]),
        (1, ["false", "this script deletes nothing"]),
        (2, ["35 * 12 = 420.", "file_operations was denied: this script deletes nothing. I go on without it."]),
    ],
)
def test_each_script_of_the_tutorial_does_what_it_says(number: int, told: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "script.lua").write_text(blocks("lua", "docs/tutorial.md")[number])
    command = [sys.executable, "-m", "llmspell", "run", "script.lua"]

    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert all(text in answer.stdout for text in told)
    assert (tmp_path / "notes.txt").read_text() == "kept"


def test_the_plugin_of_the_tutorial_refuses_what_its_settings_say(tmp_path: Path) -> None:
    (tmp_path / "careful.py").write_text(blocks("python", "docs/tutorial.md")[0])
    (tmp_path / "use.py").write_text(
        "import trio\nfrom llmspell import Host\nfrom careful import Careful\n"
        "async def main():\n"
        "    settings = {'plugins': {'Careful': {'operations': ['exists']}}}\n"
        "    async with Host.open(settings, plugins=[Careful]) as host:\n"
        "        await host.call('tool:file_operations', {'operation': 'exists', 'path': 'x'})\n"
        "trio.run(main)\n"
    )

    answer = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True)

    assert "exists is refused here" in answer.stderr


@pytest.mark.long
@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if line])
def test_each_command_of_the_readme_runs(line: str, tmp_path: Path) -> None:
    if "pip install" in line or "pytest" in line:
        pytest.skip("this very command installs and runs the tests; .ci/run runs it on a fresh environment")
    command = line.replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    answer = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout
