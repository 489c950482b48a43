"""Large values that are allowed, and those that are not: nothing that is done with them holds up all others.

Each case is what one script or caller may do; counted is the processor time of the longest step of the loop. What is
wide, deep, long or many is handed to each tool and each global that takes it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
import trio

from llmspell import Host
from llmspell_hookspecs import Event, HookContext, LlmspellError, Modified, ToolCall, ToolResult, hookimpl, tool
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.workflows import Workflows
from llmspell_testing import loop_steps

pytestmark = pytest.mark.timing

STEP_S = 0.02
ENOUGH_S = 3.0
"""What goes on for longer shows by then whether its steps are long."""
SETTINGS = {
    "storage": {"backend": "memory"},
    "scripts": {"time_s": 8},
    "security": {"hosts": {"private": ["127.0.0.1"]}},
}
WARM = """
Tool.invoke('calculator', {input = '1'}) Tool.invoke('csv_analyzer', {input = 'a\\n1'})
Tool.invoke('text_manipulator', {operation = 'uppercase', input = 'x'}) Tool.invoke('json_processor', {input = '1'})
pcall(Tool.invoke, 'http_request', {input = 'http://127.0.0.1:1/'}) State.set('a', 1) Event.publish('a.b', {})
Agent.create{model = 'offline/rules'}:invoke('hi')
Workflow.sequential{name = 'w', steps = {{name = 'a', tool = 'calculator', input = {input = '1'}}}}:execute()
Hook.list() Config.get() JSON.parse('1') Debug.dump(1)
"""

FLAT = "local t = {} for i = 1, 8e5 do t[i] = i end "
TEXTS = "local t = {} for i = 1, 2e5 do t[i] = 'v' .. i end "
NESTED = "local t = {} for i = 1, 1.2e5 do t[i] = {i} end "
CALL = "return pcall(Tool.invoke, "
SCRIPTS = {
    "a list for a query": FLAT + CALL + "'json_processor', {operation = 'query', input = t, query = 'length'})",
    "a list in a parameter that there is not": FLAT + CALL + "'calculator', {input = '1', x = t})",
    "variables by the thousand": TEXTS + CALL + "'calculator', {input = '1', variables = t})",
    "workflows of many stages": (
        "for i = 1, 8 do local s = {} for j = 1, 300 do "
        "s[j] = {name = 's' .. j, tool = 'calculator', input = {input = '{{input.a}}'}} end "
        "Workflow.sequential{name = 'w' .. i, steps = s} end"
    ),
    "a workflow over many items": (
        "local t = {} for i = 1, 1000 do t[i] = i end Workflow.map_reduce{name = 'w', items = t, "
        "max_concurrency = 128, steps = {{name = 'a', tool = 'calculator', input = {input = '1'}}}}:execute({})"
    ),
    "an event of numbers": FLAT + "Event.subscribe('a.*') Event.publish('a.b', t)",
    "an event of tables": NESTED + "Event.subscribe('a.*') Event.publish('a.b', t)",
    "an event of text": "Event.subscribe('a.*') Event.publish('a.b', {x = ('x '):rep(2e6)})",
    "a point fired with tables": NESTED + "Hook.register('custom:x', function() end) Hook.fire('x', t)",
    "a value to keep": NESTED + "State.set('k', t)",
    "a value to keep that may be": "local t = {} for i = 1, 4900 do t[i] = {i} end State.set('k', t) State.get('k')",
    "a text to keep": "State.set('k', ('x'):rep(4e6)) return #State.get('k')",
    "keys by the thousand": "for i = 1, 3000 do State.set('k' .. i, i) end State.all() State.keys() State.all()",
    "a prompt that may be": "return #Agent.create{model = 'offline/rules'}:invoke(('x '):rep(2e6)).text",
    "a prompt of foreign letters": "return #Agent.create{model = 'offline/rules'}:invoke(('é '):rep(1.3e6)).text",
    "a prompt of lines": "return #Agent.create{model = 'offline/rules'}:invoke(('x\\n'):rep(2e6)).text",
    "a prompt to repeat": "return #Agent.create{model = 'offline/echo'}:invoke(('x '):rep(1e6)).text",
    "a prompt too large": "return Agent.create{model = 'offline/rules'}:invoke(('x '):rep(4e6))",
    "a system prompt": "Agent.create{model = 'offline/rules', system_prompt = ('x '):rep(2e6)}:invoke('hi')",
    "parameters of an agent": NESTED + "Agent.create{model = 'offline/rules'}:invoke{text = 'hi', parameters = t}",
    "tables to print": NESTED + "print(t)",
    "text to print": "print(('x'):rep(1e7)) print(('x\\n'):rep(2e6))",
    "text to log": "Logger.info(('x'):rep(1e7))",
    "a dump": NESTED + "return #Debug.dump(t)",
    "JSON": "local s = '[' .. ('{},'):rep(3e5) .. '{}]' return #JSON.parse(s)",
    "JSON of too much": "return JSON.parse('[' .. ('{},'):rep(1e6) .. '{}]')",
    "a setting": "local t = {} for i = 1, 2e4 do t[i] = 'p' .. i end Config.set('security.paths.read', t)",
    "a setting of patterns": "local t = {} for i = 1, 5e3 do t[i] = '*' .. ('a*'):rep(40) .. i end"
    " Config.set('security.paths.denied', t)",
    "a setting of hosts": "local t = {} for i = 1, 2e4 do t[i] = 'a' .. i .. '.com' end"
    " pcall(Config.set, 'security.hosts.denied', t) Tool.invoke('http_request', {input = 'http://127.0.0.1:1/'})",
    "settings again and again": "for i = 1, 50 do Config.get() end",
    "a table as an error": NESTED + "error(t)",
    "a text as an error": "error(('x\\n'):rep(2e6))",
    "a text to change": CALL + "'text_manipulator', {operation = 'uppercase', input = ('x'):rep(1e7)})",
    "a text to change that may be": "return #Tool.invoke('text_manipulator', "
    "{operation = 'uppercase', input = ('x'):rep(4e6)}).text",
    "a power of powers": CALL + "'calculator', {input = '9**9**9**9'})",
    "brackets": CALL + "'calculator', {input = ('('):rep(3000) .. '1' .. (')'):rep(3000)})",
    "a long sum": CALL + "'calculator', {input = ('1+'):rep(40000) .. '1'})",
    "many rows": CALL + "'csv_analyzer', {operation = 'analyze', input = ('a,b,c\\n'):rep(1e5)})",
    "many columns": CALL + "'csv_analyzer', {operation = 'analyze',"
    " input = ('a,'):rep(3e5) .. '\\n' .. ('1,'):rep(3e5)})",
    "a sample of many columns": CALL + "'csv_analyzer', {operation = 'sample',"
    " input = ('a,'):rep(3e5) .. '\\n' .. ('1,'):rep(3e5)})",
    "many errors of a table": CALL + "'csv_analyzer', {input = 'a,b\\n' .. ('x\\n'):rep(1e5)})",
    "many broken rules": CALL + "'csv_analyzer', {operation = 'validate', input = 'a\\n' .. ('x\\n'):rep(1e5),"
    " options = {rules = {a = 'email'}}})",
    "many headers": "local h = {} for i = 1, 200 do h['x-' .. i] = 'y' end " + CALL + "'http_request',"
    " {input = 'http://127.0.0.1:1/', headers = h})",
    "a body": CALL + "'http_request', {input = 'http://127.0.0.1:1/', method = 'POST', body = ('x'):rep(4e6)})",
    "hooks to list": "for i = 1, 900 do Hook.register('BeforeToolExecution', function() end) end"
    " for i = 1, 10 do Hook.list() Hook.list{point = '*'} end",
    "hooks behind each other": "for i = 1, 900 do Hook.register('BeforeToolExecution', function() end,"
    " {name = 'n' .. i, after = {'n' .. (i - 1)}}) end",
    "a pattern of choices": "Event.subscribe('{' .. ('a,'):rep(50000) .. '}.*')",
    "a pattern of products": "Event.subscribe(('{a,b}'):rep(25))",
    "a pattern of segments": "Event.subscribe(('**.'):rep(25) .. 'x') Event.publish(('a.'):rep(200) .. 'b', {})",
    "a pattern of stars": "Event.subscribe(('*'):rep(60) .. 'x') Event.publish(('a'):rep(20000) .. 'b', {})",
    "a pattern of hooks": "Hook.register('BeforeToolExecution', function() end, {match = ('*a'):rep(60) .. 'b'})"
    " Tool.invoke('calculator', {input = '1'}) Hook.fire(('a'):rep(3000), 1)",
    "a name of a variable": "return os.getenv(('A'):rep(1e6))",
}


@pytest.mark.parametrize("what", SCRIPTS)
async def test_no_step_of_the_loop_is_long_whatever_a_script_hands_over(what: str) -> None:
    async with Host.open(SETTINGS, write=lambda text: None) as host:
        await host.run_source(WARM, "lua")
        with loop_steps() as steps:
            await trio.lowlevel.checkpoint()
            with trio.move_on_after(ENOUGH_S):
                await harmless(host, SCRIPTS[what])
            await trio.lowlevel.checkpoint()

    assert steps.longest_s < STEP_S, steps.longest_task


async def harmless(host: Host, source: str) -> Any:
    """Run a script that may be refused, in one line."""
    try:
        await host.run_source(source, "lua")
    except LlmspellError as error:
        assert "\n" not in str(error)
        assert len(str(error)) <= 500


ROWS = 20_000


@tool(repeatable=True)
async def rows_of(given: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what was given."""
    return {"rows": given}


@tool
def rows_at_once(count: int) -> list[dict[str, Any]]:
    """Return so many rows."""
    return rows(count)


@cache
def rows(count: int) -> list[dict[str, Any]]:
    return [{"a": index, "b": str(index)} for index in range(count)]


class Watching:
    """Sees everything, and changes what leaves."""

    name = "watching"

    @hookimpl
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Modified:
        return Modified(context.subject)

    @hookimpl
    def after_tool_execution(self, context: HookContext[ToolResult]) -> Modified:
        return Modified(context.subject)

    @hookimpl(kind="observe", specname="after_tool_execution")
    async def see(self, context: HookContext[ToolResult]) -> None:
        """See it."""

    @hookimpl
    def before_event_emit(self, context: HookContext[Event]) -> None:
        """See it."""


async def pass_on(host: Host, count: int, shares: bool) -> Any:
    """Run a durable workflow whose stages hand each other so many rows."""

    def give(stage: Any) -> list[dict[str, Any]]:
        if shares:
            stage.shared["rows"] = rows(count)
        return rows(count)

    stages = [
        {"name": "a", "function": give},
        {"name": "b", "function": lambda stage: stage.input["rows"], "input": {"rows": "{{step:a:output}}"}},
        {"name": "c", "tool": "rows_of", "input": {"given": "{{step:b:output}}"}},
    ]
    made = await host.get(Workflows).create({"name": "w", "pattern": "sequential", "stages": stages})
    return await made.run({"given": rows(count)}, durable=True)


HANDED: dict[str, Callable[[Host], Awaitable[Any]]] = {
    "rows from stage to stage": lambda host: pass_on(host, ROWS, False),
    "rows that stages share": lambda host: pass_on(host, 4_900, True),
    "parameters of rows": lambda host: host.call("tool:rows_of", {"given": rows(ROWS)}),
    "a result of rows": lambda host: host.call("tool:rows_at_once", {"count": ROWS}),
    "a result too large": lambda host: host.call("tool:rows_at_once", {"count": 2 * ROWS}),
    "a point fired": lambda host: host.hooks.fire("x", {"rows": rows(ROWS)}),
    "an event": lambda host: host.events.publish("a.b", {"rows": rows(4_900)}),
    "an event of somebody's": lambda host: host.events.publish("a.b", {"rows": rows(4_900)}, source="me"),
}


@pytest.mark.parametrize("plugins", [(), (Watching,)], ids=["unhooked", "hooked"])
@pytest.mark.parametrize("what", HANDED)
async def test_no_step_of_the_loop_is_long_whatever_code_hands_over(what: str, plugins: tuple[type, ...]) -> None:
    settings = {**SETTINGS, "tools": {"output_bytes": 500_000}}
    async with Host.open(settings, plugins=[rows_of, rows_at_once, *plugins]) as host:
        await host.call("tool:rows_of", {"given": rows(3)})
        await host.call("tool:rows_at_once", {"count": 3})
        rows(ROWS)
        with loop_steps() as steps:
            await trio.lowlevel.checkpoint()
            with suppress(ResourceLimitError):
                await HANDED[what](host)
            await trio.lowlevel.checkpoint()

    assert steps.longest_s < STEP_S, steps.longest_task


async def test_what_is_walked_beside_the_loop_is_left_when_its_caller_is_cancelled() -> None:
    async with Host.open(SETTINGS, plugins=[rows_of]) as host:
        with trio.move_on_after(0.05) as scope:
            await host.call("tool:rows_of", {"given": rows(200_000)})

        assert scope.cancelled_caught
        assert await host.call("tool:rows_of", {"given": rows(3)}) == ToolResult(result={"rows": rows(3)})
