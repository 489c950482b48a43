"""The url-analyzer tool: the parts of a URL as browsers read it, its normal form, and what its server says of it.

Invariant: nothing is fetched unless it is asked for; a password in a URL is never shown. Source: the URL standard of
the WHATWG.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess
from llmspell_plugins.tools.api.exchange import Request, send

from .page import PageSettings
from .url_parts import url_parts

__all__ = ["UrlAnalyzer", "UrlAnalyzerParameters", "UrlAnalyzerSettings"]


class UrlAnalyzerParameters(BaseModel):
    """What the url-analyzer takes."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(
        min_length=1, max_length=100_000, description="The URL.", validation_alias=AliasChoices("input", "url")
    )
    fetch_metadata: bool = Field(default=False, description="Ask the server what there is, by HEAD.")
    decode_params: bool = Field(default=True, description="Whether names and values of the query are decoded.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds that the server may take.")


class UrlAnalyzerSettings(PageSettings):
    """``[tools.url-analyzer]``."""


class UrlAnalyzer(Tool[UrlAnalyzerParameters]):
    """Take a URL apart, tell whether it is one and how it is normally written, and what its server says of it."""

    name = "url-analyzer"
    aliases = ("url_analyzer", "url-analyzer-tool")
    category = "web"
    level = SecurityLevel.RESTRICTED
    repeatable = True
    examples = (
        ToolExample(
            "the parts of a URL",
            {"input": "HTTPS://Example.com:443/a/../b?q=one+two#top"},
            {"valid": True, "normalized": "https://example.com/b?q=one+two#top", "query_params": {"q": "one two"}},
        ),
        ToolExample("what is there", {"input": "https://example.com/", "fetch_metadata": True}, needs="the network"),
    )
    Settings: ClassVar[type[BaseModel] | None] = UrlAnalyzerSettings
    settings: UrlAnalyzerSettings

    def access(self, parameters: UrlAnalyzerParameters) -> Sequence[Access]:
        """Return that the input is a URL, if it is fetched."""
        return (HostAccess("input"),) if parameters.fetch_metadata else ()

    async def run(self, parameters: UrlAnalyzerParameters, context: ToolContext) -> ToolResult:
        """Return ``{valid, original, normalized, scheme, host, port, path, query, fragment, query_params, metadata}``.

        Raises:
            ToolError: The server gives no answer.
            SecurityError: A redirect leads where the rules do not allow.
        """
        found: dict[str, Any] = await context.run_thread(url_parts, parameters.input, parameters.decode_params)
        if parameters.fetch_metadata:
            found["metadata"] = await self._metadata(parameters, context)
        return ToolResult(operation="analyze", result=found)

    async def _metadata(self, parameters: UrlAnalyzerParameters, context: ToolContext) -> dict[str, Any]:
        response = await send(
            Request(
                self.name,
                "HEAD",
                parameters.input,
                {"User-Agent": self.settings.user_agent},
                None,
                min(parameters.timeout, context.limits.time_s),
                self.settings.max_page_bytes,
                context.call.addresses.get("input", ()),
            ),
            context,
        )
        length = response.headers.get("content-length", "")
        return {
            "status_code": response.status,
            "final_url": response.url,
            "content_type": response.headers.get("content-type"),
            "content_length": int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None,
            "last_modified": response.headers.get("last-modified"),
            "server": response.headers.get("server"),
        }
