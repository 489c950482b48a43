"""system_monitor against /proc and df, service_checker against real servers, tool-state against the state itself."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from kernel import opened
from listening import Listener
from llmspell_hookspecs.errors import InvalidInputError, SecurityError
from llmspell_hookspecs.state import State
from loopback import LOOPBACK, serve
from oracles import called, oracle


async def _figures(folder: Path, operation: str) -> dict[str, Any]:
    return dict((await called(folder, "system_monitor", operation=operation)).result)


async def test_the_memory_is_that_of_proc(tmp_path: Path) -> None:
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())

    told = await _figures(tmp_path, "memory")

    assert told["total_memory_bytes"] == int(rows["MemTotal"].split()[0]) * 1024
    assert told["total_swap_bytes"] == int(rows["SwapTotal"].split()[0]) * 1024
    assert 0 < told["available_memory_bytes"] <= told["total_memory_bytes"]


async def test_the_processor_is_that_of_proc(tmp_path: Path) -> None:
    told = await _figures(tmp_path, "cpu")

    assert told["cpu_count"] == Path("/proc/cpuinfo").read_text().count("processor\t:")
    assert 0 <= told["cpu_usage_percent"] <= 100
    assert len(told["load_average"]) == 3


async def test_the_disk_is_that_of_df(tmp_path: Path) -> None:
    size = int(oracle("sh", "-c", "df -B1 --output=size / | tail -1"))
    [root] = (await _figures(tmp_path, "disk"))["disk_usage"]
    assert (root["mount_point"], root["total_bytes"]) == ("/", size)


async def test_processes_and_interfaces_are_those_of_proc(tmp_path: Path) -> None:
    everything = await _figures(tmp_path, "stats")
    assert set(await _figures(tmp_path, "all")) == set(everything)
    pids = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    names = [line.partition(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]

    assert abs(everything["process_count"] - len(pids)) <= 20
    assert [each["interface"] for each in everything["network"]] == sorted(names)
    assert abs(everything["uptime_seconds"] - float(Path("/proc/uptime").read_text().split()[0])) <= 60
    assert set(await _figures(tmp_path, "process")) | set(await _figures(tmp_path, "network")) <= set(everything)


async def _checked(folder: Path, settings: dict[str, Any] | None = None, /, **parameters: Any) -> dict[str, Any]:
    tools = {"tools": {"service_checker": settings}} if settings else {}
    return dict((await called(folder, "service_checker", {**LOOPBACK, **tools}, **parameters)).result)


async def test_a_port_that_listens_is_available_and_one_that_is_closed_is_not(tmp_path: Path) -> None:
    with Listener("127.0.0.1") as listener:
        place = listener.place
        heard = await _checked(tmp_path, target=place, check_type="tcp")
    assert listener.count == 1
    closed = await _checked(tmp_path, target=place, check_type="tcp")

    assert (heard["available"], heard["status"], heard["error"]) == (True, "available", None)
    assert (closed["available"], bool(closed["error"])) == (False, True)


@pytest.mark.parametrize(("status", "available"), [(200, True), (404, True), (503, False)])
async def test_a_web_address_is_available_unless_its_server_fails(tmp_path: Path, status: int, available: bool) -> None:
    with serve(lambda handler, count: handler.reply(b"", status)) as server:
        told = await _checked(tmp_path, target=server.url, check_type="http")
        found = oracle("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", server.url)
    assert (told["available"], told["metadata"]) == (available, {"status_code": int(found)})


async def test_a_name_is_looked_up_by_the_same_rules(tmp_path: Path) -> None:
    hosts = {"security": {"hosts": {"private": ["localhost"]}}}
    told = (await called(tmp_path, "service_checker", hosts, target="localhost", check_type="dns")).result
    known = {line.split()[0] for line in oracle("getent", "ahosts", "localhost").splitlines()}

    assert known & set(told["metadata"]["addresses"])
    with pytest.raises(SecurityError):
        await called(tmp_path, "service_checker", target="localhost", check_type="dns")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[int]:
    """The port of a server with a certificate whose issuer is in ``ca.pem``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_certificate_is_told_as_by_openssl_if_it_is_trusted(tmp_path: Path, secured: int) -> None:
    target = f"127.0.0.1:{secured}"
    trusted = await _checked(tmp_path, {"ca_file": str(tmp_path / "ca.pem")}, target=target, check_type="tls")
    strange = await _checked(tmp_path, target=target, check_type="tls")

    command = f"openssl s_client -connect {target} </dev/null 2>/dev/null | openssl x509 -noout -serial -enddate"
    oracle("openssl", "version")
    serial, end = (line.partition("=")[2] for line in oracle("sh", "-c", command).splitlines())
    assert trusted["available"] is True
    assert (trusted["metadata"]["serial_number"].lstrip("0"), trusted["metadata"]["not_after"]) == (
        serial.lstrip("0"),
        end,
    )
    assert (strange["available"], "not trusted" in strange["error"]) == (False, True)


class Page(BaseHTTPRequestHandler):
    """Answers with a status that the path names, or leads to where its query says."""

    def do_GET(self) -> None:
        path, _, place = self.path.partition("?")
        self.send_response(int(path.strip("/") or 200))
        if place:
            self.send_header("location", place)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server over TLS is; its certificate is for the name that the test gives, and trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(getattr(request, "param", "127.0.0.1")).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_an_address_over_https_is_available_as_curl_finds_it(tmp_path: Path, pages: str, status: int) -> None:
    told = await _checked(tmp_path, target=f"{pages}/{status}", check_type="https")

    found = oracle(
        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", tmp_path / "ca.pem", f"{pages}/{status}"
    )
    assert (told["available"], told["metadata"], told["error"]) == (status < 500, {"status_code": int(found)}, None)


async def test_an_address_over_https_that_nobody_vouches_for_is_unavailable_as_for_curl(
    tmp_path: Path, pages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    told = await _checked(tmp_path, target=pages, check_type="https")

    code = oracle("curl", "-s", "-o", "/dev/null", "-w", "%{exitcode}", pages, codes=(60,))
    assert (told["available"], "certificate" in told["error"].lower(), code) == (False, True, "60")


@pytest.mark.parametrize("pages", ["example.com"], indirect=True)
async def test_a_certificate_of_another_name_makes_an_address_unavailable(tmp_path: Path, pages: str) -> None:
    told = await _checked(tmp_path, target=pages, check_type="https")

    code = oracle("curl", "-s", "-w", "%{exitcode}", "--cacert", tmp_path / "ca.pem", pages, codes=(60,))
    assert (told["available"], "127.0.0.1" in told["error"], code) == (False, True, "60")


async def test_https_is_not_what_a_plain_server_or_a_plain_url_speaks(tmp_path: Path, pages: str) -> None:
    with serve(lambda handler, count: handler.reply(b"")) as server:
        told = await _checked(tmp_path, target=server.url.replace("http://", "https://"), check_type="https")
        with pytest.raises(InvalidInputError, match="https needs a URL with https"):
            await _checked(tmp_path, target=server.url, check_type="https")
        assert server.seen == []

    assert (told["available"], bool(told["error"])) == (False, True)


async def test_a_redirect_of_https_is_followed_and_leads_to_no_host_that_is_not_allowed(
    tmp_path: Path, pages: str
) -> None:
    followed = await _checked(tmp_path, target=f"{pages}/302?{pages}/404", check_type="https")
    with pytest.raises(SecurityError):
        await _checked(tmp_path, target=f"{pages}/302?https://127.0.0.2:1/", check_type="https")

    assert followed["metadata"] == {"status_code": 404}


async def test_values_of_tools_are_kept_in_the_state_of_their_scope() -> None:
    async with opened() as host:

        async def ask(operation: str, **parameters: Any) -> dict[str, Any]:
            given = {"operation": operation, "tool": "mine", **parameters}
            return dict((await host.call("tool:tool-state", given)).result)

        assert (await ask("set", key="a", value={"n": 1}))["version"] == 1
        assert await host.get(State).get("a", scope="tool:mine") == {"n": 1}
        await host.get(State).set("b", [2], scope="tool:mine")
        assert (await ask("get", key="b"))["value"] == [2]
        assert (await ask("list"))["keys"] == ["a", "b"]
        assert (await ask("cache", key="c"))["hit"] is False
        assert (await ask("cache", key="c", value="x", ttl_s=60))["stored"] is True
        assert (await ask("cache", key="c"))["value"] == "x"
        assert await ask("stats") == {"tool_id": "mine", "keys": 2, "cached": 1, **(await _sizes(host))}
        await ask("cache", key="gone", value="x", ttl_s=1e-9)
        assert (await ask("cache", key="gone"))["hit"] is False
        assert await ask("delete", key="a") == {"tool_id": "mine", "key": "a", "deleted": True}
        assert list(await host.get(State).keys("tool:mine")) == ["b", "cache/c"]
        with pytest.raises(InvalidInputError, match="needs a key"):
            await ask("get")


async def _sizes(host: Any) -> dict[str, int]:
    kept = await host.get(State).get("cache/c", scope="tool:mine")
    return {"size_bytes": len('{"n":1}') + len("[2]") + len(f'{{"value":"x","expires_s":{kept["expires_s"]}}}')}
