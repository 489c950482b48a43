"""docs/timeline.md tells the truth: what it shows is printed, and its code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from kernel import opened, run
from llmspell_testing import TemporarySettings
from waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "timeline.md").read_text(encoding="utf-8")
PRINTED = """
what the wish for a report set off:
script.started  script:timeline.lua
  report.wanted  script:examples/timeline.lua
    workflow.started  workflow:report
      workflow_stage.started  workflow_stage:report.add
        tool.started  tool:calculator
      workflow_stage.started  workflow_stage:report.ask
        agent.started  agent:clerk
          model.started  model:offline/rules
          tool.started  tool:calculator
          model.started  model:offline/rules
    report.ready  script:examples/timeline.lua
the longest chain has 6 links and ends with model:offline/rules
roots: 1
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def without_times(text: str) -> list[str]:
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "T", text)
    return re.sub(r"\d+\.\d m?s\b", "E", text).strip().splitlines()


@pytest.fixture
def project(llmspell_settings: TemporarySettings) -> Path:
    folder = llmspell_settings.project / "examples"
    folder.mkdir()
    (folder / "timeline.lua").write_text((ROOT / "examples" / "timeline.lua").read_text())
    return folder


def ran(*arguments: str) -> str:
    command = [sys.executable, "-m", "llmspell", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1])
def test_the_page_shows_what_the_commands_print(number: int, project: Path) -> None:
    command, _, shown = blocks("console")[number].partition("\n")

    printed = ran(*command.removeprefix("$ llmspell ").split())

    assert without_times(printed) == without_times(shown)


@pytest.mark.long
def test_the_example_finds_in_the_timeline_what_it_set_off(project: Path) -> None:
    assert ran("run", "--set", "plugins.timeline.enabled=true", "examples/timeline.lua").strip() == PRINTED.strip()
    assert ran("run", "examples/timeline.lua") == ""


def test_the_code_of_the_page_runs_with_its_settings() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("python")[0], scope)

    async def main() -> Any:
        async with opened(settings=tomllib.loads(blocks("toml")[0])) as host:
            host.events.publish_nowait("user.created")
            await host.run_source('Event.publish("user.greeted") ' + blocks("lua")[0], "lua")
            return await scope["look_back"](host)

    chain, stats = run(main)

    assert [entry.event.type for entry in chain] == ["script.started", "user.greeted"]
    assert stats.events == 4
