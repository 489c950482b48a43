"""The http_request tool: sends one HTTP request, and again if that is safe and worth it.

Invariant: it talks only through the host's NetworkAccess, to the addresses that were judged; a secret that it was given
stands in no error, and is redacted where a server echoes it. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from llmspell_hookspecs import (
    Access,
    HostAccess,
    HttpResponse,
    InvalidInputError,
    NetworkAccess,
    ResourceLimitError,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
    ToolExample,
    ToolResult,
)
from llmspell_plugins.tools.data.json_text import decode

from .credentials import Authentication, Headers, auth_headers, redact, revealed, secrets_in
from .retry import RetryOptions, delay_s

__all__ = ["HttpRequest", "HttpRequestParameters", "HttpRequestSettings"]

_TEXTS = ("text/", "application/xml", "application/javascript", "application/x-www-form-urlencoded")
_SMALL_JSON_BYTES = 262_144
_WORTH_RETRYING = ("connection", "timeout")


class HttpRequestParameters(BaseModel):
    """What http_request takes."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    input: str = Field(min_length=1, description="The URL, with http or https.")
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", description="What to do with it."
    )
    headers: Headers = Field(default={}, description="To send.")
    body: Any = Field(default=None, description="A text is sent as it is, anything else as JSON.")
    auth: Authentication | None = Field(default=None, description="The credentials.")
    retry: RetryOptions | None = Field(default=None, description="How often to try.")

    @field_validator("method", mode="before")
    @classmethod
    def _in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class HttpRequestSettings(BaseModel):
    """``[tools.http_request]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: float = Field(default=30.0, gt=0, description="For one attempt, redirects included.")
    max_request_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="The largest body that is sent.")
    max_response_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="The largest body that is read.")
    user_agent: str = Field(default="llmspell", description="What the tool calls itself.")

    @field_validator("user_agent")
    @classmethod
    def _can_be_sent(cls, value: str) -> str:
        if not (value.isascii() and value.isprintable()):
            raise ValueError("it holds a character that no header carries; write it in plain ASCII")
        return value


class HttpRequest(Tool[HttpRequestParameters]):
    """Send an HTTP request to a host that the rules allow, and answer status, headers and body."""

    name = "http_request"
    aliases = ("http-request", "http-request-tool", "http-requester", "http_requester")
    category = "api"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample("a page", {"input": "https://example.com/"}, {"status_code": 200}, needs="the network"),
        ToolExample(
            "JSON sent with a token",
            {
                "input": "https://example.com/items",
                "method": "POST",
                "body": {"a": 1},
                "auth": {"type": "bearer", "token": "..."},
            },
            needs="a server",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = HttpRequestSettings
    settings: HttpRequestSettings

    def access(self, parameters: HttpRequestParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: HttpRequestParameters, context: ToolContext) -> ToolResult:
        """Send it, and answer ``{status_code, headers, body, timestamp}``; a status from 400 on is no success.

        Raises:
            ToolError: There was no answer; ``code`` is ``connection``, ``timeout``, ``redirects`` or ``protocol``.
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The body to send, or the answer, is too large.
        """
        request = await self._request(parameters, context)
        response, attempts = await _try(request, parameters.retry or RetryOptions(), context)
        context.charge(2 * len(response.body))
        secrets = secrets_in(request.headers, parameters.auth)
        result = await context.run_thread(_result, response, secrets)
        metadata = {"url": _without_query(response.url), "attempts": attempts, "size": len(response.body)}
        ok = response.status < 400
        return ToolResult(
            operation=request.method,
            result=result,
            success=ok,
            message=f"{request.method} answered {response.status}",
            error=None if ok else {"message": f"the server answered {response.status}", "code": "http_status"},
            metadata=metadata,
        )

    async def _request(self, parameters: HttpRequestParameters, context: ToolContext) -> _Request:
        content, kind = await context.run_thread(_encoded, parameters.body)
        if content is not None and len(content) > self.settings.max_request_bytes:
            limit = self.settings.max_request_bytes
            message = (
                f"http_request: the body has {len(content)} bytes, above the limit of {limit}; "
                "send less, or raise the setting tools.http_request.max_request_bytes"
            )
            raise ResourceLimitError(message, resource="request_bytes", limit=limit)
        headers: dict[str, str | SecretStr] = {"User-Agent": self.settings.user_agent}
        if kind:
            headers["Content-Type"] = kind
        headers = _merged(headers, parameters.headers, auth_headers(parameters.auth))
        timeout_s = min(self.settings.timeout_s, context.limits.time_s)
        return _Request(
            parameters.method, parameters.input, headers, content, timeout_s, self.settings.max_response_bytes
        )


class _Request(Struct, frozen=True):
    method: str
    url: str
    headers: Mapping[str, str | SecretStr]
    content: bytes | None
    timeout_s: float
    max_bytes: int


async def _try(request: _Request, options: RetryOptions, context: ToolContext) -> tuple[HttpResponse, int]:
    """The last answer, and at which attempt it came."""
    last = options.attempts(request.method)
    attempt = 0
    while True:
        attempt += 1
        headers: Mapping[str, str] = {}
        try:
            response = await _send(request, context)
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


async def _send(request: _Request, context: ToolContext) -> HttpResponse:
    try:
        return await context.services.get(NetworkAccess).request(
            request.method,
            request.url,
            headers=revealed(request.headers),
            content=request.content,
            addresses=context.call.addresses.get("input", ()),
            timeout_s=request.timeout_s,
            max_bytes=request.max_bytes,
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"http_request: {error}", field=error.field) from None


def _merged(*all_headers: Mapping[str, str | SecretStr]) -> dict[str, str | SecretStr]:
    """Return the headers, of each name the last, however it is capitalised."""
    found: dict[str, tuple[str, str | SecretStr]] = {}
    for headers in all_headers:
        for name, value in headers.items():
            found.pop(name.lower(), None)  # so that it comes last, too
            found[name.lower()] = name, value
    return dict(found.values())


def _encoded(body: Any) -> tuple[bytes | None, str]:
    """The body as it is sent, and its media type."""
    if body is None:
        return None, ""
    try:
        if isinstance(body, str):
            return body.encode("utf-8"), "text/plain; charset=utf-8"
        return msgspec.json.encode(body), "application/json"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(
            "http_request: the body is neither text nor JSON; send plain values", field="body"
        ) from error


def _result(response: HttpResponse, secrets: Sequence[bytes]) -> dict[str, Any]:
    """The payload; bytes that are no text come as base64, and say so; a header that came twice is a list."""
    content = redact(response.body, secrets)

    def shown(value: str) -> str:
        return redact(value.encode("utf-8", "replace"), secrets).decode("utf-8", "replace")

    headers: dict[str, Any] = {name: shown(value) for name, value in response.headers.items()}
    headers |= {name: [shown(value) for value in values] for name, values in response.repeated.items()}
    body, encoding = _decoded(content, response.headers.get("content-type", ""))
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
    return decode(content.decode("utf-8"), "http_request")


def _without_query(url: str) -> str:
    return url.partition("?")[0].partition("#")[0]
