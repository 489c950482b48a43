"""Connections that are kept: who is judged and when, what is shared, how streams end, and what is closed."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import opened, run
from llmspell.security import HostJudge
from llmspell_hookspecs import InvalidInputError, NetworkAccess, ToolError
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError
from llmspell_hookspecs.host_rules import HostRules
from networks import ConnectionPool, PinnedNetwork, network_of
from test_network import names, serve

ALLOWED = HostRules(private=("127.0.0.1", "::1"))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Raw:
    """A server that answers each request with what it is told to, and counts connections."""

    def __init__(self, *answers: Any) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.gone = threading.Event()
        self._answers = list(answers)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/x"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := connection.recv(65536):
                self.requests.append(data)
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                for piece in answer if isinstance(answer, (list, tuple)) else [answer]:
                    if piece is None:
                        connection.shutdown(socket.SHUT_RDWR)
                        break
                    if isinstance(piece, float):
                        time.sleep(piece)
                    else:
                        connection.sendall(piece)
        except OSError:
            pass
        self.gone.set()


@contextmanager
def raw(*answers: Any) -> Iterator[Raw]:
    server = Raw(*answers)
    try:
        yield server
    finally:
        server.close()


def pooled(main: Callable[[ConnectionPool], Awaitable[Any]], rules: HostRules = ALLOWED, **options: Any) -> Any:
    network = network_of(rules, **options)

    async def body() -> Any:
        pool = ConnectionPool(network)
        try:
            return await main(pool)
        finally:
            pool.close()

    return run(body)


async def get(pool: ConnectionPool, url: str, **options: Any) -> tuple[int, bytes]:
    async with pool.stream("GET", url, **options) as answer:
        return answer.status, await answer.read()


def failing(url: str, error: type[Exception], match: str, **options: Any) -> Any:
    with pytest.raises(error, match=match) as raised:
        pooled(lambda pool: get(pool, url, **options))
    return raised.value


def test_the_hosts_service_keeps_the_protocol() -> None:
    async def main() -> bool:
        async with opened() as host:
            return isinstance(host._services.get(NetworkAccess), NetworkAccess)

    assert run(main)


# Sharing


def test_one_connection_serves_one_request_after_the_other() -> None:
    async def main(pool: ConnectionPool) -> None:
        for _ in range(5):
            assert await get(pool, server.url) == (200, b"ok")
        assert pool.idle == 1

    with raw(OK) as server:
        pooled(main)
        assert server.connections == 1


def test_requests_at_once_have_connections_of_their_own() -> None:
    async def main(pool: ConnectionPool) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(get, pool, server.url)
        assert pool.idle == 5

    with raw([0.1, OK]) as server:
        pooled(main)
        assert server.connections == 5


def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def main(pool: ConnectionPool) -> None:
        await get(pool, server.url)
        await trio.to_thread.run_sync(server.gone.wait, 5)
        assert await get(pool, server.url) == (200, b"ok")

    with raw([OK, 0.05, None], OK) as server:
        pooled(main)
        assert server.connections == 2


def test_a_server_that_will_not_keep_a_connection_is_obeyed() -> None:
    async def main(pool: ConnectionPool) -> None:
        await get(pool, server.url)
        assert pool.idle == 0

    with raw(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as server:
        pooled(main)


def test_a_connection_over_which_too_much_came_is_not_used_again() -> None:
    async def main(pool: ConnectionPool) -> list[bytes]:
        return [(await get(pool, server.url))[1] for _ in range(2)]

    with raw(OK + OK.replace(b"ok", b"no"), OK) as server:
        assert pooled(main) == [b"ok", b"ok"]
        assert server.connections == 2


def test_an_idle_connection_is_closed_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmspell_plugins.services.network.pool._IDLE_S", 0.05)

    async def main(pool: ConnectionPool) -> None:
        await get(pool, server.url)
        await trio.sleep(0.06)
        await get(pool, server.url)

    with raw(OK) as server:
        pooled(main)
        assert server.connections == 2


def test_a_trusted_url_shares_no_connection_with_the_same_url_from_a_script() -> None:
    async def main(pool: ConnectionPool) -> None:
        await get(pool, server.url, trusted=True)
        await get(pool, server.url)
        assert pool.idle == 2

    with raw(OK) as server:
        pooled(main)
        assert server.connections == 2


def test_an_answer_that_is_left_early_closes_its_connection_at_once() -> None:
    async def main(pool: ConnectionPool) -> None:
        async with pool.stream("GET", server.url) as answer:
            assert await anext(aiter(answer)) == b"some"
        assert pool.idle == 0
        assert await trio.to_thread.run_sync(server.gone.wait, 5)

    with raw([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"]) as server:
        pooled(main)


def test_closing_the_pool_ends_what_runs() -> None:
    async def main(pool: ConnectionPool) -> None:
        async def ask() -> None:
            with pytest.raises(ToolError) as raised:
                await get(pool, server.url)
            assert raised.value.code == "connection"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while not server.requests:
                await trio.sleep(0.001)
            pool.close()
        with pytest.raises(ToolError, match="the host closes"):
            await get(pool, server.url)

    with raw([30.0 * 0, b""]) as server:
        pooled(main)


# Judging


@pytest.mark.parametrize("trusted", [False, True])
def test_only_a_trusted_url_may_lead_to_this_machine(trusted: bool) -> None:
    async def main(pool: ConnectionPool) -> tuple[int, bytes]:
        return await get(pool, server.url, trusted=trusted)

    with raw(OK) as server:
        if trusted:
            assert pooled(main, HostRules(allowed=("example.com",))) == (200, b"ok")
        else:
            with pytest.raises(SecurityError, match="loopback"):
                pooled(main, HostRules())
            assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "rules"),
    [
        ("http://127.0.0.1:1/", HostRules(denied=("127.0.0.0/8",))),
        ("http://127.0.0.1:22/", HostRules()),
        ("http://169.254.169.254/", HostRules()),
        ("http://metadata.google.internal/", HostRules()),
        ("file:///etc/passwd", HostRules()),
        ("http://user:word@127.0.0.1/", HostRules()),
    ],
)
def test_trust_goes_only_so_far(url: str, rules: HostRules) -> None:
    with pytest.raises(SecurityError):
        pooled(lambda pool: get(pool, url, trusted=True), rules)


def test_each_new_connection_is_resolved_and_judged_anew() -> None:
    addresses = [("127.0.0.1",), ("127.0.0.1", "10.0.0.1")]

    async def resolve(host: str, port: int) -> Any:
        await trio.lowlevel.checkpoint()
        return addresses.pop(0)

    async def main(pool: ConnectionPool) -> None:
        url = server.url.replace("127.0.0.1", "rebinding.example")
        for _ in range(3):
            assert await get(pool, url) == (200, b"ok")
        await get(pool, url)

    with raw(OK, OK, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK) as server:
        with pytest.raises(SecurityError, match=r"10\.0\.0\.1"):
            pooled(main, resolver=resolve)
        assert server.connections == 1
        assert b"Host: rebinding.example" in server.requests[0]


def test_connections_made_under_old_rules_serve_no_more() -> None:
    judges = [HostJudge(ALLOWED)]

    class Latest:
        def __getattr__(self, name: str) -> Any:
            return getattr(judges[-1], name)

    async def main() -> None:
        pool = ConnectionPool(PinnedNetwork(Latest()))
        await get(pool, server.url)
        async with pool.stream("GET", server.url) as answer:
            judges.append(HostJudge(ALLOWED))
            await get(pool, server.url)
            assert server.connections == 2
            judges.append(HostJudge(HostRules()))
            with pytest.raises(SecurityError):
                await get(pool, server.url)
            assert await answer.read() == b"ok"
        assert pool.idle == 0
        pool.close()

    with raw(OK) as server:
        run(main)


def test_the_next_address_is_tried_if_one_does_not_answer() -> None:
    with raw(OK) as server:
        url = server.url.replace("127.0.0.1", "two.example")
        resolver = names(two_example=("127.0.0.2", "127.0.0.1"))
        rules = HostRules(allow_private=True)
        assert pooled(lambda pool: get(pool, url), rules, resolver=resolver) == (200, b"ok")


def test_tls_verifies_the_name_though_the_connection_goes_to_the_number() -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("good.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    resolver = names(good_example=("127.0.0.1",), bad_example=("127.0.0.1",))

    with serve(lambda handler: handler.reply(), tls=context) as server:
        port = server.server_port

        async def main(pool: ConnectionPool) -> None:
            for _ in range(2):
                assert await get(pool, f"https://good.example:{port}/") == (200, b"ok")
            with pytest.raises(ToolError, match="certificate") as raised:
                await get(pool, f"https://bad.example:{port}/")
            assert raised.value.code == "connection"

        pooled(main, resolver=resolver, tls=trusting)


def test_no_redirect_is_followed() -> None:
    with raw(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as server:
        assert pooled(lambda pool: get(pool, server.url)) == (302, b"")


def test_headers_that_cannot_be_sent_are_refused_without_their_value() -> None:
    error = failing("http://127.0.0.1:1/", InvalidInputError, "X-Key", headers={"X-Key": "secret\r\nHost: x"})

    assert "secret" not in str(error)


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", None], "connection"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", None], "connection"),
        ([None], "connection"),
        ([b"HTTP/1.1 2"], "timeout"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"], "timeout"),
        ([b"SSH-2.0-OpenSSH\r\n\r\n"], "protocol"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"], "protocol"),
    ],
)
def test_what_goes_wrong_has_its_code(answer: Any, code: str) -> None:
    with raw(answer) as server:
        assert failing(server.url, ToolError, "127.0.0.1", read_timeout_s=0.2).code == code


def test_a_body_is_read_no_further_than_its_limit() -> None:
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000) as server:
        assert failing(server.url, ResourceLimitError, "999 bytes", max_bytes=999).limit == 999


MANY_PIECES = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"
MANY_HEADS = b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000 + OK


@pytest.mark.parametrize(("answer", "length"), [(MANY_PIECES, 50_000), (MANY_HEADS, 2)])
def test_an_answer_in_very_many_pieces_lets_others_run(answer: bytes, length: int) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def main(pool: ConnectionPool) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            got = await get(pool, server.url)
            nursery.cancel_scope.cancel()
        return len(got[1])

    with raw(answer) as server:
        assert pooled(main) == length
    assert turns > 20_000 / 64


def test_a_server_that_hangs_up_before_it_has_read_all_is_heard() -> None:
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"

    async def main(pool: ConnectionPool) -> tuple[int, bytes]:
        async with pool.stream("POST", server.url, content=b"x" * 1000) as got:
            return got.status, await got.read()

    with raw(answer) as server:
        assert pooled(main) == (413, b"big")


def test_a_cancelled_request_is_gone_from_the_server() -> None:
    async def main(pool: ConnectionPool) -> None:
        with trio.move_on_after(0.1) as scope:
            await get(pool, server.url)
        assert scope.cancelled_caught
        assert await trio.to_thread.run_sync(server.gone.wait, 5)
        assert pool.idle == 0

    with raw([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]) as server:
        pooled(main)


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8), cut=st.integers(min_value=1, max_value=50))
@settings(max_examples=25, deadline=None)
def test_a_body_comes_back_as_it_was_sent_however_it_was_cut(pieces: list[bytes], cut: int) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body

    async def main(pool: ConnectionPool) -> None:
        for _ in range(2):
            assert await get(pool, server.url) == (200, b"".join(pieces))
        assert pool.idle == 1

    with raw([whole[start : start + cut] for start in range(0, len(whole), cut)]) as server:
        pooled(main)
