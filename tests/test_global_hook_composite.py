"""``Hook.composite``: a script's functions that answer as one."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import Bench, opened
from llmspell import Host
from llmspell_hookspecs.errors import ScriptError

SHAPES = """
local function stops(reason) return function() return {type = "cancel", reason = reason} end end
local function adds(text) return function(c)
  return {type = "modified", data = {parameters = {text = c.data.parameters.text .. text}}}
end end
local function nothing() end
"""


async def ran(source: str) -> Any:
    bench = Bench()
    async with opened(*bench.plugins) as host:
        await host.run_source(f"{SHAPES} {source} Tool.invoke('echo', {{text = 'x'}})", "lua")
        assert host.hooks.list() == []
        return bench.runs[-1]["text"] if bench.runs else None


@pytest.mark.parametrize(
    ("composite", "text"),
    [
        ("{mode = 'sequential', children = {adds('1'), adds('2')}}", "x12"),
        ("{pattern = 'Sequential', hooks = {adds('1'), {handler = adds('2')}}}", "x12"),
        ("{mode = 'first_match', children = {nothing, adds('1'), adds('2')}}", "x1"),
        ("{pattern = 'FirstMatch', children = {adds('1'), {mode = 'voting', children = {}}}}", "x1"),
        ("{mode = 'parallel', children = {adds('1'), nothing}}", "x1"),
        ("{mode = 'parallel', prefer = {'b'}, children = {adds('1'), {handler = adds('2'), name = 'b'}}}", "x2"),
        ("{mode = 'voting', children = {adds('1'), nothing}}", "x1"),
        ("{mode = 'voting', tie_breaker = 'PreferContinue', children = {adds('1'), nothing}}", "x"),
        ("{mode = 'voting', tie = 'action', children = {nothing, adds('1')}}", "x1"),
        ("{mode = 'voting', threshold = 1, children = {stops('no'), nothing}}", "x"),
        ("{mode = 'sequential', children = {}}", "x"),
        ("{mode = 'parallel', enabled = false, children = {adds('1')}}", "x"),
        ("{mode = 'parallel', match = 'other', children = {adds('1')}}", "x"),
    ],
)
@pytest.mark.parametrize("call", ["Hook.composite('BeforeToolExecution', {})", "Hook.composite({})"])
async def test_every_shape_works(composite: str, text: str, call: str) -> None:
    table = composite if "Execution" in call else composite.replace("{", "{point = 'tool:before_execution', ", 1)

    assert await ran(call.replace("{}", table)) == text


@pytest.mark.parametrize("mode", ["sequential", "parallel", "first_match", "voting"])
async def test_a_guard_of_the_script_denies_whatever_the_others_say(mode: str) -> None:
    guard = "{handler = stops('not this'), kind = 'guard'}"
    with pytest.raises(ScriptError, match="not this"):
        await ran(f"Hook.composite('BeforeToolExecution', {{mode = '{mode}', children = {{nothing, {guard}}}}})")


async def test_a_guard_that_fails_denies() -> None:
    guard = "{handler = function() error('it broke') end, kind = 'guard'}"
    with pytest.raises(ScriptError, match="it broke"):
        await ran(f"Hook.composite('BeforeToolExecution', {{mode = 'voting', children = {{{guard}}}}})")


async def test_children_are_listed_and_go_with_the_handle() -> None:
    listed = await value(
        "local both = Hook.composite('BeforeToolExecution', {name = 'both', mode = 'parallel',"
        " children = {nothing, {handler = nothing, name = 'b'}, {handler = nothing, kind = 'guard', name = 'g'}}})"
        " local rows = {} for _, h in ipairs(Hook.list()) do"
        " rows[#rows + 1] = h.name .. ' ' .. h.kind .. ' ' .. tostring(h.mine) .. ' ' .. h.within end"
        " rows[#rows + 1] = both:info().name both:unregister() rows[#rows + 1] = tostring(#Hook.list()) return rows"
    )

    within = "script:script.both"
    assert listed == [
        "both transform true ",
        f"both/child_1 transform true {within}",
        f"both/b transform true {within}",
        "both/g guard true ",
        "both",
        "0",
    ]


async def value(source: str) -> Any:
    async with opened(*Bench().plugins) as host:
        return await host.run_source(f"{SHAPES} {source}", "lua")


async def test_a_script_is_asked_about_its_own_operations_only() -> None:
    bench = Bench()
    async with opened(*bench.plugins) as host, host.session("lua") as session:
        await session.evaluate(
            f"{SHAPES} Hook.composite('BeforeToolExecution', {{mode = 'parallel', children = {{stops('no')}}}})"
        )
        await call(host)

    assert len(bench.runs) == 1


async def call(host: Host) -> None:
    await host.call("tool:echo", {"text": "x"})


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{children = {nothing}}", "the mode is missing; say sequential, parallel"),
        ("{mode = 'other', children = {nothing}}", "the mode 'other' is none"),
        ("{mode = 'parallel'}", "the children are no list"),
        ("{mode = 'parallel', children = {7}}", "child 1 is a int; give a function, or a table with a handler"),
        ("{mode = 'parallel', children = {'security'}}", "child 1 is a str"),
        ("{mode = 'parallel', children = {{name = 'x'}}}", "child 1 has no handler"),
        ("{mode = 'parallel', children = {{handler = nothing, nme = 'x'}}}", "no option 'nme'; did you mean 'name'?"),
        ("{mode = 'parallel', children = {{handler = nothing, enabled = false}}}", "no option 'enabled'"),
        ("{mode = 'parallel', children = {{mode = 'voting', children = {}, match = 'x'}}}", "no option 'match'"),
        ("{mode = 'parallel', children = {{handler = nothing, kind = 'wrap'}}}", "kind = 'wrap' stands inside"),
        ("{mode = 'parallel', kind = 'guard', children = {}}", "a composite has no kind of its own"),
        ("{mode = 'parallel', children = {}, thresold = 1}", "no option 'thresold'; did you mean 'threshold'?"),
        ("{mode = 'voting', threshold = 2, children = {}}", "the threshold 2 is none"),
        ("{mode = 'voting', threshold = 'x', children = {}}", "the threshold 'x' is none"),
        ("{mode = 'voting', tie = 'x', children = {}}", "tie='x' is none"),
        ("{mode = 'voting', tie = {}, children = {}}", "tie={} is none; use one of first, continue"),
        ("{mode = 'parallel', prefer = 3, children = {}}", "prefer=3 is none; give a list of names of children"),
        ("{mode = 'parallel', prefer = {a = 'x'}, children = {}}", "give a list of names of children"),
        ("{mod = 'parallel', children = {}}", "no option 'mod'; did you mean 'mode'?"),
        ("{mode = 'parallel', childern = {}}", "no option 'childern'; did you mean 'children'?"),
        ("{mode = 'parallel', name = 3, children = {}}", "name = 3 is wrong; give a text"),
        ("{mode = 'parallel', prefer = {'x'}, children = {}}", "prefer names 'x'; its children are none"),
        ("7", "the second argument is no table"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_registered(table: str, problem: str) -> None:
    told = await value(
        f"local ok, told = pcall(Hook.composite, 'BeforeToolExecution', {table})"
        " return {ok, tostring(told), #Hook.list()}"
    )

    assert told[0] is False
    assert problem in told[1]
    assert told[2] == 0


async def test_a_table_that_holds_itself_and_too_many_children_are_refused() -> None:
    told = await value(
        "local t = {mode = 'parallel', children = {}} t.children[1] = t"
        " local one, first = pcall(Hook.composite, 'BeforeToolExecution', t)"
        " local many = {} for i = 1, 65 do many[i] = nothing end"
        " local two, second = pcall(Hook.composite, 'BeforeToolExecution', {mode = 'voting', children = many})"
        " local wide = {} for i = 1, 50 do wide[i] = nothing end local three, third"
        " for i = 1, 25 do three, third = pcall(Hook.composite, 'BeforeToolExecution',"
        " {mode = 'voting', children = wide}) end"
        " return {one, tostring(first), two, tostring(second), three, tostring(third)}"
    )

    assert (told[0], told[2], told[4]) == (False, False, False)
    assert told[1]
    assert "65 children, and 64 are the most" in told[3]
    assert "this script has 1000 hooks, which is the most" in told[5]
