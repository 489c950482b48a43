"""One HTTP request of a tool, its attempts, and its answer as a payload: what the tools that talk HTTP share.

Invariant: a secret that was sent stands in no error, and is redacted where a server echoes it. Sizes in bytes,
durations in seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio
from msgspec import Struct
from pydantic import SecretStr

from llmspell_hookspecs import InvalidInputError, NetworkAccess, ToolContext, ToolError
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.network import HttpResponse
from llmspell_plugins.tools.data.json_text import decode

from .credentials import redact, redact_value, revealed
from .retry import RetryOptions, delay_s

__all__ = ["Request", "encoded_body", "merged", "payload", "send", "send_with_retries", "too_large", "without_query"]

_TEXTS = ("text/", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_SMALL_JSON_BYTES = 262_144
_WORTH_RETRYING = ("connection", "timeout")


class Request(Struct, frozen=True):
    """A request that a tool sends.

    Attributes:
        tool: Whose it is, for messages.
        method: In capitals.
        url: Whole.
        headers: Secrets hidden.
        content: The body.
        timeout_s: For one attempt, redirects included.
        max_bytes: The largest body that is read.
        addresses: What the host was pinned to; resolved when it is sent if empty.
    """

    tool: str
    method: str
    url: str
    headers: Mapping[str, str | SecretStr]
    content: bytes | None
    timeout_s: float
    max_bytes: int
    addresses: Sequence[str] = ()


async def send_with_retries(request: Request, options: RetryOptions, context: ToolContext) -> tuple[HttpResponse, int]:
    """Return the last answer, and at which attempt it came.

    Raises:
        ToolError: There was no answer; ``code`` is ``connection``, ``timeout``, ``redirects`` or ``protocol``.
        SecurityError: A redirect leads where the rules do not allow.
        ResourceLimitError: The answer is too large.
    """
    last = options.attempts(request.method)
    attempt = 0
    while True:
        attempt += 1
        headers: Mapping[str, str] = {}
        try:
            response = await send(request, context)
        except ToolError as error:
            if attempt == last or error.code not in _WORTH_RETRYING:
                raise
        else:
            headers = response.headers
            if attempt == last or response.status not in options.retry_on_status:
                return response, attempt
        wait_s = delay_s(options, attempt, headers, datetime.now(UTC))
        if wait_s is None:
            return response, attempt
        await trio.sleep(wait_s)


async def send(request: Request, context: ToolContext) -> HttpResponse:
    """Send it once; raises as `send_with_retries`."""
    try:
        return await context.services.get(NetworkAccess).request(
            request.method,
            request.url,
            headers=revealed(request.headers),
            content=request.content,
            addresses=request.addresses,
            timeout_s=request.timeout_s,
            max_bytes=request.max_bytes,
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{request.tool}: {error}", field=error.field) from None


def merged(*all_headers: Mapping[str, str | SecretStr]) -> dict[str, str | SecretStr]:
    """Return the headers, of each name the last, however it is capitalised."""
    found: dict[str, tuple[str, str | SecretStr]] = {}
    for headers in all_headers:
        for name, value in headers.items():
            found.pop(name.lower(), None)  # so that it comes last, too
            found[name.lower()] = name, value
    return dict(found.values())


def encoded_body(body: Any, tool: str) -> tuple[bytes | None, str]:
    """Return the body as it is sent, and its media type."""
    if body is None:
        return None, ""
    try:
        if isinstance(body, str):
            return body.encode("utf-8"), "text/plain; charset=utf-8"
        return msgspec.json.encode(body), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"{tool}: the body is neither text nor JSON; send plain values", field="body"
        ) from error


def payload(response: HttpResponse, secrets: Sequence[bytes]) -> dict[str, Any]:
    """Return what a tool answers of a response.

    Bytes that are no text come as base64, and it says so; a header that came twice is a list.
    """
    content = redact(response.body, secrets)

    def shown(value: str) -> str:
        return redact(value.encode("utf-8", "replace"), secrets).decode("utf-8", "replace")

    headers: dict[str, Any] = {name: shown(value) for name, value in response.headers.items()}
    headers |= {name: [shown(value) for value in values] for name, values in response.repeated.items()}
    body, encoding = _decoded(content, response.headers.get("content-type", ""))
    body = redact_value(body, secrets)
    marker = {"body_encoding": encoding} if encoding == "base64" else {}
    return {
        "status_code": response.status,
        "headers": headers,
        "body": body,
        "timestamp": datetime.now(UTC).isoformat(),
        **marker,
    }


def _decoded(content: bytes, content_type: str) -> tuple[Any, str]:
    kind, _, options = content_type.lower().partition(";")
    kind = kind.strip()
    if kind in ("application/json", "text/json") or kind.endswith("+json"):
        with suppress(msgspec.DecodeError, RecursionError, UnicodeDecodeError, ToolError):
            return _parsed(content.removeprefix(b"\xef\xbb\xbf")), "json"
    charset = options.partition("charset=")[2].partition(";")[0].strip(" \"'") or "utf-8"
    lenient = kind.startswith(_TEXTS) or kind.endswith("+xml")
    try:
        return content.decode(charset, "replace" if lenient else "strict"), "text"
    except (UnicodeError, LookupError):
        return base64.b64encode(content).decode("ascii"), "base64"


def _parsed(content: bytes) -> Any:
    """The value of a JSON text; a long one by the decoder that lets other threads run in between."""
    if len(content) <= _SMALL_JSON_BYTES:
        return msgspec.json.decode(content)
    return decode(content.decode("utf-8"), "the answer")


def without_query(url: str) -> str:
    """Return the URL without what may hold secrets."""
    return url.partition("?")[0].partition("#")[0]


def too_large(tool: str, size_bytes: int, limit: int, setting: str = "max_payload_bytes") -> ResourceLimitError:
    """Return the error for a body that is too large to be sent."""
    message = (
        f"{tool}: the body has {size_bytes} bytes, above the limit of {limit}; "
        f"send less, or raise the setting tools.{tool}.{setting}"
    )
    return ResourceLimitError(message, resource="request_bytes", limit=limit)
