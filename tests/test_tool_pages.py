"""The page on tools tells the truth: its tool passes the suite, and every library of an extra has its licence there."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from packaging.requirements import Requirement

from waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "write-a-tool.md").read_text()
FOR_DEVELOPERS = {"all", "bench", "docs", "lint", "test", "testing"}


def extras() -> dict[str, set[str]]:
    """The libraries of each extra, as setup.cfg names them."""
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    table = parser["options.extras_require"]
    return {name: {Requirement(line).name for line in table[name].split("\n") if line} for name in table}


def test_the_tool_of_the_page_passes_the_suite(tmp_path: Path) -> None:
    module, test = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "words.py").write_text(module)
    (tmp_path / "test_words.py").write_text(test)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_words.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0, done.stdout[-3000:]


def test_the_licence_of_every_library_of_every_extra_is_listed() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([\w.-]+) \| (.+) \|$", PAGE, re.MULTILINE)

    listed = {(extra, library) for extra, library, _ in rows if extra != "extra"}
    brought = {(extra, each) for extra, libraries in extras().items() for each in libraries}
    assert listed == {row for row in brought if row[0] not in FOR_DEVELOPERS}


def test_the_extra_all_brings_what_is_permissive_and_nothing_else() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| ([\w.-]+) \| (.+) \|$", PAGE, re.MULTILINE)

    permissive = {library for extra, library, licence in rows if extra != "extra" and "GPL" not in licence}
    assert extras()["all"] == permissive


LOADING = """
import sys
from importlib.metadata import entry_points, packages_distributions
for point in entry_points(group="llmspell.tools"):
    if point.dist.name == "llmspell":
        point.load()
names = packages_distributions()
loaded = {each.lower() for module in list(sys.modules) if "." not in module for each in names.get(module, ())}
print(sorted(loaded & set(sys.argv[1:])))
"""


def test_loading_every_tool_imports_no_library_of_an_extra() -> None:
    libraries = {each.lower() for name, row in extras().items() if name not in FOR_DEVELOPERS for each in row}

    command = [sys.executable, "-c", LOADING, *libraries]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")
