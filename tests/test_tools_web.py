"""web-scraper, web-fetch, webpage-monitor, markdown-converter: real pages, other programs' answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs import ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.web.markdown_converter import MarkdownConverter
from llmspell_plugins.tools.web.markup import decoded
from llmspell_plugins.tools.web.web_fetch import WebFetch
from llmspell_plugins.tools.web.web_scraper import WebScraper
from llmspell_plugins.tools.web.webpage_monitor import WebpageMonitor, changes
from loopback import LOOPBACK, serve
from oracles import oracle

PAGE = """<!doctype html><html lang="de"><head><meta charset="utf-8"><title> A  page </title>
<meta name="description" content="About Ü"><meta property="og:title" content="T"><base href="/x/"></head>
<body><nav><a href="n.html">Nav</a></nav><main><h1>Head</h1><p>Some <b>bold</b> text &amp; <a href="y?z=1#f">link</a>.
</p><script>bad()</script><ul><li>one</li><li>two</li></ul><img src="i.png" alt="pic">
<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></main></body></html>"""


async def _call(name: str, settings: dict[str, Any] | None = None, **parameters: Any) -> ToolResult:
    tables = {**LOOPBACK, "tools": {name: settings}} if settings else LOOPBACK
    async with opened(WebScraper, WebFetch, WebpageMonitor, MarkdownConverter, settings=tables) as host:
        result: ToolResult = await host.call(f"tool:{name}", parameters)
        return result


def page(text: str | bytes, kind: str = "text/html; charset=utf-8", status: int = 200) -> Any:
    """A server of one page."""
    body = text.encode() if isinstance(text, str) else text
    return serve(lambda handler, count: handler.reply(body, status, kind))


def xpath(expression: str) -> str:
    return oracle("xmllint", "--html", "--xpath", expression, "-", given=PAGE)


async def test_selectors_find_what_xmllint_finds() -> None:
    selectors = {"items": "ul > li", "cell": "td:nth-child(2)", "none": "h6"}
    with page(PAGE) as server:
        content = (await _call("web-scraper", input=server.url, selectors=selectors, selector="h1")).result["content"]

    assert content["selected"]["items"] == re.findall("<li>(.*?)</li>", xpath("//ul/li"))
    assert content["selected"]["cell"] == [xpath("string(//td[2])").strip()]
    assert content["selected"]["selected"] == [xpath("string(//h1)").strip()]
    assert content["selected"]["none"] == []
    assert content["title"] == xpath("normalize-space(//title)").strip()


async def test_links_images_and_facts_are_those_of_xmllint() -> None:
    asked: dict[str, Any] = {"extract_links": True, "extract_images": True, "extract_meta": True, "markdown": True}
    with page(PAGE) as server:
        content = (await _call("web-scraper", input=f"{server.url}/p", **asked)).result["content"]

    hrefs = re.findall('href="(.*?)"', xpath("//a/@href"))
    assert [link["url"] for link in content["links"]] == [f"{server.url}/x/{href}" for href in hrefs]
    assert content["images"] == [{"url": f"{server.url}/x/i.png", "alt": xpath("string(//img/@alt)").strip()}]
    assert content["metadata"]["description"] == xpath("string(//meta[@name='description']/@content)").strip()
    assert content["metadata"] == {"description": "About Ü", "og:title": "T", "language": "de"}
    assert "bad()" not in repr(content)
    assert f"[link]({server.url}/x/y?z=1#f)" in content["markdown"]


async def test_a_fetched_page_reads_as_in_lynx() -> None:
    with page(PAGE) as server:
        text = (await _call("web-fetch", input=server.url, format="text")).result["content"]
    dumped = oracle("lynx", "-dump", "-nolist", "-stdin", "-display_charset=utf-8", given=PAGE)
    words = dumped.replace("*", " ").replace("[i.png]", " ").replace("pic", " ").split()
    assert text.split() == words


async def test_a_fetched_page_comes_in_parts_that_make_the_whole() -> None:
    with page("<title>t</title>" + "".join(f"<p>paragraph {number}</p>" for number in range(100))) as server:
        whole = (await _call("web-fetch", url=server.url, max_chars=100_000)).result
        start, parts = 0, []
        while start is not None:
            part = (await _call("web-fetch", input=server.url, max_chars=400, start=start)).result
            parts.append(part["content"])
            start = part["next_start"]

    assert "".join(parts) == whole["content"]
    assert (whole["truncated"], whole["untrusted"], whole["title"]) == (False, True, "t")
    assert max(map(len, parts)) <= 400


@pytest.mark.parametrize("name", ["web-scraper", "web-fetch", "webpage-monitor"])
async def test_what_is_no_page_is_an_error(name: str) -> None:
    with page("gone", status=404) as server:
        with pytest.raises(ToolError, match="answered 404") as caught:
            await _call(name, input=server.url)
        assert caught.value.code == "http_status"
    with page(b"\x89PNG", "image/png") as server, pytest.raises(ToolError, match="image/png"):
        await _call(name, input=server.url)


async def test_scripts_are_not_pretended_to_run_and_a_wrong_selector_is_named() -> None:
    with page(PAGE) as server:
        with pytest.raises(ToolError, match="wait_for_js"):
            await _call("web-scraper", input=server.url, wait_for_js=True)
        with pytest.raises(ToolError, match=r"'p\[\[' is no CSS selector"):
            await _call("web-scraper", input=server.url, selector="p[[")


@pytest.mark.long
@pytest.mark.parametrize("name", ["web-scraper", "web-fetch", "webpage-monitor"])
async def test_two_hundred_thousand_unclosed_elements_end_in_one_error(name: str) -> None:
    with page("<div>" * 200_000) as server, pytest.raises(ToolError, match="took longer than 1 s") as caught:
        await _call(name, {"parse_timeout_s": 1}, input=server.url)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("name", ["web-scraper", "web-fetch", "webpage-monitor"])
async def test_pages_above_the_limit_and_private_hosts_are_refused(name: str) -> None:
    with page("x" * 1000) as server, pytest.raises(ResourceLimitError):
        await _call(name, {"max_page_bytes": 999}, input=server.url)
    with (
        serve(lambda handler, count: handler.reply(b"", 302, location="http://127.0.0.2/")) as server,
        pytest.raises(SecurityError),
    ):
        await _call(name, input=server.url)
    with pytest.raises(SecurityError):
        await _call(name, input="http://127.0.0.3/")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        ("ü".encode("cp1252"), "text/html; charset=ISO-8859-1", "ü"),
        (b"<meta charset=cp1252>\xfc", "text/html", "<meta charset=cp1252>ü"),
        ("ü".encode("utf-16"), "text/html", "ü"),
        ("ü".encode(), "text/html; charset=nonsense", "ü"),
        (b"\xff", "text/html", "\ufffd"),
    ],
)
def test_a_page_is_decoded_as_browsers_do(body: bytes, kind: str, expected: str) -> None:
    assert decoded(body, kind) == expected


async def test_a_monitored_page_tells_what_diff_tells(tmp_path: Any) -> None:
    old, new = "one\ntwo\nthree\nfour\n", "one\n2\nthree\nfour\nfive\n"
    (tmp_path / "old").write_text(old)
    (tmp_path / "new").write_text(new)
    with page(new, "text/plain") as server:
        result = (await _call("webpage-monitor", input=server.url, previous_content=old)).result

    told = oracle("sh", "-c", f"diff {tmp_path}/old {tmp_path}/new; true").splitlines()
    commands = [line for line in told if line[0].isdigit()]
    assert commands == ["2c2", "4a5"]
    assert result["changes"] == [
        {"type": "modification", "line": 2, "old": "two", "new": "2"},
        {"type": "addition", "line": 5, "content": "five"},
    ]
    assert (result["has_changes"], result["change_count"]) == (True, 2)


async def test_a_monitored_page_is_remembered() -> None:
    texts = iter(["<p>a</p>", "<p>a</p>", "<p>a</p><p>b</p>"])
    with serve(lambda handler, count: handler.reply(next(texts).encode(), kind="text/html")) as server:
        async with opened(WebpageMonitor, settings=LOOPBACK) as host:
            asked = {"input": server.url, "remember": True, "selector": "p"}
            results = [(await host.call("tool:webpage-monitor", asked)).result for _ in range(3)]

    assert [(each["compared"], each["change_count"]) for each in results] == [(False, 0), (True, 0), (True, 1)]
    assert results[2]["changes"] == [{"type": "addition", "line": 2, "content": "b"}]


def test_spaces_count_only_if_they_are_to() -> None:
    assert changes("a  b\n\nc", "a b\nc", True) == []
    assert [each["type"] for each in changes("a  b\nc\nd", "a b\nc", False)] == ["modification", "deletion"]


MARKDOWN = """# Title *one*

A [link](http://x/y "t"), `code` and **bold**.

- a
- b
  1. c

> quote

| h | i |
|---|---|
| 1 | 2 |

Under
-----

```py
x < 1
```
"""


def normal(text: str, source: str) -> str:
    """What pandoc understands of a text."""
    told = oracle("pandoc", "-f", source, "-t", "html", "--no-highlight", "--wrap=none", given=text)
    return re.sub(r"\s+", " ", re.sub(r' (id|style|class|start|type)="[^"]*"', "", told))


async def test_markdown_becomes_the_html_of_pandoc() -> None:
    html = (await _call("markdown-converter", input=MARKDOWN)).result["html"]
    assert normal(html, "html") == normal(MARKDOWN, "commonmark+pipe_tables")


async def test_html_becomes_markdown_that_pandoc_reads_the_same() -> None:
    html = oracle("pandoc", "-f", "commonmark+pipe_tables", "-t", "html", "--no-highlight", given=MARKDOWN)
    markdown = (await _call("markdown-converter", operation="from_html", input=html)).result["markdown"]
    assert normal(markdown, "commonmark+pipe_tables") == normal(MARKDOWN, "commonmark+pipe_tables")


async def test_an_outline_has_the_headings_of_pandoc() -> None:
    result = (await _call("markdown-converter", operation="outline", input=MARKDOWN)).result
    html = oracle("pandoc", "-f", "commonmark", "-t", "html", given=MARKDOWN)
    found = [(int(level), re.sub("<.*?>", "", text)) for level, text in re.findall(r"<h(\d)>(.*?)</h", html)]
    assert [(each["level"], each["text"]) for each in result["headings"]] == found
    assert [each["line"] for each in result["headings"]] == [1, 15]


async def test_html_and_scripts_inside_markdown_do_not_get_through() -> None:
    text = "<script>x</script>\n\n[a](javascript:alert(1)) <b>c</b>"
    html = (await _call("markdown-converter", input=text)).result["html"]
    assert "<script" not in html
    assert "<b>" not in html
    assert "href" not in html
    assert "<b>c</b>" in (await _call("markdown-converter", input=text, allow_html=True)).result["html"]


async def test_html_that_is_nested_too_deeply_is_one_error() -> None:
    with pytest.raises(ToolError, match=r"nested too deeply|took longer"):
        await _call("markdown-converter", operation="from_html", input="<div>" * 3000)
