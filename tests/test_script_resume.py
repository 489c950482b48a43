"""Durable runs of scripts' workflows: gone on with by the script that began them, in another process, by no other."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs.errors import ComponentNotFoundError, ScriptError
from llmspell_hookspecs.workflows import Workflows
from waiting import PATIENCE_S

FLOW = """
local asked = ARGS and ARGS[1] or "execute"
local flow = Workflow.sequential{name = "flow", steps = {
  {name = "a", input = "{{input.n}}", execute = function(c) return c.input + 1 end},
  {name = "b", tool = "dies"},
  {name = "c", execute = function(c) return c.results.a .. c.results.b.result end},
}}
if asked == "resume" then return flow:resume("r", nil, {take_over = true}) end
if asked == "again" then return Workflow.resume("r", {b = "again"}, {take_over = true}) end
return flow:execute({n = 4}, {run_id = "r", durable = true})
"""
CHILD = """
import os, signal, sys, trio
from kernel import make_tool, opened

async def die(given, context):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    dies = make_tool("dies", die, repeatable=False)
    storage = {"backend": "sqlite", "sqlite": {"path": sys.argv[2]}}
    async with opened(dies, settings={"storage": storage}) as host:
        await host.run_script(sys.argv[1])

trio.run(main)
"""


async def live(given: Any, context: Any) -> Any:
    return {"result": "lives"}


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Host]:
    tool = make_tool("dies", live, repeatable=False)
    storage = {"backend": "sqlite", "sqlite": {"path": str(folder / "kept.db")}}
    async with opened(tool, settings={"storage": storage}) as host:
        yield host


def kill(folder: Path) -> str:
    """Run the script in a process that is killed within its second step, and return where it lies."""
    script = folder / "flow.lua"
    script.write_text(FLOW)
    command = [sys.executable, "-c", CHILD, str(script), str(folder / "kept.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, cwd=Path(__file__).parent)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return str(script)


async def test_a_script_goes_on_with_its_run_after_its_process_was_killed(tmp_path: Path) -> None:
    script = kill(tmp_path)

    async with kept(tmp_path) as host:
        waits = await host.run_script(script, ["resume"])
        ended = await host.run_script(script, ["again"])
        again = await host.run_script(script, ["resume"])

    assert (waits["success"], waits["status"], waits["waiting"]) == (False, "paused", ["b"])
    assert (ended["success"], ended["output"]) == (True, "5lives")
    assert (again["status"], again["output"]) == ("completed", ended["output"])


async def test_what_goes_on_with_it_elsewhere_is_told_where_it_can(tmp_path: Path) -> None:
    kill(tmp_path)

    async with kept(tmp_path) as host:
        with pytest.raises(ComponentNotFoundError, match=r"in the script that did \(.*flow.lua\), and call its resume"):
            await host.get(Workflows).resume("r", take_over=True)


@pytest.mark.parametrize("options", ["", ", nil, {accept_changed = true, take_over = true}"])
async def test_no_script_goes_on_with_a_run_that_another_began(tmp_path: Path, options: str) -> None:
    thief = tmp_path / "thief.lua"
    thief.write_text(FLOW.split("if asked")[0] + f"return flow:resume('r'{options})")
    kill(tmp_path)

    async with kept(tmp_path) as host:
        before = await host.get(Workflows).run_details("r")
        with pytest.raises(ScriptError, match="workflow run r: there is none"):
            await host.run_script(str(thief))
        with pytest.raises(ScriptError, match="there is no run 'r' of a workflow of this script"):
            await host.run_source("return Workflow.resume('r')")

        assert await host.get(Workflows).run_details("r") == before


async def test_no_script_goes_on_with_a_run_of_its_embedder(tmp_path: Path) -> None:
    async with kept(tmp_path) as host:
        handle = await host.get(Workflows).create({"name": "open", "stages": [{"name": "s", "tool": "dies"}]})
        await handle.run(run_id="e", durable=True)

        with pytest.raises(ScriptError, match="this script did not make it"):
            await host.run_source("return Workflow.get('open'):resume('e')")
        with pytest.raises(ScriptError, match="there is no run 'e'"):
            await host.run_source("return Workflow.resume('e')")


async def test_a_workflow_that_is_another_one_by_now_goes_on_if_the_script_says_so(tmp_path: Path) -> None:
    script = kill(tmp_path)
    Path(script).write_text(FLOW.replace("}}\nif", '  {name = "d", execute = function() return "more" end},\n}}\nif'))

    async with kept(tmp_path) as host:
        refused = await host.run_script(script, ["resume"])
        Path(script).write_text(
            Path(script).read_text().replace("{take_over = true}", "{take_over = true, accept_changed = true}")
        )
        ended = await host.run_script(script, ["again"])

    assert refused["success"] is False
    assert "flow is another one than it was; bring the old one back, or accept that" in refused["error"]
    assert (ended["success"], ended["output"]) == (True, "more")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("flow:execute({}, {durble = true})", "there is no option 'durble'; did you mean durable?"),
        ("flow:execute({}, {durable = 'yes'})", "durable is 'yes'; give true or false"),
        ("flow:execute({}, {run_id = 5})", "run_id is 5; give a text"),
        ("flow:resume('r', {b = 'agian'})", "the verdict of 'b' is 'agian'; give again, skip, done"),
        ("flow:resume('r', 'again')", "verdicts must be a table"),
        ("flow:resume('nope')", "workflow run nope: there is none"),
    ],
)
async def test_what_a_script_asks_wrongly_is_named(tmp_path: Path, call: str, told: str) -> None:
    async with kept(tmp_path) as host:
        with pytest.raises(ScriptError) as caught:
            await host.run_source(FLOW.split("if asked")[0] + f"return {call}")

    assert told in str(caught.value)
