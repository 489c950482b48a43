"""The sitemap-crawler tool: the pages that a site names in its sitemaps, the indexes among them followed.

Invariant: what robots.txt closes is neither fetched nor listed unless that was asked for; no sitemap is read twice, and
each bound that cut the crawl short is named. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urldefrag, urlsplit

import trio
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from llmspell_hookspecs import LlmspellError, SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.network import HttpResponse
from llmspell_hookspecs.tool import Access, HostAccess, ToolLimits
from llmspell_plugins.tools.api.exchange import Request, send
from llmspell_plugins.tools.child import run_child

from .sitemap import Bounds, Robots, origin_of, read_robots, read_sitemap

__all__ = ["SitemapCrawler", "SitemapCrawlerParameters", "SitemapCrawlerSettings"]

_ROBOTS_BYTES = 1024 * 1024
_ROW_BYTES = 1000
_MOST_ERRORS = 100
_HELD_BACK = 0.9
"""Of the call's time, for the crawl; in the rest it tells what it found."""


class SitemapCrawlerParameters(BaseModel):
    """What the sitemap-crawler takes."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(
        min_length=1,
        description="The URL of a sitemap, or of a site's front page or robots.txt, which name its sitemaps.",
        validation_alias=AliasChoices("input", "url", "sitemap_url"),
    )
    follow_sitemaps: bool = Field(default=True, description="Read the sitemaps that an index names.")
    max_urls: int = Field(default=1000, ge=1, le=50_000, description="How many pages at most.")
    max_depth: int = Field(default=3, ge=1, le=10, description="How many indexes below each other are followed.")
    max_sitemaps: int = Field(default=100, ge=1, le=1000, description="How many sitemaps are read.")
    respect_robots: bool = Field(default=True, description="Leave out what robots.txt closes, and pause as it asks.")
    timeout: float = Field(
        default=30, gt=0, le=600, description="Seconds for all of it; what was found until then comes."
    )


class SitemapCrawlerSettings(BaseModel):
    """``[tools.sitemap-crawler]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_sitemap_bytes: int = Field(default=50 * 1024 * 1024, ge=0, description="The largest sitemap, unpacked.")
    max_total_bytes: int = Field(default=250 * 1024 * 1024, ge=0, description="All sitemaps of a crawl, unpacked.")
    parse_timeout_s: float = Field(default=10, gt=0, le=60, description="How long a sitemap may take to parse.")
    user_agent: str = Field(
        default="llmspell",
        pattern=r"^[!-~][\x20-\x7e]{0,199}$",
        description="What the tool calls itself; robots.txt is asked for what stands before the first / or space.",
    )


class SitemapCrawler(Tool[SitemapCrawlerParameters]):
    """List the pages that a site names in its sitemaps, with robots.txt respected."""

    name = "sitemap-crawler"
    aliases = ("sitemap_crawler", "sitemap-crawler-tool")
    category = "web"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=120)
    examples = (
        ToolExample("the pages of a site", {"input": "https://example.com/", "max_urls": 100}, needs="the network"),
        ToolExample(
            "the sitemaps of an index, unread",
            {"input": "https://example.com/sitemap_index.xml", "follow_sitemaps": False},
            needs="the network",
        ),
    )
    repeatable = True
    Settings: ClassVar[type[BaseModel] | None] = SitemapCrawlerSettings
    settings: SitemapCrawlerSettings

    def access(self, parameters: SitemapCrawlerParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: SitemapCrawlerParameters, context: ToolContext) -> ToolResult:
        """Return ``{sitemap_url, urls_found, urls, sitemaps, truncated, stats}``.

        Each of ``urls`` has ``url`` and what else its sitemap says: ``lastmod``, ``changefreq``, ``priority``.
        ``sitemaps`` are those that indexes, or robots.txt, name. ``truncated`` names the bounds that cut it short.
        ``stats`` has ``sitemaps_processed``, ``sitemaps_failed``, ``bytes_read``, ``duplicates``, ``invalid``,
        ``disallowed`` and ``errors``, ``[{url, code, error}]``.

        Raises:
            ToolError: No sitemap could be read; ``code`` is the first one's: ``http_status``, ``invalid_input``,
                ``robots``, ``limit_exceeded``, ``connection`` or ``timeout``.
            SecurityError: The rules do not allow where it leads.
            ResourceLimitError: It is too large.
        """
        crawl = _Crawl(parameters, self.settings, context)
        time_s = min(parameters.timeout, _HELD_BACK * context.limits.time_s)
        with trio.move_on_after(time_s) as scope:
            await crawl.run()
        if scope.cancelled_caught:
            crawl.cut("timeout", f"it took longer than {time_s:g} s; allow more time")
        return crawl.result()


class _Crawl:
    """One crawl: what is to be read, what was, and what it gave."""

    def __init__(
        self, parameters: SitemapCrawlerParameters, settings: SitemapCrawlerSettings, context: ToolContext
    ) -> None:
        self._asked, self._settings, self._context = parameters, settings, context
        self._agent = settings.user_agent.partition("/")[0].split()[0]
        self._queue: deque[tuple[str, int]] = deque()
        self._rows: dict[str, dict[str, Any]] = {}
        self._named: dict[str, None] = {}
        self._robots: dict[str, Robots] = {}
        self._visited: set[str] = set()
        self._errors: list[tuple[str, LlmspellError]] = []
        self._truncated: dict[str, None] = {}
        self._counts = dict.fromkeys(("duplicates", "invalid", "disallowed"), 0)
        self._processed = self._failed = self._bytes = self._largest = 0

    async def run(self) -> None:
        """Read what is to be read, until there is no more or a bound is reached."""
        for url in await self._starts():
            self._enqueue(url, 0)
        while self._queue and not self._is_full():
            url, depth = self._queue.popleft()
            try:
                await self._read(url, depth)
            except (ToolError, SecurityError, ResourceLimitError) as error:
                self._failed += 1
                self._errors.append((url, error))

    def cut(self, bound: str, why: str) -> None:
        """Note that a bound ended the crawl; it is an error if nothing was read."""
        self._truncated[bound] = None
        self._errors.append((self._asked.input, ToolError(f"sitemap-crawler: {why}", code=bound)))

    def result(self) -> ToolResult:
        """Return what was found.

        Raises:
            ToolError: No sitemap could be read; the first error.
        """
        if not self._processed and self._errors:
            raise self._errors[0][1]
        errors = [{"url": url[:2048], "code": error.code, "error": str(error)} for url, error in self._errors]
        urls = list(self._rows.values())
        return ToolResult(
            operation="crawl",
            message=f"found {len(urls)} pages in {self._processed} sitemaps",
            result={
                "sitemap_url": self._asked.input,
                "urls_found": len(urls),
                "urls": urls,
                "sitemaps": list(self._named),
                "truncated": list(self._truncated),
                "stats": {
                    "sitemaps_processed": self._processed,
                    "sitemaps_failed": self._failed,
                    "bytes_read": self._bytes,
                    **self._counts,
                    "errors": errors[:_MOST_ERRORS],
                },
            },
        )

    async def _starts(self) -> list[str]:
        """The sitemap that was named, or those that the site's robots.txt names, or else where most have theirs."""
        url = urldefrag(self._asked.input).url
        if urlsplit(url).path not in ("", "/", "/robots.txt"):
            return [url]
        facts = await self._facts(url)
        self._named |= dict.fromkeys(facts["sitemaps"])
        return facts["sitemaps"] or [f"{origin_of(url)}/sitemap.xml"]

    def _enqueue(self, url: str, depth: int) -> None:
        if url in self._visited:
            return
        if len(self._visited) >= self._asked.max_sitemaps:
            self._truncated["max_sitemaps"] = None
            return
        self._visited.add(url)
        self._queue.append((url, depth))

    def _is_full(self) -> bool:
        if len(self._rows) >= self._asked.max_urls:
            self._truncated["max_urls"] = None
        if self._bytes >= self._settings.max_total_bytes:
            self._truncated["max_total_bytes"] = None
        return "max_urls" in self._truncated or "max_total_bytes" in self._truncated

    async def _read(self, url: str, depth: int) -> None:
        """Fetch a sitemap and take over what it holds."""
        if self._asked.respect_robots:
            await self._permitted(url)
        response = await self._fetched(url, self._settings.max_sitemap_bytes)
        if not 200 <= response.status < 300:
            message = f"sitemap-crawler: the server answered {response.status} for {_shown(url)}; check the URL"
            raise ToolError(message, code="http_status", details={"status": response.status})
        found = await self._parsed(response)
        self._processed += 1
        self._bytes += found["decoded_bytes"]
        self._context.charge(_ROW_BYTES * len(found["rows"]))
        for name in ("invalid", "disallowed"):
            self._counts[name] += found[name]
        if found["problem"]:
            message = f"sitemap-crawler: {found['problem']}; what stands before that was read"
            self._errors.append((url, ToolError(message, code="invalid_input")))
        if found["kind"] == "sitemapindex":
            self._take_sitemaps(found, depth)
        else:
            self._take_pages(found)

    def _take_sitemaps(self, found: dict[str, Any], depth: int) -> None:
        """Take over the rows of an index."""
        urls = [row["url"] for row in found["rows"]]
        self._named |= dict.fromkeys(urls)
        if not self._asked.follow_sitemaps or not urls:
            return
        if depth >= self._asked.max_depth:
            self._truncated["max_depth"] = None
            return
        for url in urls:
            self._enqueue(url, depth + 1)
        if found["more"]:
            self._truncated["max_sitemaps"] = None

    def _take_pages(self, found: dict[str, Any]) -> None:
        for row in found["rows"]:
            if row["url"] in self._rows:
                self._counts["duplicates"] += 1
            elif len(self._rows) < self._asked.max_urls:
                self._rows[row["url"]] = row
            else:
                self._truncated["max_urls"] = None
        if found["more"]:
            self._truncated["max_urls"] = None

    async def _parsed(self, response: HttpResponse) -> dict[str, Any]:
        left = max(self._settings.max_total_bytes - self._bytes, 0)
        most = max(self._asked.max_urls, self._asked.max_sitemaps)
        bounds = Bounds(most, min(self._settings.max_sitemap_bytes, left))
        origin = origin_of(response.url)
        robots = self._robots.get(origin) if self._asked.respect_robots else None
        judge = robots or Robots("", self._agent, origin)
        found: dict[str, Any] = await self._child(read_sitemap, response.body, bounds, judge)
        return found

    async def _permitted(self, url: str) -> None:
        """Wait as long as the site asks for between two requests.

        Raises:
            ToolError: ``robots``: it closes the sitemap.
        """
        again = origin_of(url) in self._robots
        facts = await self._facts(url)
        if not facts["allowed"]:
            message = f"sitemap-crawler: robots.txt closes {_shown(url)}; ask the site, or set respect_robots to false"
            raise ToolError(message, code="robots")
        if again and self._processed:
            await trio.sleep(facts["delay_s"])

    async def _facts(self, url: str) -> dict[str, Any]:
        """What the robots.txt of a URL's site says; it is fetched once."""
        origin = origin_of(url)
        if origin not in self._robots:
            response = await self._fetched(f"{origin}/robots.txt", _ROBOTS_BYTES)
            if response.status >= 500 or response.status == 429:  # RFC 9309, 2.3.1.4: all is closed
                message = (
                    f"sitemap-crawler: {origin}/robots.txt answered {response.status}, so all of the site counts as "
                    "closed; ask again later"
                )
                raise ToolError(message, code="robots", details={"status": response.status})
            text = response.body.decode("utf-8", "replace") if 200 <= response.status < 300 else ""
            self._robots[origin] = Robots(text, self._agent, origin)
        facts: dict[str, Any] = await self._child(read_robots, self._robots[origin], url)
        return facts

    async def _fetched(self, url: str, max_bytes: int) -> HttpResponse:
        same_host = origin_of(url) == origin_of(self._asked.input)
        request = Request(
            "sitemap-crawler",
            "GET",
            url,
            {"User-Agent": self._settings.user_agent, "Accept": "application/xml, text/xml, text/plain, */*;q=0.8"},
            None,
            min(self._asked.timeout, self._context.limits.time_s),
            max_bytes,
            self._context.call.addresses.get("input", ()) if same_host else (),
        )
        response = await send(request, self._context)
        if len(response.body) > self._largest:  # one is held at a time
            self._context.charge(len(response.body) - self._largest)
            self._largest = len(response.body)
        return response

    async def _child(self, function: Any, *arguments: Any) -> Any:
        time_s = self._settings.parse_timeout_s
        return await run_child(self._context, "sitemap-crawler", "web", time_s, function, *arguments)


def _shown(url: str) -> str:
    """A URL for messages, without its query."""
    return url.partition("?")[0][:200]
