"""HTTP to judged hosts only: resolves once, judges every address, and connects to those addresses and no other.

Invariant: between judgement and connection no name is resolved again; TLS and the Host header keep the name, the
connection goes to the number. Each redirect is judged and pinned anew; no proxy, cookie or netrc of the environment is
used; nothing is kept between two requests (`pool` keeps connections). Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import trio
from msgspec import Struct
from msgspec.structs import replace

from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.network import Hosts, HttpResponse, Target, shown_url

from .body import CODINGS, read_body, too_large
from .headers import checked_headers, checked_method

if TYPE_CHECKING:
    import httpx

__all__ = ["PinnedNetwork", "Resolver", "connection_failed", "resolve_name"]

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/?#@\\%]+):[0-9]{1,5}")
_FOR_PROGRAMMERS = re.compile(r"\[(?:Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)")
_MAX_REDIRECTS = 5
_CONNECT_TIMEOUT_S = 10.0
_DEFAULT_HEADERS = {"Accept": "*/*", "User-Agent": "llmspell"}
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-language", "cache-control", "content-type", "content-language", "range", "user-agent"}
)


class _Request(Struct, frozen=True):
    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    max_bytes: int


class PinnedNetwork:
    """Talks HTTP by the rules."""

    def __init__(
        self,
        hosts: Hosts,
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Talk to hosts that a judge lets pass.

        Args:
            hosts: Judges which may be talked to.
            resolver: Returns the addresses of a name and port; the system's if None.
            tls: Which certificates are trusted; those of certifi, or of ``SSL_CERT_FILE``, if None.
        """
        self._hosts = hosts
        self._resolver = resolver or resolve_name
        self._tls = tls
        self._tls_lock = trio.Lock()
        self._loaded = False

    @property
    def rules(self) -> object:
        """Another object after every change of the rules."""
        return self._hosts.rules

    async def resolve(self, url: str, /) -> tuple[str, ...]:
        """Return the addresses of the URL's host, all of them judged.

        Raises:
            InvalidInputError: It is no URL.
            SecurityError: The scheme, port, host or one of its addresses is not allowed.
            ToolError: The name cannot be resolved.
        """
        await self._load()
        return await self.pin(self._hosts.locate(url))

    async def resolve_address(self, address: str, /) -> tuple[str, ...]:
        """Return the addresses of the host in ``host:port``, all of them judged; raises as `resolve` does."""
        if not _ADDRESS.fullmatch(address):
            shown = shown_url(address)
            raise InvalidInputError(f"{shown}: no address; give host:port or [v6]:port", field="address")
        await self._load()
        return await self.pin(self._hosts.locate(f"tcp://{address}", schemes=("tcp",)))

    async def locate(self, url: str, *, trusted: bool = False) -> Target:
        """Return where a URL leads, judged by all but its addresses; see `Hosts`.

        Args:
            url: Whole, with its scheme.
            trusted: It stands in trusted settings: only what is denied is refused.
        """
        await self._load()
        return self._hosts.locate(url, trusted=trusted)

    async def pin(self, target: Target, *, trusted: bool = False) -> tuple[str, ...]:
        """Return the addresses of what `locate` found, all of them judged.

        Raises:
            SecurityError: One of them is not allowed.
            ToolError: The name cannot be resolved.
        """
        try:
            addresses = await self._resolver(target.host, target.port)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or line_of_error(error)
            message = f"{target.shown}: the host {target.host!r} cannot be resolved ({why}); check its name"
            raise ToolError(message, code="connection") from error
        return self._hosts.judge(target, addresses, trusted=trusted)

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
        """Send a request and return the whole response.

        Args:
            method: As in HTTP; not CONNECT and not TRACE.
            url: Whole, with its scheme.
            headers: To send; those that frame the message are the transport's own.
            content: The body.
            addresses: What the host was pinned to; judged again. Resolved here if empty.
            timeout_s: For all of it, redirects included.
            max_bytes: Of the answer's body, on the wire and decoded.

        Raises:
            InvalidInputError: The method, URL or a header cannot be sent.
            SecurityError: The host or a redirect is not allowed.
            ResourceLimitError: The answer is larger than ``max_bytes``.
            ToolError: The connection failed, or took too long; ``code`` says which.
        """
        request = _Request(checked_method(method), url, checked_headers(headers or {}), content, max_bytes)
        with trio.move_on_after(timeout_s):
            await self._load()
            return await self._follow(request, tuple(addresses))
        message = f"{shown_url(url)}: no whole answer within {timeout_s:g} s; ask again, or allow more time"
        raise ToolError(message, code="timeout")

    async def _follow(self, request: _Request, addresses: Sequence[str]) -> HttpResponse:
        """Send, and go where redirects lead."""
        for _ in range(_MAX_REDIRECTS + 1):
            target = self._hosts.locate(request.url)
            pinned = self._hosts.judge(target, addresses) if addresses else await self.pin(target)
            answer = await self._send(request, target, pinned)
            if isinstance(answer, HttpResponse):
                return answer
            request, addresses = answer, ()
        message = f"{shown_url(request.url)}: more than {_MAX_REDIRECTS} redirects; name the last URL itself"
        raise ToolError(message, code="redirects")

    async def _send(self, request: _Request, target: Target, addresses: Sequence[str]) -> HttpResponse | _Request:
        """The answer, or the request that a redirect asks for."""
        import httpx

        tls = await self.trusted_tls() if target.scheme == "https" else _plain_context()
        async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False) as transport:
            try:
                response = await _connect(transport, request, target, addresses)
                redirected = _redirected(request, response, target)
                if redirected is not None:
                    return redirected
                return await _read(response, request, target)
            except httpx.LocalProtocolError:
                # Its text, and the error itself, may quote a header that is a secret.
                message = f"{target.shown}: the request cannot be sent as HTTP; check method and headers"
                raise InvalidInputError(message, field="headers") from None
            except httpx.TransportError as error:
                message = f"{target.shown}: {connection_failed(error)}; check that the server is there"
                if line_of_error(error).startswith("peer closed connection"):
                    message = f"{target.shown}: the connection ended before the answer was whole; ask again"
                raise ToolError(message, code="connection") from error

    async def _load(self) -> None:
        """Import the HTTP library in a thread, once: it takes longer than the loop may be held."""
        if not self._loaded:
            await trio.to_thread.run_sync(_open_transport)
            self._loaded = True

    async def trusted_tls(self) -> ssl.SSLContext:
        """Return the context that trusts; made once, in a thread, since it reads all certificates."""
        import httpx

        async with self._tls_lock:
            if self._tls is None:
                self._tls = await trio.to_thread.run_sync(httpx.create_ssl_context)
            return self._tls


async def resolve_name(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses that the system has for a name, in its order; looked up in a thread.

    Raises:
        OSError: There is none.
    """
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


async def _connect(
    transport: httpx.AsyncHTTPTransport, request: _Request, target: Target, addresses: Sequence[str]
) -> httpx.Response:
    """The head of the answer, from the first address that a connection can be made to."""
    import httpx

    for address in addresses[:-1]:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await transport.handle_async_request(_pinned(request, target, address))
    return await transport.handle_async_request(_pinned(request, target, addresses[-1]))


def _pinned(request: _Request, target: Target, address: str) -> httpx.Request:
    """The request as it goes to one address: the connection to the number, everything else under the name."""
    import httpx

    url = httpx.URL(request.url)
    headers = {
        **_DEFAULT_HEADERS,
        **request.headers,
        "Host": url.netloc.decode("ascii"),
        "Accept-Encoding": CODINGS,
        "Connection": "close",
    }
    extensions = {"sni_hostname": target.host, "timeout": {"connect": _CONNECT_TIMEOUT_S}}
    numbered = url.copy_with(host=address, fragment=None)
    written = {name.encode("ascii"): value.encode("latin-1") for name, value in headers.items()}  # of text: ASCII only
    return httpx.Request(request.method, numbered, headers=written, content=request.content, extensions=extensions)


def _redirected(request: _Request, response: httpx.Response, target: Target) -> _Request | None:
    """The request that a redirect asks for; without its credentials if it leads elsewhere."""
    import httpx

    location = response.headers.get("location")
    if location is None or response.status_code not in (301, 302, 303, 307, 308):
        return None
    try:
        url = httpx.URL(request.url).join(location)
    except (httpx.InvalidURL, UnicodeError):
        message = f"{target.shown}: redirects to something that is no URL; name the last URL itself"
        raise ToolError(message, code="redirects") from None
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    headers = dict(request.headers)
    if (url.scheme, url.raw_host.decode("ascii").lower().rstrip("."), port) != target.origin:
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS_HEADERS}
    becomes_get = response.status_code == 303 and request.method != "HEAD"
    if becomes_get or (response.status_code in (301, 302) and request.method == "POST"):
        headers = {name: value for name, value in headers.items() if not name.lower().startswith("content-")}
        return replace(request, method="GET", url=str(url), headers=headers, content=None)
    return replace(request, url=str(url), headers=headers)


async def _read(response: httpx.Response, request: _Request, target: Target) -> HttpResponse:
    headers = dict(response.headers.items())
    promised = headers.get("content-length", "")
    if request.method != "HEAD" and promised.isdecimal() and int(promised) > request.max_bytes:
        raise too_large(target.shown, request.max_bytes)
    body = await read_body(response, request.max_bytes, target.shown)
    values = {name: tuple(response.headers.get_list(name)) for name in headers}
    repeated = {name: each for name, each in values.items() if len(each) > 1}
    return HttpResponse(response.status_code, headers, body, request.url, repeated)


def connection_failed(error: BaseException) -> str:
    """Return what went wrong; the library's own error often has no words, but what lies under it has."""
    cause: BaseException | None = error
    while cause is not None:
        text = _FOR_PROGRAMMERS.sub("", " ".join(str(cause).split()))
        if text:
            return f"the connection failed ({text})"
        cause = cause.__cause__ or cause.__context__
    return f"the connection failed ({type(error).__name__})"


def _open_transport() -> None:
    """Make the library import all that it puts off to its first transport."""
    import httpx

    httpx.AsyncHTTPTransport(verify=_plain_context(), trust_env=False)


def _plain_context() -> ssl.SSLContext:
    """A context that trusts nothing, for connections without TLS; cheap, since it reads no certificates."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
