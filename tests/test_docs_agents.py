"""The page on agents: its Python prints what it says, and its table is the one that agents go by."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from llmspell_hookspecs.agent_life import TRANSITIONS
from llmspell_testing import TemporarySettings
from waiting import PATIENCE_S

PAGE = (Path(__file__).parent.parent / "docs" / "agents.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_python_of_the_page_prints_what_it_says(llmspell_settings: TemporarySettings) -> None:
    for number, (program, printed) in enumerate(zip(blocks("python"), blocks("text"), strict=True)):
        (llmspell_settings.project / f"page{number}.py").write_text(program)

        done = subprocess.run([sys.executable, f"page{number}.py"], capture_output=True, text=True, timeout=PATIENCE_S)

        assert (done.returncode, done.stdout) == (0, printed), done.stderr


def test_the_table_of_the_page_names_every_state() -> None:
    first = re.findall(r"^\| (`[a-z`, ]+) \|", PAGE, re.MULTILINE)

    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(TRANSITIONS)
