"""url-analyzer against the URL class of Node.js, which follows the WHATWG's standard, and a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmspell_hookspecs.errors import SecurityError
from loopback import LOOPBACK, serve
from oracles import called, oracle

URLS = [
    "HTTPS://Example.com:443/a/../b?q=one+two#top",
    "http://example.com:8080/./x/%2e%2e/y/.",
    "http://0x7f.1/",
    "http://2130706433",
    "http://0177.0.0.2/a b",
    "http://[::FFFF:127.0.0.2]:80/",
    "http://bücher.example/ä?ö=ü#ß",
    "  http://a.example\\b\\c\t?x=<>\"'",
    "ftp://host.example:21/file;type=a",
    "wss://a.example",
    "http:a.example/..//b",
    "http:///a.example/?a=1#b?c",
]
NO_URLS = ["", "example.com", "http://", "http://a b/", "http://1.2.3.4.5", "http://256.1", "http://[::1", "//a/b"]
NO_URLS += ["http://a:99999/", "http://a%00b/", "http://a^b/", "http://1.2.3.999"]


async def _parts(folder: Path, text: str) -> dict[str, Any]:
    return dict((await called(folder, "url-analyzer", input=text)).result)


@pytest.mark.parametrize("text", URLS)
async def test_a_url_has_the_parts_that_node_finds(tmp_path: Path, text: str) -> None:
    program = """const u = new URL(process.argv[1]); console.log(JSON.stringify([u.href, u.protocol, u.hostname,
        u.pathname, u.search, u.hash, [...u.searchParams]]))"""
    href, scheme, host, path, query, fragment, pairs = json.loads(oracle("node", "-e", program, "--", text))

    parts = await _parts(tmp_path, text)

    assert parts["normalized"] == href
    assert (f"{parts['scheme']}:", parts["host"]["value"], parts["path"]) == (scheme, host, path)
    assert (parts["query"] or "", parts["fragment"] or "") == (query[1:], fragment[1:])
    assert parts["query_params"] == dict(pairs)


@pytest.mark.parametrize("text", NO_URLS[1:])
async def test_what_node_refuses_is_no_url(tmp_path: Path, text: str) -> None:
    assert "Invalid URL" in oracle("node", "-p", "try { new URL(process.argv[1]) } catch (e) { e.message }", "--", text)

    parts = await _parts(tmp_path, text)

    assert parts["valid"] is False
    assert parts["error"]


async def test_a_password_is_not_shown(tmp_path: Path) -> None:
    parts = await _parts(tmp_path, "https://ada:s3cret@example.com/")

    assert parts["has_credentials"] is True
    assert "s3cret" not in repr(parts)


async def test_repeated_and_raw_parameters_are_kept(tmp_path: Path) -> None:
    asked = {"input": "http://a.example/?a=1&a=%20&b", "decode_params": False}
    assert (await called(tmp_path, "url-analyzer", **asked)).result["query_params"] == {"a": ["1", "%20"], "b": ""}


async def test_what_the_server_says_is_told_and_a_host_that_is_not_allowed_is_not_asked(tmp_path: Path) -> None:
    with serve(lambda handler, count: handler.reply(b"12345", kind="text/html")) as server:
        asked = {"input": server.url, "fetch_metadata": True}
        security = {"security": {**LOOPBACK["security"], "paths": {}}}
        told = (await called(tmp_path, "url-analyzer", security, **asked)).result["metadata"]
        with pytest.raises(SecurityError):
            await called(tmp_path, "url-analyzer", **asked)

    assert (told["status_code"], told["content_type"], told["content_length"]) == (200, "text/html", 5)
    assert [each.method for each in server.seen] == ["HEAD"]
