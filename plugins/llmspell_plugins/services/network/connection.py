"""One HTTP/1.1 connection to a pinned address: a request goes out in one write, the answer's body comes in pieces.

Invariant: a connection is closed without waiting for the other side, so that leaving costs nothing and the server sees
it at once; it is fit for another request only when the answer was read to its end and both sides keep it. What frames
the messages is h11's. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import h11
import trio
from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.network import CONNECTED, Target

from .pinned import connection_failed

__all__ = ["Connection", "Head", "Outgoing", "connect"]

_RECEIVE_BYTES = 65536
_EVENTS_AT_ONCE = 64
_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


class Outgoing(Struct, frozen=True):
    """A request.

    Attributes:
        method: In capitals.
        path: With the query.
        headers: All but ``Content-Length``.
        content: The body.
    """

    method: str
    path: bytes
    headers: Mapping[str, str]
    content: bytes


class Head(Struct, frozen=True):
    """The head of an answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]


class Connection:
    """A connection; made by `connect`.

    Attributes:
        idle_since: When it was given back, for whoever keeps it.
        uses: How many requests went over it.
    """

    def __init__(self, stream: _Stream, socket: trio.SocketStream, shown: str) -> None:
        self.idle_since = 0.0
        self.uses = 0
        self._stream = stream
        self._socket = socket.socket
        self._shown = shown
        self._http = h11.Connection(h11.CLIENT)
        self._events = 0

    @property
    def reusable(self) -> bool:
        """Whether it may carry another request now: nothing came since the last answer, not even its end."""
        if self._http.our_state is not h11.IDLE or self._http.trailing_data[0]:
            return False
        return self._socket.fileno() >= 0 and not self._socket.is_readable()

    async def ask(self, request: Outgoing, read_timeout_s: float) -> Head:
        """Send a request and return the head of its answer.

        Raises:
            ToolError: See `receive`.
        """
        self.uses += 1
        await self._send(self._framed(request), read_timeout_s)
        while True:
            event = await self._next(read_timeout_s)
            if isinstance(event, h11.Response):
                headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
                return Head(event.status_code, headers)

    async def receive(self, read_timeout_s: float) -> bytes:
        """Return the next piece of the body, empty at its end.

        Raises:
            ToolError: ``connection``: it broke or ended early; ``timeout``: nothing came; ``protocol``: no HTTP.
        """
        while True:
            event = await self._next(read_timeout_s)
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            else:
                return b""

    def finish(self) -> bool:
        """Get ready for another request; False if there can be none."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return self.reusable

    def close(self) -> None:
        """Close it at once."""
        self._socket.close()

    def _framed(self, request: Outgoing) -> bytes:
        length = [(b"content-length", b"%d" % len(request.content))] if request.content else []
        headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in request.headers.items()]
        head = h11.Request(method=request.method, target=request.path, headers=headers + length)
        parts = [self._http.send(head)]
        if request.content:
            parts.append(self._http.send(h11.Data(data=request.content)))
        parts.append(self._http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    async def _send(self, data: bytes, timeout_s: float) -> None:
        try:
            with trio.fail_after(timeout_s):
                # A server that answers before it has read all closes its side; the answer is what counts.
                with suppress(trio.BrokenResourceError):
                    await self._stream.send_all(data)
        except trio.TooSlowError as error:
            raise _timed_out(self._shown, timeout_s, "took the request") from error
        except trio.ClosedResourceError as error:
            raise self._failed(error) from error

    async def _next(self, timeout_s: float) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                with trio.fail_after(timeout_s):
                    self._http.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
                self._events = 0
        except trio.TooSlowError as error:
            raise _timed_out(self._shown, timeout_s, "came") from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._failed(error) from error
        except h11.RemoteProtocolError as error:
            raise self._broken(error) from error
        self._events += 1
        if self._events % _EVENTS_AT_ONCE == 0:  # one packet may hold thousands, which take a tenth of a second
            await trio.lowlevel.checkpoint()
        return event  # type: ignore[return-value]  # the loop leaves no NEED_DATA

    def _failed(self, error: Exception) -> ToolError:
        return ToolError(
            f"{self._shown}: {connection_failed(error)}; ask again", code="connection", details=dict(CONNECTED)
        )

    def _broken(self, error: h11.RemoteProtocolError) -> ToolError:
        if self._http.trailing_data[1]:
            message = f"{self._shown}: the connection ended before the answer was whole; ask again"
            return ToolError(message, code="connection", details=dict(CONNECTED))
        message = f"{self._shown}: what came is no HTTP ({line_of_error(error)}); check the URL"
        return ToolError(message, code="protocol", details=dict(CONNECTED))


async def connect(target: Target, addresses: Sequence[str], tls: ssl.SSLContext | None, timeout_s: float) -> Connection:
    """Return a connection to the first address to which one can be made.

    Args:
        target: For messages, the port, and the name that a certificate must have.
        addresses: Judged numbers, at least one.
        tls: What certificates are trusted; None for a connection without TLS.
        timeout_s: For all addresses together.

    Raises:
        ToolError: There is none; ``code`` is ``connection`` or ``timeout``.
    """
    failure: Exception | None = None
    try:
        with trio.fail_after(timeout_s):
            for address in addresses:
                try:
                    return await _connect_one(target, address, tls)
                except (OSError, trio.BrokenResourceError) as error:
                    failure = error
    except trio.TooSlowError as error:
        message = f"{target.shown}: no connection within {timeout_s:g} s; check that the server is there"
        raise ToolError(message, code="timeout") from error
    message = f"{target.shown}: {connection_failed(failure or OSError())}; check that the server is there"
    raise ToolError(message, code="connection") from failure


async def _connect_one(target: Target, address: str, tls: ssl.SSLContext | None) -> Connection:
    socket = await trio.open_tcp_stream(address, target.port)
    if tls is None:
        return Connection(socket, socket, target.shown)
    stream = trio.SSLStream(socket, tls, server_hostname=target.host, https_compatible=True)
    done = False
    try:
        await stream.do_handshake()
        done = True
    finally:
        if not done:
            socket.socket.close()
    return Connection(stream, socket, target.shown)


def _timed_out(shown: str, timeout_s: float, what: str) -> ToolError:
    return ToolError(f"{shown}: nothing {what} within {timeout_s:g} s; ask again, or allow more time", code="timeout")
