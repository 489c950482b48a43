"""Functions where a script's workflow takes values: refused in one line that names the place."""

from __future__ import annotations

import pytest

from kernel import opened
from llmspell_hookspecs.errors import ScriptError

STEP = "{name='a', tool='calculator', input={input='1'}}"


@pytest.mark.parametrize("answer", ["function() end", "{f = function() end}"])
async def test_a_step_that_answers_a_function_fails_and_says_so(answer: str) -> None:
    step = f"{{name = 'makes', execute = function() return {answer} end}}"
    source = f"return Workflow.sequential({{name = 'w', steps = {{{step}}}}}):execute({{}})"
    async with opened() as host:
        with pytest.raises(ScriptError, match="makes: its function answers a function"):
            await host.run_source(f"local r = {source[7:]} error(tostring(r.error))", language="lua")


@pytest.mark.parametrize(
    "definition",
    [f"{{name = function() end, steps = {{{STEP}}}}}", "{name = 'w', steps = {{name = print, tool = 'calculator'}}}"],
)
async def test_a_function_is_no_name(definition: str) -> None:
    async with opened() as host:
        with pytest.raises(ScriptError, match="is a function; give a text"):
            await host.run_source(f"return Workflow.sequential({definition})", language="lua")
