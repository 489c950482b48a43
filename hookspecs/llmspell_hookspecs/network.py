"""The network as plugins reach it: requests to hosts that the settings allow, resolved and pinned.

Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["CONNECTED", "Hosts", "HttpResponse", "HttpStream", "NetworkAccess", "Target", "shown_url"]

CONNECTED: Final = MappingProxyType({"connected": True})
"""The details of a `ToolError` where the request may have reached the server."""


class HttpResponse(Struct, frozen=True):
    """An answer over HTTP, read whole.

    Attributes:
        status: The status code.
        headers: Lower-case names.
        body: The bytes.
        url: Where it came from, after redirects.
        repeated: The values of each header that came more than once, which in `headers` are joined with commas.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    repeated: Mapping[str, tuple[str, ...]] = {}


class HttpStream(Protocol):
    """An answer over HTTP whose body comes piece by piece; iterate over it, or `read` it.

    Attributes:
        status: The status code; a redirect is not followed.
        headers: Lower-case names.
    """

    status: int
    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return the body's pieces as they come.

        Raises:
            ResourceLimitError: The body is larger than it may be.
            ToolError: The connection failed or ended early, or nothing came for too long.
        """

    async def read(self) -> bytes:
        """Return the rest of the body.

        Raises:
            ResourceLimitError: The body is larger than it may be.
            ToolError: As when iterating.
        """


class Target(Struct, frozen=True):
    """Where a URL leads.

    Attributes:
        scheme: ``http`` or ``https``; ``tcp`` for a bare ``host:port``.
        host: In ASCII and lower case, without brackets and a last dot.
        port: The port, the scheme's own if the URL names none.
        shown: The URL for messages, without user, query and fragment.
    """

    scheme: str
    host: str
    port: int
    shown: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what two URLs have in common that may share credentials."""
        return (self.scheme, self.host, self.port)


@runtime_checkable
class Hosts(Protocol):
    """Judges where connections may lead, by the rules in settings as they are now."""

    @property
    def rules(self) -> object:
        """Another object after every change of the rules: what was judged before counts no more."""

    def locate(self, url: str, /, *, trusted: bool = False, schemes: Sequence[str] = ("http", "https")) -> Target:
        """Return where a URL leads, judged by all that can be judged without its addresses.

        Args:
            url: Whole, with its scheme.
            trusted: It stands in trusted settings: only what is denied is refused.
            schemes: Those that it may have; any but http and https must name its port.

        Raises:
            InvalidInputError: It is no URL.
            SecurityError: Its scheme, port or host is not allowed, or it holds a user.
        """

    def judge(self, target: Target, addresses: Sequence[str], /, *, trusted: bool = False) -> tuple[str, ...]:
        """Return the addresses of what `locate` found, all of them judged.

        Raises:
            SecurityError: There is none, or one of them is not allowed.
        """


@runtime_checkable
class NetworkAccess(Protocol):
    """Judges hosts by the rules in settings, and talks HTTP to pinned addresses only."""

    async def resolve(self, url: str, /) -> tuple[str, ...]:
        """Return the addresses of the URL's host, all of them judged.

        Raises:
            SecurityError: The scheme, port, host or one of its addresses is not allowed.
        """

    async def resolve_address(self, address: str, /) -> tuple[str, ...]:
        """Return the addresses of the host in ``host:port`` or ``[v6]:port``, all of them judged.

        Raises:
            InvalidInputError: It is no such address.
            SecurityError: The port, the host or one of its addresses is not allowed.
        """

    async def request(
        self,
        method: str,
        url: str,
        /,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        addresses: Sequence[str] = (),
        timeout_s: float = 30.0,
        max_bytes: int = 10 * 1024 * 1024,
    ) -> HttpResponse:
        """Send a request; each redirect is judged and pinned anew.

        Args:
            method: ``GET``, ``POST`` ...
            url: Whole, with its scheme.
            headers: To send.
            content: The body.
            addresses: What the host was pinned to; resolved here if empty.
            timeout_s: For all of it.
            max_bytes: Of the answer's body, decoded.

        Raises:
            SecurityError: The host or a redirect is not allowed.
            ResourceLimitError: The answer is larger than ``max_bytes``.
            ToolError: The connection failed.
        """

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
    ) -> AbstractAsyncContextManager[HttpStream]:
        """Send a request over a connection that is kept for the next one, and return as soon as the head is there.

        Each new connection is judged and pinned; whoever leaves the block before the body's end closes it. Redirects
        are not followed, and no proxy or cookie is used.

        Args:
            method: ``GET``, ``POST`` ...
            url: Whole, with its scheme.
            headers: To send.
            content: The body.
            connect_timeout_s: For the connection, TLS included.
            read_timeout_s: The longest silence, before the head and between two pieces.
            max_bytes: Of the answer's body.
            trusted: The URL stands in trusted settings and is no script's: its host may be private, and need not be in
                ``security.hosts.allowed``; what is denied stays denied.

        Raises:
            InvalidInputError: The method, URL or a header cannot be sent.
            SecurityError: The host is not allowed.
            ToolError: The connection failed (``code`` ``connection``), took too long (``timeout``), or what came is no
                HTTP (``protocol``).
        """


def shown_url(url: str) -> str:
    """Return a URL as messages may show it: without user, query and fragment, which may hold secrets."""
    scheme, separator, rest = url.partition("://")
    bare = re.split(r"[?#]", rest if separator else url, maxsplit=1)[0]
    authority, slash, path = bare.partition("/")
    text = f"{scheme}{separator}" * bool(separator) + authority.rpartition("@")[2] + slash + path
    printable = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return printable if len(printable) <= 200 else printable[:200] + "..."
