"""What is different each time (the time, chance, new ids, Lua's order of keys) is told again as it is on record."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import HookContext
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.replay import Replay, ReplayReport
from llmspell_hookspecs.services import Clock
from test_replay import World

QUICK = {"hooks": {"breaker": "off"}, "journal": {"record": "all"}}


async def replayed(host: Host, times: int = 3) -> list[ReplayReport]:
    """Run the newest run on record again."""
    run = (await host.get(Journal).runs())[0]
    replay = await host.enter(Replay)
    return [await replay.run(run.id) for _ in range(times)]


DRAWING = {
    "the time": "os.time() .. os.date('%H:%M:%S') .. os.date('!*t').sec",
    "the clock": "os.clock()",
    "chance": "math.random() .. ' ' .. math.random(1000000) .. ' ' .. math.random(-5, 1 << 40) .. math.random(0)",
    "a seed": "(function() math.randomseed(os.time(), os.clock() * 1e9 // 1 | 0) return math.random(1 << 60) end)()",
    "a new seed": "(function() math.randomseed() return math.random(1 << 60) end)()",
    "addresses": "tostring({}) .. tostring(print) .. string.format('%s', {}) .. tostring(coroutine.create(print))",
    "the order of keys": "(function() local s = '' for k in pairs(KEYS) do s = s .. tostring(k) end return s end)()",
    "the order of what crosses": "JSON.stringify({x = 1, y = {b = 1, a = 2}, zeta = 4, eta = 5, theta = 6, iota = 7})",
    "a new name": "(function() local a = Agent.builder():model('offline/rules'):build() return a.name or '' end)()",
    "a variable": "os.getenv('LLMSPELL_TEST_WORD')",
}
KEYS = "local KEYS = {x = 1, y = {b = 1, a = 2}, [true] = 3, zeta = 4, eta = 5, theta = 6, [2.5] = 1, [7] = 2}\n"


@pytest.mark.parametrize("drawing", DRAWING.values(), ids=DRAWING.keys())
async def test_a_script_is_told_again_what_it_drew(drawing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSPELL_TEST_WORD", "then")
    source = f"{KEYS}return Tool.invoke('look', {{drawn = {drawing}}}).result['for'].drawn"
    world = World()
    table = {**QUICK, "security": {"environment": ["LLMSPELL_TEST_*"]}}
    async with opened(make_tool("look", world.look), settings=table) as host:
        value = await host.run_source(source, "lua")
        monkeypatch.setenv("LLMSPELL_TEST_WORD", "now")
        reports = await replayed(host)

    assert all(report.identical for report in reports), reports[0].first
    assert [report.values for report in reports] == [(value,)] * 3
    assert len(world.calls) == 1


async def test_what_a_hook_stamps_is_told_again_however_calls_are_interleaved() -> None:
    dice = random.Random(5)

    async def stamp(context: HookContext[Any]) -> Any:
        for _ in range(dice.randrange(5)):
            await trio.lowlevel.checkpoint()
        at_s = host.get(Clock).now_s()
        mark = host.get(Entropy).draw("mark", dice.random)
        return context.modify(parameters={**context.subject.parameters, "at": at_s, "mark": mark})

    world = World()
    async with opened(make_tool("look", world.look), settings=QUICK) as host:
        host.hooks.register("before_tool_execution", stamp)
        await host.run_source(PARALLEL, "lua")
        reports = await replayed(host, 10)

    assert len(world.calls) == 6
    assert all(report.identical for report in reports), reports[0].first


PARALLEL = """
local steps = {}
for n = 1, 6 do
  steps[n] = {name = "s" .. n, steps = {{name = "t", type = "tool", tool = "look", input = {n = n // 3}}}}
end
return Workflow.parallel({name = "p", branches = steps}):execute({}).status
"""
HOOKED = """
Hook.register("BeforeToolExecution", function(context)
  local at = os.time() .. "-" .. math.random(1 << 60)
  return {type = "modified", data = {parameters = {n = context.data.parameters.n, at = at}}}
end)
local before = math.random(1 << 60)
local steps = {}
for n = 1, 6 do
  steps[n] = {name = "s" .. n, steps = {{name = "t", type = "tool", tool = "look", input = {n = n}}}}
end
local run = Workflow.parallel({name = "p", branches = steps}):execute({})
Tool.invoke("look", {n = 7, drawn = {before, math.random(1 << 60)}})
return run.status
"""


async def test_a_hook_of_a_script_draws_for_the_call_that_it_is_asked_about() -> None:
    world = World()
    async with opened(make_tool("look", world.look), settings=QUICK) as host:
        await host.run_source(HOOKED, "lua")
        reports = await replayed(host, 10)

    assert len(world.calls) == 7 and all("at" in call for call in world.calls)
    assert all(report.identical for report in reports), reports[0].first


async def test_what_was_not_drawn_then_is_told_from_the_record_too() -> None:
    seen: list[float] = []

    def read(context: HookContext[Any]) -> None:
        if context.operation.replayed:
            seen.append(host.get(Clock).now_s())

    async with opened(make_tool("look", World().look), settings=QUICK) as host:
        host.hooks.register("after_tool_execution", read)
        await host.call("tool:look", {"n": 1})
        (run,) = await host.get(Journal).runs()
        (record,) = await host.get(Journal).records(run.id)
        (report,) = await replayed(host, 1)

    assert report.identical, report.first
    assert seen == [record.at_s]


async def test_without_a_record_a_script_asks_the_host_for_nothing() -> None:
    async with opened(settings={"journal": {"record": "off"}}) as host:
        assert not host.get(Entropy).is_kept
        first, second = [await host.run_source("return math.random(1 << 60)", "lua") for _ in range(2)]

    assert first != second


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**63 - 1),
    second=st.integers(-(2**63), 2**63 - 1),
    low=st.integers(-(2**63), 2**63 - 1),
    span=st.integers(0, 2**64),
)
def test_random_numbers_of_a_seed_are_those_of_lua(seed: int, second: int, low: int, span: int) -> None:
    source = f"""
        math.randomseed({seed} | 0, {second} | 0)
        local out = {{}}
        for n = 1, 3 do
          out[#out + 1] = math.random()
          out[#out + 1] = math.random({low} | 0, {min(low + span, 2**63 - 1)} | 0)
          out[#out + 1] = math.random(0)
          out[#out + 1] = math.random(6)
        end
        return out
    """.replace(str(-(2**63)), "math.mininteger")

    async def main() -> tuple[Any, Any]:
        async with opened(settings={"journal": {"record": "off"}}) as host:
            plain = await host.run_source(source, "lua")
            take_out = host.get(Entropy).let(lambda name, make: make())
            drawn = await host.run_source(source, "lua")
            take_out()
        return plain, drawn

    plain, drawn = trio.run(main)

    assert plain == drawn


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("math.random(0.5)", "number has no integer representation"),
        ("math.random(2, 1)", "interval is empty"),
        ("math.random('x')", "number expected, got string"),
        ("math.random(1, 2, 3)", "wrong number of arguments"),
        ("pairs()", "bad argument #1 to 'pairs' .table expected, got no value"),
    ],
)
async def test_what_is_drawn_is_asked_for_as_in_lua(source: str, message: str) -> None:
    async with opened(settings=QUICK) as host:
        with pytest.raises(Exception, match=message):
            await host.run_source(source, "lua")


async def test_pairs_goes_over_what_is_changed_meanwhile_as_in_lua() -> None:
    source = """
        local t, seen = {c = 3, a = 1, b = 2}, {}
        for k, v in pairs(t) do
          seen[#seen + 1] = k
          t.b, t.c = nil, 7
        end
        local made = setmetatable({}, {__pairs = function() return function(_, k) if not k then return 1 end end end})
        for k in pairs(made) do seen[#seen + 1] = k end
        local list = {}
        for k in pairs({4, 5, 6}) do list[#list + 1] = k end
        return {seen, list}
    """
    async with opened(settings=QUICK) as host:
        assert await host.run_source(source, "lua") == [["a", "c", 1], [1, 2, 3]]
