"""A server on loopback that answers each request with bytes that it was given, for tests of what asks over HTTP.

Invariant: when the block is left its thread has ended.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["CannedServer"]


class _Server(ThreadingHTTPServer):
    """Says nothing of a client that went away; of other failures it says what they are."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class CannedServer:
    """Serves from a thread; a context manager.

    Args:
        answers: Status, content type and body of each, in turn; the last one stands for those that follow.

    Attributes:
        url: Where it is, as a base URL.
        requests: The bodies that came, read from JSON.
    """

    def __init__(self, *answers: tuple[int, str, bytes]) -> None:
        self.requests: list[Any] = []
        self._answers = deque(answers)
        self._http = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def say(self, *answers: tuple[int, str, bytes]) -> None:
        """Return these from now on."""
        self._answers = deque(answers)

    def _next(self) -> tuple[int, str, bytes]:
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """One connection, which ends with its answer."""

            def do_POST(self) -> None:
                """Keep the request, and send the next answer."""
                with suppress(ValueError):  # of JSON only: what else is sent is answered, and not kept
                    outer.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, kind, body = outer._next()
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", str(len(body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        return Handler
