"""The search services on loopback: each judges a request as its public documentation says, and answers in its shape.

All of them find the same 25 documents of a kind, in pages as large as each service's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from html import escape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from loopback import serve

__all__ = ["KEYS", "document", "search_services", "tables"]

KEYS = {"brave": "brave-key+1/a", "google": "google-key-2", "serpapi": "serpapi-key-3", "serper": "serper-key-4"}
KEYS |= {"tavily": "tvly-key-5"}
COUNT = 25


def document(kind: str, number: int) -> dict[str, Any]:
    """What they find, as it should come out."""
    host = f"site{number}.example"
    made = {"title": f"{kind} & {number}", "url": f"https://{host}/{kind}?n={number}", "snippet": f'About "{number}".'}
    images = {"image_url": f"https://{host}/i.png", "thumbnail": f"https://{host}/t.png", "width": 640, "height": 480}
    return made | (images if kind == "images" else {"published": "2026-01-02"} if kind == "news" else {})


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _page(kind: str, start: int, count: int) -> list[dict[str, Any]]:
    return [document(kind, number) for number in range(start, min(start + count, COUNT))]


def _number(query: dict[str, str], name: str, default: int, highest: int, lowest: int = 0) -> int:
    value = int(query.get(name, default))
    if not lowest <= value <= highest:
        raise Refusal(422, {"error": {"message": f"{name} is out of range", "detail": f"{name} is out of range"}})
    return value


def brave(path: str, query: dict[str, str], request: Any) -> Any:
    if request.headers.get("x-subscription-token") != KEYS["brave"]:
        given = request.headers.get("x-subscription-token")
        raise Refusal(401, {"type": "ErrorResponse", "error": {"code": "TOKEN", "detail": f"bad token {given}"}})
    kind = path.removesuffix("/search").strip("/")
    assert query["safesearch"] in ("strict", "off")
    count = _number(query, "count", 20, {"web": 20, "news": 50, "images": 200}[kind], 1)
    found = _page(kind, count * _number(query, "offset", 0, 0 if kind == "images" else 9), count)
    results = []
    for each in found:
        result = {"title": escape(each["title"]), "url": each["url"], "description": escape(each["snippet"])}
        if kind == "news":
            result |= {"page_age": each["published"], "meta_url": {"hostname": urlsplit(each["url"]).hostname}}
        if kind == "images":
            result |= {"thumbnail": {"src": each["thumbnail"]}}
            result |= {"properties": {"url": each["image_url"], "width": each["width"], "height": each["height"]}}
        results.append(result)
    return {"type": "search", "web": {"type": "search", "results": results}} if kind == "web" else {"results": results}


def google(path: str, query: dict[str, str], request: Any) -> Any:
    if query.get("key") != KEYS["google"]:
        message = f"API key not valid: {query.get('key')}. Please pass a valid API key."
        raise Refusal(403, {"error": {"code": 403, "message": message}})
    assert (path, query["cx"]) == ("/customsearch/v1", "engine:1")
    kind = "images" if query.get("searchType") == "image" else "web"
    items = []
    for each in _page(kind, _number(query, "start", 1, 91, 1) - 1, _number(query, "num", 10, 10, 1)):
        item: dict[str, Any] = {"title": each["title"], "link": each["url"], "snippet": each["snippet"]}
        if kind == "images":
            image = {"contextLink": each["url"], "thumbnailLink": each["thumbnail"], "width": 640, "height": 480}
            item |= {"link": each["image_url"], "image": image}
        items.append(item)
    return {"kind": "customsearch#search", **({"items": items} if items else {})}


def serpapi(path: str, query: dict[str, str], request: Any) -> Any:
    if query.get("api_key") != KEYS["serpapi"]:
        raise Refusal(
            401, {"error": "Invalid API key. Your API key should be here: https://serpapi.com/manage-api-key"}
        )
    assert path == "/search.json"
    if query["engine"] == "google_images":
        names = {"image_url": "original", "width": "original_width", "height": "original_height", "url": "link"}
        found = _page("images", 100 * int(query.get("ijn", 0)), 100)
        results = [{names.get(name, name): value for name, value in each.items()} for each in found]
        return {"images_results": results}
    kind = "news" if query.get("tbm") == "nws" else "web"
    found = _page(kind, int(query.get("start", 0)), 10)
    if query["q"] == "nothing":
        return {"error": "Google hasn't returned any results for this query."}
    names = {"url": "link", "published": "date"}
    results = [{names.get(name, name): value for name, value in each.items()} for each in found]
    return {"search_metadata": {"status": "Success"}, "news_results" if kind == "news" else "organic_results": results}


def serper(path: str, query: dict[str, str], request: Any) -> Any:
    if request.headers.get("x-api-key") != KEYS["serper"]:
        raise Refusal(403, {"message": "Unauthorized.", "statusCode": 403})
    assert (request.method, request.headers["content-type"]) == ("POST", "application/json")
    kind = {"/search": "web", "/news": "news", "/images": "images"}[path]
    names = {"url": "link", "published": "date", "image_url": "imageUrl", "thumbnail": "thumbnailUrl"}
    names |= {"width": "imageWidth", "height": "imageHeight"}
    found = _page(kind, 0, int(json.loads(request.body)["num"]))
    results = [{names.get(name, name): value for name, value in each.items()} for each in found]
    return {"searchParameters": {}, {"web": "organic"}.get(kind, kind): results}


def tavily(path: str, query: dict[str, str], request: Any) -> Any:
    if request.headers.get("authorization") != f"Bearer {KEYS['tavily']}":
        given = request.headers.get("authorization")
        raise Refusal(401, {"detail": {"error": f"Unauthorized: missing or invalid API key {given}."}})
    assert (request.method, path, request.headers["content-type"]) == ("POST", "/search", "application/json")
    body = json.loads(request.body)
    kind = {"general": "web", "news": "news"}[body["topic"]]
    names = {"snippet": "content", "published": "published_date"}
    found = _page(kind, 0, _number(body, "max_results", 5, 20))
    results = [{names.get(name, name): value for name, value in each.items()} | {"score": 0.9} for each in found]
    return {"query": body["query"], "answer": None, "images": [], "results": results, "response_time": 0.5}


def searxng(path: str, query: dict[str, str], request: Any) -> Any:
    assert path == "/search"
    if query.get("format") != "json":
        raise Refusal(403, "<h1>Forbidden</h1>")
    kind = "web" if query["categories"] == "general" else query["categories"]
    names = {"snippet": "content", "published": "publishedDate", "image_url": "img_src", "thumbnail": "thumbnail_src"}
    found = _page(kind, 10 * (_number(query, "pageno", 1, 100, 1) - 1), 10)
    results = [{names.get(name, name): value for name, value in each.items()} for each in found]
    silent = [["bing", "timeout"]] if query["q"] == "silent" else []
    return {"query": query["q"], "results": [] if silent else results, "unresponsive_engines": silent}


def duckduckgo(path: str, query: dict[str, str], request: Any) -> str:
    assert (path, query["kp"] in ("1", "-2")) == ("/html/", True)
    if query["q"] == "robot":
        raise Refusal(202, '<div class="anomaly-modal__title">Unfortunately, bots use DuckDuckGo too.</div>')
    if query["q"] == "nothing":
        return '<div id="links"><div class="no-results">No results.</div></div>'
    if query["q"] == "changed":
        return "<html><body><p>Another page</p></body></html>"
    advertisement = (
        '<div class="result results_links result--ad"><h2 class="result__title"><a class="result__a" '
        'href="https://duckduckgo.com/y.js?ad_domain=shop.example">Buy</a></h2></div>'
        '<div class="result results_links result--ad"><a class="result__a" href="https://shop.example/">Buy</a></div>'
    )
    results: list[str] = []
    for each in _page("web", 0, COUNT):
        link = (
            f"//duckduckgo.com/l/?uddg={quote(each['url'], safe='')}&amp;rut=abc" if len(results) % 2 else each["url"]
        )
        results.append(
            '<div class="result results_links results_links_deep web-result "><div class="links_main links_deep '
            f'result__body"><h2 class="result__title"><a rel="nofollow" class="result__a" href="{link}">'
            f'{escape(each["title"])}</a></h2><div class="result__extras"><a class="result__url" href="{link}">site</a>'
            f'</div><a class="result__snippet" href="{link}"><b>{escape(each["snippet"])}</b></a></div></div>'
        )
    return f'<html><body>{advertisement}<div id="links">{"".join(results)}</div></body></html>'


_SERVICES: dict[str, Callable[[str, dict[str, str], Any], Any]] = {
    **{"brave": brave, "google": google, "serpapi": serpapi, "serper": serper},
    **{"tavily": tavily, "searxng": searxng, "duckduckgo": duckduckgo},
}


def search_services(**others: Callable[[str, dict[str, str], Any], Any]) -> AbstractContextManager[Any]:
    """All services on one server, each below its name; ``others`` take the place of some."""

    def answer(handler: Any, count: int) -> None:
        parts = urlsplit(handler.path)
        _, name, rest = parts.path.split("/", 2)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        try:
            status, body = 200, {**_SERVICES, **others}[name](f"/{rest}", query, handler.server.seen[-1])
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        if isinstance(body, str):
            handler.reply(body.encode(), status, "text/html; charset=utf-8")
        else:
            handler.reply(json.dumps(body).encode(), status, "application/json")

    return serve(answer)


def tables(url: str) -> dict[str, dict[str, str]]:
    """The tables of all providers for a server."""
    made = {name: {"base_url": f"{url}/{name}", "api_key": KEYS.get(name, "")} for name in _SERVICES}
    made["google"]["engine_id"] = "engine:1"
    return made
