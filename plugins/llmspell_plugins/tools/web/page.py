"""A page from the web, as the tools that read pages get it: fetched within the rules, parsed in a child process.

Invariant: an answer that is no page, or no success, is an error and never content. Sizes in bytes, durations in s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import ToolContext, ToolError
from llmspell_hookspecs.network import HttpResponse
from llmspell_plugins.tools.api.exchange import Request, send
from llmspell_plugins.tools.child import run_child

from .markup import decoded, scraped

__all__ = ["PageSettings", "fetched", "parsed"]

_PAGES = ("text/", "application/xhtml+xml", "application/xml", "application/json")
_HTML = ("text/html", "application/xhtml+xml")


class PageSettings(BaseModel):
    """The table of a tool that reads pages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_page_bytes: int = Field(default=5 * 1024 * 1024, ge=0, description="The largest page that is read.")
    parse_timeout_s: float = Field(default=5, gt=0, le=60, description="How long a page may take to parse.")
    user_agent: str = Field(
        default="llmspell", pattern=r"^[\x20-\x7e]{1,200}$", description="What the tool calls itself."
    )


async def fetched(tool: str, url: str, timeout_s: float, settings: PageSettings, context: ToolContext) -> HttpResponse:
    """Return the answer that holds a page.

    Raises:
        ToolError: There was none; ``http_status``: it is no success; ``content_type``: it is no text.
        SecurityError: A redirect leads where the rules do not allow.
        ResourceLimitError: It is too large.
    """
    request = Request(
        tool,
        "GET",
        url,
        {"User-Agent": settings.user_agent, "Accept": "text/html, application/xhtml+xml, text/*;q=0.8"},
        None,
        min(timeout_s, context.limits.time_s),
        settings.max_page_bytes,
        context.call.addresses.get("input", ()),
    )
    response = await send(request, context)
    context.charge(4 * len(response.body))
    if not 200 <= response.status < 300:
        message = f"{tool}: the server answered {response.status}; check the URL"
        raise ToolError(message, code="http_status", details={"status": response.status})
    kind = _kind(response)
    if kind and not kind.startswith(_PAGES):
        message = f"{tool}: the answer is {kind[:80]!r}, no page; fetch it with http_request"
        raise ToolError(message, code="content_type")
    return response


async def parsed(
    tool: str,
    response: HttpResponse,
    selectors: Mapping[str, str],
    parts: Sequence[str],
    settings: PageSettings,
    context: ToolContext,
) -> dict[str, Any]:
    """Return what `scraped` makes of a page; a text that is no HTML is its own text and Markdown."""
    content_type = response.headers.get("content-type", "")
    kind = _kind(response)
    if kind and not kind.startswith(_HTML):
        text = str(await context.run_thread(decoded, response.body, content_type))
        found: dict[str, Any] = {"title": "", "text": text}
        found |= {part: text if part == "markdown" else {} if part == "meta" else [] for part in parts}
        return found | ({"selected": {name: [] for name in selectors}} if selectors else {})
    arguments = (response.body, content_type, response.url, dict(selectors), tuple(parts), tool)
    page: dict[str, Any] = await run_child(context, tool, "web", settings.parse_timeout_s, scraped, *arguments)
    return page


def _kind(response: HttpResponse) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
