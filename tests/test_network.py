"""The network: which hosts are refused however they are spelled, and how the answer is bounded."""

from __future__ import annotations

import functools
import gc
import gzip
import socket
import ssl
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st

from llmspell.security import HostJudge
from llmspell_hookspecs import InvalidInputError, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.host_rules import BLOCKED_PORTS, HostRules
from networks import PinnedNetwork, network_of
from waiting import PATIENCE_S

LOOPBACK = HostRules(private=("127.0.0.1", "::1"))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Any], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves early is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    wbufsize = -1
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"
    server: Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, body))
        self.server.answer(self)

    do_GET = do_POST = do_HEAD = do_PUT = _handle

    def reply(self, body: bytes = b"ok", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Keep the tests' output clean."""


@contextmanager
def serve(answer: Callable[[Any], None], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def names(**table: Sequence[str]) -> Any:
    """A resolver that knows these names only, and counts its questions."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        resolve.asked.append(host)  # type: ignore[attr-defined]
        await trio.lowlevel.checkpoint()
        if host.replace(".", "_") not in table:
            raise socket.gaierror(f"unknown {host}")
        return table[host.replace(".", "_")]

    resolve.asked = []  # type: ignore[attr-defined]
    return resolve


async def request(network: PinnedNetwork, url: str, method: str = "GET", **options: Any) -> Any:
    return await network.request(method, url, **options)


async def resolve(network: PinnedNetwork, url: str) -> tuple[str, ...]:
    return await network.resolve(url)


# Judging


async def test_a_public_host_is_resolved_once() -> None:
    resolver = names(example_com=("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"))
    addresses = await resolve(network_of(HostRules(), resolver=resolver), "https://Example.com./a?b")
    assert addresses == ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert resolver.asked == ["example.com"]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "127\u30020\u30020\u30021",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:1::1]",
        "[fe80::1]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[ff02::1]",
        "[100::1]",
        "[fec0::1]",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.1.1",
        "169.254.169.254",
        "2852039166",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ],
)
async def test_an_address_that_is_not_public_is_refused_however_it_is_spelled(host: str) -> None:
    with pytest.raises(SecurityError) as caught:
        await resolve(network_of(HostRules()), f"http://{host}/x")
    assert caught.value.rule == "host"


@pytest.mark.parametrize(
    "url",
    [
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com@127.0.0.1/",
        "http://user:password@example.com/",
        "http://a%2eb/",
        "http://exam ple/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http:///x",
        "http:/example.com",
        "//example.com/",
        "example.com",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com:80/",
        "javascript:alert(1)",
        "unix:///run/docker.sock",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com\r\nX: y/",
        "http://ex\tample.com/",
        "",
    ],
)
async def test_what_is_not_a_plain_web_address_is_refused(url: str) -> None:
    resolver = names(example_com=("93.184.215.14",))
    with pytest.raises((SecurityError, InvalidInputError)) as caught:
        await resolve(network_of(HostRules(), resolver=resolver), url)
    assert resolver.asked == []
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("port", sorted(BLOCKED_PORTS))
def test_ports_of_services_that_are_not_the_web_are_refused(port: int) -> None:
    with pytest.raises(SecurityError, match="port"):
        HostJudge(HostRules()).locate(f"http://example.com:{port}/")


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::ffff:10.0.0.1", "fd00::1"])
async def test_a_name_is_refused_if_any_of_its_addresses_is_private(address: str) -> None:
    resolver = names(example_com=("93.184.215.14", address))
    with pytest.raises(SecurityError, match="allow_private"):
        await resolve(network_of(HostRules(), resolver=resolver), "http://example.com/")


async def test_private_addresses_are_reached_if_settings_allow_them() -> None:
    network = network_of(HostRules(allow_private=True))
    assert await resolve(network, "http://10.0.0.1/") == ("10.0.0.1",)
    assert await resolve(network, "http://127.1/") == ("127.0.0.1",)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fd00:ec2::254]"],
)
async def test_metadata_services_are_refused_even_if_private_addresses_are_allowed(host: str) -> None:
    with pytest.raises(SecurityError, match="metadata"):
        await resolve(network_of(HostRules(allow_private=True)), f"http://{host}/latest")


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata"])
async def test_metadata_services_are_refused_by_name(host: str) -> None:
    resolver = names(metadata_google_internal=("93.184.215.14",), metadata=("93.184.215.14",))
    with pytest.raises(SecurityError, match="metadata"):
        await resolve(network_of(HostRules(allow_private=True), resolver=resolver), f"http://{host}/")
    assert resolver.asked == []


async def test_a_metadata_service_is_reached_if_it_is_spelled_out() -> None:
    network = network_of(HostRules(private=("169.254.169.254",)))
    assert await resolve(network, "http://169.254.169.254/") == ("169.254.169.254",)
    with pytest.raises(SecurityError):
        await resolve(network_of(HostRules(private=("169.254.0.0/16",))), "http://169.254.169.254/")


@pytest.mark.parametrize(
    ("rules", "host", "allowed"),
    [
        (HostRules(allowed=("*.example.com",)), "api.example.com", True),
        (HostRules(allowed=("*.example.com",)), "API.Example.COM.", True),
        (HostRules(allowed=("*.example.com",)), "example.com", False),
        (HostRules(allowed=("*.example.com",)), "example.com.evil.org", False),
        (HostRules(allowed=("example.com",)), "evilexample.com", False),
        (HostRules(allowed=()), "example.com", False),
        (HostRules(allowed=("93.184.0.0/16",)), "example.com", True),
        (HostRules(allowed=("93.185.0.0/16",)), "example.com", False),
        (HostRules(denied=("*.example.com",)), "api.example.com", False),
        (HostRules(denied=("93.184.0.0/16",)), "example.com", False),
        (HostRules(denied=("93.184.215.14",)), "1572394766", False),
        (HostRules(denied=("93.*",)), "1572394766", False),
        (HostRules(allow_private=True, denied=("10.*",)), "[::ffff:10.0.0.1]", False),
        (HostRules(allow_private=True, denied=("10.0.0.0/8",)), "[::ffff:10.0.0.1]", False),
    ],
)
async def test_names_and_networks_are_allowed_and_denied(rules: HostRules, host: str, allowed: bool) -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ("93.184.215.14",) if "example" in host else [socket.getaddrinfo(host, port)[0][4][0]]  # type: ignore[list-item]

    network = network_of(rules, resolver=resolver)
    if allowed:
        assert await resolve(network, f"http://{host}/")
        return
    with pytest.raises(SecurityError):
        await resolve(network, f"http://{host}/")


async def test_a_name_that_is_not_allowed_is_never_looked_up() -> None:
    resolver = names()
    with pytest.raises(SecurityError, match="allowed"):
        await resolve(network_of(HostRules(allowed=("good.org",)), resolver=resolver), "http://leak.evil.org/")
    assert resolver.asked == []


async def test_a_name_that_is_not_known_is_an_error_of_the_connection() -> None:
    with pytest.raises(ToolError, match="resolved") as caught:
        await resolve(network_of(HostRules(), resolver=names()), "http://nowhere.example/")
    assert caught.value.code == "connection"


@given(number=st.integers(0, 2**32 - 1))
def test_every_block_that_python_calls_private_is_refused(number: int) -> None:
    import ipaddress

    address = ipaddress.ip_address(number)
    judge = HostJudge(HostRules())
    target = judge.locate("http://example.com/")
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        with pytest.raises(SecurityError):
            judge.judge(target, (str(address),))
        with pytest.raises(SecurityError):
            judge.judge(target, (f"::ffff:{address}",))


# Talking


async def test_a_request_reaches_a_server_that_the_rules_name() -> None:
    with serve(lambda handler: handler.reply(b"hello", x_test="1")) as server:
        response = await request(
            network_of(LOOPBACK), f"{server.url}/a?b=c", "POST", headers={"X-A": "b"}, content=b"body"
        )
        method, path, headers, body = server.seen[0]
    assert (response.status, response.body, response.headers["x-test"]) == (200, b"hello", "1")
    assert (method, path, body) == ("POST", "/a?b=c", b"body")
    assert headers["x-a"] == "b"
    assert headers["host"] == server.url.removeprefix("http://")
    assert set(headers) == {
        "x-a", "host", "accept", "accept-encoding", "user-agent", "connection", "content-length",
    }  # fmt: skip


async def test_a_header_may_hold_letters_beyond_ascii() -> None:
    with serve(lambda handler: handler.reply(b"")) as server:
        await request(network_of(LOOPBACK), server.url, headers={"X-A": "\xe9t\xe9"})

    assert server.seen[0][2]["x-a"] == "\xe9t\xe9"


async def test_the_connection_goes_to_the_pinned_address_under_the_name() -> None:
    resolver = names(service_test=("127.0.0.1",))
    network = network_of(HostRules(private=("service.test",)), resolver=resolver)
    with serve(lambda handler: handler.reply()) as server:
        url = f"http://service.test:{server.server_port}/"
        addresses = await resolve(network, url)
        response = await request(network, url, addresses=addresses)
        host = server.seen[0][2]["host"]
    assert response.status == 200
    assert host == f"service.test:{server.server_port}"
    assert resolver.asked == ["service.test"]


async def test_a_name_that_changes_its_address_after_the_judgement_is_not_asked_again() -> None:
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers.pop(0)

    with serve(lambda handler: handler.reply(b"inside")) as server:
        network = network_of(HostRules(), resolver=rebinding)
        url = f"http://rebind.test:{server.server_port}/"
        addresses = await network.resolve(url)
        with pytest.raises(ToolError):
            await network.request("GET", url, addresses=addresses, timeout_s=0.2)
        assert server.seen == []
        assert asked == ["rebind.test"]
        with pytest.raises(SecurityError):
            await network.request("GET", url, timeout_s=0.2)
        assert server.seen == []


async def test_addresses_that_are_handed_over_are_judged_again() -> None:
    with serve(lambda handler: handler.reply()) as server:
        with pytest.raises(SecurityError):
            await request(network_of(HostRules()), "http://example.com/", addresses=("127.0.0.1",))
        with pytest.raises(SecurityError):
            await request(network_of(HostRules()), "http://example.com/", addresses=("localhost",))
        assert server.seen == []


async def test_the_next_address_is_tried_if_the_first_does_not_answer() -> None:
    with socket.socket() as closed, serve(lambda handler: handler.reply()) as server:
        closed.bind(("127.0.0.2", server.server_port))
        network = network_of(HostRules(private=("127.0.0.0/8",)))
        url = f"http://127.0.0.1:{server.server_port}/"
        assert (await request(network, url, addresses=("127.0.0.2", "127.0.0.1"))).status == 200
        with pytest.raises(ToolError) as caught:
            await request(network, url, addresses=("127.0.0.2",))
    assert caught.value.code == "connection"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda handler: handler.reply(b"proxy")) as proxy, serve(lambda handler: handler.reply()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await request(network_of(LOOPBACK), server.url)).body == b"ok"
        assert proxy.seen == []


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/inside",
        "http://127.2:{port}/inside",
        "http://[::ffff:127.0.0.2]:{port}/inside",
        "http://169.254.169.254/latest/meta-data",
        "//127.0.0.2:{port}/inside",
        "file:///etc/passwd",
        "http://127.0.0.1:22/",
        "http://user:word@127.0.0.1:{port}/inside",
    ],
)
async def test_a_redirect_is_judged_like_any_url(location: str) -> None:
    def answer(handler: Any) -> None:
        handler.reply(b"", 302, location=location.format(port=handler.server.server_port))

    with serve(answer) as server:
        with pytest.raises(SecurityError):
            await request(network_of(LOOPBACK), server.url)
        assert len(server.seen) == 1


async def test_a_redirect_is_followed_and_pinned_anew() -> None:
    def answer(handler: Any) -> None:
        if handler.path == "/first":
            handler.reply(b"", 302, location=f"http://second.test:{handler.server.server_port}/last")
        else:
            handler.reply(b"there")

    resolver = names(second_test=("127.0.0.1",))
    network = network_of(HostRules(private=("127.0.0.1", "second.test")), resolver=resolver)
    with serve(answer) as server:
        response = await request(network, f"{server.url}/first", addresses=("127.0.0.1",))
        assert response.body == b"there"
        assert response.url == f"http://second.test:{server.server_port}/last"
        assert server.seen[1][2]["host"] == f"second.test:{server.server_port}"
    assert resolver.asked == ["second.test"]


async def test_redirects_end_after_five() -> None:
    with serve(lambda handler: handler.reply(b"", 302, location="/again")) as server:
        with pytest.raises(ToolError, match="5 redirects") as caught:
            await request(network_of(LOOPBACK), server.url, addresses=("127.0.0.1",))
        assert len(server.seen) == 6
    assert caught.value.code == "redirects"


def _redirect_once(status: int, location: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        if handler.path == "/first":
            handler.reply(b"", status, location=location.format(port=handler.server.server_port))
        else:
            handler.reply(b"last")

    return answer


SECRETS = {"Authorization": "Bearer s3cret", "Cookie": "a=s3cret", "X-Api-Key": "s3cret", "Accept": "text/plain"}


async def test_credentials_stay_on_a_redirect_within_the_host() -> None:
    with serve(_redirect_once(302, "/last")) as server:
        await request(network_of(LOOPBACK), f"{server.url}/first", headers=SECRETS)
        assert server.seen[1][2]["authorization"] == "Bearer s3cret"
        assert server.seen[1][2]["x-api-key"] == "s3cret"


async def test_credentials_are_dropped_on_a_redirect_to_another_host() -> None:
    network = network_of(HostRules(private=("127.0.0.0/8",)))
    with serve(_redirect_once(307, "http://localhost:{port}/last")) as server:
        await request(network, f"{server.url}/first", "POST", headers=SECRETS, content=b"x")
        assert "s3cret" not in str(server.seen[1])
        assert server.seen[1][2]["accept"] == "text/plain"


async def test_credentials_are_dropped_on_a_redirect_to_another_port() -> None:
    with serve(lambda handler: handler.reply()) as other:
        with serve(_redirect_once(302, f"{other.url}/last")) as server:
            await request(network_of(LOOPBACK), f"{server.url}/first", headers=SECRETS)
        assert "s3cret" not in str(other.seen)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT"),
     (302, "HEAD", "HEAD"), (303, "HEAD", "HEAD"), (302, "PUT", "PUT")],
)  # fmt: skip
async def test_a_redirect_keeps_or_changes_the_method_as_browsers_do(status: int, method: str, then: str) -> None:
    content = b"x" if method in ("POST", "PUT") else None
    with serve(_redirect_once(status, "/last")) as server:
        await request(network_of(LOOPBACK), f"{server.url}/first", method, content=content)
        assert server.seen[1][0] == then
        assert server.seen[1][3] == (b"" if then in ("GET", "HEAD") else b"x")


@pytest.mark.parametrize(
    "headers",
    [{"Host": "inner"}, {"X": "a\r\nHost: inner"}, {"X\r\nY": "a"}, {"Transfer-Encoding": "chunked"},
     {"Content-Length": "3"}, {"Proxy-Authorization": "s3cret"}, {"X": "\u20ac"}, {"X": "a\0s3cret"}, {"": "x"}],
)  # fmt: skip
async def test_headers_that_would_reframe_the_message_are_refused(headers: dict[str, str]) -> None:
    with serve(lambda handler: handler.reply()) as server:
        with pytest.raises(InvalidInputError) as caught:
            await request(network_of(LOOPBACK), server.url, headers=headers)
        assert server.seen == []
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "GET / HTTP/1.1\r\nX: y", ""])
async def test_methods_that_would_open_a_tunnel_are_refused(method: str) -> None:
    with pytest.raises(InvalidInputError):
        await request(network_of(LOOPBACK), "http://127.0.0.1/", method)


# Bounds


async def test_a_promised_body_above_the_limit_is_not_read() -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(10**12))
        handler.end_headers()
        handler.wfile.flush()

    with serve(answer) as server, pytest.raises(ResourceLimitError) as caught:
        await request(network_of(LOOPBACK), server.url, max_bytes=1000)
    assert (caught.value.resource, caught.value.limit) == ("body_bytes", 1000)


async def test_a_body_without_a_length_is_cut_at_the_limit() -> None:
    sent: list[int] = []

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("connection", "close")
        handler.end_headers()
        for _ in range(100_000):
            handler.wfile.write(b"x" * 65536)
            sent.append(65536)

    with serve(answer) as server, pytest.raises(ResourceLimitError):
        await request(network_of(LOOPBACK), server.url, max_bytes=100_000)
    assert sum(sent) < 50_000_000


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    with serve(lambda handler: handler.reply(b"x" * 1000)) as server:
        assert len((await request(network_of(LOOPBACK), server.url, max_bytes=1000)).body) == 1000


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip", "identity", "raw"])
async def test_compressed_bodies_are_decoded(coding: str) -> None:
    body = b"hello " * 50_000
    packed = {
        "gzip": gzip.compress(body[:1000]) + gzip.compress(body[1000:]),
        "x-gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "identity": body,
        "raw": zlib.compress(body)[2:-4],
    }[coding]
    header = "deflate" if coding == "raw" else coding
    with serve(lambda handler: handler.reply(packed, content_encoding=header)) as server:
        assert (await request(network_of(LOOPBACK), server.url)).body == body


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compression_bomb_ends_at_the_limit(coding: str) -> None:
    bomb = b"\0" * 200_000_000
    packed = gzip.compress(bomb, 9) if coding == "gzip" else zlib.compress(bomb, 9)
    del bomb
    with serve(lambda handler: handler.reply(packed, content_encoding=coding)) as server:
        began_s = time.process_time()
        with pytest.raises(ResourceLimitError):
            await request(network_of(LOOPBACK), server.url, max_bytes=1_000_000)

    assert time.process_time() - began_s < 2


@pytest.mark.parametrize(
    ("body", "coding"),
    [(b"not gzip", "gzip"), (gzip.compress(b"x" * 1000)[:-9], "gzip"), (b"x", "br"), (b"x", "gzip, gzip")],
    ids=["other", "cut", "unknown", "twice"],
)
async def test_a_body_that_cannot_be_decoded_is_an_error(body: bytes, coding: str) -> None:
    answer = functools.partial(_Handler.reply, body=body, content_encoding=coding)
    with serve(answer) as server, pytest.raises(ToolError) as caught:
        await request(network_of(LOOPBACK), server.url)
    assert caught.value.code == "protocol"


async def test_a_trickle_ends_at_the_timeout() -> None:
    gone = threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                gone.wait(0.02)
        except OSError:
            gone.set()

    with serve(answer) as server:
        with pytest.raises(ToolError) as caught:  # had it waited for the whole, there would be no error
            await request(network_of(LOOPBACK), server.url + "/?token=s3cret", timeout_s=0.3)
        assert gone.wait(PATIENCE_S)
    assert caught.value.code == "timeout"
    assert "s3cret" not in str(caught.value)


async def test_a_cancellation_between_two_pieces_of_a_body_leaves_nothing_open(
    recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        with suppress(OSError):
            for _ in range(10):
                handler.wfile.write(b"x" * 10_000)

    async def add(sink: Any, chunk: bytes) -> None:
        scope.cancel()
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr("llmspell_plugins.services.network.body._Sink.add", add)
    warnings.simplefilter("always")
    with serve(answer) as server, trio.CancelScope() as scope:
        await request(network_of(LOOPBACK), server.url)
    gc.collect()
    await trio.lowlevel.checkpoint()

    assert scope.cancelled_caught
    assert [str(warning.message) for warning in recwarn.list] == []


async def test_a_server_that_says_nothing_ends_at_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ToolError) as caught:
            await request(network_of(LOOPBACK), f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.2)
    assert caught.value.code == "timeout"


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"])
async def test_a_broken_answer_is_an_error_of_the_connection(answer: bytes) -> None:

    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, speak, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(ToolError) as caught:
            await network_of(LOOPBACK).request("GET", f"http://127.0.0.1:{port}/", timeout_s=5)
        assert caught.value.code == "connection"
        nursery.cancel_scope.cancel()


async def test_a_cancellation_closes_the_connection() -> None:
    gone = threading.Event()

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.flush()
        handler.rfile.read(1)
        gone.set()

    with serve(answer) as server:
        with trio.move_on_after(0.2) as scope:
            await network_of(LOOPBACK).request("GET", server.url)

        assert scope.cancelled_caught
        assert gone.wait(PATIENCE_S)


# TLS


def _authority() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return authority, client


def _server_side(authority: trustme.CA, *hosts: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    return context


async def test_tls_checks_the_name_although_the_connection_goes_to_the_number() -> None:
    authority, trusting = _authority()
    named: list[str | None] = []
    context = _server_side(authority, "secure.test")
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    rules = HostRules(private=("secure.test", "other.test"))
    resolver = names(secure_test=("127.0.0.1",), other_test=("127.0.0.1",))
    network = network_of(rules, resolver=resolver, tls=trusting)
    with serve(lambda handler: handler.reply(b"private"), context) as server:
        response = await request(network, f"https://secure.test:{server.server_port}/")
        with pytest.raises(ToolError, match="certificate"):
            await request(network, f"https://other.test:{server.server_port}/")
        hosts = [seen[2]["host"] for seen in server.seen]
    assert response.body == b"private"
    assert named == ["secure.test", "other.test"]
    assert hosts == [f"secure.test:{server.server_port}"]


async def test_tls_refuses_a_certificate_of_nobody_that_is_trusted() -> None:
    authority, _ = _authority()
    with serve(lambda handler: handler.reply(), _server_side(authority, "127.0.0.1")) as server:
        with pytest.raises(ToolError, match="certificate"):
            await request(network_of(LOOPBACK), f"https://127.0.0.1:{server.server_port}/")
        assert server.seen == []


@pytest.mark.parametrize("number", ["93.184.216.34", "2606:2800:220:1::1"])
async def test_a_host_and_port_are_judged_and_pinned_as_a_url_is(number: str) -> None:
    named = network_of(HostRules(), resolver=names(example_com=[number]))

    assert await named.resolve_address("example.com:8080") == (number,)
    bare = f"[{number}]:8080" if ":" in number else f"{number}:8080"
    assert await network_of(HostRules()).resolve_address(bare) == (number,)


WRONG = (
    *("example.com", "example.com:", ":80", "a b:80", "u@example.com:80", "http://example.com:80", "::1:80"),
    *("a:0", "a:99999"),
)


@pytest.mark.parametrize("address", WRONG)
async def test_what_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises((InvalidInputError, SecurityError)):
        await network_of(HostRules(), resolver=names()).resolve_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1:8080", "[::1]:8080", "169.254.169.254:8080", "localhost:22"])
async def test_an_address_that_no_url_may_lead_to_is_refused(address: str) -> None:
    with pytest.raises(SecurityError):
        await network_of(HostRules()).resolve_address(address)


async def test_a_bare_address_is_no_url() -> None:
    with pytest.raises(SecurityError, match="use http or https"):
        await network_of(HostRules()).resolve("tcp://example.com:80")
