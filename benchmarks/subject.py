"""What is timed: our runner with hooks that do nothing, around a body that does nothing.

Invariant: the code that is timed is the host's own, wired as the host wires it, with breakers, timing and all nine
results on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from llmspell.hooks import HookRegistry
from llmspell.operations import Runner, RunnerLimits
from llmspell_hookspecs import HookContext, ToolCall
from llmspell_hookspecs.breaker import PROFILES
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.operation import OperationKind
from llmspell_hookspecs.results import Call
from llmspell_hookspecs.topics import own_points
from llmspell_plugins.kinds.tool import TOOL

__all__ = [
    "CALL",
    "COMPONENT",
    "COUNTS",
    "KIND",
    "POINT",
    "answer",
    "make_runner",
    "nothing",
    "nothing_waiting",
]

COUNTS: Final = (1, 5, 10)
POINT: Final = TOOL.before
COMPONENT: Final = ComponentRef("tool", "calculator", "tool:calculator")
CALL: Final = ToolCall("calculator", {"input": "2 + 2"}, "utility", "safe")
KIND: Final = OperationKind("tool", TOOL.before, TOOL.around, TOOL.after, TOOL.error)


def nothing(context: HookContext[ToolCall]) -> None:
    """Return nothing."""


async def nothing_waiting(context: HookContext[ToolCall]) -> None:
    """Return nothing, awaited."""


async def answer(call: ToolCall) -> int:
    """Return 4: the body of every operation."""
    return 4


async def _call_nobody(call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None) -> Any:
    raise LookupError("no hook of a benchmark calls anything")


def make_runner(nursery: trio.Nursery, hook: Callable[[HookContext[ToolCall]], Any], count: int) -> Runner:
    """Return a runner with that many hooks before a tool call."""
    registry = HookRegistry(
        PointCatalog(point for point in own_points() if point.topic == "tool"), profile=PROFILES["default"]
    )
    for _ in range(count):
        registry.register(POINT, hook)
    return Runner(registry, RunnerLimits(), nursery, _call_nobody)
