"""sitemap-crawler: a real site on loopback, its sitemaps read by xmllint and its robots.txt by the standard library."""

from __future__ import annotations

import gzip
import subprocess
import threading
from contextlib import AbstractContextManager
from typing import Any
from urllib.robotparser import RobotFileParser

import pytest
import trio
import trio.testing

from kernel import opened
from listening import Listener
from llmspell_hookspecs import InvalidInputError, ToolError, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_plugins.tools.web.sitemap import Bounds, Robots, origin_of, read_sitemap
from llmspell_plugins.tools.web.sitemap_crawler import SitemapCrawler
from loopback import LOOPBACK, serve
from oracles import oracle

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
IMAGE = 'xmlns:image="http://www.google.com/schemas/sitemap-image/1.1"'
BOUNDS = Bounds(1000, 1_000_000)
ANYONE = Robots("", "llmspell", "http://x.example")


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """The clock of the test that asks for it: it stands still unless the test moves it."""
    return trio.testing.MockClock()


def urlset(*urls: str) -> str:
    rows = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {NAMESPACE}>{rows}</urlset>'


def index(*urls: str) -> str:
    rows = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f"<sitemapindex {NAMESPACE}>{rows}</sitemapindex>"


def site(**pages: str | bytes | int) -> AbstractContextManager[Any]:
    """A site whose pages are named by their paths, with ``_`` for the dot; ``HERE`` in a text is where it is.

    A number is a status. What is not there is 404.
    """

    def answer(handler: Any, count: int) -> None:
        page = pages.get(handler.path.partition("?")[0].lstrip("/").replace(".", "_"), 404)
        if isinstance(page, int):
            handler.reply(b"", page)
        else:
            text = page.replace("HERE", handler.server.url).encode() if isinstance(page, str) else page
            handler.reply(text, kind="application/octet-stream")

    return serve(answer)


async def _crawl(url: str, settings: dict[str, Any] | None = None, **parameters: Any) -> Any:
    tables = {**LOOPBACK, "tools": {"sitemap-crawler": settings or {}}}
    async with opened(SitemapCrawler, settings=tables) as host:
        result: ToolResult = await host.call("tool:sitemap-crawler", {"input": url, **parameters})
        return result.result


def urls_of(result: Any) -> list[str]:
    return [row["url"] for row in result["urls"]]


def paths_of(server: Any) -> list[str]:
    return [seen.path for seen in server.seen]


FULL = f"""<?xml version="1.0"?><urlset {NAMESPACE} {IMAGE}>
<url><loc> http://x.example/a?b=1&amp;c=2 </loc><lastmod>2026-01-02</lastmod><changefreq>daily</changefreq>
<priority>0.8</priority><image:image><image:loc>http://x.example/i.png</image:loc></image:image></url>
<url><loc>http://x.example/\u00fc</loc><priority>often</priority></url><!-- <url><loc>no</loc></url> -->
<url><loc><![CDATA[http://x.example/c]]></loc><lastmod>2026-01-03T04:05:06+01:00</lastmod></url></urlset>"""


async def test_a_sitemap_reads_as_xmllint_reads_it() -> None:
    with site(sitemap_xml=FULL) as server:
        result = await _crawl(f"{server.url}/sitemap.xml")

    def told(name: str) -> list[str]:
        found = f"//*[local-name()='url']/*[local-name()='{name}']"
        count = int(oracle("xmllint", "--xpath", f"count({found})", "-", given=FULL))
        each = (f"normalize-space(({found})[{number + 1}])" for number in range(count))
        return [oracle("xmllint", "--xpath", one, "-", given=FULL).strip() for one in each]

    assert urls_of(result) == told("loc")
    assert [row["lastmod"] for row in result["urls"] if "lastmod" in row] == told("lastmod")
    assert [row["changefreq"] for row in result["urls"] if "changefreq" in row] == told("changefreq")
    assert [row.get("priority") for row in result["urls"]] == [0.8, None, None]
    assert (result["sitemap_url"], result["urls_found"], result["truncated"]) == (f"{server.url}/sitemap.xml", 3, [])
    assert result["stats"]["bytes_read"] == len(FULL.encode())
    assert result["stats"]["errors"] == []


async def test_an_index_is_followed_to_plain_and_gzipped_sitemaps_and_each_page_comes_once() -> None:
    packed = oracle_gzip(urlset("http://x.example/2", "http://x.example/1"))
    pages: dict[str, Any] = {
        "i_xml": index("HERE/1.xml", "HERE/2.xml.gz"),
        "1_xml": urlset("http://x.example/1"),
        "2_xml_gz": packed,
    }
    with site(**pages) as server:
        result = await _crawl(f"{server.url}/i.xml")

    assert urls_of(result) == ["http://x.example/1", "http://x.example/2"]
    assert result["sitemaps"] == [f"{server.url}/1.xml", f"{server.url}/2.xml.gz"]
    assert (result["stats"]["sitemaps_processed"], result["stats"]["duplicates"]) == (3, 1)


def oracle_gzip(text: str) -> bytes:
    """What the program gzip makes of a text."""
    return subprocess.run(["gzip", "-c"], input=text.encode(), capture_output=True, check=True).stdout


async def test_an_index_is_listed_and_not_followed_if_that_is_asked_for() -> None:
    with site(i_xml=index("HERE/1.xml"), **{"1_xml": urlset("http://x.example/1")}) as server:
        result = await _crawl(f"{server.url}/i.xml", follow_sitemaps=False)

    assert (result["urls"], result["sitemaps"]) == ([], [f"{server.url}/1.xml"])
    assert paths_of(server) == ["/robots.txt", "/i.xml"]


async def test_a_front_page_stands_for_the_sitemaps_that_robots_names_or_else_for_sitemap_xml() -> None:
    robots = "User-agent: *\nDisallow:\nSitemap: HERE/one.xml\nsitemap: /two.xml\n"
    pages = {"one_xml": urlset("http://x.example/1"), "two_xml": urlset("http://x.example/2")}
    with site(robots_txt=robots, **pages) as server:
        for url in (server.url, f"{server.url}/", f"{server.url}/robots.txt"):
            assert urls_of(await _crawl(url)) == ["http://x.example/1", "http://x.example/2"]
    with site(sitemap_xml=urlset("http://x.example/3")) as server:
        assert urls_of(await _crawl(server.url)) == ["http://x.example/3"]
        assert paths_of(server) == ["/robots.txt", "/sitemap.xml"]


ROBOTS = """User-agent: other
Disallow: /

User-agent: llmspell
Disallow: /private/
Allow: /public
Disallow: /closed.xml
"""


async def test_what_robots_closes_is_left_out_as_the_standard_library_says() -> None:
    paths = ["/", "/private/a", "/public/b", "/privately", "/private/", "/closed.xml"]
    with site(robots_txt=ROBOTS, s_xml=urlset(*(f"HERE{path}" for path in paths))) as server:
        result = await _crawl(f"{server.url}/s.xml")
        all_of_it = await _crawl(f"{server.url}/s.xml", respect_robots=False)

    judge = RobotFileParser()
    judge.parse(ROBOTS.splitlines())
    expected = [path for path in paths if judge.can_fetch("llmspell", path)]
    assert 0 < len(expected) < len(paths)
    assert [url.removeprefix(server.url) for url in urls_of(result)] == expected
    assert result["stats"]["disallowed"] == len(paths) - len(expected)
    assert [url.removeprefix(server.url) for url in urls_of(all_of_it)] == paths
    assert paths_of(server) == ["/robots.txt", "/s.xml", "/s.xml"]


async def test_robots_is_asked_for_the_name_in_the_settings() -> None:
    with site(robots_txt=ROBOTS, s_xml=urlset("HERE/")) as server:
        with pytest.raises(
            ToolError, match=r"robots.txt closes .*/s.xml; ask the site, or set respect_robots to false"
        ):
            await _crawl(f"{server.url}/s.xml", {"user_agent": "Other/1.0 (a bot)"})
        assert server.seen[0].headers["user-agent"] == "Other/1.0 (a bot)"
    assert paths_of(server) == ["/robots.txt"]


async def test_a_sitemap_that_robots_closes_is_not_fetched() -> None:
    pages = {"i_xml": index("HERE/closed.xml", "HERE/open.xml"), "open_xml": urlset("http://x.example/")}
    with site(robots_txt=ROBOTS, closed_xml=urlset("http://x.example/no"), **pages) as server:
        result = await _crawl(f"{server.url}/i.xml")

    assert urls_of(result) == ["http://x.example/"]
    assert "/closed.xml" not in paths_of(server)
    assert result["stats"]["disallowed"] == 1


@pytest.mark.parametrize("status", [503, 429])
async def test_a_site_whose_robots_cannot_be_read_counts_as_closed(status: int) -> None:
    with site(robots_txt=status, s_xml=urlset("http://x.example/")) as server:
        with pytest.raises(ToolError, match=f"robots.txt answered {status}") as caught:
            await _crawl(f"{server.url}/s.xml")
        assert caught.value.code == "robots"
        assert urls_of(await _crawl(f"{server.url}/s.xml", respect_robots=False)) == ["http://x.example/"]


async def test_the_pause_that_robots_asks_for_is_made_and_what_was_found_comes_when_time_is_up(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, pauses = trio.sleep, []

    async def paused(seconds: float) -> None:
        if seconds == 1000:
            pauses.append(seconds)
            mock_clock.jump(28)  # the time of the crawl is over, that of the call (30 s) is not
        await sleep(seconds)

    monkeypatch.setattr(trio, "sleep", paused)
    robots = "User-agent: *\nCrawl-delay: 1000\n"
    pages = {"i_xml": index("HERE/1.xml"), "1_xml": urlset("http://x.example/1")}
    with site(robots_txt=robots, **pages) as server:
        result = await _crawl(f"{server.url}/i.xml", timeout=30)
        assert paths_of(server) == ["/robots.txt", "/i.xml"]
        assert urls_of(await _crawl(f"{server.url}/i.xml", respect_robots=False)) == ["http://x.example/1"]

    assert (result["truncated"], result["sitemaps"], pauses) == (["timeout"], [f"{server.url}/1.xml"], [1000])


async def test_indexes_that_name_each_other_and_themselves_are_read_once() -> None:
    pages = {"a_xml": index("HERE/a.xml", "HERE/b.xml"), "b_xml": index("HERE/a.xml#x", "HERE/b.xml", "HERE/c.xml")}
    with site(**pages, c_xml=urlset("http://x.example/")) as server:
        result = await _crawl(f"{server.url}/a.xml")

    assert urls_of(result) == ["http://x.example/"]
    assert sorted(paths_of(server)) == ["/a.xml", "/b.xml", "/c.xml", "/robots.txt"]


async def test_the_bound_on_pages_cuts_and_is_named() -> None:
    many = urlset(*(f"http://x.example/{number}" for number in range(2000)))
    pages = {"i_xml": index("HERE/1.xml", "HERE/2.xml"), "1_xml": many, "2_xml": urlset("http://x.example/more")}
    with site(**pages) as server:
        result = await _crawl(f"{server.url}/i.xml", max_urls=1500)
        exact = await _crawl(f"{server.url}/1.xml", max_urls=2000)

    assert urls_of(result) == [f"http://x.example/{number}" for number in range(1500)]
    assert result["truncated"] == ["max_urls"]
    assert "/2.xml" not in paths_of(server)
    assert (exact["urls_found"], exact["truncated"]) == (2000, [])


async def test_the_bounds_on_depth_and_on_sitemaps_cut_and_are_named() -> None:
    pages = {f"{number}_xml": index(f"HERE/{number + 1}.xml") for number in range(5)}
    with site(**pages, **{"5_xml": urlset("http://x.example/deep")}) as server:
        shallow = await _crawl(f"{server.url}/0.xml", max_depth=4)
        deep = await _crawl(f"{server.url}/0.xml", max_depth=5)
        few = await _crawl(f"{server.url}/0.xml", max_depth=5, max_sitemaps=3)

    assert (shallow["truncated"], shallow["stats"]["sitemaps_processed"]) == (["max_depth"], 5)
    assert (deep["truncated"], urls_of(deep)) == ([], ["http://x.example/deep"])
    assert (few["truncated"], few["stats"]["sitemaps_processed"]) == (["max_sitemaps"], 3)


async def test_the_bound_on_all_bytes_cuts_and_is_named() -> None:
    one = urlset("http://x.example/1")
    pages = {"i_xml": index("HERE/1.xml", "HERE/2.xml"), "1_xml": one, "2_xml": urlset("http://x.example/2")}
    with site(**pages) as server:
        size = len(pages["i_xml"].replace("HERE", server.url)) + len(one)
        result = await _crawl(f"{server.url}/i.xml", {"max_total_bytes": size})

    assert (urls_of(result), result["truncated"]) == (["http://x.example/1"], ["max_total_bytes"])


@pytest.mark.parametrize(
    ("head", "filling", "told"),
    [
        ("<urlset>", "<url><lastmod>1</lastmod></url>", "unpacks to more than the 11000000 bytes"),
        ("<urlset>", "<url/>" + " " * 1000, "unpacks to more than the 11000000 bytes"),
        ("", "\n" * 1000, "unpacks to more than the 11000000 bytes"),
        ("<urlset>", " " * 1000, "it is no well-formed XML"),  # libxml2 reads no text of more than 10 MB
        ("", "<urlset>", "it is no well-formed XML"),
    ],
)
async def test_a_gzip_bomb_ends_in_one_error(head: str, filling: str, told: str) -> None:
    bomb = gzip.compress((head + filling * (20_000_000 // len(filling))).encode(), 1)
    with site(s_xml_gz=bomb) as server, pytest.raises(ToolError, match=told):
        await _crawl(f"{server.url}/s.xml.gz", {"max_sitemap_bytes": 11_000_000, "parse_timeout_s": 60})


async def test_a_sitemap_above_the_limit_is_refused() -> None:
    with site(s_xml=urlset("http://x.example/" + "a" * 1000)) as server, pytest.raises(ResourceLimitError):
        await _crawl(f"{server.url}/s.xml", {"max_sitemap_bytes": 1000})


LOL = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;&a;">]><urlset><url><loc>http://x/&b;</loc></url></urlset>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>http://x/&a;</loc></url></urlset>'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LOL, "it has a DTD"),
        (OUTSIDE, "it has a DTD"),
        ("<html><body>Not found</body></html>", "its root is 'html'"),
        ("<!doctype html><p>Not<br>found", "it has a DTD|well-formed"),
        ("<urlset", "it is no well-formed XML"),
        ("", "it holds no URL"),
        ("hello", "it holds no URL"),
        ("x" * 100_000, "neither XML nor lines of URLs"),
        ('{"a": 1}', "it holds no URL"),
    ],
)
async def test_what_is_no_sitemap_is_one_error(text: str, told: str) -> None:
    with site(s_xml=text) as server, pytest.raises(ToolError, match=told) as caught:
        await _crawl(f"{server.url}/s.xml")
    assert caught.value.code == "invalid_input"
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://x.example/a\r\n\nhttp://x.example/b", ["http://x.example/a", "http://x.example/b"]),
        ("\ufeffhttp://x.example/a\n", ["http://x.example/a"]),
        ("\ufeff" + urlset("http://x.example/a"), ["http://x.example/a"]),
        (" \n" + urlset("http://x.example/a").partition("\n")[2], ["http://x.example/a"]),
        ("<urlset><url><loc>http://x.example/a</loc></url></urlset>", ["http://x.example/a"]),
        ("<s:urlset xmlns:s='u'><s:url><s:loc>http://x.example/a</s:loc></s:url></s:urlset>", ["http://x.example/a"]),
        ("<rss><channel><link>http://no</link><item><link>http://x.example/a</link></item></channel></rss>", None),
        (
            '<feed><link href="http://no"/><entry><link rel="self" href="n"/><link href="http://x.example/a"/></entry></feed>',
            None,
        ),
    ],
)
async def test_lines_feeds_and_other_spellings_are_sitemaps_too(text: str, expected: list[str] | None) -> None:
    with site(s=text) as server:
        assert urls_of(await _crawl(f"{server.url}/s")) == (expected or ["http://x.example/a"])


def test_sitemaps_in_other_encodings_are_read() -> None:
    for encoding in ("utf-16", "iso-8859-1"):
        text = f'<?xml version="1.0" encoding="{encoding}"?>{urlset("http://x.example/ü").partition("?>")[2]}'
        found = read_sitemap(text.encode(encoding), BOUNDS, ANYONE)
        assert [row["url"] for row in found["rows"]] == ["http://x.example/ü"]


def test_the_members_of_a_gzip_file_are_one_text_and_one_that_is_cut_says_so() -> None:
    whole = urlset(*(f"http://x.example/{number}" for number in range(500))).encode()
    packed = gzip.compress(whole[:9000]) + gzip.compress(whole[9000:]) + b"\0" * 100

    members = read_sitemap(packed, BOUNDS, ANYONE)
    assert (len(members["rows"]), members["problem"], members["decoded_bytes"]) == (500, "", len(whole))

    cut = read_sitemap(gzip.compress(whole, 0)[:9000], BOUNDS, ANYONE)
    assert 100 < len(cut["rows"]) < 500
    assert cut["problem"] == "its gzip ends early"


async def test_a_sitemap_that_breaks_off_gives_what_stands_before_and_says_so() -> None:
    broken = urlset("http://x.example/1", "http://x.example/2").replace("</urlset>", "<url></urlset>")
    with site(s_xml=broken) as server:
        result = await _crawl(f"{server.url}/s.xml")

    assert urls_of(result) == ["http://x.example/1", "http://x.example/2"]
    [error] = result["stats"]["errors"]
    assert "no well-formed XML" in error["error"]


async def test_rows_without_a_url_are_counted_and_left_out() -> None:
    odd = [
        "",
        "/relative",
        "javascript:alert(1)",
        "http://[x",
        "http://x.example/a b",
        "http://x.example:port/",
        "mailto:a@b",
    ]
    odd += ["http://x.example/" + "a" * 2048]
    with site(s_xml=urlset(*odd, "http://x.example/good")) as server:
        result = await _crawl(f"{server.url}/s.xml")

    assert urls_of(result) == ["http://x.example/good"]
    assert result["stats"]["invalid"] == len(odd)


async def test_a_sitemap_of_an_index_that_is_missing_is_told_and_the_others_are_read() -> None:
    pages = {"i_xml": index("HERE/none.xml", "HERE/1.xml"), "1_xml": urlset("http://x.example/1")}
    with site(**pages) as server:
        result = await _crawl(f"{server.url}/i.xml")
        with pytest.raises(ToolError, match=r"answered 404 for .*/none.xml; check the URL") as caught:
            await _crawl(f"{server.url}/none.xml?secret=1")

    assert urls_of(result) == ["http://x.example/1"]
    assert [(each["url"], each["code"]) for each in result["stats"]["errors"]] == [
        (f"{server.url}/none.xml", "http_status")
    ]
    assert (caught.value.code, "secret" in str(caught.value)) == ("http_status", False)


async def test_an_index_leads_to_no_host_that_is_not_allowed() -> None:
    with Listener() as forbidden:
        pages = {"i_xml": index(f"http://{forbidden.place}/s.xml", "http://169.254.169.254/", "file:///etc/passwd")}
        with site(**pages) as server:
            result = await _crawl(f"{server.url}/i.xml")
            with pytest.raises(SecurityError):
                await _crawl(f"http://{forbidden.place}/s.xml")

    assert forbidden.count == 0
    assert [each["code"] for each in result["stats"]["errors"]] == ["forbidden", "forbidden"]
    assert result["stats"]["invalid"] == 1


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"max_urls": 0}, "max_urls"),
        ({"max_depth": 11}, "max_depth"),
        ({"timeout": 0}, "timeout"),
        ({"input": ""}, "input"),
    ],
)
async def test_bad_parameters_are_refused_by_their_names(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError, match=told):
        await _crawl("http://127.0.0.1/", **parameters)


async def test_a_cancellation_ends_a_crawl() -> None:
    asked, ended = trio.Event(), threading.Event()
    token = trio.lowlevel.current_trio_token()

    def silent(handler: Any, count: int) -> None:
        token.run_sync_soon(asked.set)
        ended.wait(30)

    with serve(silent) as server:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_crawl, f"{server.url}/s.xml")
                await asked.wait()
                nursery.cancel_scope.cancel()
        finally:
            ended.set()
        assert paths_of(server) == ["/robots.txt"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://X.Example:80/a", "http://x.example"),
        ("https://x.example:8443/", "https://x.example:8443"),
        ("http://u:p@[::1]:8080/", "http://[::1]:8080"),
        ("http://x:99999/", ""),
        ("ftp://x/", ""),
        ("x", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin_of(url) == expected


def test_robots_of_one_site_says_nothing_of_another() -> None:
    rules = Robots("User-agent: *\nDisallow: /", "llmspell", "http://x.example")
    found = read_sitemap(urlset("http://x.example/a", "http://y.example/a").encode(), BOUNDS, rules)
    assert ([row["url"] for row in found["rows"]], found["disallowed"]) == (["http://y.example/a"], 1)
