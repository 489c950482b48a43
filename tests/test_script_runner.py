"""script-runner: in each language, at each limit, with the globals that may be given, called by each sort of caller."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import test_language_conformance
from kernel import opened
from llmspell import Host
from llmspell_hookspecs import (
    Cancel,
    HookContext,
    InvalidInputError,
    LlmspellError,
    Modified,
    OperationCancelledError,
    ToolCall,
    ToolError,
    tool,
)
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    DepthLimitError,
    OperationTimeoutError,
    ResourceLimitError,
    ScriptError,
    SecurityError,
)
from llmspell_hookspecs.kind import Registries
from llmspell_hookspecs.script import ScriptRun, Scripts
from llmspell_hookspecs.tool import ResourceAllocation
from llmspell_plugins.tools.utility.script_runner import ScriptRunner
from llmspell_testing import LanguageConformance
from waiting import PATIENCE_S

KINDS = [
    kind
    for kind in vars(test_language_conformance).values()
    if isinstance(kind, type) and issubclass(kind, LanguageConformance) and kind.language
]
LANGUAGES = {kind.language: kind.sources for kind in KINDS}
NOTHING = "local seen = {} for name in pairs(_G) do seen[#seen + 1] = name end table.sort(seen) return seen"
FREE: dict[str, Any] = {"tools": {"script-runner": {"globals": ["JSON", "Tool"]}}}


def host(*plugins: Any, **settings: Any) -> Any:
    return opened(ScriptRunner, *plugins, settings={"storage": {"backend": "memory"}, **settings})


async def run(host: Host, source: str, **parameters: Any) -> Any:
    return (await host.call("tool:script-runner", {"source": source, **parameters})).result


def within(source: str, **parameters: Any) -> str:
    """A script that runs another one by the tool, and returns its value."""
    more = "".join(f", {name} = {_lua(value)}" for name, value in parameters.items())
    return f"return Tool.invoke('script-runner', {{source = {_lua(source)}{more}}}).result.value"


def _lua(value: Any) -> str:
    return "{" + ", ".join(map(_lua, value)) + "}" if isinstance(value, list) else json.dumps(value)


@tool
async def wait() -> None:
    """Wait for ever."""
    await trio.sleep_forever()


def test_every_language_that_is_installed_is_tried_here() -> None:
    assert {point.name for point in entry_points(group="llmspell.languages")} <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_each_language_gives_its_value_and_what_was_printed(language: str) -> None:
    sources = LANGUAGES[language]
    async with host() as opened_host:
        if not hasattr(opened_host.get(Registries).of("llmspell.languages").get(language), "acting"):
            with pytest.raises(InvalidInputError, match="can withhold no globals"):
                await run(opened_host, sources["a number"], language=language)
            return
        assert await run(opened_host, sources["a number"], language=language) == {"value": 7, "output": ""}
        assert await run(opened_host, sources["says hello"], language=language) == {"value": None, "output": "hello\n"}
        assert (await run(opened_host, sources["arguments"], language=language, arguments=["x"]))["value"] == "x"
        with pytest.raises(ToolError, match=r"^script-runner: tried:2: .*torn.*; correct the script$") as caught:
            await run(opened_host, sources["fails"], language=language, name="tried")
        assert (caught.value.code, caught.value.details["line"]) == ("script", 2)  # type: ignore[index]
        with pytest.raises(ToolError, match=r"^script-runner: script.*; correct the script$"):
            await run(opened_host, sources["is no program"], language=language)
        for what in ("calls a tool", "keeps", "hears"):
            with pytest.raises(ToolError, match="script-runner: script:"):
                await run(opened_host, sources[what], language=language)
        with pytest.raises(ResourceLimitError, match=r"script-runner: script.*0\.2 s of processor time; do less"):
            await run(opened_host, sources["goes on for ever"], language=language, time_s=0.2)
        with pytest.raises(ResourceLimitError, match=r"script-runner: script.*8000000 bytes of memory; do less"):
            await run(opened_host, sources["takes memory"], language=language, memory_bytes=8_000_000)


@pytest.mark.parametrize(
    ("source", "parameters", "message"),
    [
        (
            "while true do end",
            {"instructions": 10_000},
            "script-runner: script:1: the script ran more than its 10000 instructions; do less, or raise instructions, "
            "which the setting scripts.instructions bounds",
        ),
        (
            "local t = {}\nfor i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
            {"memory_bytes": 2_000_000},
            "script-runner: script:2: the script needs more than its 2000000 bytes of memory; do less, or raise "
            "memory_bytes, which the setting scripts.memory_bytes bounds",
        ),
        (
            "while true do print('flood') end",
            {"output_bytes": 1000},
            "script-runner: script: it prints more than its 1000 bytes; print less, or raise output_bytes",
        ),
        (
            "print(('x'):rep(2000))",
            {"name": "loud", "output_bytes": 2000},
            "script-runner: loud: it prints more than its 2000 bytes; print less, or raise output_bytes",
        ),
        (
            "local n = 0 while n < 3 do n = n + 1 pcall(print, ('x'):rep(2000)) end return 'went on'",
            {"output_bytes": 100},
            "script-runner: script: it prints more than its 100 bytes; print less, or raise output_bytes",
        ),
    ],
)
async def test_each_limit_ends_in_one_line_that_says_what_to_do(
    source: str, parameters: Mapping[str, Any], message: str
) -> None:
    async with host() as opened_host:
        with pytest.raises(ResourceLimitError) as caught:
            await run(opened_host, source, **parameters)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"language": "cobol"}, ComponentNotFoundError, "cobol"),
        ({"globals": ["Tool"]}, SecurityError, "globals: 'Tool' may not be given here; leave it out, or allow it in "),
        ({"globals": ["io"]}, SecurityError, "globals: 'io' may not be given here"),
        ({"globals": ["\x1b[2J"]}, SecurityError, "may not be given here"),
        ({"source": ""}, InvalidInputError, "source"),
        ({"time_s": 0}, InvalidInputError, "time_s"),
        ({"time_s": "nan"}, InvalidInputError, "time_s"),
        ({"memory_bytes": 1}, InvalidInputError, "memory_bytes"),
        ({"arguments": ["x" * 200_000]}, InvalidInputError, "arguments: .*more than 100000 characters"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    parameters: Mapping[str, Any], kind: type[LlmspellError], message: str
) -> None:
    async with host() as opened_host:
        with pytest.raises(kind, match=message):
            await opened_host.call("tool:script-runner", {"source": "return 1", **parameters})


async def test_a_run_sees_its_own_globals_and_what_only_computes() -> None:
    async with host() as opened_host:
        seen = (await run(opened_host, NOTHING))["value"]
        bare = (await run(opened_host, NOTHING, globals=[]))["value"]

    acting = {"Agent", "Config", "Event", "Hook", "Provider", "State", "Tool", "Workflow", "dofile", "io", "loadfile"}
    assert acting.isdisjoint(seen)
    assert set(seen) - set(bare) == {"JSON"}
    assert {"ARGS", "arg", "print", "os", "string"} <= set(bare)


async def test_it_has_no_input_of_the_hosts() -> None:
    settings = {"tools": {"script-runner": {"globals": ["io"]}}}
    async with host(**settings) as opened_host:
        assert (await run(opened_host, "return io.read() == nil", globals=["io"]))["value"] is True


async def test_settings_say_what_anybody_may_give_and_no_more() -> None:
    source = "return Tool.invoke('calculator', {input = '6 * 7'}).result.result"
    async with host(**FREE) as opened_host:
        assert (await run(opened_host, source, globals=["Tool"]))["value"] == 42
        with pytest.raises(ToolError, match="Tool"):
            await run(opened_host, source)
        with pytest.raises(SecurityError, match="'State' may not be given here"):
            await run(opened_host, source, globals=["State"])


async def test_a_script_gives_what_it_has_and_never_more() -> None:
    async with host() as opened_host:
        scripts = opened_host.get(Scripts)
        source = within("State.set('k', 1) return State.get('k')", globals=["State"])
        assert await opened_host.run_source(source, "lua") == 1
        some = ScriptRun(source, "lua", "outer", globals=("JSON", "Tool"))
        with pytest.raises(ScriptError, match="'State' may not be given here"):
            await scripts.run_script(some)
        deeper = within(within("return type(State)"), globals=["Tool"])
        assert await opened_host.run_source(deeper, "lua") == "nil"
        without = ScriptRun(within("return type(JSON)"), "lua", "outer", globals=("Tool",))
        assert await scripts.run_script(without) == "nil"
        with pytest.raises(ScriptError, match="the script around it has no 'JSON'"):
            await scripts.run_script(ScriptRun(within("return 1", globals=["JSON"]), "lua", "o", globals=("Tool",)))


async def test_settings_give_no_more_than_the_script_around_it_has() -> None:
    settings = {"tools": {"script-runner": {"globals": ["State"]}}}
    source = within("return type(State)", globals=["State"])
    async with host(**settings) as opened_host:
        with pytest.raises(ScriptError, match="the script around it has no 'State'; leave it out"):
            await opened_host.get(Scripts).run_script(ScriptRun(source, "lua", "outer", globals=("Tool",)))


async def test_it_sees_nothing_of_the_script_around_it() -> None:
    source = "mine = 5 State.set('k', 1) local a = Agent.create({name = 'near', kind = 'basic'})\n" + within(
        "return {mine == nil, State == nil, Agent == nil, #ARGS}"
    )
    async with host() as opened_host:
        assert await opened_host.run_source(source, "lua", arguments=["x"]) == [True, True, True, 0]


async def test_tools_that_it_calls_are_judged_by_guards_and_by_the_hooks_of_the_script_around_it() -> None:
    calls = "return select(2, pcall(Tool.invoke, 'calculator', {input = '1'}))"
    denies = (
        "Hook.register('BeforeToolExecution', function() return {type = 'cancel', reason = 'outer says no'} end, "
        "{kind = 'guard', match = 'calculator'})\n"
    )
    seen: list[tuple[str, str]] = []

    def judge(context: HookContext[ToolCall]) -> Cancel | None:
        seen.append((context.subject.name, context.language))
        return Cancel("the guard says no") if context.subject.name == "calculator" else None

    async with host() as opened_host:
        assert "outer says no" in await opened_host.run_source(denies + within(calls, globals=["Tool"]), "lua")
        opened_host.hooks.register("before_tool_execution", judge, kind="guard")
        assert "the guard says no" in await opened_host.run_source(within(calls, globals=["Tool"]), "lua")

    assert seen == [("script-runner", "lua"), ("calculator", "lua")]


async def test_rules_on_levels_and_paths_hold_within(tmp_path: Path) -> None:
    paths = {"read": [str(tmp_path)], "write": [str(tmp_path)]}
    reads = within("local file, why = io.open('/etc/passwd') return why", globals=["io"])
    for level, why in (("privileged", "/etc/passwd"), ("restricted", "its level is privileged")):
        async with host(security={"level": level, "paths": paths}) as opened_host:
            assert why in await opened_host.run_source(reads, "lua")


async def test_its_own_hooks_are_asked_about_its_own_operations_and_end_with_it() -> None:
    hooks = (
        "Hook.register('BeforeToolExecution', function() return {type = 'cancel', reason = 'inner'} end)\n"
        "return select(2, pcall(Tool.invoke, 'calculator', {input = '1'}))"
    )
    after = within(hooks, globals=["Hook", "Tool"]).replace("return ", "local inner = ", 1) + (
        "\nreturn {inner, Tool.invoke('calculator', {input = '2'}).result.result}"
    )
    async with host() as opened_host:
        inner, outer = await opened_host.run_source(after, "lua")

    assert "inner" in inner
    assert outer == 2


async def test_a_guard_sees_the_script_as_a_script_with_what_it_is_given() -> None:
    seen: list[ScriptRun] = []

    def judge(context: HookContext[ScriptRun]) -> Cancel | None:
        seen.append(context.subject)
        return Cancel("no loops") if "while" in context.subject.source else None

    async with host() as opened_host:
        opened_host.hooks.register("before_script_run", judge, kind="guard")
        assert (await run(opened_host, "return 1", name="first"))["value"] == 1
        with pytest.raises(OperationCancelledError, match="no loops"):
            await run(opened_host, "while true do end")

    assert (seen[0].name, seen[0].globals) == ("first", ("ARGS", "JSON", "arg", "print"))


async def test_a_script_that_runs_itself_ends_at_the_limit_on_depth() -> None:
    source = (
        "local answer = Tool.invoke('script-runner', {source = ARGS[1], arguments = {ARGS[1]}, globals = {'Tool'}})\n"
        "return answer.result.value"
    )
    async with host(**FREE, limits={"depth": 8}) as opened_host:
        with pytest.raises((ToolError, DepthLimitError), match=r"nested|depth"):
            await run(opened_host, source, arguments=[source], globals=["Tool"])
        assert (await run(opened_host, "return 1"))["value"] == 1


@pytest.mark.parametrize("source", ["Tool.invoke('wait', {})", "print('begun') while true do end"])
async def test_a_cancellation_ends_it_and_what_it_waits_for(source: str) -> None:
    begun = trio.Event()

    def note(context: HookContext[Any]) -> None:
        begun.set()

    async with host(wait, **FREE) as opened_host:
        opened_host.hooks.register("before_script_run", note, kind="observe")
        opened_host.hooks.register("before_tool_execution", note, kind="observe", match="wait")
        with trio.move_on_after(PATIENCE_S) as whole:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_run_freely, opened_host, source)
                await begun.wait()
                nursery.cancel_scope.cancel()
        assert not whole.cancelled_caught
        assert (await run(opened_host, "return 1"))["value"] == 1


async def _run_freely(host: Host, source: str) -> None:
    await run(host, source, globals=["Tool"], time_s=3600)


@pytest.mark.parametrize("source", ["Tool.invoke('wait', {})", "while true do end"])
async def test_a_deadline_ends_it(source: str) -> None:
    async with host(wait, **FREE) as opened_host:
        with pytest.raises(OperationTimeoutError):
            given = {"source": source, "globals": ["Tool"], "time_s": 3600}
            await opened_host.call("tool:script-runner", given, deadline_s=0.3)
        assert (await run(opened_host, "return 1"))["value"] == 1


async def test_a_hook_that_lowers_what_the_call_may_hold_lowers_what_the_script_may() -> None:
    def lower(context: HookContext[ResourceAllocation]) -> Modified:
        limits = structs.replace(context.subject.limits, memory_bytes=3_000_000)
        return Modified(structs.replace(context.subject, limits=limits))

    async with host() as opened_host:
        opened_host.hooks.register("tool_resource_allocated", lower, match="script-runner")
        with pytest.raises(ResourceLimitError, match="3000000 bytes"):
            await run(opened_host, "return #('x'):rep(20000000)", output_bytes=1000)


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(min_value=0, max_value=120))
async def test_what_is_printed_is_kept_to_the_byte(texts: list[str], most: int) -> None:
    source = "for i = 1, #ARGS do io.write(ARGS[i]) end"
    whole = "".join(texts)
    settings = {"tools": {"script-runner": {"globals": ["io"]}}}
    async with host(**settings) as opened_host:
        kept = {"arguments": ["--", *texts], "globals": ["io"], "output_bytes": most}
        try:
            answer = await run(opened_host, source, **kept)
        except ResourceLimitError as error:
            assert error.resource == "output_bytes"
            assert len(whole.encode()) > most
        else:
            assert answer["output"] == whole
            assert len(whole.encode()) <= most


async def test_an_agent_uses_it_by_a_model_and_is_given_its_answer() -> None:
    asked = json.dumps({"source": "local n = 1 for i = 2, 10 do n = n * i end print(n) return n"})
    async with host() as opened_host:
        agent = await opened_host.agents.create(name="helper", model="offline/rules", tools=["script-runner"])
        output = await agent.run(f"use script-runner {asked}")
        refused = json.dumps({"source": "return Tool.list()", "globals": ["Tool"]})
        other = await opened_host.agents.create(name="other", model="offline/rules", tools=["script-runner"])
        denied = await other.run(f"use script-runner {refused}")

    assert "3628800" in output.text
    assert "'Tool' may not be given here" in denied.text


@pytest.mark.parametrize(
    ("given", "code", "out", "err"),
    [
        ({"source": "print('hi') return {a = 1}"}, 0, '"output": "hi\\n"', ""),
        ({"source": "error('torn')"}, 1, "", "script-runner: script:1: torn; correct the script"),
    ],
)
def test_it_is_invoked_on_the_command_line(
    tmp_path: Path, given: Mapping[str, Any], code: int, out: str, err: str
) -> None:
    command = [sys.executable, "-m", "llmspell", "tool", "invoke", "script-runner", json.dumps(given)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == code, done.stderr
    assert out in done.stdout
    assert err in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_of_the_how_to_does_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to.md").read_text()
    [script] = re.findall(r"```lua\n(-- run-code.lua\n.*?)```", page, re.DOTALL)
    (tmp_path / "run-code.lua").write_text(script)

    command = [sys.executable, "-m", "llmspell", "run", "run-code.lua"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert (done.returncode, done.stdout) == (0, "42.0\tnil\n\n"), done.stderr
