"""Lua sources: sound ones mutated, and calls of what scripts are given with anything at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.settings import load_settings

from .mutation import Mutation
from .oracle import Case, Watch

__all__ = ["make", "run"]

_ROOT: Final = Path(__file__).parents[2]
_SOUND: Final = tuple(
    file.read_text()
    for folder in ("examples", "tests/compatibility")
    for file in sorted((_ROOT / folder).rglob("*.lua"))
    if len(file.read_text()) < 6000
)
_LITTLE: Final = (
    "local t = {} for i = 1, 10 do t[i] = i * 2 end return t",
    "return string.format('%d %s %q', 3, 'x', 'y'), ('x'):rep(3), ('abc'):gsub('%w', string.upper)",
    "local co = coroutine.wrap(function(a) local b = coroutine.yield(a) return b end) co(1) return co(2)",
    "return pcall(error, setmetatable({}, {__tostring = function() return 'x' end}))",
    "error({code = 'x', message = 'y'})",
    "return select('#', table.unpack({1, nil, 3}, 1, 3)), utf8.char(228, 8364), math.maxinteger // -1",
    "local s = State.get('x') State.set('x', {1, 2}) State.delete('x') return s",
    "Hook.register('BeforeToolExecution', function(c) return {type = 'continue'} end) "
    "return Tool.invoke('calculator', {operation = 'evaluate', input = '1+1'})",
    "local e = Event.subscribe('a.*') Event.publish('a.b', {x = 1}) return Event.receive(e, 10)",
    "local a = Agent.create({name = 'x', model = 'offline/rules'}) return a:invoke({text = 'hi'})",
    "return JSON.stringify(JSON.parse('[1, {\"a\": null}]'))",
    "local f = io.open('x.txt', 'w') f:write('x') f:close() for l in io.lines('x.txt') do print(l) end",
    "goto done do local x <const> = 1 end ::done:: return load('return 1')()",
    "return os.date('%Y'), os.time({year = 2020, month = 1, day = 1}), os.getenv('HOME'), require('x')",
)
_VALUES: Final = (
    *("nil", "true", "0", "-1", "0/0", "1/0", "math.mininteger", "1e308", "2^53", "''", "'x'", "'\\0'", "'\\xff'"),
    *("('x'):rep(100000)", "{}", "{{}}", "{1, nil, 3}", "{x = {y = {}}}", "function() end", "print", "_G", "Tool"),
    *("function(...) return ... end", "function() error({}) end", "coroutine.create(print)", "deep", "loop", "odd"),
    *("function() while true do end end", "'\\u{202E}'", "'\\27[2J'", "{type = 'retry', delay_ms = -1}", "io.stdout"),
    *(
        "made",
        "made",
        "'BeforeToolExecution'",
        "'calculator'",
        "{name = 'x', model = 'offline/rules'}",
        "'a.*'",
        "'{'",
        "-0.0",
    ),
)
_PRELUDE: Final = (
    "local deep, loop, odd = {}, {}, setmetatable({}, {__index = error, __pairs = error, __len = error}) "
    "loop.loop = loop for i = 1, 3000 do deep = {deep} end "
)


def _functions() -> tuple[str, ...]:
    """The names that docs tell of, and those of Lua's own library."""
    page = (_ROOT / "docs" / "reference" / "script-globals.md").read_text()
    names: list[str] = []
    for part in page.split("\n## ")[1:]:
        one = part.partition("\n")[0].strip()
        if one in ("AgentBuilder", "AgentInstance", "Timer"):
            continue  # what Agent makes, and no global
        for line in re.findall(r"^- (`.*)", part, re.MULTILINE):
            names += [f"{one}.{name}" for name in re.findall(r"`(\w+)`", line.partition(":")[0])]
    library = {
        "string": "byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack upper",
        "table": "concat insert move pack remove sort unpack",
        "math": "abs ceil floor fmod max min random randomseed tointeger type ult sqrt",
        "os": "clock date difftime getenv remove rename time tmpname",
        "io": "close input lines open output read type write",
        "utf8": "char codepoint codes len offset",
        "coroutine": "close create isyieldable resume running status wrap yield",
    }
    names += [f"{table}.{name}" for table, members in library.items() for name in members.split()]
    plain = (
        "assert error getmetatable ipairs load next pairs pcall print rawget rawset select setmetatable tostring xpcall"
    )
    return (*names, *plain.split(), "require", "collectgarbage", "tonumber", "rawlen", "rawequal", "type")


_FUNCTIONS: Final = _functions()


def make(draw: Mutation) -> str:
    """Return a source."""
    return str(
        draw.some(
            (2, lambda: draw.text(draw.random.choice(_LITTLE))),
            (1, lambda: draw.text(draw.random.choice(_SOUND), most=8)),
            (4, lambda: _PRELUDE + "\n".join(_call(draw) for _ in range(draw.random.randint(3, 10)))),
        )
    )


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Run each under small limits; after a while in a host anew."""
    settings = {
        "limits": {"operation_time_s": 5, "descendants": 50},
        "scripts": {"time_s": 0.5, "memory_bytes": 20_000_000, "instructions": 5_000_000},
        "security": {
            "paths": {"read": [str(project)], "write": [str(project)]},
            "hosts": {"allowed": ["127.0.0.1"]},
        },
        "agents": {"time_s": 2, "count": 20},
        "storage": {"backend": "memory"},
    }

    async def some(row: list[Case]) -> None:
        written: list[str] = []
        loaded = load_settings(settings, cwd=project)
        async with Host.open(loaded, discover=False, write=written.append, read_line=lambda: None) as host:
            for case in row:
                with watch.trying(case):
                    await host.run_source(str(case.value), language="lua")

    waiting: list[Case] = []
    for case in cases:
        waiting.append(case)
        if len(waiting) == 50:
            trio.run(some, waiting)
            waiting = []
    if waiting:
        trio.run(some, waiting)


def _call(draw: Mutation) -> str:
    name, arguments = draw.random.choice(_FUNCTIONS), [_argument(draw) for _ in range(draw.random.randint(0, 4))]
    called = f"{name}({', '.join(arguments)})"
    match draw.random.randrange(12):
        case 0:
            return called
        case 1 | 2 | 3:
            return f"pcall(function() made = {called} end)"
        case 4 | 5 | 6 | 7:
            return f"print(pcall(function() return {called} end))"
        case _:
            each = "if type(made) == 'table' then for _, m in pairs(made) do pcall(m, made) end end"
            return f"do local _, made = pcall({name}{', '.join(['', *arguments])}) {each} end"


def _argument(draw: Mutation) -> str:
    return str(draw.some((5, lambda: draw.random.choice(_VALUES)), (1, lambda: _quoted(draw.odd_text()))))


def _quoted(text: str) -> str:
    escaped: Any = "".join(
        f"\\{byte}" if byte < 32 or byte > 126 or byte in b"'\\" else chr(byte) for byte in _utf8(text)
    )
    return "'" + re.sub(r"\\(\d{1,2})(?!\d)", lambda match: "\\" + match[1].zfill(3), escaped) + "'"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
