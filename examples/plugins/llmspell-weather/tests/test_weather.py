"""The tool as a host runs it, over HTTP against a service on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from llmspell_weather import weather

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import SecurityError
from llmspell_testing import HostOpener


class Service(BaseHTTPRequestHandler):
    """Knows the weather of Bern."""

    def do_GET(self) -> None:
        """Return for Bern; of other cities it knows nothing."""
        asked = parse_qs(urlsplit(self.path).query)
        metric = asked["units"] == ["metric"]
        status, report = 404, b"{}"
        if asked["city"] == ["Bern"]:
            status, report = 200, json.dumps({"temperature": 20 if metric else 68, "sky": "clear", "wind": 3}).encode()
        if asked["city"] == ["nowhere"]:
            status, report = 200, b"<html>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(report)))
        self.end_headers()
        self.wfile.write(report)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def settings() -> Iterator[dict[str, Any]]:
    """Settings that lead to the service."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield {
        "tools": {"weather": {"base_url": f"http://127.0.0.1:{server.server_port}/"}},
        "security": {"hosts": {"private": ["127.0.0.1"]}},
    }
    server.shutdown()
    server.server_close()
    thread.join()


async def test_it_tells_the_weather(llmspell_open: HostOpener, settings: dict[str, Any]) -> None:
    async with llmspell_open(plugins=[weather], settings=settings) as host:
        answer = await host.call("tool:weather", {"city": "Bern"})

    assert answer.result == {"city": "Bern", "temperature": 20, "unit": "°C", "sky": "clear"}


async def test_units_are_a_setting(llmspell_open: HostOpener, settings: dict[str, Any]) -> None:
    settings["tools"]["weather"]["units"] = "imperial"

    async with llmspell_open(plugins=[weather], settings=settings) as host:
        answer = await host.call("tool:forecast", {"city": "Bern"})

    assert (answer.result["temperature"], answer.result["unit"]) == (68, "°F")


@pytest.mark.parametrize(("city", "code"), [("Atlantis", "unknown_city"), ("nowhere", "service")])
async def test_what_the_service_does_not_know_is_an_error(
    llmspell_open: HostOpener, settings: dict[str, Any], city: str, code: str
) -> None:
    async with llmspell_open(plugins=[weather], settings=settings) as host:
        with pytest.raises(ToolError) as caught:
            await host.call("tool:weather", {"city": city})

    assert caught.value.code == code


async def test_it_goes_only_where_the_rules_allow(llmspell_open: HostOpener, settings: dict[str, Any]) -> None:
    del settings["security"]

    async with llmspell_open(plugins=[weather], settings=settings) as host:
        with pytest.raises(SecurityError):
            await host.call("tool:weather", {"city": "Bern"})
