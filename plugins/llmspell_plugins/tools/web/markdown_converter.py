"""The markdown-converter tool: Markdown (CommonMark 0.31, with tables) to HTML, HTML to Markdown, and outlines.

Invariant: HTML inside Markdown comes out as text unless that was asked for, so that what it makes can be shown.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_plugins.tools.child import run_child

from .markup import to_markdown

__all__ = ["MarkdownConverter", "MarkdownConverterParameters", "outline", "to_html"]

_PARSE_S = 10.0


class MarkdownConverterParameters(BaseModel):
    """What the markdown-converter takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["to_html", "from_html", "outline"] = Field(
        default="to_html", description="Markdown to HTML, HTML to Markdown, or the headings of Markdown."
    )
    input: str = Field(max_length=5_000_000, description="The Markdown, or the HTML for from_html.")
    allow_html: bool = Field(default=False, description="For to_html: let HTML inside the Markdown through.")


class MarkdownConverter(Tool[MarkdownConverterParameters]):
    """Convert Markdown to HTML and HTML to Markdown, and list the headings of Markdown."""

    name = "markdown-converter"
    aliases = ("markdown_converter",)
    category = "data"
    level = SecurityLevel.SAFE
    examples = (
        ToolExample("Markdown to HTML", {"input": "a *b*"}, {"html": "<p>a <em>b</em></p>\n"}),
        ToolExample("HTML to Markdown", {"operation": "from_html", "input": "<h1>a</h1>"}, {"markdown": "# a"}),
        ToolExample(
            "the headings",
            {"operation": "outline", "input": "# a\n\ntext"},
            {"headings": [{"level": 1, "text": "a", "line": 1}]},
        ),
    )
    repeatable = True

    async def run(self, parameters: MarkdownConverterParameters, context: ToolContext) -> ToolResult:
        """Return ``{html}``, ``{markdown}`` or ``{headings: [{level, text, line}]}``.

        Raises:
            ToolError: ``timeout``, ``invalid_input`` or ``missing_library``.
        """
        context.charge(len(parameters.input))
        match parameters.operation:
            case "to_html":
                html = await self._child(context, to_html, parameters.input, parameters.allow_html)
                return ToolResult(operation="to_html", result={"html": html}, text=html)
            case "from_html":
                markdown = await self._child(context, to_markdown, parameters.input, self.name)
                return ToolResult(operation="from_html", result={"markdown": markdown}, text=markdown)
        headings = await self._child(context, outline, parameters.input)
        return ToolResult(operation="outline", result={"headings": headings, "count": len(headings)})

    async def _child(self, context: ToolContext, function: Any, *arguments: Any) -> Any:
        return await run_child(context, self.name, "web", _PARSE_S, function, *arguments)


def to_html(text: str, allow_html: bool) -> str:
    """Return Markdown as HTML; links to scripts are left as text."""
    return str(_parser(allow_html).render(text))


def outline(text: str) -> list[dict[str, Any]]:
    """Return the headings of Markdown, lines from 1."""
    tokens = _parser(True).parse(text)
    return [
        {"level": int(token.tag[1]), "text": _plain(inline), "line": token.map[0] + 1}
        for token, inline in pairwise(tokens)
        if token.type == "heading_open"
    ]


def _parser(allow_html: bool) -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": allow_html}).enable("table").enable("strikethrough")


def _plain(inline: Any) -> str:
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in inline.children or ()
    )
