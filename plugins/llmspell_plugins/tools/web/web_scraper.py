"""The web-scraper tool: what a page holds, by CSS selectors; links, images, facts, Markdown. Durations in seconds.

Invariant: no script of the page runs; who asks for that is told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.tool import Access, HostAccess
from llmspell_plugins.tools.api.exchange import without_query

from .page import PageSettings, fetched, parsed

__all__ = ["WebScraper", "WebScraperParameters", "WebScraperSettings"]


class WebScraperParameters(BaseModel):
    """What the web-scraper takes."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, description="The page's URL, with http or https.")
    selectors: dict[str, str] = Field(
        default={}, max_length=50, description="CSS selectors, each under the name that its finds are to have."
    )
    selector: str | None = Field(default=None, max_length=1000, description="One CSS selector; finds are 'selected'.")
    extract_links: bool = Field(default=False, description="Whether to list the links.")
    extract_images: bool = Field(default=False, description="Whether to list the images.")
    extract_meta: bool = Field(default=False, description="Whether to tell what the page says of itself.")
    markdown: bool = Field(default=False, description="Whether to give the main part as Markdown, too.")
    wait_for_js: bool = Field(default=False, description="Refused if true: no script of a page is run.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds that the page may take to come.")


class WebScraperSettings(PageSettings):
    """``[tools.web-scraper]``."""


class WebScraper(Tool[WebScraperParameters]):
    """Read a web page, and take from it what CSS selectors name, its text, links, images and facts."""

    name = "web-scraper"
    aliases = ("web_scraper", "web-scraper-tool")
    category = "web"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "headings and links",
            {"input": "https://example.com/", "selectors": {"headings": "h1, h2"}, "extract_links": True},
            needs="the network",
        ),
    )
    repeatable = True
    Settings: ClassVar[type[BaseModel] | None] = WebScraperSettings
    settings: WebScraperSettings

    def access(self, parameters: WebScraperParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: WebScraperParameters, context: ToolContext) -> ToolResult:
        """Return ``{url, content: {title, text, selected?, links?, images?, metadata?, markdown?}}``.

        Raises:
            ToolError: ``http_status``, ``content_type``, ``invalid_selector``, ``timeout``, ``unsupported`` ...
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The page is too large.
        """
        if parameters.wait_for_js:
            message = "web-scraper: wait_for_js is true, and no script of a page is run here; leave it out"
            raise ToolError(message, code="unsupported")
        response = await fetched(self.name, parameters.input, parameters.timeout, self.settings, context)
        selectors = dict(parameters.selectors)
        if parameters.selector is not None:
            selectors["selected"] = parameters.selector
        asked = {
            "links": parameters.extract_links,
            "images": parameters.extract_images,
            "meta": parameters.extract_meta,
            "markdown": parameters.markdown,
        }
        parts = [part for part, wanted in asked.items() if wanted]
        content = await parsed(self.name, response, selectors, parts, self.settings, context)
        if "meta" in content:
            content["metadata"] = content.pop("meta")
        return ToolResult(
            operation="scrape",
            message=f"read {content['title'] or without_query(response.url)}",
            result={"url": response.url, "content": content},
            metadata={"status_code": response.status, "size": len(response.body)},
        )
