"""Journeys: how often a way through the code moves from one file to another, for whoever reads it along.

A move is a call, or the resumption of a coroutine, of a function of ours by a function of ours in another file; a file
is entered as often as that, and counted once. Each journey is gone once before, so that what is made at first touch is
there. Needs no rest on the machine: it counts and times nothing.

Files and moves, counted alike with this counter: before the kinds left the host (commit 59b53d7) and today; and what a
count by other means had found then, whose rules are not known.

| journey | then, by other means | then | today | moves, of those then |
|---|---|---|---|---|
| call a tool with a guard | 20 / 55 | 28 / 92 | 18 / 38 | 0.41 |
| stream a turn | 36 / 320 | 44 / 748 | 41 / 290 | 0.39 |
| set state | 13 / 33 | 15 / 29 | 10 / 14 | 0.48 |
| open a host with a plugin | 46 / 655 | 56 / 2202 | 68 / 725 | 0.33 |
| llmspell tool invoke | 119 / 1018 | 89 / 2386 | 96 / 823 | 0.34 |
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.cli.main import main
from llmspell_hookspecs import HookContext, ToolCall, hookimpl

__all__ = ["JOURNEYS", "Moves", "walk", "walk_all"]

_ROOT: Final = str(Path(__file__).parent.parent)
_OURS: Final = tuple(f"{_ROOT}/{folder}/" for folder in ("host", "hookspecs", "plugins"))
_INPUT: Final = {"operation": "evaluate", "input": "2 + 2"}
Journey = Callable[[Host], Awaitable[object]]


class Guarding:
    """A plugin with a guard."""

    name = "guarding"

    @hookimpl(kind="guard")
    def before_tool_execution(self, context: HookContext[ToolCall]) -> None:
        """Agree."""


class Moves:
    """Counts moves while it is entered, on this thread.

    Attributes:
        between: How often one file called into another, by both.
    """

    def __init__(self) -> None:
        self.between: Counter[tuple[str, str]] = Counter()

    @property
    def count(self) -> int:
        """How many moves there were."""
        return self.between.total()

    @property
    def files(self) -> set[str]:
        """The files that were entered or left."""
        return {name for pair in self.between for name in pair}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what the block does."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        caller = frame.f_back
        if event != "call" or caller is None:
            return
        here, there = frame.f_code.co_filename, caller.f_code.co_filename
        if here != there and here.startswith(_OURS) and there.startswith(_OURS):
            self.between[there.removeprefix(f"{_ROOT}/"), here.removeprefix(f"{_ROOT}/")] += 1


async def _call(host: Host) -> object:
    return await host.call("tool:calculator", _INPUT)


async def _turn(host: Host) -> object:
    agent = host.agents.get("writer") or await host.agents.create(
        name="writer", model="offline/rules", tools=["calculator"]
    )
    async with agent.stream("what is 2 + 2?") as running:
        chunks = [chunk async for chunk in running]
    return chunks, running.output


async def _set(host: Host) -> object:
    return await host.state.set("key", 1)


JOURNEYS: Final[dict[str, Journey]] = {"call a tool with a guard": _call, "stream a turn": _turn, "set state": _set}
"""Those within a host, by name."""


async def walk(journey: Journey) -> Moves:
    """Return the moves of a journey within a host."""
    moves = Moves()
    async with Host.open(plugins=[Guarding]) as host:
        for _ in range(2):
            await journey(host)
        with moves.counted():
            await journey(host)
    return moves


async def walk_in() -> Moves:
    """Return the moves of opening a host with a plugin."""
    moves = Moves()
    for counting in (contextlib.nullcontext(), moves.counted()):
        opening = Host.open(plugins=[Guarding])
        with counting:
            await opening.__aenter__()
        await opening.__aexit__(None, None, None)
    return moves


def walk_command() -> Moves:
    """Return the moves of ``llmspell tool invoke``, all of it."""
    moves = Moves()
    for counting in (contextlib.nullcontext(), moves.counted()):
        with counting, contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main(["tool", "invoke", "calculator", "operation=evaluate", "input=2 + 2"])
    return moves


def walk_all() -> dict[str, Moves]:
    """Return the moves of all journeys, by name; none of them sees anybody's settings or files."""
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ.update(LLMSPELL_CONFIG_HOME=folder, LLMSPELL_DATA_HOME=folder)
        return _walked()


def _walked() -> dict[str, Moves]:
    found = {name: trio.run(walk, journey) for name, journey in JOURNEYS.items()}
    return {**found, "open a host with a plugin": trio.run(walk_in), "llmspell tool invoke": walk_command()}
