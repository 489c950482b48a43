"""The body of an HTTP answer: read and decoded no further than a limit.

Invariant: neither what came over the wire nor what it decodes to is ever held beyond ``max_bytes``, whatever the
headers promise; a bomb ends at the limit. Sizes in bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import trio

from llmspell_hookspecs import LlmspellError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError

if TYPE_CHECKING:
    import httpx

__all__ = ["CODINGS", "read_body", "too_large"]

CODINGS = "gzip, deflate"
_PIECE_BYTES = 65536
_GZIP_WBITS = zlib.MAX_WBITS | 16


async def read_body(response: httpx.Response, max_bytes: int, shown: str) -> bytes:
    """Return the decoded body.

    Args:
        response: Not yet read; closed when this is left.
        max_bytes: Of the wire and of the decoded body.
        shown: The URL for messages.

    Raises:
        ResourceLimitError: It is larger.
        ToolError: The coding is unknown or the body is not of it.
        httpx.TransportError: The connection broke.
    """
    import httpx

    sink = _Sink(_decoder(response.headers.get("content-encoding", ""), shown), max_bytes, shown)
    failure: LlmspellError | trio.Cancelled | None = None
    try:
        # The library's nested generators end only by an exception of their own: so after a failure, or a cancellation
        # that finds us and not them, the connection is closed under them, and the loop goes on until they notice.
        async for chunk in response.aiter_raw():
            if failure is None:
                try:
                    await sink.add(chunk)
                except (LlmspellError, trio.Cancelled) as error:
                    failure = error
                    with trio.CancelScope(shield=True):
                        await response.aclose()
    except httpx.TransportError:
        if failure is None:
            raise
    if failure is not None:
        raise failure
    return sink.whole()


def too_large(shown: str, max_bytes: int) -> ResourceLimitError:
    """Return the error for a body above the limit."""
    message = f"{shown}: the answer is larger than {max_bytes} bytes; ask for less, or raise the limit"
    return ResourceLimitError(message, resource="body_bytes", limit=max_bytes)


class _Inflater:
    """Decodes gzip (also several members after another) or deflate, piece by piece."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding != "deflate"
        self._started = False
        self._inner = zlib.decompressobj(_GZIP_WBITS if self._gzip else zlib.MAX_WBITS)

    @property
    def complete(self) -> bool:
        """Return whether the last member has ended."""
        return self._inner.eof

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data decodes to, in pieces of bounded size."""
        if not self._started and not self._gzip and data and data[0] & 0x0F != 8:
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS)  # some servers leave the zlib header out
        self._started = self._started or bool(data)
        while data:
            if self._inner.eof:
                if not self._gzip:
                    return
                self._inner = zlib.decompressobj(_GZIP_WBITS)
            yield self._inner.decompress(data, _PIECE_BYTES)
            data = self._inner.unconsumed_tail or self._inner.unused_data


class _Sink:
    """Gathers the body, up to the limit."""

    def __init__(self, decoder: _Inflater | None, max_bytes: int, shown: str) -> None:
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._shown = shown
        self._received_bytes = 0
        self._body = bytearray()

    async def add(self, chunk: bytes) -> None:
        """Decode and keep a chunk of the wire."""
        self._received_bytes += len(chunk)
        if self._received_bytes > self._max_bytes:
            raise too_large(self._shown, self._max_bytes)
        for piece in self._pieces(chunk):
            self._body += piece
            if len(self._body) > self._max_bytes:
                raise too_large(self._shown, self._max_bytes)
            await trio.lowlevel.checkpoint()

    def whole(self) -> bytes:
        """Return all of it, if it did not end in the middle."""
        if self._decoder is not None and self._received_bytes and not self._decoder.complete:
            raise self._broken()
        return bytes(self._body)

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        try:
            yield from (chunk,) if self._decoder is None else self._decoder.decode(chunk)
        except zlib.error as error:
            raise self._broken() from error

    def _broken(self) -> ToolError:
        message = f"{self._shown}: the answer's compressed body is broken or cut off; ask again"
        return ToolError(message, code="protocol")


def _decoder(coding: str, shown: str) -> _Inflater | None:
    plain = coding.strip().lower()
    if plain in ("", "identity"):
        return None
    if plain in ("gzip", "x-gzip", "deflate"):
        return _Inflater(plain)
    message = f"{shown}: the answer's content-encoding is {coding[:80]!r}; only {CODINGS} are understood"
    raise ToolError(message, code="protocol")
