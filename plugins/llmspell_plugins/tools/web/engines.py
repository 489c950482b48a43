"""The search services: what each is asked, and what of its answer is a hit. Nothing here talks to the network.

Each speaks its service's public interface: DuckDuckGo's HTML page, Brave Search API v1, Google Custom Search JSON API
v1, SerpApi, Serper, Tavily and SearXNG's search API. Invariant: an answer of another shape has no hits, and raises
nothing.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from msgspec import Struct

__all__ = ["ENGINES", "Engine", "Hit", "Question", "Search", "hits_on_page"]

Hit: TypeAlias = dict[str, Any]
_TAGS = re.compile(r"</?(?:strong|b|em)>")
_BRAVE_LANGUAGES = {
    **{"ja": "jp", "no": "nb", "pt": "pt-pt", "pt-BR": "pt-br", "en-GB": "en-gb"},
    **{"zh": "zh-hans", "zh-CN": "zh-hans", "zh-TW": "zh-hant", "zh-HK": "zh-hant"},
}
_GOOGLE_LANGUAGES = {"zh": "zh-CN", "zh-HK": "zh-TW"}


class Search(Struct, frozen=True):
    """What is looked for.

    Attributes:
        text: The query.
        kind: ``web``, ``news`` or ``images``.
        count: How many hits are wanted.
        safe: Whether what is for adults is left out.
        language: Such as ``de`` or ``pt-BR``; empty for any.
    """

    text: str
    kind: str
    count: int
    safe: bool
    language: str

    @property
    def tongue(self) -> str:
        """The language without its region."""
        return self.language.partition("-")[0]

    @property
    def region(self) -> str:
        """The region in capitals, or empty."""
        return self.language.partition("-")[2]


class Question(Struct, frozen=True):
    """A request, but for where the service is.

    Attributes:
        path: After the service's URL, with the query.
        headers: To send; the key among them.
        content: Of a POST; a GET has none.
    """

    path: str
    headers: Mapping[str, str] = {}
    content: bytes | None = None


class Engine(Struct, frozen=True):
    """A search service.

    Attributes:
        url: Where it is; empty if everybody has their own.
        keys: The environment variables that may have its key; none if it needs none.
        page_sizes: For each kind that it has, how many hits a page holds at most.
        pages: How many pages it gives at most.
        ask: Returns the question for a page, from 0: the search, the page, the key, the id.
        read: Yields hits of a JSON answer; None if the answer is a page for people.
        error: Returns what an answer that looks like a success says of a failure, or nothing.
        narrows: Whether it can leave out what is for adults, and keep to a language.
    """

    url: str
    keys: Sequence[str]
    page_sizes: Mapping[str, int]
    pages: int
    ask: Callable[[Search, int, str, str], Question]
    read: Callable[[Any, str], Iterator[Hit]] | None
    error: Callable[[Any], str] = lambda answer: ""
    narrows: bool = True


def _ask_duckduckgo(search: Search, page: int, key: str, engine_id: str) -> Question:
    query = {"q": search.text, "kp": "1" if search.safe else "-2"}
    if search.region:
        query["kl"] = f"{'uk' if search.region == 'GB' else search.region.lower()}-{search.tongue}"
    headers = {"Accept": "text/html"} | ({"Accept-Language": search.language} if search.language else {})
    return Question(f"/html/?{urlencode(query)}", headers)


def _ask_brave(search: Search, page: int, key: str, engine_id: str) -> Question:
    size = ENGINES["brave"].page_sizes[search.kind]
    query: dict[str, Any] = {"q": search.text, "count": min(search.count, size)}
    query["safesearch"] = "strict" if search.safe else "off"
    if page:
        query |= {"offset": page, "count": size}
    if search.kind == "web":
        query |= {"text_decorations": "false", "result_filter": "web"}
    if search.language:
        query["search_lang"] = _BRAVE_LANGUAGES.get(search.language) or _BRAVE_LANGUAGES.get(
            search.tongue, search.tongue
        )
    if search.region:
        query["country"] = search.region
    headers = {"Accept": "application/json", "X-Subscription-Token": key}
    return Question(f"/{search.kind}/search?{urlencode(query)}", headers)


def _read_brave(answer: Any, kind: str) -> Iterator[Hit]:
    found = _items(answer, "web", "results") if kind == "web" else _items(answer, "results")
    for item in found:
        image = {"image_url": _at(item, "properties", "url"), "thumbnail": _at(item, "thumbnail", "src")}
        image |= {"width": _at(item, "properties", "width"), "height": _at(item, "properties", "height")}
        yield {
            "title": _plain(item.get("title")),
            "url": item.get("url"),
            "snippet": _plain(item.get("description")),
            "published": item.get("page_age") or item.get("age"),
            "source": item.get("source") if kind == "images" else _at(item, "meta_url", "hostname"),
            **(image if kind == "images" else {}),
        }


def _ask_google(search: Search, page: int, key: str, engine_id: str) -> Question:
    query: dict[str, Any] = {"key": key, "cx": engine_id, "q": search.text, "safe": "active" if search.safe else "off"}
    query |= {"num": min(10, search.count - 10 * page), "start": 1 + 10 * page}
    if search.kind == "images":
        query["searchType"] = "image"
    return Question(f"/customsearch/v1?{urlencode(query | _google_words(search))}", {"Accept": "application/json"})


def _read_google(answer: Any, kind: str) -> Iterator[Hit]:
    for item in _items(answer, "items"):
        hit = {
            "title": item.get("title"),
            "url": item.get("link"),
            "snippet": item.get("snippet"),
            "source": item.get("displayLink"),
        }
        if kind == "images":
            hit |= {"url": _at(item, "image", "contextLink"), "image_url": item.get("link")}
            hit |= {"thumbnail": _at(item, "image", "thumbnailLink")}
            hit |= {"width": _at(item, "image", "width"), "height": _at(item, "image", "height")}
        yield hit


def _ask_serpapi(search: Search, page: int, key: str, engine_id: str) -> Question:
    query: dict[str, Any] = {"engine": "google_images" if search.kind == "images" else "google", "q": search.text}
    query |= {"safe": "active" if search.safe else "off", **_google_words(search), "api_key": key}
    if search.kind == "news":
        query["tbm"] = "nws"
    if page:
        query |= {"ijn": page} if search.kind == "images" else {"start": 10 * page}
    return Question(f"/search.json?{urlencode(query)}", {"Accept": "application/json"})


def _read_serpapi(answer: Any, kind: str) -> Iterator[Hit]:
    for item in _items(answer, {"web": "organic_results", "news": "news_results", "images": "images_results"}[kind]):
        hit = {key: item.get(key) for key in ("title", "snippet", "source", "thumbnail")}
        hit |= {"url": item.get("link"), "published": item.get("date")}
        if kind == "images":
            hit |= {"image_url": item.get("original")}
            hit |= {"width": item.get("original_width"), "height": item.get("original_height")}
        yield hit


def _serpapi_error(answer: Any) -> str:
    """Its ``error``, unless that only says that nothing was found."""
    told = answer.get("error") if isinstance(answer, dict) else None
    return told if isinstance(told, str) and "hasn't returned any results" not in told else ""


def _ask_serper(search: Search, page: int, key: str, engine_id: str) -> Question:
    words = _google_words(search)
    words.pop("lr", None)
    body = {"q": search.text, "num": min(search.count, 100), "safe": "active" if search.safe else "off", **words}
    path = {"web": "/search", "news": "/news", "images": "/images"}[search.kind]
    return Question(path, {"X-API-KEY": key, "Content-Type": "application/json"}, msgspec.json.encode(body))


def _read_serper(answer: Any, kind: str) -> Iterator[Hit]:
    for item in _items(answer, {"web": "organic", "news": "news", "images": "images"}[kind]):
        hit = {key: item.get(key) for key in ("title", "snippet", "source")}
        hit |= {"url": item.get("link"), "published": item.get("date")}
        if kind == "news":
            hit["thumbnail"] = item.get("imageUrl")
        if kind == "images":
            hit |= {"image_url": item.get("imageUrl"), "thumbnail": item.get("thumbnailUrl")}
            hit |= {"width": item.get("imageWidth"), "height": item.get("imageHeight")}
        yield hit


def _ask_tavily(search: Search, page: int, key: str, engine_id: str) -> Question:
    size = ENGINES["tavily"].page_sizes[search.kind]
    body = {"query": search.text, "topic": "news" if search.kind == "news" else "general"}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return Question("/search", headers, msgspec.json.encode({**body, "max_results": min(search.count, size)}))


def _read_tavily(answer: Any, kind: str) -> Iterator[Hit]:
    for item in _items(answer, "results"):
        hit = {"title": item.get("title"), "url": item.get("url"), "snippet": item.get("content")}
        yield hit | {"published": item.get("published_date")}


def _ask_searxng(search: Search, page: int, key: str, engine_id: str) -> Question:
    query: dict[str, Any] = {"q": search.text, "format": "json", "pageno": page + 1}
    query |= {"categories": "general" if search.kind == "web" else search.kind, "safesearch": 2 if search.safe else 0}
    if search.language:
        query["language"] = search.language
    headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return Question(f"/search?{urlencode(query)}", headers)


def _read_searxng(answer: Any, kind: str) -> Iterator[Hit]:
    for item in _items(answer, "results"):
        hit = {"title": item.get("title"), "url": item.get("url"), "snippet": item.get("content")}
        hit |= {"published": item.get("publishedDate"), "source": item.get("engine")}
        if kind == "images":
            hit |= {"image_url": item.get("img_src"), "thumbnail": item.get("thumbnail_src")}
        yield hit


def _searxng_error(answer: Any) -> str:
    """Who did not answer, if nobody found anything: then nothing was looked for."""
    silent = answer.get("unresponsive_engines") if isinstance(answer, dict) else None
    if not silent or _items(answer, "results"):
        return ""
    names = [str(each[0] if isinstance(each, list) and each else each) for each in silent] if _is_list(silent) else []
    return f"no engine behind it answers: {', '.join(names)}"


def hits_on_page(body: bytes) -> list[Hit] | None:
    """Return the hits of DuckDuckGo's page without advertisements; None if it is no such page.

    It belongs into a child process, as all HTML of strangers does.
    """
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(body)
    found = []
    for result in page.css(".result:not(.result--ad)"):
        link, snippet = result.css_first("a.result__a"), result.css_first(".result__snippet")
        if link is not None:
            text = "" if snippet is None else _spaced(snippet.text())
            found.append(
                {"title": _spaced(link.text()), "url": _target(link.attributes.get("href") or ""), "snippet": text}
            )
    return found if found or page.css_first(".no-results") is not None else None


def _target(link: str) -> str:
    """Where a link leads: DuckDuckGo sends people there by way of itself."""
    try:
        parts = urlsplit(f"https:{link}" if link.startswith("//") else link)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if host != "duckduckgo.com" and not host.endswith(".duckduckgo.com"):
        return link
    return parse_qs(parts.query).get("uddg", [""])[0] if parts.path.startswith("/l/") else ""


def _google_words(search: Search) -> dict[str, Any]:
    """The language as Google's own interface has it, which others hand through."""
    if not search.language:
        return {}
    name = _GOOGLE_LANGUAGES.get(search.language, search.tongue)
    name = search.language if search.language in ("zh-CN", "zh-TW") else name
    return {"hl": name, "lr": f"lang_{name}"} | ({"gl": search.region.lower()} if search.region else {})


def _items(answer: Any, *names: str) -> list[dict[str, Any]]:
    """The mappings of a list that lies that deep; none if there is no such list."""
    found = _at(answer, *names)
    return [item for item in found if isinstance(item, dict)] if _is_list(found) else []


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _plain(text: Any) -> Any:
    """A text without the marks of what was looked for."""
    return html.unescape(_TAGS.sub("", text)) if isinstance(text, str) else text


def _spaced(text: str) -> str:
    return " ".join(text.split())


ENGINES: Mapping[str, Engine] = {
    "duckduckgo": Engine("https://html.duckduckgo.com", (), {"web": 100}, 1, _ask_duckduckgo, None),
    "brave": Engine(
        "https://api.search.brave.com/res/v1",
        ("BRAVE_API_KEY", "BRAVE_SEARCH_API_KEY"),
        {"web": 20, "news": 50, "images": 100},
        10,
        _ask_brave,
        _read_brave,
    ),
    "google": Engine(
        "https://www.googleapis.com",
        ("GOOGLE_SEARCH_API_KEY", "GOOGLE_API_KEY"),
        {"web": 10, "images": 10},
        10,
        _ask_google,
        _read_google,
    ),
    "serpapi": Engine(
        "https://serpapi.com",
        ("SERPAPI_API_KEY", "SERPAPI_KEY"),
        {"web": 10, "news": 10, "images": 100},
        10,
        _ask_serpapi,
        _read_serpapi,
        _serpapi_error,
    ),
    "serper": Engine(
        "https://google.serper.dev",
        ("SERPER_API_KEY", "SERPERDEV_API_KEY"),
        {"web": 100, "news": 100, "images": 100},
        1,
        _ask_serper,
        _read_serper,
    ),
    "tavily": Engine(
        "https://api.tavily.com",
        ("TAVILY_API_KEY",),
        {"web": 20, "news": 20},
        1,
        _ask_tavily,
        _read_tavily,
        narrows=False,
    ),
    "searxng": Engine("", (), {"web": 10, "news": 10, "images": 10}, 10, _ask_searxng, _read_searxng, _searxng_error),
}
"""By name, in the order in which they are asked if settings name no other."""
