"""The group journal: what an operation costs when it is recorded, beside the same one when it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
from pydantic import BaseModel

from llmspell import Host
from llmspell_hookspecs import Tool, ToolContext, ToolResult
from llmspell_hookspecs.journal import Journal

from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_journal"]

_OFF = "llmspell, journal off"
_BAR = Bar("10 us over the journal off", _OFF, 1.0, 10_000.0)
_MANY = 256
_FOUR = {"input": "2 + 2"}
_WORDS = {"input": "x" * 600}


class _Parameters(BaseModel):
    input: str


class _Echo(Tool[_Parameters]):
    """Return what it is given."""

    name = "echo"

    async def run(self, parameters: _Parameters, context: ToolContext) -> ToolResult:
        """Return it."""
        return ToolResult({"said": parameters.input})


async def measure_journal(rounds: int) -> Run:
    """Time the rows of the group."""
    async with AsyncExitStack() as stack:
        off = await stack.enter_async_context(_host("off"))
        on = await stack.enter_async_context(_host("all"))
        rows = [
            _row("host.call of a tool, recorded", off, on, _FOUR),
            _row("host.call of a tool with 600 B in and out, recorded", off, on, _WORDS),
            Row(
                f"{_MANY} calls beside each other until all is written",
                [
                    Contender(_OFF, lambda: _many(off), waits=True),
                    Contender(OURS, lambda: _many(on), waits=True),
                ],
                Bar("10 us for each over the journal off", _OFF, 1.0, 10_000.0 * _MANY),
            ),
        ]
        return await measure(rows, rounds)


def _row(name: str, off: Host, on: Host, given: Any) -> Row:
    contenders = [
        Contender(_OFF, lambda: off.call("tool:echo", given), waits=True),
        Contender(OURS, lambda: on.call("tool:echo", given), waits=True),
    ]
    return Row(name, contenders, _BAR)


async def _many(host: Host) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(_MANY):
            nursery.start_soon(host.call, "tool:echo", _WORDS)
    await (await host.enter(Journal)).flush()


@asynccontextmanager
async def _host(record: str) -> AsyncIterator[Host]:
    settings = {"journal": {"record": record}, "storage": {"backend": "memory"}}
    async with Host.open(settings, plugins=[_Echo], discover=False) as host:
        yield host
