from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmspell import Host
from llmspell.scripting import Interface, Scope
from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.globals import load_globals
from llmspell_hookspecs.language import (
    HookAdapter,
    ScriptFunction,
    ScriptInterface,
    ScriptLimits,
    ScriptObject,
    ScriptScope,
)
from llmspell_hookspecs.script import ScriptRun
from llmspell_plugins.languages.adapter import PlainHookAdapter


class Box(ScriptGlobal):
    name = "Box"

    @script_method()
    async def put_in(self, name: str, parameters: Mapping[str, Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return {"name": name, "parameters": parameters}

    @script_method("size", pure=True)
    def count_up(self, start: int = 1, flag: bool | None = None) -> Any:
        return [start, flag]

    @script_method(pure=True)
    def gather(self, items: Sequence[Any], ratio: float, callback: ScriptFunction | None = None) -> Any:
        return [items, ratio, callback is not None]

    @script_method(name="__call", pure=True)
    def spell(self, *values: Any) -> Any:
        return list(values)

    @script_method(pure=True)
    def fail(self) -> None:
        raise KeyError("as raised")

    def hidden(self) -> str:
        return "not for scripts"


class Plain(ScriptGlobal):
    name = "plain"

    def script_globals(self) -> Mapping[str, Any]:
        return {"PLAIN": {0: "zero", "x": 1}, "plain": [1]}


def make_scope(**options: Any) -> Scope:
    return Scope("s1", ScriptRun("return 1", "lua", "a.lua"), None, **options)  # type: ignore[arg-type]


def interface() -> tuple[Interface, Box]:
    scope = make_scope()
    box = Box(None, scope)  # type: ignore[arg-type]
    return Interface(scope, None, ScriptLimits(), {"Box": box}), box  # type: ignore[arg-type]


async def call(method: str, *arguments: Any) -> Any:
    made, box = interface()

    return await made.call(box, method, arguments)


async def test_an_async_method_is_awaited_under_both_spellings() -> None:
    expected = {"name": "a", "parameters": {"b": 1}}

    assert await call("put_in", "a", {"b": 1}) == expected
    assert await call("putIn", "a", {"b": 1}) == expected


async def test_a_sync_method_answers_at_once_and_under_its_alias() -> None:
    made, box = interface()

    assert made.call_pure(box, "size", [5]) == [5, None]
    assert await call("countUp", 5, True) == [5, True]


async def test_nothing_stands_for_an_argument_left_out() -> None:
    assert await call("count_up", None, None) == [1, None]
    assert await call("count_up", 2, None, None, None) == [2, None]


async def test_a_number_without_fraction_is_a_whole_number() -> None:
    assert await call("count_up", 3.0) == [3, None]


async def test_an_empty_table_is_a_list_or_a_table_as_wanted() -> None:
    assert await call("gather", {}, 1) == [[], 1, False]
    assert await call("put_in", "a", []) == {"name": "a", "parameters": {}}


def test_a_receiver_given_first_is_left_out() -> None:
    made, box = interface()

    assert made.call_pure(box, "count_up", [box, 7]) == [7, None]
    assert made.call_pure(box, "__call", [box, 7]) == [box, 7]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("put_in", [], "Box.put_in: expected (name, parameters), got 0 arguments; name is missing"),
        ("put_in", ["a"], "Box.put_in: expected (name, parameters), got 1 argument; parameters is missing"),
        ("putIn", ["a", {}, 3], "Box.putIn: expected (name, parameters), got 3 arguments; leave out the last 1"),
        ("put_in", [5, {}], "Box.put_in: expected (name, parameters), got name = 5; name must be a string"),
        ("put_in", ["a", "b"], "got parameters = 'b'; parameters must be a table"),
        ("put_in", [None, {}], "got name = nothing; name must be a string"),
        ("count_up", [1.5], "expected (start?, flag?), got start = 1.5; start must be a whole number"),
        ("count_up", [True], "start must be a whole number"),
        ("count_up", [1, "yes"], "flag must be a boolean"),
        ("gather", ["abc", 1], "items must be a list"),
        ("gather", [[], "1"], "ratio must be a number"),
        ("gather", [[], 1, "print"], "callback must be a function"),
        ("gather", [{"a": 1}, 1], "got items = a table; items must be a list"),
    ],
)
async def test_arguments_that_do_not_fit_are_named(method: str, arguments: list[Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await call(method, *arguments)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match=r"Box\.gathr: there is no such method; did you mean gather\?"):
        await call("gathr")


async def test_only_marked_methods_can_be_reached() -> None:
    for name in ("hidden", "__init__", "__class__", "script_text", "services"):
        with pytest.raises(InvalidInputError, match="there is no such method"):
            await call(name)


def test_a_method_that_asks_the_host_is_refused_as_pure() -> None:
    made, box = interface()

    with pytest.raises(InvalidInputError, match=r"Box\.put_in: it is not pure, it asks the host"):
        made.call_pure(box, "put_in", ["a", {}])


async def test_an_error_of_the_method_itself_goes_through_unchanged() -> None:
    with pytest.raises(KeyError, match="as raised"):
        await call("fail")


@given(
    st.lists(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dictionaries(st.text(), st.none())
    )
)
def test_any_arguments_end_in_an_answer_or_in_a_clear_error(arguments: list[Any]) -> None:
    made, box = interface()

    for method in ("count_up", "gather"):
        try:
            made.call_pure(box, method, arguments)
        except InvalidInputError as error:
            assert str(error).startswith(f"Box.{method}: expected (")


async def test_an_object_that_is_no_global_is_called_by_its_class() -> None:
    class Handle(ScriptObject):
        @script_method()
        def close(self) -> None: ...

    made, _ = interface()

    with pytest.raises(InvalidInputError, match=r"Handle\.close: expected \(\), got 1 argument"):
        await made.call(Handle(), "close", [1])


async def test_clean_ups_run_last_first_and_each_on_its_own(caplog: pytest.LogCaptureFixture) -> None:
    scope, ran = make_scope(), []

    def broken() -> None:
        ran.append("broken")
        raise ValueError("no")

    async def awaited() -> None:
        await trio.lowlevel.checkpoint()
        ran.append("awaited")

    scope.on_close(lambda: ran.append("first"))
    scope.on_close(broken)
    scope.on_close(awaited)
    scope.on_close(lambda: ran.append("last"))
    with caplog.at_level(logging.WARNING, "llmspell.script"):
        await scope.close()
        await scope.close()
    scope.on_close(lambda: ran.append("late"))

    assert ran == ["last", "awaited", "broken", "first", "late"]
    assert "a.lua: a clean-up failed: no" in caplog.text


def test_output_and_input_are_the_given_ones() -> None:
    written: list[str] = []
    lines = iter(["one", "two"])
    scope = make_scope(write=written.append, read_line=lambda: next(lines, None))

    scope.write("a\n")

    assert written == ["a\n"]
    assert [scope.read_line(), scope.read_line(), scope.read_line()] == ["one", "two", None]
    assert scope.language == "lua"


def test_without_writer_a_scope_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    make_scope().write("seen")

    assert capsys.readouterr().out == "seen"


def test_globals_are_constructed_for_the_run() -> None:
    scope = make_scope()

    found = load_globals([("box", Box), ("plain", Plain)], None, scope)  # type: ignore[arg-type]

    assert sorted(found) == ["Box", "PLAIN", "plain"]
    assert found["Box"].scope is scope
    assert found["PLAIN"][0] == "zero"


def test_a_global_that_cannot_be_constructed_is_named_and_takes_away_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def factory(services: Services, scope: ScriptScope) -> ScriptGlobal:
        raise SystemExit("no luck")

    found = load_globals([("mine", factory), ("box", Box)], None, make_scope())  # type: ignore[arg-type]

    assert list(found) == ["Box"]
    assert "script global mine: it cannot be constructed: SystemExit: no luck" in caplog.text


def test_of_two_globals_of_one_name_the_first_stands(caplog: pytest.LogCaptureFixture) -> None:
    found = load_globals([("box", Box), ("other", Box)], None, make_scope())  # type: ignore[arg-type]

    assert list(found) == ["Box"]
    assert "script global Box: box and other both bring it, and the first stands" in caplog.text


class Untelling:
    """A language whose scripts' values are the names of their globals."""

    name: ClassVar[str] = "untelling"
    extensions: ClassVar[tuple[str, ...]] = (".untelling",)

    def __init__(self) -> None:
        self.hook_adapter: HookAdapter = PlainHookAdapter()

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        await trio.lowlevel.checkpoint()
        return sorted(interface.globals)


class Telling(Untelling):
    """It says by which words a script may reach any."""

    name: ClassVar[str] = "telling"
    extensions: ClassVar[tuple[str, ...]] = (".telling",)
    reaching: ClassVar[frozenset[str]] = frozenset({"everything"})


async def test_only_the_globals_that_a_script_names_are_made_for_it_and_those_of_others() -> None:
    async with Host.open(settings=False, plugins=[Telling(), Untelling(), Box], discover=False) as host:
        named = await host.run_source("JSON and Tool, not Toolbox or config", "telling")
        none = await host.run_source("1", "telling")
        reached = await host.run_source("everything", "telling")
        untold = await host.run_source("1", "untelling")

    assert named == ["Box", "JSON", "Tool"]
    assert none == ["Box"]
    assert reached == untold
    assert {"ARGS", "Agent", "Box", "Config", "JSON", "State", "Tool", "arg", "print"} <= set(untold)


@pytest.mark.parametrize("name", ["x.js", "x.MJS", "x.ts", "x.py"])
async def test_a_file_of_a_language_that_is_not_installed_is_not_run_as_another(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("return 1")

    async with Host.open(settings=False, discover=False) as host:
        with pytest.raises(ScriptError, match=r"it is (JavaScript|Python), which is not installed; .*: lua") as caught:
            await host.run_script(tmp_path / name)
    assert "\n" not in str(caught.value)


async def test_a_file_whose_name_does_not_tell_is_of_the_default_language(tmp_path: Path) -> None:
    for name in ("bare", "notes.2024", "x.lua"):
        (tmp_path / name).write_text("return 1")
    (tmp_path / "own.js").write_text("x")

    class Own(Untelling):
        name = "own"
        extensions = (".js",)

    async with Host.open(settings=False, plugins=[Own()], discover=False) as host:
        assert [await host.run_script(tmp_path / name) for name in ("bare", "notes.2024", "x.lua")] == [1, 1, 1]
        assert "JSON" in await host.run_script(tmp_path / "own.js")


@pytest.mark.parametrize(
    "source",
    [
        'return _G["JS" .. "ON"] ~= nil',
        'return _ENV["JS" .. "ON"] ~= nil',
        'return load("return JS" .. "ON ~= nil")()',
        "for name in pairs(_G) do if #name == 4 and name:find('JS') then return true end end",
    ],
)
async def test_a_lua_script_reaches_globals_that_it_does_not_name(source: str) -> None:
    async with Host.open(settings=False, discover=False) as host:
        assert await host.run_source(source, "lua") is True


async def test_a_global_of_anothers_package_stands_for_none_of_the_hosts_that_a_script_does_not_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Impostor(Plain):
        def script_globals(self) -> Mapping[str, Any]:
            return {"Tool": "mine"}

    async with Host.open(settings=False, plugins=[Telling(), Impostor], discover=False) as host:
        assert await host.run_source("1", "telling") == []

    assert "script global Tool: Tool and plain both bring it, and the first stands" in caplog.text


def test_a_trivial_script_imports_no_global() -> None:
    code = (
        "import sys\nfrom llmspell.cli.main import main\ntry:\n    main(['exec', 'return 1'])\nexcept SystemExit:\n"
        "    pass\nprint([name for name in sys.modules if name.startswith('llmspell_plugins.globals.')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["1", "[]"]
