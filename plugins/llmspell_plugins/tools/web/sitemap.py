"""What the sitemap-crawler does in a child process: sitemaps and robots.txt, read within bounds. Sizes in bytes.

Sitemaps are those of sitemaps.org 0.9: XML, an index of others, RSS 2.0, Atom 1.0 or lines of text, each perhaps
gzipped; robots.txt is RFC 9309's. Invariant: a document is decoded and parsed piece by piece and no further than the
bounds, one with a DTD is refused, no entity is expanded and nothing is fetched.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error

__all__ = ["Bounds", "Robots", "origin_of", "read_robots", "read_sitemap"]

_PIECE_BYTES = 65536
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_ROWS = {"urlset": "url", "sitemapindex": "sitemap", "rss": "item", "feed": "entry"}
"""For each root what its rows are called."""
_LONGEST_URL = 2048
_MOST_SITEMAPS = 1000


class Bounds(Struct, frozen=True):
    """How much of a sitemap is read.

    Attributes:
        urls: How many rows.
        decoded_bytes: How much, once it is unpacked.
    """

    urls: int
    decoded_bytes: int


class Robots(Struct, frozen=True):
    """A site's robots.txt, for whom it is asked.

    Attributes:
        text: As it came; empty permits all.
        agent: The name to look for.
        origin: The site; URLs of others are not judged by it.
    """

    text: str
    agent: str
    origin: str


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL; empty if it is none that could be fetched."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = port is None or port == {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if default else f":{port}")


def read_robots(robots: Robots, url: str) -> dict[str, Any]:
    """Return ``{sitemaps, delay_s, allowed}``: what it names, the pause it asks for, whether the URL is free."""
    from protego import Protego

    rules = Protego.parse(robots.text)
    named = [urljoin(f"{robots.origin}/", each.strip()) for each in rules.sitemaps]
    delay_s = rules.crawl_delay(robots.agent) or 0
    allowed = origin_of(url) != robots.origin or rules.can_fetch(url, robots.agent)
    return {"sitemaps": list(dict.fromkeys(named))[:_MOST_SITEMAPS], "delay_s": float(delay_s), "allowed": allowed}


def read_sitemap(body: bytes, bounds: Bounds, robots: Robots) -> dict[str, Any]:
    """Return what a sitemap holds.

    Returns:
        ``kind``: ``urlset``, ``sitemapindex``, ``rss``, ``feed`` or ``text``; ``rows``: ``{url, lastmod, changefreq,
        priority}``, without what is not there; ``decoded_bytes``; ``invalid`` and ``disallowed``: how many rows were
        left out because they hold no URL, or one that robots.txt closes; ``more``: whether there are rows beyond the
        bounds; ``problem``: what is wrong with it after the rows that were read.

    Raises:
        ToolError: ``limit_exceeded``: it unpacks to too much; ``invalid_input``: it is no sitemap.
    """
    pieces = _Pieces(body, bounds.decoded_bytes)
    first = next(iter(pieces), b"")
    is_xml = first.startswith(_UTF16) or first.removeprefix(_BOM).lstrip().startswith(b"<")
    found: dict[str, Any] = {"kind": "text", "rows": [], "invalid": 0, "disallowed": 0, "more": False, "problem": ""}
    judged = _Judge(robots)
    for row in _xml_rows(first, pieces, found) if is_xml else _text_rows(first, pieces):
        if len(found["rows"]) >= bounds.urls:
            found["more"] = True
            break
        refused = judged(row)
        if refused:
            found[refused] += 1
        else:
            found["rows"].append(row)
    problem = pieces.problem or found["problem"]  # what is cut short is no well-formed XML either
    if not found["rows"] and (problem or (not is_xml and not found["disallowed"])):
        raise _no_sitemap(problem or "it holds no URL")
    return found | {"decoded_bytes": pieces.count, "problem": problem}


class _Pieces:
    """A body in decoded pieces, counted.

    Attributes:
        count: How many bytes came so far.
        problem: What is wrong with the packing, after what came.
    """

    def __init__(self, body: bytes, most: int) -> None:
        self.count = 0
        self.problem = ""
        self._most = most
        self._source = self._unpacked(body) if body.startswith(_GZIP) else self._plain(body)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._source:
            self.count += len(piece)
            if self.count > self._most:
                message = (
                    f"sitemap-crawler: a sitemap unpacks to more than the {self._most} bytes that are left to it; "
                    "raise max_sitemap_bytes or max_total_bytes in [tools.sitemap-crawler]"
                )
                raise ToolError(message, code="limit_exceeded")
            yield piece

    @staticmethod
    def _plain(body: bytes) -> Iterator[bytes]:
        for start in range(0, len(body), _PIECE_BYTES):
            yield body[start : start + _PIECE_BYTES]

    def _unpacked(self, body: bytes) -> Iterator[bytes]:
        """The members of a gzip file; what follows the last one is padding."""
        while body.startswith(_GZIP):
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            rest = body
            try:
                while rest and not member.eof:
                    piece = member.decompress(rest, _PIECE_BYTES)
                    rest = member.unconsumed_tail
                    if piece:
                        yield piece
            except zlib.error as error:
                self.problem = f"its gzip is broken ({line_of_error(error)})"
                return
            if not member.eof:
                self.problem = "its gzip ends early"
                return
            body = member.unused_data


class _Judge:
    """Says why a row is left out: ``invalid``, ``disallowed``, or empty if it is not."""

    def __init__(self, robots: Robots) -> None:
        self._robots = robots
        self._rules: Any = None
        if robots.text:
            from protego import Protego

            self._rules = Protego.parse(robots.text)

    def __call__(self, row: dict[str, Any]) -> str:
        url = row["url"] = urldefrag(row["url"]).url if "#" in row["url"] else row["url"]
        origin = origin_of(url)
        if not origin or len(url) > _LONGEST_URL or any(letter.isspace() for letter in url):
            return "invalid"
        if self._rules is None or origin != self._robots.origin:
            return ""
        return "" if self._rules.can_fetch(url, self._robots.agent) else "disallowed"


def _text_rows(first: bytes, pieces: _Pieces) -> Iterator[dict[str, Any]]:
    """A URL on each line, in UTF-8."""
    rest = first.removeprefix(_BOM)
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > 4 * _LONGEST_URL:
            raise _no_sitemap("it is neither XML nor lines of URLs")
        yield from ({"url": line.decode("utf-8", "replace").strip()} for line in lines if line.strip())
    yield from ({"url": line.decode("utf-8", "replace").strip()} for line in rest.split(b"\n") if line.strip())


def _xml_rows(first: bytes, pieces: _Pieces, found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of a document as they come; ``found`` is told its kind, and what goes wrong after the first row."""
    from lxml import etree

    parser = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    root: Any = None
    try:
        for event, element in _events(parser, first, pieces):
            if root is None:
                root = element
                found["kind"] = _kind(root)
            elif event == "end" and _local(element) == _ROWS[found["kind"]]:
                yield _row(element, found["kind"])
                _forget(element)
    except etree.XMLSyntaxError as error:
        found["problem"] = f"it is no well-formed XML ({line_of_error(error)[:200]})"


def _events(parser: Any, first: bytes, pieces: _Pieces) -> Iterator[tuple[str, Any]]:
    """What the parser meets; what stands before an error in the same piece comes before the error, too."""
    piece = first if first.startswith(_UTF16) else first.removeprefix(_BOM).lstrip()
    while piece:
        try:
            parser.feed(piece)
        finally:
            yield from parser.read_events()
        piece = next(iter(pieces), b"")
    parser.close()


def _kind(root: Any) -> str:
    if root.getroottree().docinfo.doctype:
        raise _no_sitemap("it has a DTD, and none is read")
    kind = _local(root)
    if kind not in _ROWS:
        raise _no_sitemap(f"its root is {kind[:40]!r}, not urlset, sitemapindex, rss or feed")
    return kind


def _row(element: Any, kind: str) -> dict[str, Any]:
    """What a row says; ``url`` is empty if it has none."""
    texts = {_local(child): (child.text or "").strip() for child in element.iterchildren("*")}
    if kind == "feed":
        links = [child for child in element.iterchildren("{*}link") if child.get("rel", "alternate") == "alternate"]
        row: dict[str, Any] = {"url": links[0].get("href", "").strip() if links else ""}
        return row | ({"lastmod": texts["updated"]} if texts.get("updated") else {})
    if kind == "rss":
        return {"url": texts.get("link", "")} | ({"lastmod": texts["pubDate"]} if texts.get("pubDate") else {})
    row = {"url": texts.get("loc", "")}
    row |= {name: texts[name][:100] for name in ("lastmod", "changefreq") if texts.get(name)}
    try:
        priority = float(texts.get("priority", ""))
    except ValueError:
        return row
    return row | ({"priority": priority} if 0 <= priority <= 1 else {})


def _forget(element: Any) -> None:
    """Free a row, and all that stood before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _no_sitemap(why: str) -> ToolError:
    message = f"sitemap-crawler: the answer is no sitemap: {why}; give the URL of one, or of a site's front page"
    return ToolError(message, code="invalid_input")
