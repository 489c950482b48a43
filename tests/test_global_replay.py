"""The global Replay, as scripts call it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from kernel import make_tool, opened
from llmspell import Host
from llmspell_hookspecs import ToolContext
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.script import ScriptRun, Scripts

LOOK = "return Tool.invoke('look', {n = 1}).result.seen"


class World:
    """A tool that answers otherwise each time."""

    def __init__(self) -> None:
        self.calls = 0

    async def look(self, parameters: Any, context: ToolContext) -> Any:
        self.calls += 1
        return {"seen": self.calls}


async def run(host: Host, source: str, name: str = "a.lua") -> Any:
    """Run a script of a name."""
    return await host.get(Scripts).run_script(ScriptRun(source, "lua", name))


def recording(world: World) -> Any:
    """Return a host that records."""
    return opened(make_tool("look", world.look), settings={"journal": {"record": "all"}})


async def test_a_script_runs_its_own_runs_again() -> None:
    world = World()
    async with recording(world) as host:
        await run(host, LOOK)
        found = await run(host, "return Replay.run(Replay.list()[1].id)")
        runs = await host.get(Journal).runs()

    assert (found["identical"], found["values"], found["served"], found.get("first")) == (True, [1], 1, None)
    assert world.calls == 1
    assert sorted(each.records for each in runs) == [1, 2]


async def test_a_script_does_not_run_what_another_one_did() -> None:
    async with recording(World()) as host:
        await run(host, LOOK, "other.lua")
        (other,) = await host.get(Journal).runs()
        assert await run(host, "return #Replay.list()") == 0
        with pytest.raises(ScriptError, match="is no run of this script, nor the session that it runs in"):
            await run(host, f"return Replay.run('{other.id}')")


async def test_what_is_served_otherwise_reaches_the_script() -> None:
    source = """
        local id = Replay.list()[1].id
        local config = Replay.create_config(Replay.modes.modified)
        config:add_modification(PATH .. "/result/result/seen", 77)
        config:add_modification(PATH .. "/result/result/seen", 88, false)
        return Replay.run(id, config)
    """
    async with recording(World()) as host:
        await run(host, LOOK)
        (first,) = await host.get(Journal).runs()
        path = (await host.get(Journal).records(first.id))[1].path
        found = await run(host, f"local PATH = '{path}'\n{source}")

    assert found["values"] == [77]


async def test_a_replay_that_takes_too_long_is_cut_off() -> None:
    source = """
        local config = Replay.create_config()
        config:set_timeout_seconds(0.05)
        return Replay.run(Replay.list()[1].id, config)
    """
    waits = "if ARGS.wait ~= 'no' then for i = 1, 3 do Tool.invoke('look', {n = i}) end end return 1"
    async with recording(World()) as host:

        async def slowly(context: Any) -> None:
            if context.operation.replayed:
                await trio.sleep_forever()

        await run(host, waits)
        host.hooks.register("before_tool_execution", slowly)
        with pytest.raises(ScriptError, match=r"took longer than 0\.05 s; see set_timeout_seconds"):
            await run(host, source)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("return Replay.modes.exact:name()", "exact"),
        ("return Replay.create_config():get_mode()", "exact"),
        ("return Replay.create_config('modified'):should_compare_results()", False),
        ("return Replay.create_config():get_timeout_seconds()", 30),
        ("return Replay.create_config():should_stop_on_error()", True),
        ("return Replay.create_modification('/a/result/x', {k = {1, 2}}):get_value()", {"k": [1, 2]}),
        ("return Replay.create_modification('/a/result/x', 1, false):is_enabled()", False),
        ("local m = Replay.create_modification('/a/result/x', 1) m:set_enabled(false) return m:is_enabled()", False),
        ("local c = Replay.create_config() c:add_modification('/a/result/x', 1) return #c:get_modifications()", 1),
        (
            "return Replay.create_comparator():compare_json({a = 1, b = {c = 2}}, {a = 1, b = {c = 3}})",
            {
                "identical": False,
                "similarity_score": 0.5,
                "summary": "1 differences",
                "differences": [{"path": "/b/c", "description": "2 -> 3"}],
            },
        ),
    ],
)
async def test_it_says_what_it_holds(source: str, wanted: Any) -> None:
    async with opened() as host:
        assert await run(host, source) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Replay.create_config('debug')", "there is no mode 'debug'; there are exact and modified"),
        ("Replay.create_modification('x', 1)", "'x' is no place; give PATH/result/FIELD"),
        ("Replay.create_config():set_timeout_seconds(-1)", "a timeout of -1 s; give 0 to 3600"),
        ("Replay.run('nothing')", "nothing is no run of this script"),
    ],
)
async def test_what_it_cannot_do_is_refused_in_one_line(source: str, message: str) -> None:
    async with opened() as host:
        with pytest.raises(ScriptError, match=message):
            await run(host, source)
