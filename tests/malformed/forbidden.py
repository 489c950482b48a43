"""A listener that no tool may reach: it is asked whether one did."""

from __future__ import annotations

import socket
from typing import Self

__all__ = ["Forbidden"]


class Forbidden:
    """Listens on an address of this machine that the rules do not name; a context manager.

    Attributes:
        url: Where.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.2", 0))
        self._socket.setblocking(False)
        self.url = f"http://127.0.0.2:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def reached(self) -> bool:
        """Return whether somebody has connected since it was asked last; the kernel has taken the connection."""
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True
