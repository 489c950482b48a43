"""What a run of a script is given: fewer globals and tighter limits than those around it have, never more."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from pydantic import BaseModel

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    InvalidInputError,
    Modified,
    OperationCancelledError,
    Tool,
    ToolContext,
)
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.language import ScriptInterface, ScriptLimits
from llmspell_hookspecs.script import ScriptRun, Scripts
from llmspell_plugins.languages.adapter import PlainHookAdapter

HAS = "local names = {} for name in pairs(_G) do names[#names + 1] = name end table.sort(names) return names"
PURE = ("ARGS", "JSON", "arg", "print")


class InnerParameters(BaseModel):
    """What the tool inner takes."""

    source: str
    globals: list[str] | None = None
    limits: dict[str, float] = {}


class Inner(Tool[InnerParameters]):
    """Run a script within whatever calls it."""

    name = "inner"

    async def run(self, parameters: InnerParameters, context: ToolContext) -> Any:
        given = None if parameters.globals is None else tuple(parameters.globals)
        scripts = context.services.get(Scripts)
        around = scripts.around()
        run = ScriptRun(parameters.source, "lua", "inner", globals=given, limits=parameters.limits)
        value = await scripts.run_script(run)
        return {"value": value, "asks": around.asks, "globals": around.globals and sorted(around.globals)}


class Whole:
    """A language that can withhold nothing."""

    name: ClassVar[str] = "whole"
    extensions: ClassVar[tuple[str, ...]] = ()
    hook_adapter = PlainHookAdapter()

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        return sorted(interface.globals)


def host(*plugins: Any, **scripts: Any) -> AbstractAsyncContextManager[Host]:
    return opened(Inner, *plugins, settings={"scripts": scripts, "storage": {"backend": "memory"}})


async def run(host: Host, source: str, globals: Sequence[str] | None = None, **limits: float) -> Any:
    given = None if globals is None else tuple(globals)
    return await host.get(Scripts).run_script(ScriptRun(source, "lua", "outer", globals=given, limits=limits))


def quoted(source: str) -> str:
    return f"[==[{source}]==]"


async def test_a_script_sees_the_globals_that_it_is_given_and_of_its_language_what_does_not_act() -> None:
    async with host() as opened_host:
        every = set(await run(opened_host, HAS))
        some = set(await run(opened_host, HAS, PURE))

    assert {"Tool", "State", "io", "os", "dofile"} <= every
    assert every - some == {
        "Agent", "Artifact", "Config", "Debug", "Event", "Hook", "Logger", "Provider", "Replay", "Session", "State",
        "Tool", "Workflow", "dofile", "io", "loadfile",
    }  # fmt: skip


@pytest.mark.parametrize(
    "escape",
    [
        "Tool",
        "io",
        "_G.io",
        "dofile",
        "loadfile",
        "os.getenv",
        "os.remove",
        "os.rename",
        "os.tmpname",
        "os.execute",
        "os.exit",
        "require",
        "package",
        "debug",
        "load('return io')()",
        "load('return Tool', 'x', 't', {})()",
        "_ENV.State",
        "getmetatable('').__index.io",
        "getmetatable(_G)",
        "string.gsub('x', 'x', _G).Tool",
        "coroutine.wrap(function() return Hook end)()",
        "JSON.services",
        "JSON.scope",
        "JSON.__class__",
        "print.scope",
    ],
)
async def test_what_was_not_given_is_nil_and_nothing_leads_to_it(escape: str) -> None:
    source = f"local ok, found = pcall(function() return {escape} end) return ok and found or nil"
    async with host() as opened_host:
        assert await run(opened_host, source, PURE) in (None, "x")


async def test_what_a_language_brings_is_given_by_its_name() -> None:
    async with host() as opened_host:
        told = await run(opened_host, "return {type(io), type(os), type(os.getenv), type(dofile)}", ["io", "os"])

    assert told == ["table", "table", "function", "nil"]


async def test_os_still_tells_the_time() -> None:
    async with host() as opened_host:
        assert await run(opened_host, "return os.date('%Y', 0) .. type(os.clock())", []) == "1970number"


async def test_a_global_that_there_is_not_is_refused_and_the_nearest_named() -> None:
    async with host() as opened_host:
        with pytest.raises(InvalidInputError, match="globals: there is no 'JSOM'; did you mean 'JSON'"):
            await run(opened_host, "return 1", ["JSOM"])


async def test_a_run_within_another_has_no_more_than_that() -> None:
    within = f"return Tool.invoke('inner', {{source = {quoted('return type(State) .. type(JSON)')}}}).result.value"
    asks = f"return Tool.invoke('inner', {{source = {quoted('return State')}, globals = {{'State'}}}})"
    async with host() as opened_host:
        assert await run(opened_host, within) == "tabletable"
        assert await run(opened_host, within, ["Tool", "JSON"]) == "niltable"
        with pytest.raises(ScriptError, match="the script around it has no 'State'; leave it out"):
            await run(opened_host, asks, ["Tool", "JSON"])


async def test_it_is_held_to_that_also_by_way_of_a_hook_of_its_own() -> None:
    hooked = (
        "local seen Hook.register('BeforeToolExecution', function()\n"
        f"seen = Tool.invoke('inner', {{source = {quoted('return type(State)')}}}).result.value end, "
        "{match = 'calculator'})\n"
        "Tool.invoke('calculator', {input = '1'}) return seen"
    )
    async with host() as opened_host:
        assert await run(opened_host, hooked) == "table"
        assert await run(opened_host, hooked, ["Tool", "Hook"]) == "nil"


async def test_it_is_held_to_that_also_within_what_stands_apart_from_scripts(tmp_path: Path) -> None:
    reads = f"io.open({quoted(str(tmp_path / 'read.txt'))})"
    seen: list[Any] = []

    async with host() as opened_host:

        async def ask(context: HookContext[Any]) -> None:
            answer = await opened_host.call("tool:inner", {"source": "return type(State) .. type(io)"})
            seen.append(answer.result["value"])

        opened_host.hooks.register("before_tool_execution", ask, kind="observe", match="file_operations")
        for globals in (None, ["io"]):
            await run(opened_host, reads, globals)

    assert seen == ["tabletable", "niltable"]


async def test_a_hook_may_give_a_script_less_and_no_script_more_than_is_around_it() -> None:
    def narrow(context: HookContext[ScriptRun]) -> Modified:
        return Modified(structs.replace(context.subject, globals=("JSON",), limits={"instructions": 1000}))

    def widen(context: HookContext[ScriptRun]) -> Modified:
        return Modified(structs.replace(context.subject, globals=("State",)))

    within = f"return Tool.invoke('inner', {{source = {quoted('return type(State)')}}}).result.value"
    async with host() as opened_host:
        handle = opened_host.hooks.register("before_script_run", narrow)
        assert await run(opened_host, "return type(Tool) .. type(JSON)") == "niltable"
        with pytest.raises(ScriptError, match="1000 instructions"):
            await run(opened_host, "while true do end")
        handle.unregister()
        opened_host.hooks.register("before_script_run", widen, match="inner")
        with pytest.raises(ScriptError, match="has no 'State'"):
            await run(opened_host, within, ["Tool"])


async def test_a_guard_sees_what_a_script_is_to_be_given() -> None:
    def judge(context: HookContext[ScriptRun]) -> Cancel | None:
        return Cancel("it asks for State") if "State" in (context.subject.globals or ()) else None

    async with host() as opened_host:
        opened_host.hooks.register("before_script_run", judge, kind="guard")
        assert await run(opened_host, "return 1", ["JSON"]) == 1
        with pytest.raises(OperationCancelledError, match="it asks for State"):
            await run(opened_host, "return 1", ["State"])


async def test_a_tool_is_told_whether_a_script_asks_and_what_those_around_it_have() -> None:
    asks = (
        "local answer = Tool.invoke('inner', {source = 'return 1'}).result\n"
        "return {answer.asks, answer.globals or 'all'}"
    )
    deep = f"return Tool.invoke('inner', {{source = {quoted(asks)}, globals = {{'Tool'}}}}).result.value"
    told: list[Any] = []

    async def ask(context: HookContext[Any]) -> None:
        told.append((await opened_host.call("tool:inner", {"source": "return 1"})).result)

    async with host() as opened_host:
        assert (await opened_host.call("tool:inner", {"source": "return 1"})).result["asks"] is False
        assert await run(opened_host, asks) == [True, "all"]
        assert await run(opened_host, asks, ["JSON", "Tool"]) == [True, ["JSON", "Tool"]]
        assert await run(opened_host, deep, ["JSON", "Tool"]) == [True, ["Tool"]]
        opened_host.hooks.register("before_tool_execution", ask, kind="observe", match="calculator")
        await run(opened_host, "Tool.invoke('calculator', {input = '1'})", ["Tool"])

    assert told == [{"value": 1, "asks": False, "globals": ["Tool"]}]


async def test_limits_only_grow_tighter() -> None:
    loop = "local n = 0 while n < 1e5 do n = n + 1 end return n"
    within = f"return Tool.invoke('inner', {{source = {quoted(loop)}, limits = {{instructions = 1e9}}}}).result.value"
    async with host(instructions=2_000_000) as opened_host:
        assert await run(opened_host, loop, instructions=1e9) == 100_000
        with pytest.raises(ScriptError, match="more than its 1000 instructions"):
            await run(opened_host, loop, instructions=1000)
        assert await run(opened_host, within) == 100_000
        with pytest.raises(ScriptError, match="more than its 5000 instructions"):
            await run(opened_host, within, instructions=5000)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"time": 1}, "limits: 'time' is none; the limits are memory_bytes, instructions, time_s"),
        ({"slices": 1}, "limits: 'slices' is none"),
        ({"time_s": 0}, "limits.time_s: 0 is no number above 0"),
        ({"time_s": float("nan")}, "limits.time_s: nan is no number above 0"),
        ({"memory_bytes": True}, "limits.memory_bytes: True is no number above 0"),
        ({"instructions": "many"}, "limits.instructions: 'many' is no number above 0"),
    ],
)
async def test_a_limit_that_is_none_is_refused(limits: dict[str, Any], message: str) -> None:
    async with host() as opened_host:
        with pytest.raises(InvalidInputError, match=message):
            await run(opened_host, "return 1", **limits)


@given(
    st.dictionaries(
        st.sampled_from(["memory_bytes", "instructions", "time_s", "callback_s", "value_items", "value_bytes"]),
        st.floats(min_value=1e-3, max_value=1e12) | st.integers(min_value=1, max_value=10**12),
    ),
    st.integers(min_value=0, max_value=10**6),
)
def test_no_limit_is_ever_looser_than_it_was(limits: dict[str, float], instructions: int) -> None:
    own = ScriptLimits(instructions=instructions)
    tightened = own.tightened(limits)

    for name in ScriptLimits.__struct_fields__:
        before, after = getattr(own, name), getattr(tightened, name)
        if name == "instructions" and not before:
            assert after >= 0
        elif name == "slices":
            assert after == before
        else:
            assert 0 < after <= before
        if name in limits and isinstance(after, float):
            assert after <= limits[name]


async def test_a_language_that_can_withhold_nothing_runs_no_script_with_fewer_globals() -> None:
    async with host(Whole) as opened_host:
        scripts = opened_host.get(Scripts)
        assert "Tool" in await scripts.run_script(ScriptRun("", "whole", "all"))
        with pytest.raises(InvalidInputError, match="script some: whole can withhold no globals"):
            await scripts.run_script(ScriptRun("", "whole", "some", globals=("JSON",)))


async def test_what_a_script_prints_goes_to_whoever_takes_it_and_then_it_has_no_input() -> None:
    taken: list[str] = []
    source = "print('a', 1) io.write('b') io.write(2) return io.read() == nil"
    async with host() as opened_host:
        assert await opened_host.get(Scripts).run_script(ScriptRun(source, "lua", "outer"), write=taken.append)

    assert "".join(taken) == "a\t1\nb2"


async def test_a_console_is_given_what_its_script_says() -> None:
    async with host() as opened_host:
        scripts = opened_host.get(Scripts)
        async with scripts.console(ScriptRun("", "lua", "lines", globals=("JSON", "print"))) as console:
            assert await console.evaluate("type(Tool) .. type(io) .. type(JSON)") == "nilniltable"
            assert {"Tool", "io"}.isdisjoint(await console.globals())


async def test_a_limit_that_is_higher_than_anybody_counts_is_none() -> None:
    async with host(value_items=2**63 - 1, value_bytes=2**63 - 1) as opened_host:
        assert await run(opened_host, "return 1", instructions=10**30) == 1
