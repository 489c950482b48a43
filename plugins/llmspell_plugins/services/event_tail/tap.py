"""The plugin event_tail: lets ``llmspell event tail`` of the same user see the events of this host while it runs.

Tails listen and hosts connect, not the other way round. So a host finds every tail that waits as it opens, by one
listing of a folder (see `meeting`), and has subscribed for it before anything was published: nothing of a process that
starts after its tail is lost. Hosts that run already look for new tails once a second. A tail that names
``llmspell.hook_stats`` is told first what has become of the hooks so far. Without a tail there is neither
a socket nor a subscription.

A process is shown under the command of llmspell's that it runs, or under the name that settings give it; a program that
embeds the host and gives none is not seen.

Invariant: a host never waits for a tail while it runs, and half a second at most when it closes; what a tail does not
read in time is dropped and counted. No failure here reaches the host. Each line that is sent is one `Message`, as JSON.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from typing import Any, Final

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel, Field

from llmspell_hookspecs import Event, Events, LlmspellError, Services
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.event import Subscription
from llmspell_hookspecs.services import Hooks, ProjectFolder, SettingsAccess

from .hook_stats import HOOK_STATS, stats_of
from .meeting import Meeting, Request

__all__ = ["LINE_BYTES", "EventTap", "Message", "Process", "command_name", "encode_event"]

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


class TapSettings(BaseModel):
    """What the plugin takes."""

    name: str = Field(default="", description="What tails call this process; the command that it runs if empty.")


class EventTap:
    """Serves the tails of this user while the host runs, as far as the setting ``events.tap`` allows it."""

    Settings = TapSettings

    def __init__(self, settings: TapSettings, services: Services) -> None:
        self._events = services.get(Events)
        self._settings = services.get(SettingsAccess)
        self._hooks = services.get(Hooks)
        self._folder = services.get(ProjectFolder).runtime()
        self._process = Process(settings.name or command_name(), os.getpid())
        self._served: dict[str, _Client] = {}
        self._refused: set[str] = set()
        self._nursery: trio.Nursery

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the tails that wait already, then once a second those that have come; at the end send what waits."""
        if not self._process.name:
            task_status.started()
            return
        async with trio.open_nursery() as self._nursery:
            try:
                if self._settings.plain("events.tap"):
                    self._meet(self._find())
                task_status.started()
                while True:
                    await trio.sleep(_LOOK_S)
                    await self._look()
            finally:
                await self._close()

    async def _look(self) -> None:
        if self._settings.plain("events.tap"):
            self._meet(await trio.to_thread.run_sync(self._find, abandon_on_cancel=True))
        else:
            for client in self._served.values():
                client.scope.cancel()

    async def _close(self) -> None:
        """Send what waits, within half a second, and let go of all tails."""
        clients = list(self._served.values())
        try:
            with trio.move_on_after(_FLUSH_S, shield=True):
                for client in clients:
                    client.end()
                for client in clients:
                    await client.ended.wait()
        finally:
            for client in clients:
                client.scope.cancel()

    def _find(self) -> dict[str, Request]:
        """Return the tails that wait and are not served yet."""
        try:
            meeting = Meeting(self._folder)
        except FileNotFoundError:
            return {}
        except (OSError, LlmspellError) as error:
            _log.debug("event tail %s: %s", self._folder, line_of_error(error))
            return {}
        try:
            names = [name for name in meeting.names() if name not in self._served and name not in self._refused]
            requests = {name: self._read(meeting, name) for name in names}
        finally:
            meeting.close()
        return {name: each for name, each in requests.items() if each is not None and each.beside != os.getpid()}

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
        _log.debug("event tail %s: it cannot be served: %s", name, line_of_error(error))

    def _serve(self, name: str, request: Request) -> None:
        events = self._events.subscribe(request.patterns, capacity=request.capacity, owner="tail", as_published=True)
        meeting = Meeting(self._folder)
        try:
            connection = meeting.connect(name)
        finally:
            meeting.close()
        events.open()
        first = _encode(Message(process=self._process))
        if HOOK_STATS in request.patterns:
            first += encode_event(Event(HOOK_STATS, stats_of(self._hooks.list()), "", "", time.time(), 0))
        client = self._served[name] = _Client(events, connection, first)
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

    Args:
        events: What it is to see.
        connection: Where it listens.
        first: The lines that it is sent before any event.

    Attributes:
        scope: Ends it at once; the host's own cancellation does not, so that its last events are seen.
        ended: Set when it has ended.
    """

    def __init__(self, events: Subscription, connection: socket.socket, first: bytes) -> None:
        self.scope = trio.CancelScope(shield=True)
        self.ended = trio.Event()
        self._events = events
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        self._first = first
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
        lines = self._first
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
        """Return lines for events that wait, and one that says how many were dropped before them."""
        lines = bytearray()
        dropped = self._events.info.dropped
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


def command_name() -> str:
    """Return which command of llmspell's this process runs; nothing if it is another program."""
    click: Any = sys.modules.get("click")  # who runs a command has imported it
    context = None if click is None else click.get_current_context(silent=True)
    if context is None or context.find_root().info_name != "llmspell":
        return ""
    return str(context.command_path).removeprefix("llmspell ")


def encode_event(event: Event) -> bytes:
    """Return the event's line; without its data and origin if those cannot be written, or would be too long."""
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
