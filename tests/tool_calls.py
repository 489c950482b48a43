"""A sound call of every tool in the box, with what it needs: files, settings, a person, and a server on loopback.

What is generated over all tools begins here, so that no tool is left out because its examples need something:
`test_tool_rules` asserts that each entry point has a call, and that it succeeds. In texts ``URL`` stands for the
server, ``ADDRESS`` for its host and port; paths are relative to the folder.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from llmspell_hookspecs import Services
from llmspell_plugins.tools.utility.asking import Answerer, Question
from loopback import serve
from malformed.samples import FILES

__all__ = ["CALLS", "EXTRAS", "OURS", "Person", "filled", "lay_out", "site", "tools_settings"]

OURS: Final = tuple(
    sorted(
        point.name
        for point in entry_points(group="llmspell.tools")
        if point.dist is not None and point.dist.name == "llmspell"
    )
)
_PAGE: Final = (
    "<html><head><title>Home</title></head><body><h1>Hello</h1><p>A page of some words, long enough to be read.</p>"
    "<a href='/next'>next</a></body></html>"
)
_MAIL: Final = {"from": "Ada <ada@example.com>", "to": "bob@example.com", "subject": "Lunch", "body": "At noon?"}
_STYLE: Final = (
    '<style xmlns="http://purl.org/net/xbiblio/csl" class="in-text" version="1.0"><info><title>Numbers</title></info>'
    '<citation><layout prefix="[" suffix="]"><text variable="citation-number"/></layout></citation>'
    '<bibliography><layout suffix="."><text variable="citation-number" suffix=". "/><names variable="author"/>'
    '<text variable="title" font-style="italic"/></layout></bibliography></style>'
)
_ORDER: Final = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}

CALLS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "api-tester": ({"input": "URL/items", "expect_status": [200]},),
    "archive_handler": (
        {"operation": "list", "path": "photos.zip"},
        {"operation": "test", "path": "photos.zip"},
        {"operation": "extract", "path": "photos.zip", "target_path": "photos"},
        {"operation": "extract", "path": "notes.tar.gz", "target_path": "notes"},
        {"operation": "create", "path": "new.tar.gz", "input": ["notes.txt", "src"]},
    ),
    "ask-user": ({"question": "Which?"}, {"operation": "choose", "question": "Which?", "choices": ["yes", "no"]}),
    "audio_processor": (
        {"source_path": "song.wav"},
        {"operation": "trim", "source_path": "song.wav", "target_path": "part.wav", "end_seconds": 0.05},
        {"operation": "waveform", "source_path": "song.wav"},
    ),
    "base64_encoder": (
        {"operation": "encode", "input": "hello"},
        {"operation": "encode", "input_file": "notes.txt", "output_file": "notes.b64"},
    ),
    "calculator": ({"input": "2 * sqrt(x) + max(1, y) ** 2", "variables": {"x": 4, "y": 2}},),
    "citation-formatter": (
        {"input": [{"id": "k", "type": "book", "title": "A book", "author": ["Roe, Jo"], "issued": "2001"}]},
        {"input": "@book{k, title = {A book}, author = {Roe, Jo}, year = 2001}", "format": "bibtex", "style": "ieee"},
        {"input": [{"id": "k", "type": "book", "title": "A book"}], "style": "numbers.csl"},
        {"operation": "convert", "input": "TY  - BOOK\nTI  - A book\nER  -\n", "format": "ris"},
    ),
    "csv_analyzer": (
        {"operation": "analyze", "path": "table.csv"},
        {"operation": "convert", "path": "table.csv", "options": {"format": "json"}},
        {"operation": "filter", "input": "a,b\n1,2\n", "options": {"filter": "a > 0 and b == '2'"}},
        {"operation": "validate", "input": "a,b\n1,2\n", "options": {"rules": {"a": "range:0-100"}}},
    ),
    "data_validation": ({"input": {"mail": "a@example.com"}, "rules": {"rules": [{"type": "required"}]}},),
    "database-connector": (
        {"operation": "query", "database": "shop", "query": "SELECT name FROM items WHERE price < ?", "values": [5]},
        {"operation": "schema", "database": "shop"},
        {"operation": "explain", "database": "shop", "query": "SELECT * FROM items"},
    ),
    "date_time_handler": ({"operation": "parse", "input": "2024-02-29T12:00:00Z"},),
    "diff_calculator": (
        {"old_text": "a\nb\n", "new_text": "a\nc\n"},
        {"old_file": "notes.txt", "new_file": "table.csv"},
    ),
    "email-sender": ({"operation": "preview", **_MAIL}, {"operation": "validate", **_MAIL}),
    "environment_reader": ({"operation": "get", "name": "PATH"}, {"operation": "list"}),
    "file-editor": (
        {"operation": "view", "path": "notes.txt"},
        {"operation": "str_replace", "path": "notes.txt", "old_text": "teh", "new_text": "the"},
        {"operation": "insert", "path": "notes.txt", "insert_line": 0, "new_text": "Notes"},
        {"operation": "create", "path": "fresh.txt", "new_text": "Notes"},
    ),
    "file_converter": (
        {"operation": "detect", "path": "notes.txt"},
        {"operation": "line_endings", "path": "notes.txt", "target_path": "dos.txt", "line_ending": "crlf"},
    ),
    "file_operations": (
        {"operation": "read", "path": "notes.txt"},
        {"operation": "write", "path": "new/notes.txt", "input": "hello"},
        {"operation": "list_dir", "path": ".", "recursive": True},
        {"operation": "copy", "source_path": "notes.txt", "target_path": "copy.txt"},
        {"operation": "move", "source_path": "table.csv", "target_path": "moved.csv"},
        {"operation": "delete", "path": "src", "recursive": True},
        {"operation": "metadata", "path": "notes.txt"},
    ),
    "file_search": ({"pattern": "de(f)", "path": "src", "recursive": True, "include_extensions": ["py"]},),
    "file_watcher": (
        {"operation": "config", "path": "src"},
        {"operation": "watch", "path": "src", "timeout_seconds": 0.05},
    ),
    "graph-builder": ({"operation": "create_graph"},),
    "graphql_query": (
        {"operation": "validate", "input": "{ a }"},
        {"operation": "query", "endpoint": "URL/graphql", "input": "{ a }"},
    ),
    "hash_calculator": ({"operation": "hash", "input": "hello"}, {"operation": "hash", "file": "notes.txt"}),
    "http_request": (
        {"input": "URL/items"},
        {"input": "URL/items", "method": "POST", "headers": {"X-A": "b"}, "body": {"a": [1]}},
    ),
    "image_processor": (
        {"source_path": "photo.png"},
        {"operation": "resize", "source_path": "photo.png", "target_path": "small.png", "width": 3},
        {"operation": "convert", "source_path": "photo.png", "target_path": "photo.jpg", "quality": 80},
    ),
    "json_processor": (
        {"operation": "query", "input": {"a": [1, {"b": None}]}, "query": ".a[1].b // .c"},
        {"operation": "validate", "input": '{"a": []}', "schema": _ORDER},
    ),
    "markdown-converter": ({"operation": "to_html", "input": "# A\n\n- b"},),
    "pdf-processor": (
        {"input": "report.pdf"},
        {"operation": "search", "input": "report.pdf", "query": "hello"},
        {"operation": "render", "input": "report.pdf", "target_path": "page.png"},
    ),
    "process_executor": (
        {"executable": "echo", "arguments": ["hello"]},
        {"executable": "cat", "arguments": ["notes.txt"], "working_directory": "."},
    ),
    "regex-matcher": ({"operation": "find_all", "pattern": "(a)b?", "input": "abab"},),
    "script-runner": (
        {"source": "print(ARGS[1]) return {JSON.parse('[1]'), #arg}", "language": "lua", "arguments": ["x"]},
        {"source": "local n = 0 while n < 100 do n = n + 1 end return n", "globals": [], "instructions": 100_000},
    ),
    "service_checker": (
        {"target": "ADDRESS", "check_type": "tcp"},
        {"target": "URL/", "check_type": "http"},
    ),
    "sitemap-crawler": ({"input": "URL/sitemap.xml"},),
    "system_monitor": ({},),
    "template_engine": ({"template": "{{ a }}!", "context": {"a": "hello"}},),
    "text_manipulator": (
        {"input": "The quick", "operation": "replace", "options": {"from": "quick", "to": "slow"}},
        {"input": ["a", "b"], "operation": "join", "options": {"delimiter": ", "}},
    ),
    "tool-state": ({"operation": "set", "key": "a", "value": {"b": [1]}}, {"operation": "get", "key": "a"}),
    "url-analyzer": ({"input": "HTTPS://Example.com/a/../b"}, {"input": "URL/", "fetch_metadata": True}),
    "uuid_generator": ({"operation": "generate", "version": "v5", "namespace": "dns", "name": "example.com"},),
    "video_processor": ({"operation": "detect", "file_path": "film.mp4"},),
    "web-fetch": ({"input": "URL/", "max_chars": 1000},),
    "web-scraper": ({"input": "URL/", "selectors": {"headings": "h1, h2"}, "extract_links": True},),
    "web_search": ({"input": "structured concurrency", "provider": "searxng"},),
    "webhook-caller": ({"input": "URL/hook", "payload": {"event": "built"}, "secret": "no secret at all"},),
    "webpage-monitor": ({"input": "URL/", "remember": True},),
    "xml-processor": ({"operation": "query", "input": "<a><b>1</b></a>", "query": "//b"},),
    "yaml-processor": ({"operation": "parse", "input": "a: [1, {b: null}]"},),
}
"""The calls of each tool that succeed, each in a folder as `lay_out` leaves it."""

EXTRAS: Final[Mapping[str, str]] = {"video_processor": "av"}
"""Tools whose library need not be there, by its module."""


class Person:
    """Implements `Answerer`: says yes."""

    name: ClassVar[str] = "answerer"
    provides: ClassVar[type[Any]] = Answerer

    def __init__(self, settings: Any, services: Services) -> None:
        del settings, services

    async def answer(self, question: Question, /) -> str | None:
        """Return yes."""
        return "yes"


def lay_out(folder: Path) -> None:
    """Write the files that the calls name."""
    (folder / "src").mkdir()
    (folder / "src" / "one.py").write_text("def one():\n    return 1\n")
    (folder / "notes.txt").write_text("teh notes\n")
    (folder / "numbers.csl").write_text(_STYLE)
    (folder / "table.csv").write_text("name,age\nAda,36\nBob,x\n")
    for name, sample in (("photo.png", "photo.jpg"), ("song.wav", "song.mp3"), ("report.pdf", "report.pdf")):
        (folder / name).write_bytes(FILES[sample])
    (folder / "film.mp4").write_bytes(FILES["film.mp4"])
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("album/photo.png", FILES["photo.jpg"])
    with tarfile.open(folder / "notes.tar.gz", "w:gz") as tar:
        tar.add(folder / "notes.txt", "notes.txt")
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript("CREATE TABLE items (name TEXT, price REAL); INSERT INTO items VALUES ('pen', 1.5);")


def tools_settings(folder: Path, url: str) -> dict[str, Any]:
    """Return the tables of the tools that need one."""
    return {
        "database-connector": {"connections": {"shop": {"kind": "sqlite", "path": str(folder / "shop.db")}}},
        "web_search": {"providers": ["searxng"], "searxng": {"base_url": url}},
        "script-runner": {"globals": ["JSON", "Tool", "io"]},
    }


def filled(given: Any, url: str) -> Any:
    """Return parameters with the server's place in them."""
    if isinstance(given, str):
        return given.replace("URL", url).replace("ADDRESS", urlsplit(url).netloc)
    if isinstance(given, Mapping):
        return {key: filled(value, url) for key, value in given.items()}
    return [filled(each, url) for each in given] if isinstance(given, list) else given


def site() -> AbstractContextManager[Any]:
    """A server on loopback that has something for every tool that asks over HTTP."""
    return serve(_answer)


def _answer(handler: Any, _count: int) -> None:
    path = urlsplit(handler.path).path
    place = f"http://{handler.headers['host']}"
    if path == "/sitemap.xml":
        entry = f"<url><loc>{place}/next</loc></url>"
        namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
        handler.reply(f'<urlset xmlns="{namespace}">{entry}</urlset>'.encode(), kind="application/xml")
    elif path == "/robots.txt":
        handler.reply(b"User-agent: *\nAllow: /\n")
    elif path == "/search":
        hit = {"title": "Trio", "url": "https://trio.example/", "content": "A library."}
        handler.reply(json.dumps({"results": [hit]}).encode(), kind="application/json")
    elif path == "/graphql":
        handler.reply(b'{"data": {"a": 1}}', kind="application/json")
    elif path in ("/items", "/hook"):
        handler.reply(b'{"ok": true}', kind="application/json")
    else:
        handler.reply(_PAGE.encode(), kind="text/html; charset=utf-8")
