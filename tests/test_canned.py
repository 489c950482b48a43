"""The server of canned answers, which the testing kit offers."""

from __future__ import annotations

import socket
import struct

import pytest

from llmspell_testing.canned import CannedServer


def test_a_client_that_goes_away_is_no_news(capfd: pytest.CaptureFixture[str]) -> None:
    with CannedServer((200, "text/plain", b"x" * 10_000_000)) as server:
        port = int(server.url.rsplit(":", 1)[1].removesuffix("/v1"))
        for request in (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", b"POST / HT"):
            client = socket.create_connection(("127.0.0.1", port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
            client.sendall(request)
            if request.endswith(b"{}"):
                client.recv(1)
            client.close()

    assert capfd.readouterr().err == ""
