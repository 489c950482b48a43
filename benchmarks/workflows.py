"""The group workflows: what ten stages cost around functions that add one, beside the peers' graphs.

Invariant: every run is checked for how many stages ran. The floor and ours run in trio; each peer runs in an asyncio
loop of its own, where it is timed. What is kept is on disk before the next stage begins, for all who keep anything.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell_hookspecs.workflows import Workflows

from .timing import OURS, Bar, Contender, Row, Run, measure
from .workflow_peers import STAGES, Flow, find_workflow_peers

__all__ = ["measure_workflows"]

_AWAITS: Final = "floor: awaits"
_NURSERY: Final = "floor: a nursery"
_SEQUENTIAL: Final = Bar("a tenth of langgraph", "langgraph", 0.1)
_BESIDE: Final = Bar("3 x a nursery", _NURSERY, 3.0)
_KEPT: Final = Bar("a quarter of langgraph", "langgraph", 0.25)
_TOOL: Final[dict[str, Any]] = {"tool": "text_manipulator", "input": {"operation": "uppercase", "input": "a"}}


async def measure_workflows(rounds: int) -> Run:
    """Time the rows of the group, beside the peers that are installed."""
    peers, absent = find_workflow_peers()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=".", prefix=".benchmark-")))
        loops = {peer.name: stack.enter_context(asyncio.Runner()) for peer in peers}
        inner: dict[str, AsyncExitStack] = {}
        host = await stack.enter_async_context(Host.open({"storage": {"sqlite": {"path": str(folder / "ours.db")}}}))
        rows = [
            [Contender(_AWAITS, _checked(_awaits), True), Contender(OURS, await _ours(host, "sequential"), True)],
            [Contender(_NURSERY, _checked(_nursery), True), Contender(OURS, await _ours(host, "parallel"), True)],
            [Contender(OURS, await _ours(host, "kept", pattern="sequential", durable=True), True)],
            [Contender(OURS, await _ours(host, "tools", pattern="sequential", stage=_TOOL), True)],
        ]
        for peer in peers:
            inner[peer.name] = AsyncExitStack()
            kept = loops[peer.name].run(peer.kept(inner[peer.name], folder))
            for row, flow in zip(rows, (peer.sequence(), peer.beside(), kept), strict=False):
                if flow is not None:
                    row.append(Contender(peer.name, _checked(flow), True, loops[peer.name]))
        named = [
            Row(f"{STAGES} stages, one after the other", rows[0], _SEQUENTIAL),
            Row(f"{STAGES} stages beside each other", rows[1], _BESIDE),
            Row(f"{STAGES} stages, each kept on disk", rows[2], _KEPT),
            Row(f"{STAGES} stages, each a tool", rows[3]),
        ]
        try:
            run = await measure(named, rounds)
        finally:
            for peer in peers:
                loops[peer.name].run(inner[peer.name].aclose())
    return run.joined(Run(absent=tuple(absent)))


def _checked(flow: Flow) -> Callable[[], Any]:
    async def call() -> None:
        ran = await flow()
        if ran != STAGES:
            raise RuntimeError(f"{ran} stages ran instead of {STAGES}")

    return call


async def _awaits() -> int:
    async def step(number: int) -> int:
        return number + 1

    number = 0
    for _ in range(STAGES):
        number = await step(number)
    return number


async def _nursery() -> int:
    ran = 0

    async def one() -> None:
        nonlocal ran
        ran += 1

    async with trio.open_nursery() as nursery:
        for _ in range(STAGES):
            nursery.start_soon(one)
    return ran


async def _ours(host: Host, name: str, *, pattern: str = "", stage: Any = None, durable: bool = False) -> Any:
    async def one(context: Any) -> int:
        return 1

    runs = stage or {"function": one}
    stages = [{"name": f"s{number}", **runs} for number in range(STAGES)]
    given = {"name": name, "pattern": pattern or name, "stages": stages, "durable": durable}
    made, numbers = await host.get(Workflows).create(given), count()

    async def run() -> int:
        return (await made.run(run_id=f"{name}-{next(numbers)}")).stages

    return _checked(run)
