"""The webhook-caller tool: hands a JSON payload to a webhook, signed and with a key, until it is taken.

Invariant: each attempt of a call carries the same ``Idempotency-Key`` and the same signed bytes, so that a receiver
that heeds it acts once. Signatures as GitHub's (``X-Hub-Signature-256``) or as Standard Webhooks 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from llmspell_hookspecs import InvalidInputError, SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess

from .credentials import Authentication, Headers, auth_headers, secrets_in
from .exchange import Request, encoded_body, merged, payload, send_with_retries, too_large, without_query
from .retry import RetryOptions

__all__ = ["WebhookCaller", "WebhookCallerParameters", "WebhookCallerSettings", "signature_headers"]

_STANDARD_PREFIX = "whsec_"


class WebhookCallerParameters(BaseModel):
    """What the webhook-caller takes."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

    input: str = Field(min_length=1, description="The webhook's URL, with http or https.")
    payload: Any = Field(default={}, description="What it is told; a text is sent as it is, anything else as JSON.")
    headers: Headers = Field(default={}, description="To send.")
    auth: Authentication | None = Field(default=None, description="The credentials.")
    method: Literal["POST", "PUT", "PATCH", "GET", "DELETE"] = Field(default="POST", description="How it is called.")
    max_retries: int = Field(default=3, ge=0, le=9, description="How often it is tried again.")
    retry_delay_ms: float = Field(default=1000, ge=0, le=60_000, description="Before it is tried again; then doubled.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds that one attempt may take.")
    secret: SecretStr | None = Field(default=None, description="What the body is signed with, by HMAC and SHA-256.")
    signature: Literal["github", "standard"] = Field(
        default="github", description="github: one header with the body's HMAC; standard: Standard Webhooks."
    )
    signature_header: str = Field(
        default="X-Hub-Signature-256", pattern=r"^[A-Za-z0-9-]{1,100}$", description="The header, for github."
    )

    @field_validator("method", mode="before")
    @classmethod
    def _in_capitals(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class WebhookCallerSettings(BaseModel):
    """``[tools.webhook-caller]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_payload_bytes: int = Field(default=1024 * 1024, ge=0, description="The largest payload that is sent.")
    max_response_bytes: int = Field(default=1024 * 1024, ge=0, description="The largest answer that is read.")


class WebhookCaller(Tool[WebhookCallerParameters]):
    """Call a webhook with a JSON payload, signed if there is a secret, and try again with the same key if it fails."""

    name = "webhook-caller"
    aliases = ("webhook_caller", "webhook-caller-tool")
    category = "api"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "a payload that is signed",
            {"input": "https://example.com/hook", "payload": {"event": "built"}, "secret": "..."},
            {"success": True},
            needs="a webhook",
        ),
    )
    effects = "keyed"
    Settings: ClassVar[type[BaseModel] | None] = WebhookCallerSettings
    settings: WebhookCallerSettings

    def access(self, parameters: WebhookCallerParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: WebhookCallerParameters, context: ToolContext) -> ToolResult:
        """Return ``{success, webhook_url, status_code, response, response_time_ms, retry_count}``.

        Raises:
            ToolError: There was no answer; ``code`` is ``connection``, ``timeout``, ``redirects`` or ``protocol``.
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The payload or the answer is too large.
        """
        request = await self._request(parameters, context)
        options = RetryOptions(
            max_attempts=parameters.max_retries + 1, initial_delay_ms=parameters.retry_delay_ms, any_method=True
        )
        started = time.perf_counter()
        response, attempts = await send_with_retries(request, options, context)
        elapsed_s = time.perf_counter() - started
        context.charge(2 * len(response.body))
        secrets = secrets_in(request.headers, parameters.auth)
        if parameters.secret is not None and parameters.secret.get_secret_value():
            secrets = (*secrets, parameters.secret.get_secret_value().encode("utf-8", "replace"))
        answer = await context.run_thread(payload, response, secrets)
        ok = response.status < 400
        body = answer["body"]
        is_json = not isinstance(body, str)
        return ToolResult(
            operation="call",
            success=ok,
            message=f"the webhook answered {response.status}",
            error=None if ok else {"message": f"the webhook answered {response.status}", "code": "http_status"},
            result={
                "success": ok,
                "webhook_url": without_query(parameters.input),
                "status_code": response.status,
                "response": {"body": body, "json": body if is_json else None, "headers": answer["headers"]},
                "response_time_ms": elapsed_s * 1000,
                "retry_count": attempts - 1,
                "idempotency_key": context.key,
            },
        )

    async def _request(self, parameters: WebhookCallerParameters, context: ToolContext) -> Request:
        bodiless = parameters.method == "GET"
        content, kind = await context.run_thread(encoded_body, None if bodiless else parameters.payload, self.name)
        limit = self.settings.max_payload_bytes
        if content is not None and len(content) > limit:
            raise too_large(self.name, len(content), limit)
        own = {"User-Agent": "llmspell", "Idempotency-Key": context.key, **({"Content-Type": kind} if kind else {})}
        signed = signature_headers(parameters, content or b"", context.key, int(time.time()))
        return Request(
            self.name,
            parameters.method,
            parameters.input,
            merged(own, parameters.headers, auth_headers(parameters.auth), signed),
            content,
            min(parameters.timeout, context.limits.time_s),
            self.settings.max_response_bytes,
            context.call.addresses.get("input", ()),
        )


def signature_headers(
    parameters: WebhookCallerParameters, content: bytes, key: str, timestamp: int
) -> dict[str, str | SecretStr]:
    """Return the headers that sign a body; none without a secret.

    Raises:
        InvalidInputError: A secret of Standard Webhooks is no base64.
    """
    if parameters.secret is None:
        return {}
    secret = parameters.secret.get_secret_value()
    if parameters.signature == "github":
        digest = hmac.new(secret.encode("utf-8", "replace"), content, hashlib.sha256).hexdigest()
        return {parameters.signature_header: f"sha256={digest}"}
    try:
        raw = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        message = "webhook-caller: the secret is no base64, as Standard Webhooks has it; give one such as whsec_..."
        raise InvalidInputError(message, field="secret") from None
    mac = hmac.new(raw, f"{key}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return {
        "webhook-id": key,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(mac).decode("ascii"),
    }
