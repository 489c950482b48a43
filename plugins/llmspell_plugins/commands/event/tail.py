"""Shows events as they come: those of other processes, or those of this one's host.

Invariant: what a terminal or a pipe does not take yet holds nobody up but this process; the others then drop events,
and how many is said on standard error. An interrupt ends it also while nobody reads.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio

from llmspell_hookspecs import Event
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.event import Subscription
from llmspell_plugins.services.event_tail import LINE_BYTES, Meeting, Message, Process, Request, is_ours

from .line import EventLines

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import Invocation

__all__ = ["Screen", "show_others", "show_own"]

_BATCH: Final = 256
_TELL_S: Final = 1.0


class Screen:
    """Standard output, for events.

    Args:
        lines: Writes events as lines.
        invocation: Writes them out, and warnings.
        limit: How many events it takes; None for any number.

    Attributes:
        full: Set when it took as many.
        lock: Held while something is written.
    """

    def __init__(self, lines: EventLines, invocation: Invocation, limit: int | None = None) -> None:
        self._invocation = invocation
        self.full = trio.Event()
        self.lock = trio.Lock()
        self._lines = lines
        self._left = limit

    async def show(self, events: Iterable[Event], process: Process | None = None) -> None:
        """Write events, taken when it is their turn; those beyond the limit are left out."""
        async with self.lock:
            chosen = list(events)
            if self._left is not None:
                chosen = chosen[: self._left]
                self._left -= len(chosen)
            if sys.stdout.isatty():
                self._lines.width = shutil.get_terminal_size().columns
            name, pid = (process.name, process.pid) if process else ("", 0)
            text = "".join(self._lines.line(event, name, pid) for event in chosen)
            if text:
                await trio.to_thread.run_sync(self._write, text, abandon_on_cancel=True)
            if self._left == 0:
                self.full.set()

    def _write(self, text: str) -> None:
        """Write past Python's buffer, whose lock a thread that is stuck here would keep; the lines are clean."""
        try:
            handle = sys.stdout.fileno()
        except io.UnsupportedOperation:
            self._invocation.write(text)
            return
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(handle, rest) :]

    def warn(self, process: Process, message: str) -> None:
        """Say something about a process on standard error."""
        self._invocation.warn(f"{process.name}[{process.pid}]: {message}")


class Taker(Protocol):
    """Takes what other processes tell: a `Screen`, or what gathers it."""

    full: trio.Event

    async def show(self, events: Iterable[Event], process: Process | None = None) -> None:
        """Take events."""

    def warn(self, process: Process, message: str) -> None:
        """Hear something about a process."""


async def show_others(request: Request, folder: Path, screen: Taker) -> None:
    """Show the events of the user's other processes until the screen is full."""
    meeting = Meeting(folder, create=True)
    name = ""
    try:
        name, listener = meeting.listen(request)
        async with trio.open_nursery() as nursery:
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(trio.serve_listeners, lambda stream: _receive(stream, screen), [listening])
            await screen.full.wait()
            nursery.cancel_scope.cancel()
    finally:
        if name:
            meeting.withdraw(name)
        meeting.close()


async def _receive(stream: trio.SocketStream, screen: Taker) -> None:
    """Show what one host sends."""
    if not is_ours(stream.socket):
        return
    losses = _Losses(screen)
    try:
        async for messages in _read(stream):
            for message in messages:
                losses.note(message)
            losses.tell()
            await screen.show((message.event for message in messages if message.event is not None), losses.process)
    except (trio.BrokenResourceError, msgspec.DecodeError) as error:
        losses.problem = line_of_error(error)
    losses.tell(last=True)


async def _read(stream: trio.SocketStream) -> AsyncIterator[list[Message]]:
    """Yield the messages that are there."""
    decoder = msgspec.json.Decoder(Message)
    rest = b""
    async for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > 2 * LINE_BYTES:
            raise msgspec.DecodeError("a line is too long")
        if lines:
            yield [decoder.decode(line) for line in lines]


class _Losses:
    """What one host says of itself, and of what it dropped.

    Attributes:
        process: The host's.
        problem: What was wrong with what it sent.
    """

    def __init__(self, screen: Taker) -> None:
        self._screen = screen
        self.process = Process("llmspell", 0)
        self.problem = ""
        self._dropped = self._told = 0
        self._told_at = -_TELL_S
        self._ended = False

    def note(self, message: Message) -> None:
        """Take a message in."""
        self.process = message.process or self.process
        self._dropped = max(self._dropped, message.dropped)
        self._ended = self._ended or message.ended

    def tell(self, *, last: bool = False) -> None:
        """Say what was dropped, once a second and at the end."""
        now = trio.current_time()
        if self._dropped > self._told and (last or now - self._told_at >= _TELL_S):
            self._screen.warn(
                self.process, f"{self._dropped - self._told} events were dropped; they came faster than they are read"
            )
            self._told, self._told_at = self._dropped, now
        if last and (self.problem or not self._ended):
            self._screen.warn(
                self.process, f"it ended without a word; its last events may be missing {self.problem}".rstrip()
            )


@contextlib.asynccontextmanager
async def show_own(events: Subscription, screen: Screen) -> AsyncIterator[None]:
    """Show the events of a host in this process while the block runs, and what waits then."""
    held: list[Event] = []
    async with events:
        failure: Exception | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_follow, events, held, screen)
                try:
                    yield
                except Exception as error:  # its events come first, and it leaves without a group around it
                    failure = error
                async with screen.lock:
                    nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(0.5, shield=True):
                await screen.show(_waiting(events, held))
            if dropped := events.info.dropped:
                screen.warn(Process("event tail", os.getpid()), f"{dropped} events were dropped; they came too fast")
    if failure is not None:
        raise failure


async def _follow(events: Subscription, held: list[Event], screen: Screen) -> None:
    """Show events until cancelled; one that was taken, and whose turn does not come, stays held."""
    while (event := await events.receive()) is not None:
        held.append(event)
        await screen.show(islice(_waiting(events, held), _BATCH))


def _waiting(events: Subscription, held: list[Event]) -> Iterator[Event]:
    while held:
        yield held.pop(0)
    while (event := events.receive_nowait()) is not None:
        yield event
