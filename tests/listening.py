"""A listener that nobody may reach: it counts who does."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

__all__ = ["Listener"]


class Listener:
    """Accepts connections and says nothing; a context manager.

    Args:
        address: Of this machine.
        answer: What it sends to each, once it has said something; nothing if empty.

    Attributes:
        port: Where it listens.
        count: How many connections came.
    """

    def __init__(self, address: str = "127.0.0.2", answer: bytes = b"") -> None:
        self.address = address
        self.count = 0
        self._answer = answer
        self._socket = socket.create_server((address, 0))
        self._socket.settimeout(0.05)
        self.port: int = self._socket.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept)

    @property
    def place(self) -> str:
        """Host and port."""
        return f"{self.address}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _accept(self) -> None:
        last = False
        while not last:
            last = self._ended.is_set()  # who came before the end is still counted
            with suppress(TimeoutError, ConnectionError):
                connection, _ = self._socket.accept()
                self.count += 1
                with connection:
                    connection.settimeout(1)
                    if self._answer and connection.recv(65536):
                        connection.sendall(self._answer)
