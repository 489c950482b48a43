"""The error that hooks are shown: like the caller's own, and not it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kernel import make_tool, opened
from llmspell_hookspecs import HookContext, ToolContext, ToolError
from llmspell_hookspecs.errors import SecurityError


class Own(Exception):
    def __init__(self, needed: int, *, more: dict[str, int]) -> None:
        super().__init__(f"own {needed}")
        self.more = more


class Odd(Exception):
    def __init__(self, text: str) -> None:
        self.handle = text

    def __str__(self) -> str:
        return f"odd {self.handle}"


def make(error: Exception, cause: Exception) -> Exception:
    """Return an error with a cause."""
    error.__cause__ = cause
    return error


ERRORS: dict[str, Callable[[], Exception]] = {
    "tool": lambda: ToolError("no", code="io", details={"a": [1]}),
    "security": lambda: SecurityError("no", rule="path"),
    "own": lambda: Own(3, more={"a": 1}),
    "odd": lambda: Odd("x"),
    "file": lambda: FileNotFoundError(2, "none", "/a"),
    "import": lambda: ImportError("no", name="thing", path="/a"),
    "group": lambda: ExceptionGroup("many", [LookupError("a"), KeyError("b")]),
    "json": lambda: json.JSONDecodeError("no", "abc", 1),
    "cause": lambda: make(LookupError("a"), OSError(3, "b")),
    "arguments": lambda: LookupError("a", [1]),
}


def state(error: Any, depth: int = 3) -> Any:
    """Return all of an error that its handler may look at."""
    cause = None if error.__cause__ is None or not depth else state(error.__cause__, depth - 1)
    extra = {name: getattr(error, name, None) for name in ("errno", "filename", "name", "path", "exceptions")}
    own = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return repr((type(error), str(error), error.args, own, extra)), cause


def spoil(context: HookContext[Any]) -> None:
    """Change what is shown in every way."""
    error: Any = context.subject.error
    for each in (error, error.__cause__):
        if each is None:
            continue
        for value in [*vars(each).values(), *each.args]:
            if isinstance(value, dict):
                value["spoiled"] = 1
            elif isinstance(value, list):
                value.append("spoiled")
        each.args = ("spoiled",)
        each.code = each.more = each.handle = "spoiled"
        each.add_note("spoiled")
    error.__cause__ = ValueError("spoiled")


@pytest.mark.parametrize("name", ERRORS)
async def test_what_a_hook_does_to_an_error_changes_nothing_that_the_caller_gets(name: str) -> None:
    seen: list[Any] = []

    async def fail(parameters: dict[str, Any], context: ToolContext) -> Any:
        raise ERRORS[name]()

    async with opened(make_tool("failing", fail)) as host:
        with pytest.raises(Exception) as plain:
            await host.call("tool:failing", {})
        host.hooks.register("tool_error", lambda context: seen.append(context.subject.error), kind="observe", name="s")
        for kind in ("transform", "guard", "observe"):
            host.hooks.register("tool_error", spoil, kind=kind, name=kind)
        with pytest.raises(Exception) as told:
            await host.call("tool:failing", {})

    assert state(told.value) == state(plain.value)
    assert isinstance(seen[0], type(plain.value)) and seen[0] is not told.value
    assert not getattr(told.value, "__notes__", None)
