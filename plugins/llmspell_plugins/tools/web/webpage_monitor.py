"""The webpage-monitor tool: what changed on a page, compared with a text that is given or that was kept.

Invariant: what is kept lies in the tool's own scope of the state, under the page's address and selector.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.state import State
from llmspell_hookspecs.tool import Access, HostAccess
from llmspell_plugins.tools.child import run_child

from .page import PageSettings, fetched, parsed

__all__ = ["WebpageMonitor", "WebpageMonitorParameters", "WebpageMonitorSettings", "changes"]

_SCOPE = "tool:webpage-monitor"


class WebpageMonitorParameters(BaseModel):
    """What the webpage-monitor takes."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, description="The page's URL, with http or https.")
    previous_content: str | None = Field(default=None, max_length=5_000_000, description="What it said before.")
    selector: str | None = Field(default=None, max_length=1000, description="A CSS selector: compare only this part.")
    ignore_whitespace: bool = Field(default=True, description="Whether lines that differ only in spaces are equal.")
    remember: bool = Field(
        default=False, description="Keep the text, and compare with the one kept before if none is given."
    )
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds that the page may take to come.")


class WebpageMonitorSettings(PageSettings):
    """``[tools.webpage-monitor]``."""


class WebpageMonitor(Tool[WebpageMonitorParameters]):
    """Read a web page and tell what changed since a text that is given, or since it was last remembered."""

    name = "webpage-monitor"
    aliases = ("webpage_monitor", "webpage-monitor-tool")
    category = "web"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "what changed since the last time", {"input": "https://example.com/", "remember": True}, needs="the network"
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = WebpageMonitorSettings
    settings: WebpageMonitorSettings

    def access(self, parameters: WebpageMonitorParameters) -> Sequence[Access]:
        """Return that the input is a URL."""
        return (HostAccess("input"),)

    async def run(self, parameters: WebpageMonitorParameters, context: ToolContext) -> ToolResult:
        """Return ``{url, current_content, has_changes, changes, change_count}``.

        Raises:
            ToolError: ``http_status``, ``invalid_selector``, ``not_found``: the selector finds nothing; ``timeout`` ...
            SecurityError: A redirect leads where the rules do not allow.
            ResourceLimitError: The page is too large.
        """
        response = await fetched(self.name, parameters.input, parameters.timeout, self.settings, context)
        selectors = {} if parameters.selector is None else {"part": parameters.selector}
        page = await parsed(self.name, response, selectors, (), self.settings, context)
        if selectors and not page["selected"]["part"]:
            message = f"webpage-monitor: nothing on the page fits {parameters.selector!r}; correct the selector"
            raise ToolError(message, code="not_found")
        text = "\n".join(page["selected"]["part"]) if selectors else page["text"]
        previous = await self._previous(parameters, context)
        found: list[dict[str, Any]] = []
        if previous is not None:
            time_s = self.settings.parse_timeout_s
            arguments = (previous, text, parameters.ignore_whitespace)
            found = await run_child(context, self.name, "web", time_s, changes, *arguments)
        if parameters.remember:
            await context.services.get(State).set(_key(parameters), text, scope=_SCOPE)
        return ToolResult(
            operation="monitor",
            message=f"{len(found)} changes" if previous is not None else "nothing to compare with",
            result={
                "url": response.url,
                "current_content": text,
                "has_changes": bool(found),
                "changes": found,
                "change_count": len(found),
                "compared": previous is not None,
            },
        )

    async def _previous(self, parameters: WebpageMonitorParameters, context: ToolContext) -> str | None:
        if parameters.previous_content is not None or not parameters.remember:
            return parameters.previous_content
        kept: str | None = await context.services.get(State).get(_key(parameters), scope=_SCOPE)
        return kept


def changes(previous: str, current: str, ignore_whitespace: bool) -> list[dict[str, Any]]:
    """Return what makes one text of another, by lines: additions, deletions and modifications, lines from 1."""
    old, new = _lines(previous, ignore_whitespace), _lines(current, ignore_whitespace)
    matcher = difflib.SequenceMatcher(None, [key for key, _ in old], [key for key, _ in new], autojunk=False)
    found: list[dict[str, Any]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        before = "\n".join(line for _, line in old[a:b])
        after = "\n".join(line for _, line in new[c:d])
        if tag == "insert":
            found.append({"type": "addition", "line": c + 1, "content": after})
        elif tag == "delete":
            found.append({"type": "deletion", "line": a + 1, "content": before})
        elif tag == "replace":
            found.append({"type": "modification", "line": a + 1, "old": before, "new": after})
    return found


def _lines(text: str, ignore_whitespace: bool) -> list[tuple[str, str]]:
    """Each line, as it is compared and as it is; empty ones are no lines where spaces do not count."""
    if not ignore_whitespace:
        return [(line, line) for line in text.splitlines()]
    pairs = ((" ".join(line.split()), line) for line in text.splitlines())
    return [(key, line) for key, line in pairs if key]


def _key(parameters: WebpageMonitorParameters) -> str:
    whole = f"{parameters.input}\0{parameters.selector or ''}"
    return hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()
