"""The page on composites: its Python, its settings and its script run."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from kernel import opened
from waiting import PATIENCE_S

PAGE = (Path(__file__).parent.parent / "docs" / "composites.md").read_text()


def block(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[0]


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(block("python"))

    ran = subprocess.run([sys.executable, "both.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "[('check/short', 'careful.check'), ('check/harmless', 'careful.check'), "
        "('both/short', 'code.both'), ('both/known', 'code.both')]\n"
    )


async def test_the_settings_of_the_page_make_the_composite() -> None:
    async with opened(settings=tomllib.loads(block("toml"))) as host:
        within = {hook.plugin for hook in host.hooks.list() if hook.within == "composite.sources"}

    assert within == {"caching", "rate_limit"}


async def test_the_script_of_the_page_takes_its_votes() -> None:
    printed: list[str] = []
    async with opened(write=printed.append) as host:
        await host.run_source(block("lua"), "lua")

    assert "".join(printed).splitlines()[0] == "true"
    assert "it says 9" in "".join(printed)
