"""Malformed input of every kind that comes in, made by mutation from well-formed input, the same for the same seed.

``cd tests; python malformed.py [COUNT] [KIND...]`` gives COUNT inputs (17,500 if left out), spread over the kinds, to
the code that takes them in real use and prints what became of them. A fault is an error that is not the contract's, one
that is not one line of at most 500 characters, a traceback, an exit code that is not documented, or no end within
`PATIENCE_S`.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import trio

from llmspell import Host
from llmspell.cli.main import main
from llmspell.settings import load_settings
from llmspell_hookspecs import LlmspellError, Message, ModelChunk, ModelRequest

TOTAL = 17_500
PATIENCE_S = 60.0
EXIT_CODES = frozenset({0, 1, 2})
Try = Callable[[random.Random, Path], None]
"""Makes an input in an empty folder and takes it in; raises what leaves."""


class Hang(BaseException):
    """Raised where it hangs."""


class Fault(Exception):
    """What is wrong though nothing was raised."""


# Mutation.

PIECES: list[bytes] = [
    *(bytes([value]) for value in b"\x00\x1b\r\n\"'[]{}()=,:\\#%"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", "\N{PARTY POPPER}".encode(), b"\xe2\x80\xae"),
    *(b"\x1b[31m", b"-1", b"1e999", b"nan", b"9" * 400, b"x" * 5000, b"[" * 3000, b"{" * 3000, b"../" * 9, b"null"),
    *(b"true", b'"', b'"""', b"--", b"\\ud800", b"%s%n", b"${HOME}"),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**70, -(2**70), 0.5, math.nan, math.inf, "", "\0", "\ud800", "\x1b[31m", "x" * 9000),
    *([], {}, [[]], {"": None}, ["a", 1, None], {"a": {"b": []}}, "1", "true", "../../etc/passwd", b"bytes"),
]


def deep(depth: int) -> Any:
    """Return lists within lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def mutated(source: random.Random, given: bytes) -> bytes:
    """Return a text with one to four changes."""
    data = bytearray(given)
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(data))
        end = min(len(data), at + source.choice([1, 1, 2, 8, 40]))
        match source.randrange(5):
            case 0:
                data[at:at] = source.choice(PIECES)
            case 1:
                data[at:end] = source.choice(PIECES)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * source.choice([1, 3, 50])
            case _:
                del data[at if source.random() < 0.2 else len(data) :]
    return bytes(data)


def text(source: random.Random, given: str) -> str:
    """Return a mutated text, as one reads it that cannot be sure of its bytes."""
    data = mutated(source, given.encode("utf-8", "surrogatepass"))
    return data.decode("utf-8", source.choice(["replace", "surrogateescape"]))


def changed(source: random.Random, given: Any) -> Any:
    """Return a value with one to three of its parts replaced, dropped, added or renamed."""
    value = deepcopy(given)
    for _ in range(source.randint(1, 3)):
        value = _change(source, value)
    return value


def _change(source: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and source.random() < 0.8:
        key = source.choice(list(value))
        match source.randrange(4):
            case 0:
                del value[key]
            case 1:
                value[text(source, str(key))] = value.pop(key)
            case _:
                value[key] = _change(source, value[key])
        return value
    if isinstance(value, list) and value and source.random() < 0.8:
        place = source.randrange(len(value))
        value[place] = _change(source, value[place])
        return value
    if isinstance(value, str) and source.random() < 0.5:
        return text(source, value)
    return deep(source.choice([50, 200, 2000])) if source.random() < 0.1 else deepcopy(source.choice(VALUES))


# What takes it in.

SETTINGS = b"""
[security]
level = "restricted"
environment = ["LUA_*"]
[security.paths]
read = ["data", "*.txt"]
denied = ["secret*"]
[security.hosts]
allowed = ["*.example.org", "127.0.0.1"]
[limits]
depth = 8
hops = 3
[storage]
backend = "sqlite"
[plugins.sqlite]
path = "kept/state.db"
durability = "batched"
[scripts]
time_s = 5.5

[plugins]
disabled = ["audit", "storage:memory"]
[plugins.model_retry]
max_attempts = 2
[providers.local]
type = "openai_compatible"
base_url = "http://127.0.0.1:1/v1"
models = ["a", "b"]
"""
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "calculator": [
        {"operation": "evaluate", "input": "x + 2 * sqrt(y)", "variables": {"x": 1, "y": 4}},
        {"operation": "validate", "input": "sin(1)"},
    ],
    "csv_analyzer": [
        {"operation": "analyze", "input": "a,b\n1,2\n3,x\n"},
        {"operation": "filter", "input": "a,b\n1,2\n", "options": {"filter": "a > 0"}},
        {"operation": "validate", "input": "a\n1\n", "options": {"rules": {"a": "range:0-9"}}},
    ],
    "file_operations": [
        {"operation": "write", "path": "notes.txt", "input": "hello"},
        {"operation": "read", "path": "data.txt"},
        {"operation": "list_dir", "path": ".", "recursive": True},
        {"operation": "copy", "source_path": "data.txt", "target_path": "copy.txt"},
    ],
    "json_processor": [
        {"operation": "query", "input": {"a": [{"b": 1}, {"b": None}]}, "query": ".a[] | .b"},
        {"operation": "validate", "input": "[1]", "schema": {"type": "array", "items": {"type": "integer"}}},
    ],
    "text_manipulator": [
        {"operation": "replace", "input": "a b c", "options": {"from": "b", "to": "d"}},
        {"operation": "truncate", "input": "a b c", "options": {"max_length": 2}},
    ],
    "http_request": [{"input": "http://127.0.0.1:1/a?b=c", "method": "POST", "headers": {"x-a": "b"}, "body": "c"}],
}
LUA = """
local seen = {}
Hook.register('BeforeToolExecution', function(context) seen[#seen + 1] = context.point return nil end)
local result = Tool.invoke('calculator', {operation = 'evaluate', input = '1 + 1'})
State.set('key', {1, 2, three = {4}})
local kept = State.get('key')
Event.publish('user.created', {id = 7, name = "a"})
local text = JSON.stringify({list = {1, 2, 3}, text = 'x'})
local value = JSON.parse(text)
for i, v in ipairs(value.list) do print(i, v, string.format('%5.2f', v)) end
return result.result.result + #seen, kept.three, text:gsub('%d', '<%0>')
"""
ANSWER: dict[str, Any] = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "hello",
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "calculator", "arguments": '{"input": "1"}'}}
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}
METADATA = b"Metadata-Version: 2.1\nName: wild-plugin\nVersion: 1.0\nSummary: A plugin.\nRequires-Dist: llmspell>=0.1\n"
POINTS = b"[llmspell.plugins]\nwild = wild_module:Plugin\n[llmspell.tools]\nwild_tool = wild_module:Wild\n"
MODULE = b"""
from pydantic import BaseModel, Field
from llmspell_hookspecs import Cancel, HookContext, ToolCall, hookimpl

class Settings(BaseModel):
    strict: bool = Field(default=True, description="Whether.")

class Plugin:
    name = "wild"
    Settings = Settings

    def __init__(self, settings, services):
        self.settings = settings

    @hookimpl(kind="guard", match="file_*", timeout_s=0.5)
    def before_tool_execution(self, context: HookContext[ToolCall]) -> Cancel | None:
        return None
"""
COMMANDS = [
    ["tool", "list"],
    ["tool", "info", "calculator"],
    ["tool", "invoke", "calculator", "operation=evaluate", "input=1 + 1"],
    ["tool", "invoke", "--output", "json", "json_processor", 'input={"a": [1]}', "query=.a"],
    ["hook", "order", "BeforeToolExecution"],
    ["hook", "point", "list"],
    ["plugin", "list"],
    ["plugin", "info", "model_retry"],
    ["config", "show", "--origin"],
    ["config", "get", "limits.depth"],
    ["state", "set", "key", '{"a": 1}'],
    ["state", "get", "key"],
    ["state", "list", "--scope", "global"],
    ["exec", "return 1 + 1"],
    ["run", "a.lua", "--", "one"],
    ["agent", "run", "--tools", "calculator", "what is 2 + 2?"],
    ["provider", "list", "--output", "json"],
    ["version"],
]
QUIET: dict[str, Any] = {"storage": {"backend": "memory"}, "plugins": {"disabled": ["model_retry"]}}


def take_settings(source: random.Random, folder: Path) -> None:
    """A project's settings file, the user's on a line of the command, and variables."""
    (folder / "config").mkdir()
    place = folder / source.choice(["llmspell.toml", "config/llmspell.toml"])
    place.write_bytes(mutated(source, SETTINGS))
    environment = {"LLMSPELL_LIMITS__DEPTH": text(source, "4")} if source.random() < 0.3 else {}
    environment = {name: value.replace("\0", "") for name, value in environment.items()}
    load_settings(None, environment={**environment, "LLMSPELL_CONFIG_HOME": str(folder / "config")}, cwd=folder)


def take_parameters(source: random.Random, folder: Path) -> None:
    """The parameters of a tool."""
    name = source.choice(list(PARAMETERS))
    parameters = changed(source, source.choice(PARAMETERS[name]))

    async def main() -> None:
        async with _host(folder) as host:
            await host.call(f"tool:{name}", parameters)

    trio.run(main)


def take_lua(source: random.Random, folder: Path) -> None:
    """A script."""
    script = text(source, LUA)

    async def main() -> None:
        async with _host(folder, scripts={"time_s": 1.0}) as host:
            await host.run_source(script, "lua")

    trio.run(main)


def take_answer(source: random.Random, folder: Path) -> None:
    """What a model's server says: a whole answer, or a stream of pieces."""
    stream = source.random() < 0.5
    if stream:
        message = ANSWER["choices"][0]["message"]
        pieces = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **message["tool_calls"][0]}]}}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": ANSWER["usage"]},
        ]
        whole = b"".join(b"data: " + _encoded(source, piece) + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"
    else:
        whole = _encoded(source, ANSWER)
    body = mutated(source, whole) if source.random() < 0.5 else whole
    kind = source.choice(["text/event-stream" if stream else "application/json", "text/html", ""])
    status = source.choice(["200 OK"] * 8 + ["400 No", "429 Later", "500 Sorry", "999 What"])
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = head.encode() + body
    if source.random() < 0.2:
        answer = mutated(source, answer)

    async def serve(connection: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, OSError):
            await connection.receive_some(65536)
            await connection.send_all(answer)
        await connection.aclose()

    async def sink(chunk: ModelChunk) -> None:
        """Take a piece."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            [listener] = await nursery.start(lambda **how: trio.serve_tcp(serve, 0, host="127.0.0.1", **how))
            port = listener.socket.getsockname()[1]
            own = {"type": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1", "timeout_s": 5}
            try:
                async with _host(folder, providers={"local": own}) as host:
                    request = ModelRequest("local/m", (Message("user", "hello"),))
                    await host.models.complete(request, sink=sink if stream else None)
            finally:
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except ExceptionGroup as group:  # the nursery's, with the one error in it
        raise group.exceptions[0] from None


def take_package(source: random.Random, folder: Path) -> None:
    """A package of plugins that is installed: its metadata, its entry points, its module."""
    info = folder / "wild_plugin-1.0.dist-info"
    info.mkdir()
    which = source.choice(["METADATA", "entry_points.txt", "module"])
    (info / "METADATA").write_bytes(mutated(source, METADATA) if which == "METADATA" else METADATA)
    (info / "entry_points.txt").write_bytes(mutated(source, POINTS) if which == "entry_points.txt" else POINTS)
    (folder / "wild_module.py").write_bytes(mutated(source, MODULE) if which == "module" else MODULE)
    sys.path.insert(0, str(folder))

    async def main() -> None:
        async with Host.open(QUIET, discover=True) as host:
            result = await host.call("tool:calculator", {"input": "1 + 1"})
            if result.result["result"] != 2:
                raise Fault(f"the calculator says {result.result!r}")

    try:
        trio.run(main)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.startswith("wild")]:
            del sys.modules[name]


def take_command(source: random.Random, folder: Path) -> None:
    """A command line."""
    words = list(source.choice(COMMANDS))
    for _ in range(source.randint(1, 2)):
        place = source.randrange(len(words) + 1)
        match source.randrange(4):
            case 0:
                words.insert(place, source.choice(["--output", "--debugg", "-x", "", "--", "json", "--help", "\udcff"]))
            case 1 if place < len(words) and len(words) > 1:
                del words[place]
            case _ if place < len(words):
                words[place] = text(source, words[place])
    if {"tail", "repl", "--debug"} & set(words):  # they do not end by themselves, or show tracebacks as they were told
        return
    (folder / "a.lua").write_text("return #ARGS")
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([word.replace("\0", "") for word in words])
        except SystemExit as end:
            code = end.code
    err.flush()
    told = err.buffer.getvalue().decode()
    if code not in EXIT_CODES or "Traceback" in told or "internal error" in told:
        raise Fault(f"{words!r}: exit code {code}: {told[-300:]}")


KINDS: dict[str, Try] = {
    "settings": take_settings,
    "parameters": take_parameters,
    "lua": take_lua,
    "answer": take_answer,
    "package": take_package,
    "command": take_command,
}


def _encoded(source: random.Random, value: Any) -> bytes:
    given = changed(source, value) if source.random() < 0.7 else value
    try:
        return json.dumps(given, default=str, ensure_ascii=source.random() < 0.5).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b'{"choices": ' + b"[" * 5000


def _host(folder: Path, **settings: Any) -> Any:
    loaded = load_settings({**QUIET, **settings}, environment={}, cwd=folder)
    return Host.open(loaded, discover=False, write=lambda _: None)


# Running them.


@contextlib.contextmanager
def _room() -> Iterator[Path]:
    """An empty project with settings of its own, in which the process stands."""
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="malformed-"))
    (folder / ".git").mkdir()
    (folder / "data.txt").write_text("data")
    os.environ.update(LLMSPELL_CONFIG_HOME=str(folder / "config"), LLMSPELL_DATA_HOME=str(folder / "home"))
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def become(kind: str, number: int, seed: int) -> tuple[str, str]:
    """Return what became of one input, ``taken``, ``refused`` or ``fault``, and how it was told."""
    source = random.Random(f"{seed} {kind} {number}")

    def ring(*_: object) -> None:
        raise Hang(f"no end within {PATIENCE_S:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        with _room() as folder:
            KINDS[kind](source, folder)
    except LlmspellError as error:
        told = str(error)
        return ("refused" if "\n" not in told and len(told) <= 500 else "fault"), f"{type(error).__name__}: {told}"
    except (Exception, Hang) as error:
        return "fault", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return "taken", ""


def faults(kind: str, count: int, seed: int = 7) -> tuple[Counter[str], list[str]]:
    """Return how many inputs of a kind became what, and the faults with their numbers."""
    counts: Counter[str] = Counter()
    found = []
    for number in range(count):
        became, told = become(kind, number, seed)
        counts[became] += 1
        if became == "fault":
            found.append(f"{kind} {number}: {told}")
    return counts, found


def run_all() -> None:
    """Run as many as asked for and print a line for each kind, and the faults."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TOTAL
    kinds = sys.argv[2:] or list(KINDS)
    for kind in kinds:
        counts, found = faults(kind, math.ceil(count / len(kinds)))
        print(kind, dict(counts), flush=True)
        for line in found:
            print("  ", ascii(line)[:400], flush=True)


if __name__ == "__main__":
    run_all()
