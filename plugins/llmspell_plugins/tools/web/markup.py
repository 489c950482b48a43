"""What the tools for web pages do in a child process: HTML to texts, links, images, facts and Markdown.

Invariant: nothing is fetched and no script runs. The parser's time grows with the square of the depth, and nothing can
stop it from inside, so these functions run where they can be killed. Sizes in characters.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

from llmspell_hookspecs import ToolError

__all__ = ["decoded", "scraped", "to_markdown"]

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_DECLARED = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_UNSEEN = ("script", "style", "noscript", "template", "svg", "iframe")
_BREAKS = frozenset(
    {"address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure", "footer"}
    | {"form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section"}
    | {"table", "tr", "ul"}
)
_CELLS = frozenset({"td", "th"})
_MOST = 10_000


def decoded(body: bytes, content_type: str) -> str:
    """Return a page's text: by its BOM, its Content-Type, what it declares, else as UTF-8, as browsers do."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    named = content_type.lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    declared = _DECLARED.search(body[:1024])
    for name in (named, declared[1].decode("ascii") if declared else ""):
        try:
            return body.decode("cp1252" if name.lower() in ("iso-8859-1", "latin1") else name, "replace")
        except (LookupError, ValueError):
            continue
    return body.decode("utf-8", "replace")


def scraped(
    body: bytes, content_type: str, url: str, selectors: Mapping[str, str], parts: Sequence[str], tool: str
) -> dict[str, Any]:
    """Return ``{title, text}`` of a page, what each selector finds, and further parts.

    Args:
        body: The page.
        content_type: As the server said.
        url: Where it came from; links are made whole with it.
        selectors: CSS, by the names under which their texts come.
        parts: ``links``, ``images``, ``meta``, ``markdown``.
        tool: For messages.

    Raises:
        ToolError: ``invalid_selector``.
    """
    page = _parsed(decoded(body, content_type))
    base = _base(page, url)
    found: dict[str, Any] = {"title": _title(page)}
    if selectors:
        found["selected"] = {name: _selected(page, selector, tool) for name, selector in selectors.items()}
    if "links" in parts:
        found["links"] = _links(page, base)
    if "images" in parts:
        found["images"] = _images(page, base)
    if "meta" in parts:
        found["meta"] = _meta(page)
    if "markdown" in parts:
        found["markdown"] = to_markdown(_main_html(page), tool, base)
    found["text"] = _text(page.body)
    return found


def to_markdown(html: str, tool: str, base: str = "") -> str:
    """Return HTML as Markdown, without scripts and styles.

    Raises:
        ToolError: ``invalid_input``: it is nested too deeply.
    """
    from markdownify import MarkdownConverter

    page = _parsed(html)
    for node in page.css(",".join(_UNSEEN)):
        node.decompose()
    if base:
        for name in ("href", "src"):
            for node in page.css(f"[{name}]"):
                node.attrs[name] = _joined(base, node.attributes.get(name) or "")
    try:
        text = MarkdownConverter(heading_style="ATX", bullets="-", escape_misc=False).convert(page.html or "")
    except RecursionError:
        message = f"{tool}: the HTML is nested too deeply for Markdown; take its text instead"
        raise ToolError(message, code="invalid_input") from None
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.split("\n"))).strip()


def _parsed(html: str) -> Any:
    from selectolax.lexbor import LexborHTMLParser

    return LexborHTMLParser(html.encode("utf-8", "replace"))


def _base(page: Any, url: str) -> str:
    node = page.css_first("base[href]")
    return _joined(url, node.attributes.get("href") or "") if node is not None else url


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link.strip())
    except ValueError:  # such as an unclosed bracket in the host
        return link.strip()


def _title(page: Any) -> str:
    node = page.css_first("title")
    return " ".join(node.text().split()) if node is not None else ""


def _main_html(page: Any) -> str:
    """The part of a page that is read: its article or main part if it has one, else its body."""
    for name in ("main", "article", "[role=main]", "body"):
        node = page.css_first(name)
        if node is not None:
            return str(node.html)
    return ""


def _selected(page: Any, selector: str, tool: str) -> list[str]:
    from selectolax.lexbor import SelectolaxError

    try:
        nodes = page.css(selector)
    except (SelectolaxError, ValueError):
        message = f"{tool}: {selector[:100]!r} is no CSS selector; write one such as 'div.price > span'"
        raise ToolError(message, code="invalid_selector") from None
    return [_text(node) for node in nodes[:_MOST]]


def _links(page: Any, base: str) -> list[dict[str, str]]:
    nodes = page.css("a[href], area[href]")[:_MOST]
    return [{"url": _joined(base, node.attributes["href"] or ""), "text": _text(node)} for node in nodes]


def _images(page: Any, base: str) -> list[dict[str, str]]:
    nodes = page.css("img[src]")[:_MOST]
    return [
        {"url": _joined(base, node.attributes["src"] or ""), "alt": node.attributes.get("alt") or ""} for node in nodes
    ]


def _meta(page: Any) -> dict[str, str]:
    """What the page says of itself, by name; its language and canonical address too."""
    found: dict[str, str] = {}
    for node in page.css("meta[content]")[:_MOST]:
        name = node.attributes.get("name") or node.attributes.get("property") or node.attributes.get("http-equiv")
        if name:
            found.setdefault(name, node.attributes["content"] or "")
    root, canonical = page.css_first("html[lang]"), page.css_first("link[rel=canonical][href]")
    if root is not None:
        found.setdefault("language", root.attributes["lang"] or "")
    if canonical is not None:
        found.setdefault("canonical", canonical.attributes["href"] or "")
    return found


def _text(node: Any) -> str:
    """Return a node's text as it is read: one line for each block, without what is not seen."""
    if node is None:
        return ""
    lines = "".join(_pieces(node)).split("\n")
    tidy = (" ".join(line.split()) for line in lines)
    return "\n".join(line for line in tidy if line)


def _pieces(top: Any) -> Iterator[str]:
    """The text and line breaks below a node, in order; no recursion, since pages may be nested without end."""
    node, entering, first = top, True, top.mem_id  # comparing nodes would compare their HTML
    while True:
        if entering:
            tag = node.tag
            if tag == "-text":
                yield node.text_content or ""
            elif tag in _BREAKS:
                yield "\n"
            elif tag in _CELLS:
                yield " "
            child = None if tag in _UNSEEN else node.child
            if child is not None:
                node = child
                continue
            entering = False
        if node.tag in _BREAKS:
            yield "\n"
        if node.mem_id == first:
            return
        following = node.next
        if following is not None:
            node, entering = following, True
        else:
            node = node.parent
