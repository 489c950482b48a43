"""The page on artifacts: its Lua and its Python print what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from waiting import PATIENCE_S

PAGE = (Path(__file__).parent.parent / "docs" / "artifacts.md").read_text()


def ran(language: str, name: str, *before: str, folder: Path) -> tuple[int, str, str]:
    """Run the page's first block of a language."""
    [source] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (folder / name).write_text(source)
    command = [sys.executable, *before, name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr


def test_the_lua_of_the_page_runs(tmp_path: Path) -> None:
    assert ran("lua", "work.lua", "-m", "llmspell", "run", folder=tmp_path) == (0, "[1, 2, 3]\t3\n2\t1\n", "")


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    assert ran("python", "work.py", folder=tmp_path) == (0, "host/1 18890 lz4 True\nb'line 0'\n", "")
