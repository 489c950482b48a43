"""Sessions: chunk after chunk in one runtime, each an operation with hooks, limits and an end of its own."""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from kernel import MiniLanguage, make_plugin
from llmspell import Host
from llmspell.scripting import ScriptSession
from llmspell_hookspecs import Cancel, InvalidInputError, OperationCancelledError, Replace
from llmspell_hookspecs.errors import ComponentNotFoundError, OperationError, OperationTimeoutError, ScriptError
from llmspell_hookspecs.language import InteractiveLanguage
from llmspell_plugins.languages.lua.engine import Engine
from llmspell_plugins.languages.lua.language import Lua
from waiting import PATIENCE_S

BURN = "local t = os.clock() while os.clock() - t < {0} do end return {0}"


async def in_session(
    use: Callable[[Host, ScriptSession], Awaitable[Any]], *plugins: Any, **scripts: Any
) -> tuple[Any, list[str]]:
    """Return what a function does with a session, and what its chunks wrote."""
    written: list[str] = []

    settings = {"scripts": scripts} if scripts else {}
    async with (
        Host.open(settings, plugins=plugins, discover=False, write=written.append) as host,
        host.session() as session,
    ):
        with trio.fail_after(PATIENCE_S):
            result = await use(host, session)
    return result, written


async def evaluate(*chunks: str) -> list[Any]:
    async def use(_: Host, session: ScriptSession) -> list[Any]:
        return [await session.evaluate(chunk) for chunk in chunks]

    answers: list[Any] = (await in_session(use))[0]
    return answers


async def evaluate_failing(chunk: str, *plugins: Any, **scripts: Any) -> tuple[ScriptError, Any]:
    """Return how a chunk fails, and what the next one answers."""

    async def use(_: Host, session: ScriptSession) -> tuple[ScriptError, Any]:
        with pytest.raises(ScriptError) as caught:
            await session.evaluate(chunk)
        return caught.value, await session.evaluate("1 + 1")

    error, after = (await in_session(use, *plugins, **scripts))[0]
    return error, after


def test_lua_offers_sessions() -> None:
    assert isinstance(Lua(), InteractiveLanguage)
    assert not isinstance(MiniLanguage(), InteractiveLanguage)


async def test_globals_and_functions_of_one_chunk_are_there_in_the_next_and_locals_are_not() -> None:
    answers = await evaluate("x = 20", "local y = 3; z = y", "function twice(n) return 2 * n end", "twice(x) + z", "y")

    assert answers == [None, None, None, 43, None]


@pytest.mark.parametrize(
    ("chunk", "value"),
    [
        ("1 + 1", 2),
        ("return 1 + 1", 2),
        ("'a', nil, true", ("a", None, True)),
        ("-- nothing", None),
        ("x = 1 return x", 1),
        ("#!/usr/bin/llmspell\nreturn 7", 7),
        ("#{4, 5}", 2),
        ("\ufeff1", 1),
        ("{a = {1, 2}}", {"a": [1, 2]}),
        ("(function() local t = {} t.t = t return t end)()", {"t": "<circular>"}),
        ("coroutine.create(print)", "<thread>"),
    ],
)
async def test_an_expression_is_answered_with_its_value_and_what_cannot_cross_is_marked(chunk: str, value: Any) -> None:
    assert await evaluate(chunk) == [value]


async def test_tables_nested_too_deeply_to_cross_are_cut_not_refused() -> None:
    value = (await evaluate("t = {} for _ = 1, 200 do t = {t} end return t"))[0]
    depth = 0
    while isinstance(value, list):
        value, depth = value[0], depth + 1

    assert value == "<deeper>"
    assert depth > 50


async def test_a_failure_names_the_chunk_and_the_line_and_the_session_goes_on() -> None:
    error, after = await evaluate_failing("x = 1\nerror('no luck')")

    assert str(error) == "session:2: no luck"
    assert error.line == 2
    assert after == 2


async def test_an_error_in_a_function_of_another_chunk_names_both_once() -> None:
    async def use(_: Host, session: ScriptSession) -> str:
        await session.evaluate("\nfunction fail() error('deep') end", name="first")
        with pytest.raises(ScriptError) as caught:
            await session.evaluate("fail()", name="second")
        return str(caught.value)

    assert (await in_session(use))[0] == "second: first:2: deep"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x =", True),
        ("1 +", True),
        ("for i = 1, 3 do", True),
        ("f(1,", True),
        ("{1, 2,", True),
        ("s = [[ab", True),
        ("--[[ ab", True),
        ("if x then y() else", True),
        ("x = 1", False),
        ("x", False),
        ("x = )", False),
        ("'ab", True),
        ("error('<eof>')", False),
        ("", False),
    ],
)
async def test_a_chunk_that_ends_too_early_is_incomplete(text: str, expected: bool) -> None:
    async def use(_: Host, session: ScriptSession) -> bool:
        return await session.is_incomplete(text)

    assert (await in_session(use))[0] is expected


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Tool.inv", ["Tool.invoke", "Tool.invokeAsync", "Tool.invoke_async"]),
        ("print(Tool.inv", ["Tool.invoke", "Tool.invokeAsync", "Tool.invoke_async"]),
        ("x = own.de", ["own.deep"]),
        ("own.deep.", ["own.deep.est", "own.deep.method"]),
        ("own.deep:", ["own.deep:method"]),
        ("word:re", ["word:rep", "word:reverse"]),
        ("'a' .. own.de", ["own.deep"]),
        ("'a'..to", ["tonumber", "tostring"]),
        ("heir.inh", ["heir.inherited"]),
        ("wh", ["while"]),
        ("nothing.at.all", []),
        ("f().inv", []),
        ("trap.", []),
        ("Tool.calculator.inv", ["Tool.calculator.invoke"]),
    ],
)
async def test_completion_follows_tables_and_host_objects_and_runs_nothing_of_the_script(
    text: str, names: list[str]
) -> None:
    setup = """
        own = {deep = {est = 1, method = function() end, ["no name"] = 1}}
        word = "w"
        heir = setmetatable({}, {__index = setmetatable({inherited = 1}, {__index = function() touched = true end})})
        local function touch() touched = true end
        trap = setmetatable({}, {__index = touch, __pairs = touch, __len = touch})
    """

    async def use(_: Host, session: ScriptSession) -> tuple[list[str], Any]:
        await session.evaluate(setup)
        return list(await session.complete(text)), await session.evaluate("touched")

    assert (await in_session(use))[0] == (names, None)


async def test_the_names_that_there_are_come_with_their_types_before_any_chunk_ran() -> None:
    async def use(_: Host, session: ScriptSession) -> tuple[Any, Any]:
        before = await session.globals()
        await session.evaluate("mine = 1")
        return before, await session.globals()

    before, after = (await in_session(use))[0]

    assert before["Tool"] == "object"
    assert before["print"] == "function"
    assert "mine" not in before
    assert after["mine"] == "number"
    assert list(after) == sorted(after)


async def test_guards_see_each_chunk_as_it_was_typed_and_a_denial_leaves_the_session_alone() -> None:
    seen = []

    def guard(context: Any) -> Any:
        seen.append((context.subject.source, context.component.name, context.language))
        return Cancel("not here") if "rm" in context.subject.source else None

    async def use(_: Host, session: ScriptSession) -> Any:
        await session.evaluate("x = 1")
        with pytest.raises(OperationCancelledError, match="not here"):
            await session.evaluate("x = 2 -- rm")
        return await session.evaluate("x")

    value, _ = await in_session(use, make_plugin("policy", ("before_script_run", guard, {"kind": "guard"})))

    assert value == 1
    assert seen == [(source, "session", "lua") for source in ("x = 1", "x = 2 -- rm", "x")]


async def test_hooks_replace_values_and_recover_errors_of_chunks_as_of_scripts() -> None:
    def after(context: Any) -> Any:
        return context.modify(value="changed") if context.subject.value == "old" else None

    def recover(context: Any) -> Any:
        return Replace("recovered")

    hooks = make_plugin("mender", ("after_script_run", after, {}), ("script_error", recover, {}))

    async def use(_: Host, session: ScriptSession) -> Any:
        return await session.evaluate("'old'"), await session.evaluate("error('x')")

    assert (await in_session(use, hooks))[0] == ("changed", "recovered")


async def test_hooks_and_handlers_of_a_session_are_served_between_chunks_and_go_with_it() -> None:
    hooks = """
        Hook.register("BeforeToolExecution", function(context) denied = (denied or 0) + 1 return "no tools" end)
        Event.on("ping", function(event) pings = (pings or 0) + event.data.by end)
    """

    async with Host.open(False, discover=False) as host:
        async with host.session() as session:
            await session.evaluate(hooks)
            host.events.publish_nowait("ping", {"by": 2})
            host.events.publish_nowait("ping", {"by": 3})
            with pytest.raises(ScriptError, match="no tools"):
                await session.evaluate("return Tool.invoke('calculator', {input = '1 + 1'})")
            await host.call("tool:calculator", {"input": "1 + 1"})  # nobody's but the host's own
            with trio.fail_after(PATIENCE_S):
                while await session.evaluate("pings") != 5:
                    await trio.sleep(0.01)
            counted = await session.evaluate("denied")
        await host.call("tool:calculator", {"input": "1 + 1"})
        counted, _ = counted, host.events.publish_nowait("ping", {"by": 2})

    assert counted == 1


async def test_the_time_limit_is_of_each_chunk_and_the_session_outlives_it() -> None:
    async def use(_: Host, session: ScriptSession) -> list[Any]:
        answers = [await session.evaluate(BURN.format(0.2)) for _ in range(3)]
        with pytest.raises(ScriptError) as caught:
            await session.evaluate("while true do end")
        return [*answers, caught.value.code, list(await session.complete("tos")), await session.evaluate("1 + 1")]

    answers, _ = await in_session(use, time_s=0.4)

    assert answers == [0.2, 0.2, 0.2, "time_limit", ["tostring"], 2]


async def test_the_instruction_limit_is_of_each_chunk() -> None:
    loop = "for _ = 1, 60000 do end "

    async def use(_: Host, session: ScriptSession) -> str:
        for _number in range(5):
            await session.evaluate(loop)
        with pytest.raises(ScriptError) as caught:
            await session.evaluate(loop * 3)
        await session.evaluate(loop)
        return caught.value.code

    assert (await in_session(use, instructions=100_000))[0] == "instruction_limit"


async def test_a_chunk_that_needs_too_much_memory_ends_and_what_it_held_can_be_let_go_of() -> None:
    async def use(_: Host, session: ScriptSession) -> tuple[str, Any]:
        with pytest.raises(ScriptError) as caught:
            await session.evaluate("big = {} for i = 1, 1e9 do big[i] = i end")
        await session.evaluate("big = nil collectgarbage()")
        return caught.value.code, await session.evaluate("#('x'):rep(5000000)")

    assert (await in_session(use, memory_bytes=20_000_000))[0] == ("memory_limit", 5_000_000)


@pytest.mark.parametrize("slices", ["thread", "loop"])
async def test_chunks_run_in_either_kind_of_slices(slices: str) -> None:
    async def use(_: Host, session: ScriptSession) -> Any:
        await session.evaluate("x = Tool.invoke('calculator', {operation = 'evaluate', input = '6 * 7'})")
        return await session.evaluate("x.result.result")

    assert (await in_session(use, slices=slices))[0] == 42


@pytest.mark.parametrize(
    "chunk", ["n = 1 while true do n = n + 1 end", "n = 1 Event.receive(Event.subscribe('x'), 60000)"]
)
@pytest.mark.timing
async def test_a_chunk_that_is_cancelled_ends_at_once_and_the_session_goes_on(chunk: str) -> None:
    async def use(_: Host, session: ScriptSession) -> tuple[bool, Any]:
        with trio.move_on_after(0.3) as scope:
            await session.evaluate(chunk)
        assert trio.current_time() - scope.deadline < 0.5
        return scope.cancelled_caught, await session.evaluate("n > 0")

    assert (await in_session(use))[0] == (True, True)


async def test_a_deadline_is_of_one_chunk() -> None:
    async def use(_: Host, session: ScriptSession) -> Any:
        with pytest.raises(OperationTimeoutError):
            await session.evaluate("while true do end", deadline_s=0.2)
        return await session.evaluate("1 + 1")

    assert (await in_session(use))[0] == 2


async def test_two_chunks_at_once_are_refused() -> None:
    async def use(_: Host, session: ScriptSession) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.evaluate, "Event.receive(Event.subscribe('x'), 60000)")
            await trio.sleep(0.2)
            with pytest.raises(InvalidInputError, match="a chunk of this session runs already; wait"):
                await session.evaluate("1 + 1")
            nursery.cancel_scope.cancel()
        return await session.evaluate("1 + 1")

    assert (await in_session(use))[0] == 2


async def test_a_file_opened_in_one_chunk_is_written_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def use(_: Host, session: ScriptSession) -> Any:
        await session.evaluate("file = io.open('notes.txt', 'w')")
        await session.evaluate("file:write('one ') return nil")
        await session.evaluate("file:write('two') return nil")
        return (tmp_path / "notes.txt").read_text()

    assert (await in_session(use))[0] == "one two"


async def test_a_file_can_be_loaded_into_a_session(tmp_path: Path) -> None:
    (tmp_path / "tools.lua").write_text("#!/usr/bin/env llmspell\nfunction double(n) return 2 * n end\nreturn 'loaded'")
    (tmp_path / "wrong.lua").write_text("\n\nerror('no')")

    async def use(_: Host, session: ScriptSession) -> Any:
        loaded = await session.load(tmp_path / "tools.lua")
        with pytest.raises(ScriptError, match=r"wrong\.lua:3: no"):
            await session.load(tmp_path / "wrong.lua")
        with pytest.raises(ScriptError, match="it cannot be read: No such file"):
            await session.load(tmp_path / "none.lua")
        return loaded, await session.evaluate("double(4)")

    assert (await in_session(use))[0] == ("loaded", 8)


async def test_chunks_read_lines_from_where_the_host_says() -> None:
    lines = iter(["first", "second"])

    async with (
        Host.open(False, discover=False, read_line=lambda: next(lines, None)) as host,
        host.session(arguments=["--fast"]) as session,
    ):
        result = await session.evaluate("io.read(), io.read(), io.read(), ARGS.fast")

    assert result == ("first", "second", None, "true")


async def test_a_language_without_sessions_and_one_that_is_not_there_are_refused() -> None:
    async with Host.open(False, plugins=[MiniLanguage()], discover=False) as host:
        with pytest.raises(InvalidInputError, match="language mini: it has no sessions"):
            async with host.session("mini"):
                pass
        with pytest.raises(ComponentNotFoundError, match="cobol"):
            async with host.session("cobol"):
                pass


async def test_200_chunks_and_50_sessions_leave_no_runtime_and_no_thread_behind() -> None:
    def runtimes() -> int:
        gc.collect()
        return sum(type(item) is Engine for item in gc.get_objects())

    before = threading.active_count()
    during = set()
    async with Host.open(False, discover=False) as host:
        async with host.session() as session:
            for number in range(200):
                await session.evaluate(f"x{number % 7} = function() return {number} end return x{number % 7}")
                if number % 50 == 0:
                    during.add(runtimes())
        for number in range(50):
            async with host.session() as session:
                await session.evaluate(f"x = {number}")
        del session
        await trio.testing.wait_all_tasks_blocked()  # the tasks that watched them
        during, after = during, runtimes()

    assert during == {1}
    assert after == 0
    assert threading.active_count() <= before + 2  # trio keeps idle threads for a while


async def test_cancelling_the_host_closes_its_sessions_and_their_functions_say_that_it_is_over() -> None:
    held: list[Any] = []

    with trio.CancelScope() as scope:
        async with Host.open(False, discover=False) as host, host.session() as session:
            held.append(await session.evaluate("function() return 1 end"))
            assert await held[0]() == 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.evaluate, "while true do end")
                await trio.sleep(0.2)
                scope.cancel()
    with pytest.raises(ScriptError, match="the script has ended"):
        await held[0]()
    with pytest.raises(OperationError, match="the host is closed"):
        await session.evaluate("1")

    assert scope.cancelled_caught


@pytest.mark.long
async def test_a_session_whose_runtime_had_to_be_abandoned_says_that_it_is_over() -> None:
    stuck = threading.Event()

    try:
        async with (
            Host.open(False, discover=False, write=lambda _: stuck.wait(10)) as host,
            host.session() as session,
        ):
            with trio.move_on_after(0.2) as scope:
                await session.evaluate("print('into a pipe that nobody reads')")
            with pytest.raises(ScriptError) as caught:
                await session.evaluate("1 + 1")
            result = scope.cancelled_caught, caught.value.code

        assert result == (True, "ended")
    finally:
        stuck.set()
