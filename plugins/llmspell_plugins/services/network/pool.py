"""Connections that are kept: HTTP to judged hosts whose answers come in pieces, for what is asked again and again.

Invariant: each new connection is judged and pinned by the rules of the moment, and when rules change no connection made
under the old ones carries another request; a URL that trusted settings name and the same URL from anybody else never
share one. h11 speaks the protocol; httpcore's pool is not used, since it asks every idle socket at each request, and
its nested generators cannot be left early. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import trio
from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.network import Target

from .body import too_large
from .headers import checked_headers, checked_method
from .pinned import PinnedNetwork

if TYPE_CHECKING:
    from .connection import Connection, Head

__all__ = ["ConnectionPool", "PooledStream"]

_IDLE_S = 60.0
_MAX_IDLE = 256
_MAX_PLACES = 256
_Key: TypeAlias = tuple[tuple[str, str, int], bool]


class _Place(Struct, frozen=True):
    """Where a URL leads, parsed and judged once: the parts that each request needs."""

    target: Target
    path: bytes
    host: str
    key: _Key


class _Wish(Struct, frozen=True):
    """What `ConnectionPool.stream` was asked for."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes
    connect_timeout_s: float
    read_timeout_s: float
    max_bytes: int
    trusted: bool


class _Answer(Struct, frozen=True):
    """The head of an answer, and what its body comes over."""

    head: Head
    place: _Place
    connection: Connection
    rules: object


class ConnectionPool:
    """Keeps connections of one host.

    Args:
        network: Judges and pins.
    """

    def __init__(self, network: PinnedNetwork) -> None:
        self._network = network
        self._rules: object = None
        self._places: dict[tuple[str, bool], _Place] = {}
        self._idle: dict[_Key, deque[Connection]] = {}
        self._idle_count = 0
        self._busy: set[Connection] = set()
        self._closed = False

    def stream(
        self,
        method: str,
        url: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 120.0,
        max_bytes: int = 64 * 1024 * 1024,
        trusted: bool = False,
    ) -> PooledStream:
        """Send a request and return its answer, for a block; see the contract's ``NetworkAccess``."""
        checked = {"Accept": "*/*", "User-Agent": "llmspell", **checked_headers(headers or {})}
        name = checked_method(method)
        wish = _Wish(name, url, checked, content, connect_timeout_s, read_timeout_s, max_bytes, trusted)
        return PooledStream(self, wish)

    @property
    def idle(self) -> int:
        """How many connections wait for another request."""
        return self._idle_count

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._drop_idle()
        for connection in self._busy:
            connection.close()

    async def ask(self, wish: _Wish) -> _Answer:
        """Send a request and return as soon as the head of its answer is there."""
        from .connection import Outgoing  # and with it h11, which no host needs that asks nobody

        network = self._network
        if network.rules is not self._rules:
            self._judge_anew(network.rules)
        rules = self._rules
        place = await self._locate(network, wish)
        headers = {"Host": place.host, **wish.headers, "Accept-Encoding": "identity"}
        request = Outgoing(wish.method, place.path, headers, wish.content)
        connection = self._take(place.key) or await self._connect(network, place, wish)
        self._busy.add(connection)
        head = None
        try:
            head = await connection.ask(request, wish.read_timeout_s)
        finally:
            if head is None:
                self.release(place.key, connection, None)
        return _Answer(head, place, connection, rules)

    def release(self, key: _Key, connection: Connection, rules: object) -> None:
        """Keep a connection for another request, if it is fit and belongs to the rules of now."""
        self._busy.discard(connection)
        if self._closed or rules is not self._rules or self._idle_count >= _MAX_IDLE or not connection.finish():
            connection.close()
            return
        connection.idle_since = trio.current_time()
        self._idle.setdefault(key, deque()).append(connection)
        self._idle_count += 1
        self._expire(key)

    def _judge_anew(self, rules: object) -> None:
        if rules is not self._rules:
            self._rules = rules
            self._places.clear()
            self._drop_idle()

    async def _locate(self, network: PinnedNetwork, wish: _Wish) -> _Place:
        known = self._places.get((wish.url, wish.trusted))
        if known is not None:
            return known
        target = await network.locate(wish.url, trusted=wish.trusted)
        import httpx

        url = httpx.URL(wish.url)
        place = _Place(target, url.raw_path, url.netloc.decode("ascii"), (target.origin, wish.trusted))
        if len(self._places) >= _MAX_PLACES:
            self._places.clear()
        if network.rules is self._rules:
            self._places[wish.url, wish.trusted] = place
        return place

    async def _connect(self, network: PinnedNetwork, place: _Place, wish: _Wish) -> Connection:
        from .connection import connect

        if self._closed:
            message = f"{place.target.shown}: the host closes; ask before that"
            raise ToolError(message, code="connection")
        addresses = await network.pin(place.target, trusted=wish.trusted)
        tls = await network.trusted_tls() if place.target.scheme == "https" else None
        return await connect(place.target, addresses, tls, wish.connect_timeout_s)

    def _take(self, key: _Key) -> Connection | None:
        """The connection that was used last, if one is fit."""
        waiting = self._idle.get(key)
        while waiting:
            connection = waiting.pop()
            self._idle_count -= 1
            if connection.reusable and trio.current_time() - connection.idle_since < _IDLE_S:
                return connection
            connection.close()
        return None

    def _expire(self, key: _Key) -> None:
        waiting, now = self._idle[key], trio.current_time()
        while waiting and now - waiting[0].idle_since >= _IDLE_S:
            waiting.popleft().close()
            self._idle_count -= 1

    def _drop_idle(self) -> None:
        for waiting in self._idle.values():
            for connection in waiting:
                connection.close()
        self._idle.clear()
        self._idle_count = 0


class PooledStream:
    """An answer whose body comes in pieces; an async context manager that implements the contract's ``HttpStream``."""

    status: int = 0
    headers: Mapping[str, str] = {}

    def __init__(self, pool: ConnectionPool, wish: _Wish) -> None:
        self._pool = pool
        self._wish = wish
        self._received_bytes = 0

    async def __aenter__(self) -> PooledStream:
        self._answer = await self._pool.ask(self._wish)
        self.status, self.headers = self._answer.head.status, self._answer.head.headers
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        answer = self._answer
        self._pool.release(answer.place.key, answer.connection, answer.rules)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._answer.connection.receive(self._wish.read_timeout_s)
        if not piece:
            raise StopAsyncIteration
        self._received_bytes += len(piece)
        if self._received_bytes > self._wish.max_bytes:
            raise too_large(self._answer.place.target.shown, self._wish.max_bytes)
        return piece

    async def read(self) -> bytes:
        """Return the rest of the body."""
        pieces = [piece async for piece in self]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
