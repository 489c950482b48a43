"""The service_checker tool: whether a service answers: a port, a web address, a name, a TLS certificate.

Invariant: a service that does not answer is a result; one that may not be asked is an error. Durations in seconds
but for the ``_ms`` of the answer.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import trio
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import (
    NetworkAccess,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
    ToolExample,
    ToolResult,
)
from llmspell_hookspecs.tool import Access, AddressAccess, HostAccess
from llmspell_plugins.tools.api.exchange import Request, send

__all__ = ["ServiceChecker", "ServiceCheckerParameters", "ServiceCheckerSettings"]

_MOST_BYTES = 1024 * 1024


class ServiceCheckerParameters(BaseModel):
    """What the service_checker takes."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(
        min_length=1,
        max_length=2000,
        description="host:port for tcp and tls, a URL for http, https, a name for dns.",
    )
    check_type: Literal["tcp", "tls", "http", "https", "dns"] = Field(description="What is tried.")
    timeout_seconds: float = Field(default=5, gt=0, le=60, description="How long the service may take.")

    @model_validator(mode="after")
    def _is_secured(self) -> ServiceCheckerParameters:
        if self.check_type == "https" and not self.target.lower().startswith("https://"):
            raise ValueError("https needs a URL with https; correct the target, or check http")
        return self


class ServiceCheckerSettings(BaseModel):
    """``[tools.service_checker]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: str | None = Field(default=None, description="Certificates that tls trusts; the system's if left out.")


class ServiceChecker(Tool[ServiceCheckerParameters]):
    """Check whether a service answers: a port, a web address, a name, or what TLS it speaks."""

    name = "service_checker"
    aliases = ("service-checker",)
    category = "system"
    level = SecurityLevel.RESTRICTED
    repeatable = True
    examples = (
        ToolExample("a port", {"target": "example.com:443", "check_type": "tcp"}, needs="the network"),
        ToolExample("a web site", {"target": "https://example.com/", "check_type": "https"}, needs="the network"),
    )
    Settings: ClassVar[type[BaseModel] | None] = ServiceCheckerSettings
    settings: ServiceCheckerSettings

    def access(self, parameters: ServiceCheckerParameters) -> Sequence[Access]:
        """Return what the target is; a name is judged when it is looked up."""
        if parameters.check_type in ("tcp", "tls"):
            return (AddressAccess("target"),)
        return () if parameters.check_type == "dns" else (HostAccess("target"),)

    async def run(self, parameters: ServiceCheckerParameters, context: ToolContext) -> ToolResult:
        """Return ``{target, check_type, available, response_time_ms, status, error, metadata, timeout_seconds}``.

        Raises:
            InvalidInputError: The target is none of its kind.
            SecurityError: It may not be asked.
        """
        started = trio.current_time()
        error, facts = "", {}
        try:
            with trio.fail_after(parameters.timeout_seconds):
                facts = await self._checked(parameters, context)
        except trio.TooSlowError:
            error = f"no answer within {parameters.timeout_seconds:g} s"
        except ToolError as failed:
            error = str(failed)
        except ssl.SSLCertVerificationError as failed:
            error = f"the certificate is not trusted: {failed.verify_message}"
        except (OSError, trio.BrokenResourceError) as failed:
            error = getattr(failed, "strerror", None) or "the connection broke off"
        available = not error and facts.get("status_code", 200) < 500
        result = {
            "target": parameters.target,
            "check_type": parameters.check_type,
            "available": available,
            "response_time_ms": round((trio.current_time() - started) * 1000, 3),
            "status": "available" if available else "unavailable",
            "error": error or None,
            "metadata": facts,
            "timeout_seconds": parameters.timeout_seconds,
        }
        return ToolResult(operation=parameters.check_type, result=result)

    async def _checked(self, parameters: ServiceCheckerParameters, context: ToolContext) -> dict[str, Any]:
        addresses = context.call.addresses.get("target", ())
        match parameters.check_type:
            case "dns":
                network = context.services.get(NetworkAccess)
                return {"addresses": list(await network.resolve_address(f"{parameters.target}:443"))}
            case "http" | "https":
                time_s = parameters.timeout_seconds
                request = Request(self.name, "GET", parameters.target, {}, None, time_s, _MOST_BYTES, addresses)
                return {"status_code": (await send(request, context)).status}
        host, _, port = parameters.target.rpartition(":")
        stream = await trio.open_tcp_stream(addresses[0], int(port))
        async with stream:
            facts: dict[str, Any] = {"address": addresses[0]}
            if parameters.check_type == "tls":
                facts |= await self._tls(stream, host.strip("[]"), context)
            return facts

    async def _tls(self, stream: trio.SocketStream, host: str, context: ToolContext) -> dict[str, Any]:
        trusted = self.settings.ca_file
        made = await context.run_thread(lambda: ssl.create_default_context(cafile=trusted))
        secured = trio.SSLStream(stream, made, server_hostname=host)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise
        certificate = secured.getpeercert()
        return {
            "version": secured.version(),
            "cipher": secured.cipher()[0],
            "not_after": certificate.get("notAfter"),
            "not_before": certificate.get("notBefore"),
            "serial_number": certificate.get("serialNumber"),
            "names": [name for _, name in certificate.get("subjectAltName", ())],
        }
