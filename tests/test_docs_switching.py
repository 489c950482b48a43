"""The page on flags and switching: its Python runs, and its settings say what the page says of them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from kernel import opened
from llmspell_hookspecs.switching import PluginSwitch
from waiting import PATIENCE_S

PAGE = (Path(__file__).parent.parent / "docs" / "switching.md").read_text()


def block(language: str) -> str:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found[0]


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    (tmp_path / "switch.py").write_text(block("python"))

    ran = subprocess.run(
        [sys.executable, "switch.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "False True\n")


async def test_the_settings_of_the_page_load_what_is_on_and_nothing_else() -> None:
    async with opened(settings=tomllib.loads(block("toml"))) as host:
        switch = host.get(PluginSwitch)
        at_first = [switch.plugin(name) is not None for name in ("metrics", "security")]
        await switch.plugin("features").switch("strict", True)

        assert at_first == [True, False]
        assert switch.plugin("security") is not None


LAZY = """
import sys, trio
from llmspell import Host
from llmspell_hookspecs.switching import PluginSwitch

FLAGS = {"quiet": {"plugins": ["retry"]}}
HEAVY = "llmspell_plugins.hooks.retry"


async def main():
    settings = {"plugins": {"features": {"enabled": True, "flags": FLAGS}}}
    async with Host.open(settings) as host:
        before = HEAVY in sys.modules
        await host.get(PluginSwitch).plugin("features").switch("quiet", True)
        print(before, HEAVY in sys.modules)


trio.run(main)
"""


def test_what_no_flag_wants_is_not_imported(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", LAZY], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)

    assert (ran.stderr, ran.stdout) == ("", "False True\n")
