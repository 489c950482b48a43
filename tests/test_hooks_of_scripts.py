"""Hooks of scripts stand outside of all others: behind the guards, and about what their own script set off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import trio
from msgspec import structs
from pydantic import BaseModel
from trio.testing import MockClock

from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    Fork,
    HookContext,
    HookResult,
    Modified,
    Redirect,
    Replace,
    Retry,
    SecurityLevel,
    Tool,
    ToolCall,
    ToolContext,
    ToolResult,
)
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.plugin import PluginInfo
from llmspell_hookspecs.results import Call
from scripted_model import ScriptedModel, says

KINDS = ("transform", "guard", "observe")

# A hook of every kind at every point that writes down all that it is shown.
SPY = """
for _, point in ipairs(Hook.points()) do
  for _, kind in ipairs{"transform", "guard", "observe"} do
    pcall(Hook.register, point.name, function(c) seen[#seen + 1] = JSON.stringify(c) end, {kind = kind})
  end
end
"""


class _Given(BaseModel):
    text: str = ""


class Secretive(Tool[_Given]):
    """Says what nobody outside may hear."""

    name: ClassVar[str] = "secretive"
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    parameters = _Given

    async def run(self, parameters: _Given, context: ToolContext) -> dict[str, str]:
        """Say it."""
        return {"said": "LEAK"}


def denies(context: HookContext[Any]) -> Cancel:
    return Cancel("withheld")


def adds(context: HookContext[ToolCall]) -> HookResult:
    return Modified(structs.replace(context.subject, parameters={"text": "LEAK"}))


def keeps(context: HookContext[Any]) -> HookResult:
    context.metadata["vault"]["kept"] = "LEAK"
    return Cancel("withheld")


def forks(context: HookContext[Any]) -> HookResult:
    return Fork((Call("tool:secretive", {}),), join=True)


def again(context: HookContext[Any]) -> HookResult | None:
    return Retry(0.0, 2) if context.operation.attempt == 1 else None


Hooks = tuple[tuple[str, Callable[..., Any], dict[str, Any]], ...]
GUARD = {"kind": "guard"}
ASKED = 'pcall(Tool.invoke, "secretive", {})'
WITHHELD: dict[str, tuple[str, Hooks]] = {
    "a result that a guard denied": (ASKED, (("after_tool_execution", denies, GUARD),)),
    "a result that a transform denied": (ASKED, (("after_tool_execution", denies, {}),)),
    "a result that a transform replaced": (
        ASKED,
        (("after_tool_execution", lambda c: Replace(ToolResult(result="clean")), {}),),
    ),
    "what a plugin added to a call that a guard denied": (
        ASKED,
        (("before_tool_execution", adds, {}), ("before_tool_execution", denies, GUARD)),
    ),
    "a result that a plugin proposed and a guard denied": (
        ASKED,
        (("before_tool_execution", lambda c: Replace({"said": "LEAK"}), {}), ("after_tool_execution", denies, GUARD)),
    ),
    "a result that came after a second attempt": (
        ASKED,
        (("after_tool_execution", again, {}), ("after_tool_execution", denies, GUARD)),
    ),
    "a call that a check denied": (
        ASKED,
        (("before_tool_execution", adds, {}), ("tool_security_check", denies, GUARD)),
    ),
    "a result of a redirection": (
        'pcall(Tool.invoke, "calculator", {operation = "evaluate", input = "1"})',
        (
            ("before_tool_execution", lambda c: Redirect("tool:secretive"), {"match": "calculator"}),
            ("after_tool_execution", denies, GUARD),
        ),
    ),
    "what a plugin keeps": (ASKED, (("after_tool_execution", keeps, GUARD),)),
    "what came of a fork": (
        'pcall(Tool.invoke, "calculator", {operation = "evaluate", input = "1"})',
        (
            ("before_tool_execution", forks, {"match": "calculator"}),
            ("after_tool_execution", denies, {"kind": "guard", "match": "secretive"}),
        ),
    ),
    "state that a guard does not let be read": ('pcall(State.get, "kept")', (("after_state_read", denies, GUARD),)),
    "what a model said": (
        'local a = Agent.create{model = "scripted/play"} pcall(a.invoke, a, "hi")',
        (("after_model_call", denies, GUARD),),
    ),
    "what an agent said": (
        'local a = Agent.create{model = "scripted/play"} pcall(a.invoke, a, "hi")',
        (("after_agent_execution", denies, GUARD), ("after_model_call", lambda c: Replace(says("hush")), {})),
    ),
}


async def shown_to_spies(asked: str, hooks: Hooks) -> str:
    plugins = [Secretive, ScriptedModel(says("LEAK"))]
    async with Host.open({"storage": {"backend": "memory"}}, plugins=plugins, discover=False) as host:
        await host.state.set("kept", "LEAK")
        for point, function, options in hooks:
            host.hooks.register(point, function, **options)
        value = await host.run_source(f"seen = {{}} {SPY} {asked} return {{#seen, table.concat(seen)}}", "lua")
    count, text = value
    assert count > 0, "the spies were asked"
    return str(text)


@pytest.mark.parametrize("what", WITHHELD)
async def test_a_script_is_never_shown(what: str) -> None:
    text = await shown_to_spies(*WITHHELD[what])

    assert "LEAK" not in text


async def test_a_script_is_shown_what_the_guards_let_pass() -> None:
    text = await shown_to_spies(ASKED, (("after_tool_execution", lambda c: None, GUARD),))

    assert "LEAK" in text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", ["own", "all"])
async def test_others_operations_are_shown_only_if_settings_say_so(kind: str, shared: str) -> None:
    settings = {"scripts": {"hooks": shared}, "storage": {"backend": "memory"}}
    async with Host.open(settings, discover=False) as host, host.session("lua") as session:
        await session.evaluate(
            f"asked = 0 Hook.register('BeforeToolExecution', function() asked = asked + 1 end, {{kind = '{kind}'}})"
        )

        await host.call("tool:calculator", {"operation": "evaluate", "input": "1"})
        by_others = await session.evaluate("return asked")
        await session.evaluate("Tool.invoke('calculator', {operation = 'evaluate', input = '1'})")
        in_all = await session.evaluate("return asked")

    assert (by_others, in_all - by_others) == (0 if shared == "own" else 1, 1)


async def test_a_project_file_cannot_open_others_operations_to_scripts() -> None:
    source = 'return pcall(Config.set, "scripts.hooks", "all")'
    async with Host.open({"storage": {"backend": "memory"}}, discover=False) as host:
        done, message = await host.run_source(source, "lua")

    assert not done
    assert "scripts.hooks" in message


async def test_what_a_script_sets_off_through_others_is_its_own() -> None:
    """A fork, a redirection and a nested script descend from its run."""
    async with Host.open({"storage": {"backend": "memory"}}, plugins=[Secretive], discover=False) as host:
        fork = Fork((Call("tool:calculator", {"operation": "evaluate", "input": "1"}),), join=True)
        host.hooks.register("before_tool_execution", lambda c: fork, match="secretive")
        names = await host.run_source(
            "local names = {} Hook.register('AfterToolExecution', function(c) names[#names + 1] = c.component_id.name"
            " end, {kind = 'observe'}) Tool.invoke('secretive', {}) table.sort(names) return names",
            "lua",
        )

    assert names == ["calculator", "secretive"]


async def test_notices_of_the_system_reach_every_script() -> None:
    async with Host.open({"storage": {"backend": "memory"}}, discover=False) as host, host.session("lua") as session:
        await session.evaluate("told = 0 Hook.register('ConfigurationChange', function() told = told + 1 end)")
        await host.settings.change("limits.depth", 20, origin="code")

        assert await session.evaluate("return told") == 1


async def test_a_scripts_transform_comes_first_before_and_last_after() -> None:
    order: list[str] = []
    async with Host.open({"storage": {"backend": "memory"}}, plugins=[Secretive], discover=False) as host:
        host.hooks.register("before_tool_execution", lambda c: order.append(f"before {c.subject.parameters}"))
        host.hooks.register("after_tool_execution", lambda c: order.append(f"after {c.subject.text}"))
        host.hooks.register("after_tool_execution", lambda c: order.append(f"guard {c.subject.message}"), kind="guard")
        await host.run_source(
            "Hook.register('BeforeToolExecution', function(c) return {type = 'modified', data = {parameters ="
            " {text = 'mine'}}} end, 'lowest') Hook.register('AfterToolExecution', function(c)"
            " return {type = 'modified', data = {message = 'mine'}} end, 'highest') Tool.invoke('secretive', {})",
            "lua",
        )

    assert order[0] == "before {'text': 'mine'}"
    assert order[2:] == ["guard ", "guard mine"], "what the script changed was judged again"


async def test_what_a_script_changed_is_denied_by_the_guards() -> None:
    def no_forgery(context: HookContext[ToolResult]) -> Cancel | None:
        return Cancel("forged") if context.subject.message == "mine" else None

    async with Host.open({"storage": {"backend": "memory"}}, plugins=[Secretive], discover=False) as host:
        host.hooks.register("after_tool_execution", no_forgery, kind="guard")
        done, message = await host.run_source(
            "Hook.register('AfterToolExecution', function(c) return {type = 'modified', data = {message = 'mine'}} end)"
            " return pcall(Tool.invoke, 'secretive', {})",
            "lua",
        )

    assert not done
    assert "forged" in message


async def test_a_scripts_guard_denies_its_own_operation() -> None:
    host_ = Host.open({"storage": {"backend": "memory"}}, plugins=[Secretive], discover=False)
    async with host_ as host, host.session("lua") as session:
        await session.evaluate(
            "Hook.register('AfterToolExecution', function() return 'not today' end, {kind = 'guard'})"
        )
        done, message = await session.evaluate("return pcall(Tool.invoke, 'secretive', {})")
        await host.call("tool:secretive", {})

    assert not done
    assert "not today" in message


@pytest.mark.parametrize("kind", KINDS)
async def test_hooks_without_end_cost_their_own_script_its_time_and_are_dropped(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"storage": {"backend": "memory"}, "scripts": {"time_s": 0.2}}
    source = (
        "for i = 1, 100 do Hook.register('BeforeToolExecution', function() while true do end end,"
        f" {{kind = '{kind}'}}) end for i = 1, 100 do pcall(Tool.invoke, 'secretive', {{}}) end"
    )
    async with Host.open(settings, plugins=[Secretive], discover=False) as host:
        with pytest.raises(ScriptError, match=r"0\.2 s of processor time"):
            await host.run_source(source, "lua")
        others = await host.call("tool:secretive", {})

    assert others.success
    assert caplog.text.count("its hooks are dropped") <= 1


async def test_a_script_waits_before_a_retry_for_as_long_as_settings_say(autojump_clock: MockClock) -> None:
    settings = {"storage": {"backend": "memory"}, "scripts": {"retry_delay_s": 7.0, "slices": "loop"}}
    source = (
        "Hook.register('AfterToolExecution', function(c) if c.operation.attempt == 1 then"
        " return {type = 'retry', delay_s = 1e9} end end) Tool.invoke('secretive', {})"
    )
    async with Host.open(settings, plugins=[Secretive], discover=False) as host:
        began_s = trio.current_time()
        await host.run_source(source, "lua")

        assert 7.0 <= trio.current_time() - began_s < 8.0


async def test_a_scripts_guard_at_a_chunk_is_asked_once_the_guards_let_the_whole_answer_pass() -> None:
    source = """
        local seen = {}
        Hook.register("ModelChunk", function(c) seen[#seen + 1] = c.data.text return "no" end, {kind = "guard"})
        local a = Agent.create{model = "scripted/play"}
        local ok, why = pcall(a.invoke, a, "hi")
        return {ok, tostring(why):match("denied by hook") ~= nil, seen[1]}
    """
    async with Host.open(
        {"storage": {"backend": "memory"}}, plugins=[ScriptedModel(says("fine"))], discover=False
    ) as host:
        host.hooks.register("after_model_call", lambda context: None, kind="guard")

        assert await host.run_source(source, "lua") == [False, True, "fine"]


@pytest.mark.parametrize(
    ("function", "kind", "told"),
    [
        ("error('boom')", "observe", "the observer failed: a:1: boom"),
        ("error('boom')", "transform", "it failed and was passed over: a:1: boom"),
        ("n = (n or 0) + 1; error('boom ' .. n % 2)", "observe", "the observer failed: a:1: boom"),
        ("return 42", "transform", "it returned 42"),
        ("return {type = 'odd'}", "transform", "it returned a table of type 'odd'"),
    ],
)
async def test_what_a_scripts_hook_does_wrong_is_told_once_for_each_cause_and_counted_at_the_end(
    function: str, kind: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = f"""
        Hook.register("before_tool_execution", function() {function} end, {{kind = "{kind}"}})
        for i = 1, 20 do Tool.execute("calculator", {{input = "1"}}) end
    """.strip()
    async with Host.open(settings={"hooks": {"breaker": "off"}}) as host:
        await host.run_source(source, name="a")
        ended = len(caplog.messages)

    causes = 2 if "%" in function else 1
    lines = [message for message in caplog.messages if told in message]
    assert len(set(lines)) == len(lines) == causes
    assert f"{20 - causes} times more" in caplog.messages[ended - 1]
    assert len(caplog.messages) == causes + 1


async def test_what_a_hook_answers_wrongly_at_a_notice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Host.open() as host:
        host.hooks.register("plugin_loaded", lambda context: Cancel("no"), name="late")
        for _ in range(5):
            await host.get(Operations).notify("plugin_loaded", PluginInfo("a", ""))

    [first, last] = caplog.messages
    assert first.startswith("hook code.late at plugin_loaded: it answered Cancel")
    assert last.endswith("4 times more; see the lines above")
    assert len(host.problems) == 5
