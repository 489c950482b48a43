"""Connections to servers that settings name: dialled by address, and cut from another thread."""

from __future__ import annotations

import socket
import threading

import pytest

from llmspell_plugins.tools.server import Line, Server, dial


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_the_first_address_that_answers_is_dialled(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    with listener, dial(Server("mail.example", port, ("127.0.0.2", "127.0.0.1")), 30) as dialled:
        assert dialled.getpeername() == ("127.0.0.1", port)


def test_the_last_failure_is_told_if_none_answers(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()

    with pytest.raises(ConnectionRefusedError):
        dial(Server("mail.example", port, ("127.0.0.2", "127.0.0.1")), 30)
    with pytest.raises(OSError, match="it has no address"):
        dial(Server("mail.example", port, ()), 30)


def test_a_line_that_is_cut_ends_who_waits_on_it(listener: socket.socket) -> None:
    line = Line(Server("mail.example", listener.getsockname()[1], ("127.0.0.1",)))
    got: list[bytes] = []

    with listener, line.dial(30) as dialled:
        waiting = threading.Thread(target=lambda: got.append(dialled.recv(1)))
        waiting.start()
        line.cut()
        waiting.join()
    line.close()

    assert got == [b""]


def test_a_line_that_was_cut_is_dialled_and_ends_at_once(listener: socket.socket) -> None:
    line = Line(Server("mail.example", listener.getsockname()[1], ("127.0.0.1",)))
    line.cut()

    with listener, line.dial(30) as dialled:
        got = dialled.recv(1)
    line.close()

    assert got == b""
