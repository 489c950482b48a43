"""Every spelling, call style, return style and field name that scripts of rs-llmspell use, each run in real Lua.

The cases lie in ``compatibility/*.lua``, each a name behind ``---``, a script, and behind ``-->`` what the script
returns, as JSON. The cases of one file share a host. Whole scripts in the style of its users are in
`test_compatibility_scripts`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell_hookspecs import HookContext, ScriptGlobal, script_method
from llmspell_hookspecs.services import Hooks

FOLDER = Path(__file__).parent / "compatibility"
CASE = re.compile(r"^--- (?P<name>.+)\n(?P<source>(?:.*\n)*?)--> (?P<expected>.+)$", re.MULTILINE)
OWN_HOST = frozenset({"config"})  # what a script tightens stays tight
PRELUDE = """
local dir = ...
local csv = "name,n\\na,1\\nb,2\\nc,3\\n"
local sum = {operation = "evaluate", input = "2 + 2"}
local function try(f, ...)
  local ok, message = pcall(f, ...)
  return ok and "fine" or tostring(message)
end
local function calculate(text)
  return Tool.invoke("calculator", {operation = "evaluate", input = text or "2 + 2"})
end
local function put(name, text)
  local f = assert(io.open(dir .. "/" .. name, "w"))
  f:write(text)
  f:close()
end
local function get(name)
  local f = assert(io.open(dir .. "/" .. name))
  local text = f:read("a")
  f:close()
  return text
end
""".strip().replace("\n", " ")


@cache
def cases_of(file: str) -> dict[str, tuple[str, Any]]:
    found = CASE.finditer((FOLDER / f"{file}.lua").read_text(encoding="utf-8"))
    return {case["name"]: (case["source"], json.loads(case["expected"])) for case in found}


@cache
def answers_of(file: str) -> dict[str, Any]:
    """Return what each case of a file returned, or the error that it ended with."""
    cases = cases_of(file)
    together = [list(cases)] if file not in OWN_HOST else [[name] for name in cases]
    answers: dict[str, Any] = {}
    for names in together:
        trio.run(_run, file, names, answers)
    return answers


class Runs(ScriptGlobal):
    """Tells how often tools really ran, which no hook of a script can count."""

    name = "Runs"

    @script_method()
    def count(self) -> int:
        return BODIES[self.services.get(Hooks)]


BODIES: Counter[Hooks] = Counter()


async def _run(file: str, names: list[str], answers: dict[str, Any]) -> None:
    settings = {"storage": {"backend": "memory"}}
    async with opened(Runs, settings=settings, write=lambda text: None) as host:
        hooks = host.hooks

        async def count(context: HookContext[Any]) -> AsyncGenerator[None, Any]:
            BODIES[hooks] += 1
            yield

        if "Runs.count" in (FOLDER / f"{file}.lua").read_text(encoding="utf-8"):
            hooks.register("around_tool_execution", count, kind="wrap")
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                prelude = PRELUDE.replace("...", json.dumps(folder), 1)
                source = f"{prelude} {cases_of(file)[name][0]}"
                try:
                    answers[name] = await host.run_source(source, "lua", name="old.lua")
                except Exception as error:
                    answers[name] = error


FILES = sorted(path.stem for path in FOLDER.glob("*.lua"))


@pytest.mark.long
@pytest.mark.parametrize(("file", "name"), [(file, name) for file in FILES for name in cases_of(file)])
def test_an_old_spelling_works(file: str, name: str) -> None:
    _, expected = cases_of(file)[name]

    answer = answers_of(file)[name]

    assert answer == expected


def test_no_case_is_lost_by_the_way_that_they_are_written() -> None:
    for file in FILES:
        text = (FOLDER / f"{file}.lua").read_text(encoding="utf-8")

        assert len(cases_of(file)) == len(re.findall(r"^--- ", text, re.MULTILINE)) == text.count("\n--> ")
