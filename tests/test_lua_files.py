"""Lua's own way to files goes the same way as everybody's: through the file tool, its rules and its guards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl


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


def run(source: str, folder: Path, plugin: Careful) -> Any:
    async def main() -> Any:
        layers = {"security": {"paths": {"read": [str(folder)], "write": [str(folder)]}}}
        async with Host.open(layers, plugins=[plugin]) as host:
            return await host.run_source(source.replace("$", str(folder)))

    return trio.run(main)


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
def test_a_guard_of_the_file_tool_guards_lua_s_own_functions(refused: str, attempt: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    plugin = Careful(refused)

    answer = run(attempt, tmp_path, plugin)

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
def test_files_open_in_every_mode(source: str, left: str, answer: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    value = run(source, tmp_path, Careful("nothing"))

    assert (tmp_path / "a.txt").read_text() == left
    assert value == answer


def test_what_is_not_there_is_answered_as_lua_does(tmp_path: Path) -> None:
    source = "local f, text, number = io.open('$/nothing.txt') return f == nil, text, number"

    missing, text, number = run(source, tmp_path, Careful("nothing"))

    assert missing
    assert text.endswith("No such file or directory")
    assert number == 2
