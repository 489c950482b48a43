"""Answers of models, whole and streamed, to both providers that speak HTTP, from a socket on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Message, ModelChunk, ModelRequest
from llmspell_hookspecs.model import ToolSpec
from llmspell_testing.provider_quirks import QUIRKS

from .mutation import Mutation
from .oracle import Case, Watch, faults_of_message

__all__ = ["Answer", "make", "run"]

_TOOL: Final = ToolSpec("calculator", "Adds.", {"type": "object", "properties": {"input": {"type": "string"}}})
_ANSWER: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "hello",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "calculator", "arguments": '{"input": "1"}'}}
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
_CHUNK: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": None,
            "delta": {
                "content": "he",
                "tool_calls": [{"index": 0, "id": "c1", "function": {"name": "calculator", "arguments": "{}"}}],
            },
        }
    ],
}
_HEADERS: Final = (
    b"Content-Encoding: gzip",
    b"Transfer-Encoding: chunked",
    b"Retry-After: nan",
    b"Location: http://[",
    b"X: \xff",
)


@dataclass(frozen=True)
class Answer:
    """What the socket sends, and to what question.

    Attributes:
        provider: Which of the providers asks.
        streams: Whether it asks for a stream.
        data: Everything behind the question: status line, headers and body.
    """

    provider: str
    streams: bool
    data: bytes


def make(draw: Mutation) -> Answer:
    """Return an answer."""
    streams = draw.random.random() < 0.5
    body = draw.some((3, lambda: _quirk(draw)), (4, lambda: _stream(draw) if streams else _whole(draw)))
    status = draw.random.choice([*[200] * 20, 201, 204, 301, 400, 404, 429, 500, 503, 999, 0])
    kind = draw.random.choice([b"application/json", b"text/event-stream", b"text/html; charset=utf-7", b"", b"\xff"])
    if draw.random.random() < 0.8:
        kind = b"text/event-stream" if streams else b"application/json"
    lines = [b"HTTP/1.1 %d OK" % status, b"Content-Type: " + kind, b"Connection: close"]
    if draw.random.random() < 0.6:
        lines.append(b"Content-Length: %d" % (len(body) + draw.random.choice([0, 0, 0, 0, -3, 7])))
    if draw.random.random() < 0.1:
        lines.append(draw.random.choice(_HEADERS))
    head = b"\r\n".join(lines) + b"\r\n\r\n"
    if draw.random.random() < 0.05:
        head = draw.bytes(head)
    provider = "direct" if draw.random.random() < 0.7 else "through_litellm"
    return Answer(provider, streams, head + body)


def run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    """Ask each provider, and be answered so."""
    trio.run(_run, cases, watch, project)


async def _run(cases: Iterable[Case], watch: Watch, project: Path) -> None:
    waiting: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            try:
                await _read_question(stream)
                await stream.send_all(waiting[-1])
                await stream.send_eof()
            except (trio.BrokenResourceError, OSError):
                return  # it has read enough

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
        loaded = load_settings(_settings(url), cwd=project)
        async with Host.open(loaded, discover=False) as host:
            for case in cases:
                assert isinstance(case.value, Answer)
                waiting[:] = [case.value.data]
                with watch.trying(case):
                    await _ask(host, case, watch)
        nursery.cancel_scope.cancel()


async def _ask(host: Host, case: Case, watch: Watch) -> None:
    answer: Any = case.value
    chunks: list[str] = []

    async def sink(chunk: ModelChunk) -> None:
        chunks.append(chunk.text)

    if case.number % 4 == 0:
        agent = await host.agents.create(name=f"a{case.number}", model=f"{answer.provider}/m", tools=["calculator"])
        try:
            await agent.run("hello")
        finally:
            await agent.close()
        return
    request = ModelRequest(f"{answer.provider}/m", (Message("user", "hello"),), tools=(_TOOL,))
    response = await host.models.complete(request, sink=sink if answer.streams else None)
    if answer.streams and "".join(chunks) != response.text:
        watch.complain(case, f"chunks say {''.join(chunks)!r}, the answer {response.text!r}")
    for use in response.tool_uses:
        if not isinstance(use.name, str) or not isinstance(use.id, str):
            watch.complain(case, f"a call without a name or id: {use!r}")
    for problem in host.problems:
        for fault in faults_of_message(str(problem)):
            watch.complain(case, f"problem: {fault}")


def _settings(url: str) -> dict[str, Any]:
    return {
        "plugins": {"disabled": ["model_retry"]},
        "agents": {"steps": 3},
        "limits": {"operation_time_s": 30},
        "security": {"hosts": {"allowed": ["127.0.0.1"], "private": ["127.0.0.1"]}},
        "storage": {"backend": "memory"},
        "providers": {
            "direct": {"type": "openai_compatible", "base_url": url, "api_key": "k"},
            "through_litellm": {"type": "litellm", "service": "openai", "base_url": url, "api_key": "k"},
        },
    }


def _quirk(draw: Mutation) -> bytes:
    return draw.bytes(draw.random.choice(QUIRKS).body)


def _whole(draw: Mutation) -> bytes:
    value: Any = _ANSWER
    for _ in range(draw.random.randint(1, 3)):
        value = draw.leaf(value) if draw.random.random() < 0.7 else draw.value(value)
    return _json(value)


def _stream(draw: Mutation) -> bytes:
    lines = [
        b"data: " + _json(draw.leaf(_CHUNK) if draw.random.random() < 0.7 else draw.value(_CHUNK)) + b"\n\n"
        for _ in range(draw.random.randint(1, 4))
    ]
    lines.append(draw.random.choice([b"data: [DONE]\n\n", b"data: [DONE]", b"", b"data:\n\n", b": x\n\ndata: {}\n\n"]))
    data = b"".join(lines)
    return draw.bytes(data, most=1) if draw.random.random() < 0.2 else data


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, default=repr).encode()
    except (RecursionError, ValueError, TypeError):
        return b"[" * 20_000


async def _read_question(stream: trio.SocketStream) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await _more(stream)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < length:
        body += await _more(stream)


async def _more(stream: trio.SocketStream) -> bytes:
    data = bytes(await stream.receive_some())
    if not data:
        raise trio.BrokenResourceError("the question ended")
    return data
