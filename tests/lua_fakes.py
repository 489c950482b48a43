"""A script interface without a host, for the tests of the Lua language."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from llmspell_hookspecs import Calls, FileAccess, InvalidInputError, script_method
from llmspell_hookspecs.entropy import Entropy
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.language import ScriptLimits, ScriptObject, script_methods
from llmspell_hookspecs.path_rules import PathJudge, PathRules
from llmspell_hookspecs.script import ScriptRun
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.tool import PathAccess
from llmspell_plugins.languages.lua.language import Lua
from llmspell_plugins.services.entropy import EntropyService
from llmspell_plugins.tools.filesystem.file_operations import FileOperations, FileOperationsParameters
from tool_caller import Context

_ANY_SIZE: dict[str, Any] = {"value_items": 10**7, "value_bytes": 2**30}


class Scope:
    def __init__(self, script: ScriptRun, lines: Sequence[str] = ()) -> None:
        self.id = "scope-1"
        self.language = "lua"
        self.script = script
        self.adapter = None
        self.stack: Any = None
        self.written: list[str] = []
        self.lines = list(lines)

    def write(self, text: str) -> None:
        self.written.append(text)

    def read_line(self) -> str | None:
        return self.lines.pop(0) if self.lines else None

    def on_end(self, callback: Callable[[], Awaitable[None]]) -> None:
        pass

    async def end(self) -> None:
        pass

    def on_close(self, callback: Callable[[], None]) -> None:
        pass


class FileCalls:
    """Calls of the file tool, without a host."""

    def __init__(self, files: PathJudge) -> None:
        self._files = files

    async def call(
        self, address: str, input: Any = None, /, *, deadline_s: float | None = None, **options: bool
    ) -> Any:
        assert address == "tool:file_operations"
        parameters = FileOperationsParameters.model_validate(input)
        tool = FileOperations()
        paths = {
            each.field: self._files.resolve(getattr(parameters, each.field), each.mode)
            for each in tool.access(parameters)
            if isinstance(each, PathAccess)
        }
        context: Any = Context(tool.limits, Services({FileAccess: self._files}))
        return await tool.run(parameters.model_copy(update=paths), context)


class Settings:
    def __init__(self, environment: Sequence[str]) -> None:
        self.environment = list(environment)

    def plain(self, section: str = "") -> Any:
        return self.environment if section == "security.environment" else None

    async def change(self, key: str, value: Any, *, origin: str = "code") -> None:
        raise InvalidInputError("no")


class Services:
    def __init__(self, known: dict[type, Any]) -> None:
        self.known = known

    def get(self, protocol: type) -> Any:
        if protocol not in self.known:
            raise ComponentNotFoundError(f"services: no {protocol.__name__}; offer one")
        return self.known[protocol]

    def settings(self, plugin: str) -> dict[str, Any]:
        return {}


class Interface:
    def __init__(self, scope: Scope, services: Services, limits: ScriptLimits, globals: Mapping[str, Any]) -> None:
        self.scope = scope
        self.services = services
        self.limits = limits
        self.globals = globals
        self.granted: frozenset[str] | None = None

    async def call(self, target: ScriptObject, method: str, arguments: Sequence[Any]) -> Any:
        answer = self.call_pure(target, method, arguments)
        return await answer if inspect.isawaitable(answer) else answer

    def call_pure(self, target: ScriptObject, method: str, arguments: Sequence[Any]) -> Any:
        kind: Any = type(target)
        function = _methods(kind)[method].function
        return getattr(target, function)(*arguments)


_methods = functools.cache(script_methods)


class Print(ScriptObject):
    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    @script_method(name="__call", pure=True)
    def call(self, *values: Any) -> None:
        self.scope.write("\t".join(values) + "\n")


class Counter(ScriptObject):
    """An object of a script's own, with fields."""

    alive = 0

    def __init__(self, start: int) -> None:
        self.value = start

    def script_fields(self) -> Mapping[str, Any]:
        return {"start": self.value, "tags": ["a", "b"]}

    def script_text(self) -> str:
        return f"counter at {self.value}"

    @script_method("bump")
    async def add_one(self, by: int = 1) -> int:
        await trio.lowlevel.checkpoint()
        self.value += by
        return self.value

    @script_method(pure=True)
    def peek(self) -> int:
        return self.value


class Host(ScriptObject):
    """What the tests' scripts call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.kept: list[Any] = []

    def script_lookup(self, name: str) -> Any:
        return Counter(int(name[1:])) if name.startswith("c") and name[1:].isdigit() else None

    @script_method()
    async def echo(self, *values: Any) -> Any:
        await trio.lowlevel.checkpoint()
        self.seen.append(values)
        return values

    @script_method(pure=True)
    def same(self, *values: Any) -> Any:
        self.seen.append(values)
        return values

    @script_method()
    async def call_back(self, function: Any, *values: Any) -> Any:
        return await function(*values)

    @script_method()
    def keep(self, function: Any) -> None:
        self.kept.append(function)

    @script_method()
    async def fail(self, text: str = "host: it failed; try less") -> None:
        await trio.lowlevel.checkpoint()
        raise InvalidInputError(text)

    @script_method(pure=True)
    def fail_now(self) -> None:
        raise KeyError("gone\naway")

    @script_method()
    async def sleep(self, seconds: float) -> float:
        await trio.sleep(seconds)
        return seconds

    @script_method()
    def counter(self, start: int = 0) -> Counter:
        return Counter(start)


class Run:
    """One script run; the outcome and what it wrote."""

    def __init__(
        self,
        source: str,
        *,
        name: str = "test.lua",
        root: str = "/nowhere",
        environment: Sequence[str] = (),
        lines: Sequence[str] = (),
        globals: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> None:
        self.script = ScriptRun(source, "lua", name)
        self.scope = Scope(self.script, lines)
        self.host = Host()
        files = PathJudge(PathRules(read=(".",), write=(".",)), root)
        known: dict[type, Any] = {Calls: FileCalls(files), FileAccess: files, SettingsAccess: Settings(environment)}
        known[Entropy] = EntropyService()
        services = Services(known)
        offered = {"Host": self.host, "print": Print(self.scope), **(globals or {})}
        self.interface = Interface(self.scope, services, ScriptLimits(**{**_ANY_SIZE, **limits}), offered)

    async def start(self) -> Any:
        interface: Any = self.interface
        return await Lua().run(self.script, interface)

    @property
    def output(self) -> str:
        return "".join(self.scope.written)


def run(source: str, **options: Any) -> Any:
    return trio.run(Run(source, **options).start)


def output_of(source: str, **options: Any) -> str:
    made = Run(source, **options)
    trio.run(made.start)
    return made.output
