"""The http_request tool: sends one HTTP request, and again if that is safe and worth it.

Invariant: it talks only through the host's NetworkAccess, to the addresses that were judged; a secret that it was given
stands in no error, and is redacted where a server echoes it. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess

from .credentials import Authentication, Headers, auth_headers, secrets_in
from .exchange import Request, encoded_body, merged, payload, send_with_retries, too_large, without_query
from .retry import RetryOptions

__all__ = ["HttpRequest", "HttpRequestParameters", "HttpRequestSettings"]


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
        response, attempts = await send_with_retries(request, parameters.retry or RetryOptions(), context)
        context.charge(2 * len(response.body))
        secrets = secrets_in(request.headers, parameters.auth)
        result = await context.run_thread(payload, response, secrets)
        metadata = {"url": without_query(response.url), "attempts": attempts, "size": len(response.body)}
        ok = response.status < 400
        return ToolResult(
            operation=request.method,
            result=result,
            success=ok,
            message=f"{request.method} answered {response.status}",
            error=None if ok else {"message": f"the server answered {response.status}", "code": "http_status"},
            metadata=metadata,
        )

    async def _request(self, parameters: HttpRequestParameters, context: ToolContext) -> Request:
        content, kind = await context.run_thread(encoded_body, parameters.body, self.name)
        if content is not None and len(content) > self.settings.max_request_bytes:
            raise too_large(self.name, len(content), self.settings.max_request_bytes, "max_request_bytes")
        headers: dict[str, str | SecretStr] = {"User-Agent": self.settings.user_agent}
        if kind:
            headers["Content-Type"] = kind
        headers = merged(headers, parameters.headers, auth_headers(parameters.auth))
        timeout_s = min(self.settings.timeout_s, context.limits.time_s)
        return Request(
            self.name,
            parameters.method,
            parameters.input,
            headers,
            content,
            timeout_s,
            self.settings.max_response_bytes,
            context.call.addresses.get("input", ()),
        )
