"""Lua's own way to files goes the same way as everybody's: through the file tool, its rules and its guards."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl
from llmspell_hookspecs.errors import ScriptError


class Careful:
    """Refuses one operation of the file tool, and remembers what was asked."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.asked: list[str] = []

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        operation = context.subject.parameters["operation"]
        self.asked.append(operation)
        return Cancel("not today") if operation == self.refused else None


async def run(source: str, folder: Path, plugin: Careful) -> Any:
    layers = {"security": {"paths": {"read": [str(folder)], "write": [str(folder)]}}}
    async with Host.open(layers, plugins=[plugin]) as host:
        return await host.run_source(source.replace("$", str(folder)))


@pytest.mark.parametrize(
    ("refused", "attempt"),
    [
        ("delete", "return os.remove('$/notes.txt')"),
        ("move", "return os.rename('$/notes.txt', '$/other.txt')"),
        ("write", "return io.open('$/notes.txt', 'w')"),
        ("write", "return io.open('$/notes.txt', 'w+')"),
        ("append", "return io.open('$/notes.txt', 'a')"),
        ("append", "return io.open('$/notes.txt', 'r+')"),
        ("read", "return io.open('$/notes.txt')"),
        ("read", "return io.open('$/notes.txt', 'r+')"),
        ("read", "return io.open('$/notes.txt', 'a+')"),
        ("read", "return pcall(io.lines, '$/notes.txt')"),
    ],
)
async def test_a_guard_of_the_file_tool_guards_lua_s_own_functions(refused: str, attempt: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    plugin = Careful(refused)

    answer = await run(attempt, tmp_path, plugin)

    assert "not today" in str(answer)
    assert plugin.asked[-1] == refused
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert not (tmp_path / "other.txt").exists()


@pytest.mark.parametrize(
    ("source", "left", "answer"),
    [
        ("local f = io.open('$/a.txt', 'w') f:write('x', 1) f:close()", "x1", None),
        ("local f = io.open('$/a.txt', 'a') f:write('!') f:close()", "old!", None),
        ("local f = io.open('$/a.txt', 'r+') f:write('OL') f:close()", "OLd", None),
        ("local f = io.open('$/a.txt', 'w+') f:write('yz') f:seek('set') return f:read('a')", "yz", "yz"),
        ("local f = io.open('$/a.txt', 'a+') f:write('1') f:seek('set') return f:read('a')", "old1", "old1"),
        ("local f = io.open('$/a.txt', 'rb') return f:read('a')", "old", "old"),
    ],
)
async def test_files_open_in_every_mode(source: str, left: str, answer: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    value = await run(source, tmp_path, Careful("nothing"))

    assert (tmp_path / "a.txt").read_text() == left
    assert value == answer


async def test_what_is_not_there_is_answered_as_lua_does(tmp_path: Path) -> None:
    source = "local f, text, number = io.open('$/nothing.txt') return f == nil, text, number"

    missing, text, number = await run(source, tmp_path, Careful("nothing"))

    assert missing
    assert text.endswith("No such file or directory")
    assert number == 2


WRITERS = {
    "at the end of the script": 'local f = io.open("t.txt", "w") f:write("SECRET")',
    "at a flush": 'local f = io.open("t.txt", "w") f:write("SECRET") local a, b = f:flush() f:close() return a, b',
    "at the close": 'local f = io.open("t.txt", "w") f:write("SECRET") return f:close()',
    "at a read": 'local f = io.open("t.txt", "w+") f:write("SECRET") return f:read("a")',
    "at a seek": 'local f = io.open("t.txt", "w") f:write("SECRET") return f:seek("set", 0)',
    "with the buffer full": 'local f = io.open("t.txt", "w") return f:write("SECRET", string.rep("x", 70000))',
    "appended": 'local f = io.open("t.txt", "a") f:write("SECRET") return f:close()',
    "in the middle": 'local f = io.open("t.txt", "r+") f:seek("set", 1) f:write("SECRET") return f:close()',
    "by the default output": 'io.output("t.txt") io.write("SECRET") return io.close()',
    "with setvbuf": 'local f = io.open("t.txt", "w") f:setvbuf("no") f:write("SECRET") return f:close()',
    "by to-be-closed": 'do local f <close> = io.open("t.txt", "w") f:write("SECRET") end',
}


@pytest.mark.parametrize("how", WRITERS)
async def test_what_is_written_passes_the_guards_of_the_tool(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("public")
    seen: list[str] = []

    def keep_secrets(context: HookContext[ToolCall]) -> Cancel | None:
        given = str(context.subject.parameters.get("input"))
        seen.append(given)
        return Cancel("no secrets on disk") if "SECRET" in given else None

    try:
        async with Host.open({"storage": {"backend": "memory"}}, discover=False) as host:
            host.hooks.register("before_tool_execution", keep_secrets, kind="guard", match="file_operations")
            told = await host.run_source(WRITERS[how], "lua")
    except ScriptError as error:
        told = (None, str(error))

    assert any("SECRET" in given for given in seen), "the guard was shown what is written"
    assert "SECRET" not in (tmp_path / "t.txt").read_text()
    if how != "by to-be-closed":
        assert "no secrets on disk" in str(told), "the script is told"


async def test_an_open_file_obeys_policy_as_it_is_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async with (
        Host.open({"storage": {"backend": "memory"}}, discover=False) as host,
        host.session("lua") as session,
    ):
        await session.evaluate('f = io.open("kept.txt", "w") f:write("early") f:flush()')
        await host.settings.change("security.paths.write", [], origin="code")
        done, message, *_ = await session.evaluate('f:write(" late") return f:close()')

    assert done is None
    assert "kept.txt" in message
    assert (tmp_path / "kept.txt").read_text() == "early"


async def test_a_size_limit_of_the_tool_holds_for_a_row_of_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"storage": {"backend": "memory"}, "tools": {"file_operations": {"max_file_size_bytes": 1000}}}
    source = """
    local f, told = io.open("big.txt", "w"), nil
    for i = 1, 20 do f:write(string.rep("x", 100)) local ok, message = f:flush() told = told or (not ok and message) end
    f:close() return told
    """

    async with Host.open(settings, discover=False) as host:
        result = await host.run_source(source, "lua")

    assert "above the limit of 1000" in result
    assert (tmp_path / "big.txt").stat().st_size == 1000


@pytest.mark.parametrize("settings", [{"security": {"level": "safe"}}, {"tools": {"disabled": ["file_operations"]}}])
async def test_a_temporary_file_is_made_by_the_tool_or_not_at_all(settings: dict[str, Any]) -> None:
    async with Host.open({"storage": {"backend": "memory"}, **settings}, discover=False) as host:
        done, message = await host.run_source("return pcall(os.tmpname)", "lua")

    assert not done
    assert "file_operations" in message


async def test_writes_of_every_mode_leave_what_the_same_writes_leave_in_a_real_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random rows of writes, seeks, reads and flushes, beside Python's own file with the same mode."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(7)
    rows: list[tuple[str, list[tuple[str, Any]]]] = []
    for _ in range(25):
        steps: list[tuple[str, Any]] = []
        for _ in range(8):
            step = chance.choice(["write", "seek", "end", "read", "flush"])
            steps.append((step, chance.choice(["ab", "cdefg"]) if step == "write" else chance.randrange(12)))
        rows.append((chance.choice(["r+", "w+", "a+"]), steps))

    async with Host.open({"storage": {"backend": "memory"}}, discover=False) as host:
        answers = []
        for number, (mode, steps) in enumerate(rows):
            Path(f"lua{number}").write_bytes(b"0123456789")
            lines = "".join(LUA_STEPS[step].format(value=value) for step, value in steps)
            await host.run_source(f'out = {{}} local f = io.open("lua{number}", "{mode}") {lines} f:close()', "lua")
            answers.append(Path(f"lua{number}").read_bytes())
        written = answers

    for number, (mode, steps) in enumerate(rows):
        Path("real").write_bytes(b"0123456789")
        with open("real", mode + "b") as file:
            for step, value in steps:
                PYTHON_STEPS[step](file, value)
        assert written[number] == Path("real").read_bytes(), (mode, steps)


LUA_STEPS = {
    "write": 'f:seek("cur", 0) f:write("{value}") ',
    "seek": 'f:seek("set", {value}) ',
    "end": 'f:seek("end", 0) ',
    "read": 'f:seek("cur", 0) f:read({value}) ',
    "flush": "f:flush() ",
}
PYTHON_STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "write": lambda file, value: (file.seek(0, 1), file.write(value.encode())),
    "seek": lambda file, value: file.seek(value),
    "end": lambda file, value: file.seek(0, 2),
    "read": lambda file, value: (file.seek(0, 1), file.read(value)),
    "flush": lambda file, value: file.flush(),
}


async def test_guards_of_plugins_are_asked_about_what_a_script_does_through_io_and_dofile(tmp_path: Path) -> None:
    (tmp_path / "part.lua").write_text("return 1")

    async with Host.open(settings={"storage": {"backend": "memory"}}) as host:
        host.hooks.register("BeforeToolExecution", lambda context: Cancel("closed"), kind="guard")
        source = f"return pcall(dofile, '{tmp_path}/part.lua'), (io.open('{tmp_path}/new', 'w'))"
        result = await host.run_source(source, "lua")

    assert result == (False, None)
    assert not (tmp_path / "new").exists()
