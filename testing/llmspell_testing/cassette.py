"""Hosts that are recorded once, and served from the record in every later run of the test.

A cassette is a file of a test's own, ``cassettes/MODULE/TEST.jsonl`` beside its module: one operation on a line. The
setting ``llmspell_cassettes`` of the project's configuration of pytest, or the variable ``LLMSPELL_CASSETTES``, says
what becomes of it: ``once`` (the default) records where there is none, ``none`` fails there, ``all`` records anew.
Where the variable ``CI`` is set the default is ``none``.

Invariant: a served host runs no body that reaches the outside, and the block ends with an error if anything differs
from the cassette or is left over in it. What a failing block recorded is not kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.replay import Divergence, Replay, ReplayReport

if TYPE_CHECKING:
    from llmspell.host import Host

    from .host_runner import HostOpener

__all__ = ["RecordedHosts"]

MODES = ("once", "none", "all")


class RecordedHosts:
    """Opens a host whose operations come from a cassette.

    Args:
        opener: Opens it.
        path: The cassette.
        mode: ``once``, ``none`` or ``all``.

    Attributes:
        path: The cassette.
        recorded: Whether the last block recorded.
    """

    def __init__(self, opener: HostOpener, path: Path, mode: str) -> None:
        self.path = path
        self.recorded = False
        self._open = opener
        self._mode = mode

    @asynccontextmanager
    async def __call__(self, *, settings: Mapping[str, Any] | None = None, **options: Any) -> AsyncIterator[Host]:
        """Open a host for the block, recorded or served; once in a test.

        Args:
            settings: On top of the test's settings files; those of the journal are this fixture's.
            options: See `HostOpener`.

        Raises:
            AssertionError: There is no cassette and none is to be made, or what ran differs from it.
        """
        there = await trio.Path(self.path).exists()
        if not there and self._mode == "none":
            raise AssertionError(
                f"{self.path}: there is no cassette; run once with LLMSPELL_CASSETTES=once, and add it"
            )
        self.recorded = not there or self._mode == "all"
        record = {"record": "all" if self.recorded else "off", "content": "full"}
        async with self._open(settings={**(settings or {}), "journal": record}, **options) as host:
            if self.recorded:
                yield host
                text = await (await host.enter(Journal)).export()
                await trio.Path(self.path.parent).mkdir(parents=True, exist_ok=True)
                await trio.Path(self.path).write_text(text, encoding="utf-8")
            else:
                text = await trio.Path(self.path).read_text(encoding="utf-8")
                replay = await host.enter(Replay)
                async with replay.playing_cassette(text, self.path.name) as replaying:
                    failure: Exception | None = None
                    try:
                        yield host
                    except Exception as error:  # of any class: what differs may have led to anything
                        failure = error
                    report = replaying.report()
                if report.first is not None or (failure is None and report.leftovers):
                    told = f"{self.path}: {_told(report)}\nrecord anew with LLMSPELL_CASSETTES=all"
                    raise AssertionError(told) from failure
                if failure is not None:
                    raise failure


def _told(report: ReplayReport) -> str:
    if report.first is None:
        unused = "\n".join(f"  {path}" for path in report.unused[:10])
        return f"{report.leftovers} operations of it were not asked for:\n{unused}"
    return _told_divergence(report.first)


def _told_divergence(first: Divergence) -> str:
    lines = [f"{first.component}: {first.message}"]
    lines += [f"  {each.pointer}: {each.expected!r} -> {each.actual!r}" for each in first.differences]
    return "\n".join(lines)
