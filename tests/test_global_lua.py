"""The globals as Lua scripts use them: every spelling of the original that touches them."""

from __future__ import annotations

from typing import Any

import pytest

from llmspell import Host
from llmspell_hookspecs.errors import ScriptError


async def lua(source: str, *arguments: str) -> tuple[Any, str]:
    written: list[str] = []

    async with Host.open(False, discover=False, write=written.append) as host:
        result = await host.run_source(source, "lua", name="tour.lua", arguments=arguments)
    return result, "".join(written)


async def test_a_tool_answers_in_every_spelling() -> None:
    source = """
    local p = {operation = "evaluate", input = "2 + 2"}
    local calls = {Tool.invoke("calculator", p), Tool.execute("calculator", p), Tool.executeAsync("calculator", p),
                   Tool:invoke("calculator", p), Tool.calculator.execute(p), Tool.calculator:execute(p),
                   Tool.get("calculator"):execute(p)}
    local out = {}
    for i, r in ipairs(calls) do out[i] = r.result.result end
    return out
    """

    assert (await lua(source))[0] == [4, 4, 4, 4, 4, 4, 4]


async def test_tools_are_listed_by_name_and_as_texts() -> None:
    source = """
    local named, text = {}, {}
    for _, t in ipairs(Tool.list()) do named[t.name] = t.version; text[tostring(t)] = true end
    return {named.calculator, text.calculator, Tool.exists("calculator"), Tool.exists("nosuch"), Tool.nosuch == nil,
            Tool.get("nosuch") == nil, Tool.calculator.getSchema().name, #Tool.discover{category = "utility"} > 0}
    """

    assert (await lua(source))[0] == ["1.0.0", True, True, False, True, True, "calculator", True]


async def test_a_failure_is_an_error_that_pcall_catches() -> None:
    ok, message = (await lua('return {pcall(Tool.invoke, "calculator", {operation = "evaluate", input = "1 +"})}'))[0]

    assert ok is False
    assert "Tool execution failed: " in str(message)


async def test_a_hook_of_the_script_changes_watches_and_denies() -> None:
    source = """
    local seen = 0
    local h = Hook.register("BeforeToolExecution", function(c)
      return {type = "modified", data = {parameters = {operation = "evaluate", input = "3 * 3"}}}
    end, "high")
    Hook.register("tool:after_execution", function(c) seen = seen + 1 end, {kind = "observe"})
    local changed = Tool.invoke("calculator", {operation = "evaluate", input = "1"}).result.result
    assert(h:unregister() == true and h:unregister() == false)
    assert(not pcall(h.hook_point, h))
    Hook.register({point = "BeforeToolExecution", handler = function() return {type = "cancel", reason = "closed"} end,
                   kind = "guard", name = "door"})
    local ok, message = pcall(Tool.invoke, "calculator", {operation = "evaluate", input = "1"})
    assert(Hook.unregister{name = "door"})
    return {changed, seen, ok, tostring(message), #Hook.list("tool:*"), Hook.list()[1].priority}
    """

    changed, seen, ok, message, count, priority = (await lua(source))[0]

    assert (changed, seen, ok, count, priority) == (9, 1, False, 1, "Priority(0)")
    assert "was denied by hook" in message
    assert "closed" in message


async def test_custom_points_are_fired() -> None:
    source = """
    Hook.register("custom:price", function(c) return {type = "modified", data = {eur = 2}} end)
    return Hook.fire("price", {eur = 1}).eur
    """

    assert (await lua(source))[0] == 2


async def test_json_goes_round() -> None:
    source = """
    local t = JSON.parse('{"a": [1, 2.5, null, "x"], "b": {}}')
    return {t.a[1], math.type(t.a[1]), t.a[4], JSON.stringify({1, 2}), JSON.stringify({}),
            JSON.query({a = {b = 3}}, ".a.b"), JSON.stringify({a = 1}, true), select(2, pcall(JSON.parse, "{"))}
    """

    *values, message = (await lua(source))[0]

    assert values == [1, "integer", "x", "[1,2]", "{}", 3, '{\n  "a": 1\n}']
    assert "JSON parse error: " in message


async def test_arguments_are_tables() -> None:
    source = "return {ARGS[0], ARGS[1], ARGS.name, ARGS.flag, arg[1], arg[0], arg.name == nil, ARGS.none or 'default'}"

    value, _ = await lua(source, "in.csv", "--name", "x", "--flag")

    assert value == ["tour.lua", "in.csv", "x", "true", "in.csv", "tour.lua", True, "default"]


async def test_config_is_read_and_only_tightened() -> None:
    source = """
    assert(not pcall(Config.set, "limits.depth", 1000))
    Config.set("limits.depth", 3)
    return {Config.get("limits.depth"), Config.getDefaultEngine(), Config.isFileAccessAllowed(),
            #Config.listProviders(), (pcall(Config.addAllowedPath, "/")), type(Config.toJson())}
    """

    assert (await lua(source))[0] == [3, "lua", True, 0, False, "string"]


async def test_debug_and_logger_work_in_lua() -> None:
    source = """
    Debug.setLevel("trace")
    Debug.info("hello", "app"); Debug.logWithData("debug", "data", {a = 1}); Logger.info("seen")
    local timer = Debug.timer("work"); timer:lap("one"); local ms = timer:stop()
    local loop = {}; loop.me = loop
    return {#Debug.getCapturedEntries(), Debug.getCapturedEntries()[2].metadata.a, ms >= 0, timer.id,
            Debug.recordEvent(timer.id, "x"), Debug.memoryStats().resident_bytes > 0, Debug.dumpCompact({1, {x = 2}}),
            type(Debug.stackTrace()), Debug.performanceReport():find("work") ~= nil}
    """

    assert (await lua(source))[0] == [2, 1, True, "timer-1", True, True, '[1, {"x": 2}]', "string", True]


async def test_print_writes_to_the_output() -> None:
    assert (await lua('print("a", 1, nil, 2.0, true)'))[1] == "a\t1\tnil\t2.0\ttrue\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("Tool.invoke()", "Tool.invoke: expected (name, parameters?), got 0 arguments; name is missing"),
        ("Hook.register('Nothing', print)", "Unknown hook point: Nothing"),
        ("Hook.register('BeforeToolExecution', print, 'urgent')", "'urgent' is none"),
        ("Debug.setLvel('x')", "setLvel"),
    ],
)
async def test_misuse_is_an_error_of_the_script(source: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        await lua(source)

    assert message in str(caught.value)
