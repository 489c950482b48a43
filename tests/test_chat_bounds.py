"""The openai_compatible provider and answers that no model gives: held to bounds, and nobody waits for them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kernel import opened, run
from llmspell_hookspecs import Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ProviderError
from llmspell_testing import loop_steps
from test_network_pool import raw


def _completion(**message: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"message": message}]})


def _use(arguments: str) -> dict[str, Any]:
    return {"id": "a", "function": {"name": "look", "arguments": arguments}}


def _as_events(*pieces: Any) -> bytes:
    body = b"".join(b"data: " + msgspec.json.encode({"choices": [{"delta": piece}]}) + b"\n\n" for piece in pieces)
    return body + b'data: {"choices": [{"finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'


def raw_answer(kind: str, body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


JSON, EVENTS = "application/json", "text/event-stream"
HUGE = "[" + "{}," * 1_000_000 + "{}]"
MANY = [_use("{}")] * 2000


async def _ignore(chunk: ModelChunk) -> None:
    """Take a chunk."""


def ask_raw(answer: bytes, *, stream: bool) -> tuple[ModelResponse, float]:
    """Ask a server that answers with these bytes; returns also what the longest step of the loop cost."""

    async def main() -> tuple[ModelResponse | ProviderError, float]:
        settings = {"providers": {"local": {"type": "openai_compatible", "base_url": server.url.removesuffix("/x")}}}
        async with opened(settings=settings) as host:
            request = ModelRequest("local/m", (Message("user", "hello"),))
            got: ModelResponse | ProviderError
            with loop_steps() as steps:
                try:
                    got = await host.models.complete(request, sink=_ignore if stream else None)
                except ProviderError as error:
                    got = error
        return got, steps.longest_s

    with raw(answer) as server:
        got, held_s = run(main)
    if isinstance(got, ProviderError):
        raise got
    return got, held_s


@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (raw_answer(JSON, _completion(tool_calls=[_use(HUGE)])), False),
        (raw_answer(EVENTS, _as_events({"tool_calls": [{"index": 0, **_use(HUGE)}]})), True),
    ],
)
def test_parameters_that_are_far_too_long_are_told_to_the_model_and_hold_nobody(answer: bytes, stream: bool) -> None:
    response, held_s = ask_raw(answer, stream=stream)

    assert response.tool_uses[0].parameters == {}
    assert "longer than" in response.tool_uses[0].problem
    assert held_s < 0.2


@pytest.mark.parametrize(
    ("answer", "stream", "told"),
    [
        (raw_answer(JSON, _completion(tool_calls=MANY)), False, "more than 1024 tools"),
        (
            raw_answer(EVENTS, _as_events(*[{"tool_calls": [{"index": n, **MANY[n]}]} for n in range(1100)])),
            True,
            "1024",
        ),
        (raw_answer(EVENTS, b"data: 0,\n" * 600_000), True, "an event of its stream is longer than"),
        (raw_answer(EVENTS, b"x" * 5_000_000), True, "a line of its stream is longer than"),
        (raw_answer(JSON, b'{"error":' + b"[" * 50_000, "500 Sorry"), False, "answered 500"),
    ],
)
def test_an_answer_that_no_model_gives_is_an_error_in_one_line(answer: bytes, stream: bool, told: str) -> None:
    with pytest.raises(ProviderError, match=told) as caught:
        ask_raw(answer, stream=stream)

    assert "\n" not in str(caught.value)


def test_empty_events_and_comments_between_the_pieces_are_passed_over() -> None:
    body = b": still there\n\ndata:\n\n" * 100 + _as_events({"content": "hel"}, {"content": "lo"})

    response, _ = ask_raw(raw_answer(EVENTS, body), stream=True)

    assert response.text == "hello"
