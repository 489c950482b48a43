"""The tap: lets ``llmspell event tail`` of the same user see the events of this host while it runs.

Tails listen and hosts connect, not the other way round. So a host finds every tail that waits as it opens, by one
listing of a folder (see `meeting`), and has subscribed for it before anything was published: nothing of a process that
starts after its tail is lost. Hosts that run already look for new tails once a second. Without a tail there is neither
a socket nor a subscription.

Invariant: a host never waits for a tail while it runs, and half a second at most when it closes; what a tail does not
read in time is dropped and counted. No failure here reaches the host. Each line that is sent is one `Message`, as JSON.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs import Event, LlmspellError

from .bus import Bus
from .meeting import Meeting, Request
from .subscription import Subscription

__all__ = ["LINE_BYTES", "Message", "Process", "Tap"]

LINE_BYTES: Final = 1 << 20
"""The longest line that is sent; an event that needs more is sent without its data."""
_BATCH_BYTES: Final = 1 << 16
_GATHER_S: Final = 0.01
_LOOK_S: Final = 1.0
_FLUSH_S: Final = 0.5
_log = logging.getLogger("llmspell.events")


class Process(Struct, frozen=True):
    """Whose events these are.

    Attributes:
        name: What it does, such as ``run``.
        pid: Its process.
    """

    name: str
    pid: int


class Message(Struct, frozen=True, omit_defaults=True):
    """One line from a host to a tail; one of these is set.

    Attributes:
        process: Who sends; comes first.
        event: An event.
        dropped: How many events were dropped so far.
        ended: Whether the host closes, and all that was not dropped has been sent.
    """

    process: Process | None = None
    event: Event | None = None
    dropped: int = 0
    ended: bool = False


class Tap:
    """Serves the tails of this user.

    Args:
        bus: Whose events.
        nursery: The host's.
        name: What the process does, as tails show it.
        folder: Where tails wait.
    """

    def __init__(self, bus: Bus, nursery: trio.Nursery, name: str, folder: Path) -> None:
        self._bus = bus
        self._nursery = nursery
        self._process = Process(name, os.getpid())
        self._folder = folder
        self._allowed = False
        self._looking = False
        self._served: dict[str, _Client] = {}
        self._refused: set[str] = set()

    def allow(self, allowed: bool) -> None:
        """Serve tails from now on, those that wait already at once; or none any more."""
        before, self._allowed = self._allowed, allowed
        if not allowed:
            for client in self._served.values():
                client.scope.cancel()
        elif not before:
            self._meet(self._find())
        if allowed and not self._looking:
            self._looking = True
            self._nursery.start_soon(self._look)

    async def close(self) -> None:
        """Send what waits, within half a second, and let go of all tails."""
        self._allowed = False
        clients = list(self._served.values())
        try:
            with trio.move_on_after(_FLUSH_S):
                for client in clients:
                    client.end()
                for client in clients:
                    await client.ended.wait()
        finally:
            for client in clients:
                client.scope.cancel()

    async def _look(self) -> None:
        while True:
            await trio.sleep(_LOOK_S)
            if self._allowed:
                found = await trio.to_thread.run_sync(self._find, abandon_on_cancel=True)
                self._meet(found if self._allowed else {})

    def _find(self) -> dict[str, Request]:
        """Answer the tails that wait and are not served yet."""
        try:
            meeting = Meeting(self._folder)
        except FileNotFoundError:
            return {}
        except (OSError, LlmspellError) as error:
            _log.debug("%s", error)
            return {}
        try:
            names = [name for name in meeting.names() if name not in self._served and name not in self._refused]
            requests = {name: self._read(meeting, name) for name in names}
        finally:
            meeting.close()
        return {name: request for name, request in requests.items() if request is not None}

    def _read(self, meeting: Meeting, name: str) -> Request | None:
        try:
            return meeting.read(name)
        except (OSError, ValueError) as error:
            self._refuse(name, error)
            return None

    def _meet(self, found: dict[str, Request]) -> None:
        for name, request in found.items():
            try:
                self._serve(name, request)
            except BlockingIOError:
                continue  # too many hosts wait for it; the next look tries again
            except (OSError, LlmspellError) as error:
                self._refuse(name, error)

    def _refuse(self, name: str, error: Exception) -> None:
        self._refused.add(name)
        _log.debug("event tail %s: it cannot be served: %s", name, error)

    def _serve(self, name: str, request: Request) -> None:
        events = self._bus.subscribe(request.patterns, capacity=request.capacity, owner="tail")
        meeting = Meeting(self._folder)
        try:
            connection = meeting.connect(name)
        finally:
            meeting.close()
        events.open()
        client = self._served[name] = _Client(events, connection, self._process)
        self._nursery.start_soon(self._run, name, client, name=f"tap of {name}")

    async def _run(self, name: str, client: _Client) -> None:
        try:
            await client.run()
        except Exception as error:
            self._refuse(name, error)
        finally:
            del self._served[name]


class _Client:
    """One tail that is served.

    Attributes:
        scope: Ends it at once; the host's own cancellation does not, so that its last events are seen.
        ended: Set when it has ended.
    """

    def __init__(self, events: Subscription, connection: socket.socket, process: Process) -> None:
        self.scope = trio.CancelScope(shield=True)
        self.ended = trio.Event()
        self._events = events
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        self._process = process
        self._ending = False
        self._idle: trio.CancelScope | None = None
        self._told = 0

    def end(self) -> None:
        """Let it end when it has sent what waits."""
        self._ending = True
        if self._idle is not None:
            self._idle.cancel()

    async def run(self) -> None:
        """Send events until the tail goes, or until it is to end."""
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._wait_for_its_end, nursery.cancel_scope)
                    await self._send()
                    nursery.cancel_scope.cancel()
        finally:
            self._events.close()
            self._stream.socket.close()
            self.ended.set()

    async def _send(self) -> None:
        lines = _encode(Message(process=self._process))
        try:
            while True:
                if lines:
                    await self._stream.send_all(lines)
                    if len(lines) < _BATCH_BYTES:
                        await self._gather()
                elif self._ending:
                    await self._stream.send_all(_encode(Message(ended=True)))
                    return
                lines = self._take() or await self._wait()
        except trio.BrokenResourceError:
            return  # the tail is gone

    def _take(self) -> bytes:
        """Answer lines for events that wait, and one that says how many were dropped before them."""
        lines = bytearray()
        dropped = self._events.mailbox.dropped
        if dropped != self._told:
            self._told = dropped
            lines += _encode(Message(dropped=dropped))
        while len(lines) < _BATCH_BYTES and (event := self._events.receive_nowait()) is not None:
            lines += encode_event(event)
        return bytes(lines)

    async def _wait(self) -> bytes:
        """Wait for an event; answer its line, or nothing if it is time to end."""
        if self._ending:
            return b""
        with trio.CancelScope() as self._idle:
            event = await self._events.receive()
            if event is not None:
                return encode_event(event)
        return b""

    async def _gather(self) -> None:
        """Let events gather, so that a busy host is not kept busier by one message for each."""
        if not self._ending:
            with trio.CancelScope() as self._idle:
                await trio.sleep(_GATHER_S)

    async def _wait_for_its_end(self, scope: trio.CancelScope) -> None:
        """Tails say nothing: whatever comes is their end."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._stream.receive_some(1)
        scope.cancel()


def encode_event(event: Event) -> bytes:
    """Answer the event's line; without its data and origin if those cannot be written, or would be too long."""
    try:
        line = _encode(Message(event=event))
        problem = f"{len(line)} bytes" if len(line) > LINE_BYTES else ""
    except Exception as error:  # whatever the data's own methods raise
        problem = type(error).__name__
    if not problem:
        return line
    topic = event.type.encode(errors="backslashreplace").decode()
    return _encode(Message(event=Event(topic, f"<left out: {problem}>", "", "", event.timestamp, event.sequence)))


def _encode(message: Message) -> bytes:
    return msgspec.json.encode(message, enc_hook=str) + b"\n"
