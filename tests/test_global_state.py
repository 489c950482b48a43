"""The global State, as scripts call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from kernel import opened, run
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.state import StateWrite
from puppet import Puppet


def run_lua(source: str, watch: Callable[[Host], Any] | None = None, sources: tuple[str, ...] = ()) -> Any:
    """Run Lua, after other scripts in the same host."""

    async def main() -> Any:
        async with opened() as host:
            if watch is not None:
                watch(host)
            for each in sources:
                await host.run_source(each, "lua")
            return await host.run_source(source, "lua", name="tour.lua")

    return run(main)


@pytest.mark.parametrize(
    ("save", "load"),
    [
        ("State.save('custom', 'k', v)", "State.load('custom', 'k')"),
        ("State:save('agent:a', 'k', v)", "State:load('agent:a', 'k')"),
        ("State.save('workflow', 'k', v)", "State.load('workflow', 'k')"),
        ("State.save('global', 'k', v)", "State.get('k')"),
        ("State.set('k', v)", "State.load('global', 'k')"),
        ("State.set('k', v)", "State.all().k"),
        ("State.agent_set('a', 'k', v)", "State.agent_get('a', 'k')"),
        ("State.agentSet('a', 'k', v)", "State:agentGet('a', 'k')"),
        ("State.agent_set('a', 'k', v)", "State.load('agent:a', 'k')"),
        ("State.tool_set('a', 'k', v)", "State.tool_get('a', 'k')"),
        ("State:toolSet('a', 'k', v)", "State.toolGet('a', 'k')"),
        ("State.save('workflow:w', 'k', v)", "State.workflow_get('w', 'k')"),
        ("State.save('workflow:w', 'k', v)", "State:workflowGet('w', 'k')"),
    ],
)
def test_every_spelling_finds_in_a_later_script_what_was_kept(save: str, load: str) -> None:
    value = "{1, 2.5, {text = 'é', yes = true, empty = {}}}"

    loaded = run_lua(f"return {load}", sources=(f"local v = {value} {save}",))

    assert loaded[:2] == [1, 2.5]
    assert {**loaded[2], "empty": list(loaded[2]["empty"])} == {"text": "é", "yes": True, "empty": []}


def test_numbers_keep_their_kind() -> None:
    source = "return math.type(State.get('whole')), math.type(State.get('broken')), State.get('big')"

    answers = run_lua(
        f"local a, b, c = (function() {source} end)() return {{a, b, c}}",
        sources=("State.set('whole', 3) State.set('broken', 3.0) State.set('big', math.maxinteger)",),
    )

    assert answers == ["integer", "float", (1 << 63) - 1]


def test_what_is_not_there_is_nothing_or_the_default() -> None:
    source = """
        State.set("there", false)
        return {State.load("custom", "k") == nil, State.get("k") == nil, State.get("k", "default"),
                State.exists("k"), State.exists("there"), State.exists("custom", "there"),
                State.delete("custom", "k"), State.delete("there"), State.exists("there")}
    """

    assert run_lua(source) == [True, True, "default", False, True, False, False, True, False]


def test_keys_are_listed_without_their_scope() -> None:
    source = """
        State.save("agent:a", "x", 1) State.save("agent:a", "y:z", 2) State.set("one", 1) State.set("two", 2)
        State.save("workflow:w", "step", "out")
        return {State.list_keys("agent:a"), State:listKeys("agent:a"), State.list_keys(), State.keys(),
                State.keys("t"), State.workflow_list("w"), State.workflowList("none"), State.all()}
    """

    assert run_lua(source) == [
        ["x", "y:z"],
        ["x", "y:z"],
        ["one", "two"],
        ["one", "two"],
        ["two"],
        ["step"],
        [],
        {"one": 1, "two": 2},
    ]


def test_a_script_counts_by_compare_and_set() -> None:
    source = """
        local first = State.set("n", 1, 0)
        local value, version = State.entry("global", "n")
        local ok, why = pcall(State.save, "global", "n", 5, 0)
        State.save("global", "n", value + 1, version)
        return {first == version, ok, tostring(why), State.get("n")}
    """

    same, ok, why, value = run_lua(source)

    assert (same, ok, value) == (True, False, 2)
    assert "version 1 is there, not 0; read it and try again" in why


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("State.save('custom')", "key is missing"),
        ("State.save('custom', 'a..b', 1)", "it holds '..'"),
        ("State.save('sesion:1', 'k', 1)", "did you mean session:1"),
        ("State.load('custom', {})", "key must be a string"),
        ("State.set('k', print)", "its value cannot be kept"),
        ("State.set('k', function() end)", "its value cannot be kept"),
        ("State.set('k', 1, -1)", "give a whole number from 0"),
    ],
)
def test_what_is_wrong_is_an_error_that_a_script_may_catch(call: str, message: str) -> None:
    caught = run_lua(f"local ok, why = pcall(function() {call} end) return {{ok, tostring(why)}}")

    assert caught[0] is False
    assert message in caught[1]
    with pytest.raises(ScriptError):
        run_lua(call)


def test_a_guard_refuses_a_scripts_write_and_a_scripts_own_hook_changes_one() -> None:
    def guard(context: HookContext[StateWrite]) -> Cancel | None:
        return Cancel("keep out") if context.subject.key == "secret" else None

    def watch(host: Host) -> None:
        host.hooks.register("before_state_write", guard, kind="guard", match="custom*")

    source = """
        Hook.register("BeforeStateWrite", function(context)
            return {type = "modified", data = {value = "changed"}}
        end)
        State.save("custom", "open", "as it was")
        local ok, why = pcall(State.save, "custom", "secret", 1)
        return {ok, tostring(why), State.load("custom", "open"), State.save("global", "secret", 1) > 0}
    """

    ok, why, value, elsewhere = run_lua(source, watch)

    assert (ok, value, elsewhere) == (False, "changed", True)
    assert "keep out" in why


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        ("State.all()", "State.all: there are more than 29 keys"),
        ("State.keys()", "State.keys: there are more than 29 keys"),
        ("State.list_keys()", "State.list_keys: there are more than 29 keys"),
        ("State.list_keys('global')", "State.list_keys: there are more than 29 keys"),
        ("State.workflow_list('w')", "State.workflow_list: there are more than 29 keys"),
    ],
)
async def test_more_keys_than_a_script_may_hand_over_do_not_come_back_to_it(ask: str, told: str) -> None:
    async with opened(settings={"scripts": {"value_items": 29}}) as host:
        for index in range(30):
            await host.state.set(f"k{index}", index)
            await host.state.set(f"k{index}", index, scope="workflow:w")
        with pytest.raises(ScriptError, match=told) as refused:
            await host.run_source(f"return {ask}", "lua")
        fewer = await host.run_source("return #State.keys('k1')", "lua")

    assert "ask by prefix with State.keys, or raise scripts.value_items" in str(refused.value)
    assert fewer == 11


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x" * 700, "State.all: there are more than 1000 bytes"),
        ([[1] * 4] * 4, "State.all: there are more than 29 values"),
    ],
)
async def test_values_come_back_together_as_far_as_a_script_may_hand_them_over(value: Any, told: str) -> None:
    async with opened(settings={"scripts": {"value_items": 29, "value_bytes": 1000}}) as host:
        await host.state.set("a", value)
        alone = await host.run_source("return State.all().a ~= nil", "lua")
        await host.state.set("b", value)
        with pytest.raises(ScriptError, match=told):
            await host.run_source("State.all()", "lua")

    assert alone is True


async def test_others_get_their_turn_while_many_values_are_read() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened(Puppet(main=lambda script: script("State.all"))) as host:
        for index in range(200):
            await host.state.set(f"k{index}", index)
        await host.run_source("main", "puppet")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            await trio.lowlevel.checkpoint()
            before = turns
            await host.run_source("main", "puppet")
            taken = turns - before
            nursery.cancel_scope.cancel()

    assert 12 <= taken < 100
