"""A server on loopback that speaks OpenAI's chat API: plain, streamed, tool calls, and every way to fail.

It answers by a rule: ``tool said: RESULT`` if the last messages are tool results; a tool call for each line
``use NAME {json}`` of the last user message, if the request has tools; else the last user message itself. A script
comes before the rule: each behaviour handed to `ChatServer.script` is what one chat request gets, in order of arrival.

    with ChatServer() as server:
        server.script(fail(429, retry_after_s=1), say("hello"))
        ...                       # an OpenAI client with base_url=server.url, in this process or another
        [first, second] = server.requests

A behaviour is a function of a `Reply`; write one's own where those here do not do. Invariant: when the block is left,
every thread has ended, and what went wrong in a behaviour is raised. ``python tests/chat_server.py [PORT]`` is a
process of its own. Only the standard library. Durations in seconds.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chat_wire import Calls, chunks, completion, error_body, last_results, line, text_of
from waiting import PATIENCE_S

__all__ = [
    "Behaviour",
    "ChatRequest",
    "ChatServer",
    "Reply",
    "break_off",
    "fail",
    "fail_in_stream",
    "garble",
    "hang",
    "later",
    "say",
    "trickle",
    "use",
]

_USE = re.compile(r"use (\S+) (\{.*\})\s*")


class ClientGoneError(Exception):
    """The client closed the connection before its answer was complete."""


class _BrokenOff(Exception):
    """The connection is to end here, with half an answer sent."""


@dataclass(eq=False)
class ChatRequest:
    """A request that arrived.

    Attributes:
        method: ``POST`` or ``GET``.
        path: With the query.
        headers: By lower-case name.
        body: Read from JSON; the bytes if it is none.
        disconnected: Set when the client went away before the answer was complete.
        answered: Set when the answer was sent completely, whatever it said.
        port: The client's; tells connections apart.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    disconnected: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def streamed(self) -> bool:
        """Whether the client asked for a stream."""
        return isinstance(self.body, dict) and self.body.get("stream") is True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation; empty if the body has none."""
        return self.body.get("messages", []) if isinstance(self.body, dict) else []


class ChatServer:
    """The server; a context manager that serves from threads of this process.

    Args:
        port: 0 for any free one.
        record: Whether `requests` keeps what arrives; without, memory stays flat.
    """

    def __init__(self, port: int = 0, *, record: bool = True) -> None:
        self.requests: list[ChatRequest] = []
        self._record = record
        self._script: deque[Behaviour] = deque()
        self._changed = threading.Condition()
        self._http = _Http(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.close()
        if error is None and self._http.errors:
            raise ExceptionGroup("behaviours went wrong", self._http.errors)

    def script(self, *behaviours: Behaviour) -> None:
        """Say what the next chat requests get, after what is queued already."""
        with self._changed:
            self._script.extend(behaviours)

    def wait_for(self, count: int, timeout_s: float = PATIENCE_S) -> list[ChatRequest]:
        """Wait until so many requests arrived and return them. Blocks: on trio, call it in a thread.

        Raises:
            TimeoutError: They did not arrive.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.requests) >= count, timeout_s):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived within {timeout_s} s")
            return list(self.requests)

    def arrived(self, request: ChatRequest) -> Behaviour:
        """Record a request and return what it gets."""
        chat = request.path.partition("?")[0] == "/v1/chat/completions" and request.method == "POST"
        with self._changed:
            if self._record:
                self.requests.append(request)
                self._changed.notify_all()
            if chat and isinstance(request.body, dict):
                return self._script.popleft() if self._script else _by_rule
        return _models if request.path == "/v1/models" and request.method == "GET" else _unfit


class _Http(ThreadingHTTPServer):
    """Waits for its threads when it closes, after it ended what they still serve."""

    daemon_threads = False
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], chat: ChatServer) -> None:
        self.chat = chat
        self.closing = False
        self.errors: list[Exception] = []
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, ConnectionError):
            self.errors.append(error)

    def close(self) -> None:
        self.closing = True
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it was closed meanwhile
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection. Answers go out in one write: two small ones would each wait for the client's TCP."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Http

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_GET(self) -> None:
        self._serve(b"")

    def _serve(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = ChatRequest(self.command, self.path, headers, _read(body), port=self.client_address[1])
        behave = self.server.chat.arrived(request)
        try:
            behave(Reply(self, request))
            self.wfile.flush()
            request.answered.set()
        except (ClientGoneError, ConnectionError):
            self.close_connection = True
            if not self.server.closing:
                request.disconnected.set()
        except _BrokenOff:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class Reply:
    """What a behaviour answers with. Every method raises `ClientGoneError` once the client went away."""

    def __init__(self, handler: _Handler, request: ChatRequest) -> None:
        self.request = request
        self._handler = handler

    def send(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: int = 0) -> None:
        """Send a whole answer, or one that lacks its last ``cut`` bytes, after which the connection ends."""
        self._start(status, {"Content-Length": str(len(body)), **headers})
        self._handler.wfile.write(body[: len(body) - cut])
        self._handler.wfile.flush()
        if cut:
            raise _BrokenOff

    def send_json(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer in JSON."""
        self.send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def stream(self, parts: Iterable[bytes], delay_s: float = 0, headers: Mapping[str, str] | None = None) -> None:
        """Send parts as they come, a chunk each, with a delay before each; a part that raises breaks off."""
        kind = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        self._start(200, {**kind, **(headers or {})})
        for part in parts:
            self.wait(delay_s)
            self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            self._handler.wfile.flush()
        self._handler.wfile.write(b"0\r\n\r\n")

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than the client does."""
        end = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._handler.connection, select.POLLIN)
        while True:
            left = end - time.monotonic()
            if poll.poll(max(0.0, min(left, 3600)) * 1000):
                if not self._handler.connection.recv(1, socket.MSG_PEEK):
                    raise ClientGoneError
                time.sleep(max(0.0, min(left, 0.01)))  # it sent its next request already
            if left <= 0:
                return

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()


Behaviour = Callable[[Reply], None]


# What a request may get.


def say(text: str) -> Behaviour:
    """Return text, word by word if a stream is asked for."""
    return lambda reply: _answer(reply, text, ())


def use(*calls: tuple[str, Mapping[str, Any]], text: str = "") -> Behaviour:
    """Ask for tool calls, all in one answer, after some text: ``use(("calculator", {"input": "2 + 2"}), ...)``."""
    return lambda reply: _answer(reply, text, calls)


def trickle(text: str, delay_s: float) -> Behaviour:
    """Return text slowly: the delay is before each chunk of a stream, or before each 16 bytes of a plain answer."""
    return lambda reply: _answer(reply, text, (), delay_s)


def later(delay_s: float, behaviour: Behaviour) -> Behaviour:
    """Wait before the first byte."""

    def behave(reply: Reply) -> None:
        reply.wait(delay_s)
        behaviour(reply)

    return behave


def hang() -> Behaviour:
    """Send nothing, ever; ends when the client goes away or the server closes."""
    return later(1e9, say(""))


def fail(status: int, message: str = "scripted", retry_after_s: float | str | None = None) -> Behaviour:
    """Return an error as the API words it; ``retry_after_s`` may be a date instead."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    body = error_body(message, "rate_limit_error" if status == 429 else "server_error", status)
    return lambda reply: reply.send_json(body, status, headers)


def fail_in_stream(message: str, after: int = 2, text: str = "one two three four") -> Behaviour:
    """Send so many chunks of text, then an error within the stream, which ends it."""

    def parts(reply: Reply) -> Iterator[bytes]:
        yield from list(chunks(reply.request.body, text, ()))[:after]
        yield line(error_body(message, "server_error", 500))

    return lambda reply: reply.stream(parts(reply))


def break_off(after: int = 2, text: str = "one two three four") -> Behaviour:
    """Close the connection: in a stream after so many chunks, in a plain answer before its last 10 bytes."""

    def parts(reply: Reply) -> Iterator[bytes]:
        yield from list(chunks(reply.request.body, text, ()))[:after]
        raise _BrokenOff

    def behave(reply: Reply) -> None:
        if reply.request.streamed:
            reply.stream(parts(reply))
        body = json.dumps(completion(reply.request.body, text, ())).encode()
        reply.send(200, body, {"Content-Type": "application/json"}, cut=10)

    return behave


def garble(body: str = '{"choices": [{"message": ') -> Behaviour:
    """Return what is no JSON, or JSON of no completion; in a stream as its second chunk."""

    def behave(reply: Reply) -> None:
        if reply.request.streamed:
            first = next(chunks(reply.request.body, "one", ()))
            reply.stream([first, b"data: " + body.encode() + b"\n\n", b"data: [DONE]\n\n"])
        else:
            reply.send(200, body.encode(), {"Content-Type": "application/json"})

    return behave


def _by_rule(reply: Reply) -> None:
    messages = reply.request.messages
    results = last_results(messages)
    asked = next((text_of(each) for each in reversed(messages) if each.get("role") == "user"), "")
    if results:
        return _answer(reply, f"tool said: {', '.join(results)}", ())
    calls: list[tuple[str, Mapping[str, Any]]] = []
    if reply.request.body.get("tools"):
        matches = (_USE.fullmatch(line) for line in asked.splitlines())
        calls = [(match[1], json.loads(match[2])) for match in matches if match]
    return _answer(reply, "" if calls else asked, calls)


def _models(reply: Reply) -> None:
    reply.send_json({"object": "list", "data": [{"id": name, "object": "model"} for name in ("echo", "other")]})


def _unfit(reply: Reply) -> None:
    message = f"Neither a chat with a JSON body nor the models: {reply.request.method} {reply.request.path}"
    reply.send_json(error_body(message, "invalid_request_error", 404), 404)


def _answer(reply: Reply, text: str, calls: Calls, delay_s: float = 0) -> None:
    if reply.request.streamed:
        return reply.stream(chunks(reply.request.body, text, calls), delay_s)
    body = completion(reply.request.body, text, calls)
    if not delay_s:
        return reply.send_json(body)
    data = json.dumps(body).encode()
    pieces = (data[start : start + 16] for start in range(0, len(data), 16))
    return reply.stream(pieces, delay_s, {"Content-Type": "application/json"})


def _read(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _main(arguments: Sequence[str]) -> None:
    with ChatServer(int(arguments[0]) if arguments else 0, record=False) as server:
        print(server.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    _main(sys.argv[1:])
