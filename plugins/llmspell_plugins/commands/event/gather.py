"""Gathers events for a timeline: those of other processes, of a script, or of a file, as many as fit.

Invariant: of what does not fit the oldest go, and how many is told. A file's line that is no event is named by its
number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

import click
import msgspec
import trio

from llmspell_hookspecs import Event, InvalidInputError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.event import Subscription
from llmspell_hookspecs.patterns import split_topic
from llmspell_plugins.services.event_tail import Process
from llmspell_plugins.services.timeline import Record

__all__ = ["Gathering", "read_events"]

EVENTS: Final = 100_000
"""How many events are kept."""
_BYTES: Final = 256 * 1024 * 1024
_EVENT_BYTES: Final = 64 * 1024


class Gathering:
    """Takes events as a tail's screen does.

    Args:
        warn: Says something on standard error.

    Attributes:
        record: What was gathered.
        full: Set when no more is wanted.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self.record = Record(EVENTS, _BYTES, _EVENT_BYTES)
        self.full = trio.Event()
        self._warn = warn

    def add(self, events: Iterable[Event]) -> None:
        """Take events in."""
        for event in events:
            self.record.add(event)

    async def show(self, events: Iterable[Event], process: Process | None = None) -> None:
        """Take events in, as if they were shown."""
        self.add(events)

    def warn(self, process: Process, message: str) -> None:
        """Say something about a process on standard error."""
        self._warn(f"{process.name}[{process.pid}]: {message}")

    @asynccontextmanager
    async def follow(self, events: Subscription) -> AsyncIterator[None]:
        """Take in what comes while the block runs, and what waits then; what it raises leaves without a group."""
        failure: Exception | None = None
        async with events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take, events)
                try:
                    yield
                except Exception as error:
                    failure = error
                nursery.cancel_scope.cancel()
            while (event := events.receive_nowait()) is not None:
                self.add((event,))
            if dropped := events.info.dropped:
                self._warn(f"{dropped} events were dropped; they came too fast")
        if failure is not None:
            raise failure

    async def _take(self, events: Subscription) -> None:
        while (event := await events.receive()) is not None:
            self.add((event,))

    def tell_lost(self) -> None:
        """Say what did not fit."""
        if self.record.evicted:
            self._warn(f"{self.record.evicted} events were dropped, the oldest; {EVENTS:,} fit, or 256 MiB of them")
        if self.record.without_data:
            self._warn(f"{self.record.without_data} events are without their data, which is larger than 64 KiB")


def read_events(text: str, where: str) -> list[Event]:
    """Return the events of a text with one on each line, as ``event export`` and ``event tail`` write them.

    Raises:
        UsageError: A line is none.
    """
    decoder = msgspec.json.Decoder(Event)
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            event = decoder.decode(line)
            split_topic(event.type)
        except (msgspec.DecodeError, InvalidInputError, UnicodeError, RecursionError) as error:
            told = f"{where}: line {number} is no event: {line_of_error(error)}"
            raise click.UsageError(f"{told}; give what 'llmspell event export' writes") from error
        found.append(event)
    return found
