"""The api-tester tool: sends one request and tells all about the answer, its time included. Durations in seconds.

Invariant: a status that tells of a failure is an answer like any other; a request is never sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess

from .credentials import Authentication, Headers, auth_headers, secrets_in
from .exchange import Request, encoded_body, merged, payload, send, without_query

__all__ = ["ApiTester", "ApiTesterParameters", "ApiTesterSettings"]


class ApiTesterParameters(BaseModel):
    """What the api-tester takes."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    input: str = Field(min_length=1, description="The URL, with http or https.")
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = Field(
        default="GET", description="What to do with it."
    )
    headers: Headers = Field(default={}, description="To send.")
    body: Any = Field(default=None, description="A text is sent as it is, anything else as JSON.")
    auth: Authentication | None = Field(default=None, description="The credentials.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds that the answer may take.")
    expect_status: list[int] = Field(
        default=[], max_length=100, description="Statuses that pass; any below 400 if empty."
    )

    @field_validator("method", mode="before")
    @classmethod
    def _in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class ApiTesterSettings(BaseModel):
    """``[tools.api-tester]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_response_bytes: int = Field(default=10 * 1024 * 1024, ge=0, description="The largest body that is read.")


class ApiTester(Tool[ApiTesterParameters]):
    """Send a request to an HTTP interface, and tell status, headers, body and time of its answer."""

    name = "api-tester"
    aliases = ("api_tester", "api-tester-tool")
    category = "api"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "a status that is expected",
            {"input": "https://example.com/missing", "expect_status": [404]},
            {"passed": True},
            needs="the network",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = ApiTesterSettings
    settings: ApiTesterSettings

    def access(self, parameters: ApiTesterParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: ApiTesterParameters, context: ToolContext) -> ToolResult:
        """Return ``{request, response, timing, passed}``.

        Raises:
            ToolError: There was no answer; ``code`` is ``connection``, ``timeout``, ``redirects`` or ``protocol``.
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The answer is too large.
        """
        request = await self._request(parameters, context)
        started = time.perf_counter()
        response = await send(request, context)
        elapsed_s = time.perf_counter() - started
        context.charge(2 * len(response.body))
        answer = await context.run_thread(payload, response, secrets_in(request.headers, parameters.auth))
        status = response.status
        passed = status in parameters.expect_status if parameters.expect_status else status < 400
        shown = without_query(parameters.input)
        return ToolResult(
            operation=parameters.method,
            message=f"{parameters.method} {shown} answered {status} after {elapsed_s * 1000:.0f} ms",
            result={
                "request": {"method": parameters.method, "url": shown, "timeout": parameters.timeout},
                "response": _response(answer, status),
                "timing": {"duration_ms": elapsed_s * 1000, "duration_secs": elapsed_s},
                "passed": passed,
            },
        )

    async def _request(self, parameters: ApiTesterParameters, context: ToolContext) -> Request:
        content, kind = await context.run_thread(encoded_body, parameters.body, self.name)
        own = {"User-Agent": "llmspell", **({"Content-Type": kind} if kind else {})}
        return Request(
            self.name,
            parameters.method,
            parameters.input,
            merged(own, parameters.headers, auth_headers(parameters.auth)),
            content,
            min(parameters.timeout, context.limits.time_s),
            self.settings.max_response_bytes,
            context.call.addresses.get("input", ()),
        )


def _response(answer: Mapping[str, Any], status: int) -> dict[str, Any]:
    """The answer, and what its numbers mean."""
    known = status in {each.value for each in HTTPStatus}
    body = answer["body"]
    told = {
        "status_code": status,
        "status_text": HTTPStatus(status).phrase if known else "",
        "is_success": 200 <= status < 300,
        "headers": answer["headers"],
        "body": body,
        "body_is_json": not isinstance(body, str) or _is_json(answer["headers"].get("content-type", ""), body),
    }
    return told | ({"body_encoding": answer["body_encoding"]} if "body_encoding" in answer else {})


def _is_json(content_type: Any, body: str) -> bool:
    """Whether a text came as a JSON string, or is JSON that was sent as something else."""
    if "json" in str(content_type).lower() or len(body) > 262_144 or not body.startswith(("{", "[")):
        return "json" in str(content_type).lower() and bool(body) and not body.startswith(("{", "["))
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True
