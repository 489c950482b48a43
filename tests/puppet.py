"""A script language without a script: what its scripts do is a Python function that calls the globals by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from llmspell_hookspecs import Cancel, HookContext, HookResult, InvalidInputError, Modified, Replace
from llmspell_hookspecs.language import ScriptInterface
from llmspell_hookspecs.script import ScriptRun

Body = Callable[["Script"], Awaitable[Any]]


class Adapter:
    """A plain context in; a word, or a table with a type, out."""

    def adapt_context(self, context: HookContext[Any], /) -> Any:
        data = context.subject
        fields = {name: getattr(data, name) for name in getattr(data, "__struct_fields__", ())}
        return {"point": context.point, "data": fields or data}

    def adapt_result(self, value: Any, context: HookContext[Any], /) -> HookResult | None:
        match value:
            case None:
                return None
            case {"type": "modified", "data": data}:
                return Modified(data)
            case {"type": "replace", "data": data}:
                return Replace(data)
            case str():
                return Cancel(value)
        raise InvalidInputError(f"{context.point}: {value!r} stands for no result")


class Script:
    """A running script: calls its globals by name."""

    def __init__(self, interface: ScriptInterface) -> None:
        self.interface = interface

    async def __call__(self, path: str, *arguments: Any) -> Any:
        name, _, method = path.partition(".")
        return await self.interface.call(self.interface.globals[name], method, arguments)

    async def of(self, target: Any, method: str, *arguments: Any) -> Any:
        return await self.interface.call(target, method, arguments)


class Puppet:
    """A language whose scripts are Python functions, chosen by their names."""

    name: ClassVar[str] = "puppet"
    extensions: ClassVar[tuple[str, ...]] = (".puppet",)
    hook_adapter = Adapter()

    def __init__(self, **bodies: Body) -> None:
        self.bodies = bodies

    async def run(self, script: ScriptRun, interface: ScriptInterface, /) -> Any:
        return await self.bodies[script.source](Script(interface))
