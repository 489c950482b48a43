"""The group operations: what a whole operation costs around its body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import trio
from pydantic import BaseModel

from llmspell import Host
from llmspell_hookspecs import HookContext, Tool, ToolContext, ToolResult
from llmspell_hookspecs.operation import Operation

from .peers import Peer
from .subject import CALL, COMPONENT, COUNTS, KIND, answer, make_runner, nothing, nothing_waiting
from .timing import OURS, Bar, Contender, Difference, Row, Run, measure

__all__ = ["measure_operations"]

_FLOOR = "floor: plain await"
_BARE = Bar("0.6 us over the floor", _FLOOR, 1.0, 600.0)
_MARGINAL = Bar("0.2 us", plus_ns=200.0)
_INPUT = {"input": "2 + 2"}
_DIFFERENCES = [
    Difference(f"one {kind} hook more", f"operation, 10 {kind} hooks", f"operation, 1 {kind} hook", 9, _MARGINAL)
    for kind in ("sync", "async")
]


async def measure_operations(peers: Sequence[Peer], rounds: int) -> Run:
    """Time the rows of the group."""
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        plain = await stack.enter_async_context(_host(hooked=False))
        hooked = await stack.enter_async_context(_host(hooked=True))
        rows = [_bare(nursery)]
        rows += [_with_hooks(nursery, peers, count, waits=waits) for waits in (False, True) for count in COUNTS]
        rows += [_call("host.call of a tool", plain), _call("host.call, guard, transform and observer", hooked)]
        return await measure(rows, rounds, _DIFFERENCES)


def _bare(nursery: trio.Nursery) -> Row:
    runner = make_runner(nursery, nothing, 0)
    contenders = [
        Contender(_FLOOR, lambda: answer(CALL), waits=True),
        Contender(OURS, lambda: runner.execute(Operation(KIND, COMPONENT, CALL, answer)), waits=True),
    ]
    return Row("bare operation", contenders, _BARE)


def _with_hooks(nursery: trio.Nursery, peers: Sequence[Peer], count: int, *, waits: bool) -> Row:
    runner = make_runner(nursery, nothing_waiting if waits else nothing, count)
    sync, waiting = (nothing,) * count, (nothing_waiting,) * count

    async def floor_sync() -> int:
        for hook in sync:
            hook(CALL)  # type: ignore[arg-type]  # the floor has no context
        return await answer(CALL)

    async def floor_waiting() -> int:
        for hook in waiting:
            await hook(CALL)  # type: ignore[arg-type]  # the floor has no context
        return await answer(CALL)

    contenders = [
        Contender(_FLOOR, floor_waiting if waits else floor_sync, waits=True),
        Contender(OURS, lambda: runner.execute(Operation(KIND, COMPONENT, CALL, answer)), waits=True),
    ]
    for peer in peers:
        dispatch = peer.waiting(count) if waits else peer.sync(count)
        if dispatch is not None:
            contenders.append(Contender(peer.name, _followed_by_body(dispatch, waits=waits), waits=True))
    name = f"operation, {count} {'async' if waits else 'sync'} hook{'s' if count > 1 else ''}"
    return Row(name, contenders)


def _followed_by_body(dispatch: Callable[[], Any], *, waits: bool) -> Callable[[], Any]:
    async def sync() -> int:
        dispatch()
        return await answer(CALL)

    async def waiting() -> int:
        await dispatch()
        return await answer(CALL)

    return waiting if waits else sync


class _Parameters(BaseModel):
    input: str


class _Four(Tool[_Parameters]):
    """Return 4."""

    name = "four"
    aliases: ClassVar[tuple[str, ...]] = ()

    async def run(self, parameters: _Parameters, context: ToolContext) -> ToolResult:
        """Return it."""
        return ToolResult(4)


@asynccontextmanager
async def _host(*, hooked: bool) -> AsyncIterator[Host]:
    async with Host.open(False, plugins=[_Four], discover=False) as host:
        if hooked:
            host.hooks.register("before_tool_execution", nothing, kind="guard", name="guard")
            host.hooks.register("before_tool_execution", nothing, name="transform")
            host.hooks.register("after_tool_execution", _observe, kind="observe", name="observer")
        yield host


def _observe(context: HookContext[ToolResult]) -> None:
    """Return nothing."""


def _call(name: str, host: Host) -> Row:
    tool = _Four()

    async def floor() -> ToolResult:
        context: Any = None
        return await tool.run(_Parameters.model_validate(_INPUT), context)

    contenders = [
        Contender("floor: validate, then run the tool", floor, waits=True),
        Contender(OURS, lambda: host.call("tool:four", _INPUT), waits=True),
    ]
    return Row(name, contenders)
