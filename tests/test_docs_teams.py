"""The page on teams of agents: its Python and its script run, and it names every kind there is."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

from llmspell_testing import TemporarySettings
from waiting import PATIENCE_S

PAGE = (Path(__file__).parent.parent / "docs" / "teams.md").read_text()


def block(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[0]


def ran(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_python_of_the_page_runs(llmspell_settings: TemporarySettings) -> None:
    (llmspell_settings.project / "desk.py").write_text(block("python"))

    assert ran("desk.py") == "6 * 7 = 42. agent:sums\n"


def test_the_script_of_the_page_runs(llmspell_settings: TemporarySettings) -> None:
    (llmspell_settings.project / "line.lua").write_text(block("lua"))

    assert ran("-m", "llmspell", "run", "line.lua") == "BasicAgent 'critic' received: tea\n"


def test_the_page_names_every_kind_of_team() -> None:
    kinds = {
        point.name: point.load().capabilities
        for point in entry_points(group="llmspell.agents")
        if point.value.startswith("llmspell_plugins")
    }

    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {
        name for name, capabilities in kinds.items() if "composite" in capabilities
    }
