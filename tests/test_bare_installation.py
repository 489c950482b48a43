"""The tools after ``pip install llmspell`` without an extra: each works, or names the extra that it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from installed import clean_environment
from test_tool_pages import FOR_DEVELOPERS, extras
from tool_calls import OURS
from waiting import PATIENCE_S

TESTS = Path(__file__).parent
NEEDS = {
    "audio_processor": ["media"],
    "citation-formatter": ["citations"],
    "file_watcher": ["watch"],
    "graphql_query": ["graphql"],
    "image_processor": ["media"],
    "json_processor": ["data"],
    "pdf-processor": ["pdf"],
    "sitemap-crawler": ["web"],
    "system_monitor": ["system"],
    "video_processor": ["video"],
    "web-fetch": ["web"],
    "web-scraper": ["web"],
    "webpage-monitor": ["web"],
    "xml-processor": ["xml"],
    "yaml-processor": ["data"],
}
"""The tools that need an extra for one of their calls; Jinja2 and markdown-it come with what llmspell itself needs."""


def installed(name: str) -> Distribution:
    """A package as it was installed, whatever else of it lies in the folder from which the tests run."""
    return next(each for each in Distribution.discover(name=name) if each.read_text("RECORD") is not None)


def needed(name: str, seen: set[str]) -> Iterator[Distribution]:
    """A package with all that it requires itself, and no extra's."""
    found = installed(name)
    if found.metadata["Name"].lower() in seen:
        return
    seen.add(found.metadata["Name"].lower())
    yield found
    for line in found.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            for extra in ("", *requirement.extras):
                if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                    yield from needed(requirement.name, seen)


def bare(root: Path) -> Path:
    """Make an environment that holds llmspell and what it requires, as links; return its interpreter."""
    venv.create(root, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)}))
    for each in needed("llmspell", set()):
        for top in {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "__pycache__")}:
            (site / top).symlink_to(Path(str(each.locate_file(top))).resolve())
    return root / "bin" / "python"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """How each call of each tool ended."""
    root = tmp_path_factory.mktemp("bare")
    environment = {**clean_environment(root), "PYTHONPATH": str(TESTS), "PATH": os.environ["PATH"]}
    command = [str(bare(root / "environment")), str(TESTS / "bare_calls.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, list[list[str]]] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("name", OURS)
def test_a_tool_works_without_extras_or_says_which_one_it_needs(ended: dict[str, list[list[str]]], name: str) -> None:
    known = {extra for extra in extras() if extra not in FOR_DEVELOPERS}

    for code, text in filter(None, ended[name]):
        found = re.search(r"pip install 'llmspell\[(\w+)\]'", text)
        assert code == "missing_library" and found is not None, text
        assert found[1] in known
        assert text.startswith(f"{name}: ") and "\n" not in text


def test_those_that_need_an_extra_are_these(ended: dict[str, list[list[str]]]) -> None:
    told = {
        name: sorted({re.findall(r"llmspell\[(\w+)\]", text)[0] for _, text in filter(None, calls)})
        for name, calls in ended.items()
    }

    assert {name: each for name, each in told.items() if each} == NEEDS
