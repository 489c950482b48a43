"""What servers with OpenAI's chat interface make of it: recorded answers, one a quirk, in our own words.

Each is the wire format of the server that it names, reduced to what is odd about it. Invariant: a fixture says what a
provider is to make of it: an answer, or an error with its code and whether asking again may help.
It is longer than most because it is a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

__all__ = ["QUIRKS", "Quirk"]


class Quirk(Struct, frozen=True):
    """One answer of a server's, and what it means.

    Attributes:
        name: For people, and for the test's id.
        server: Whose quirk it is.
        body: What it sends.
        kind: The answer's content type.
        status: Of the answer.
        streams: Whether a stream is asked for.
        text: What the model says.
        uses: The tools that it asks for, each with its parameters; None for parameters that cannot be read.
        reason: Why it stopped.
        tokens: What the call used, input and output; None if it is not told.
        code: Of the error, if it is one.
        retryable: Whether asking again may help.
        words: What the error quotes.
    """

    name: str
    server: str
    body: bytes
    kind: str = "application/json"
    status: int = 200
    streams: bool = False
    text: str = ""
    uses: tuple[tuple[str, Mapping[str, Any] | None], ...] = ()
    reason: str = "stop"
    tokens: tuple[int, int] | None = None
    code: str = ""
    retryable: bool = False
    words: str = ""

    @property
    def id(self) -> str:
        """Server and name, as one word."""
        return f"{self.server}: {self.name}".lower().replace(" ", "_")


def _use(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def _whole(message: Any, reason: Any = "stop", **more: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **more}).encode()


def _chunk(delta: Any, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def _events(*values: Any, done: bytes = b"data: [DONE]\n\n", end: bytes = b"\n\n") -> bytes:
    lines = [value if isinstance(value, bytes) else b"data: " + json.dumps(value).encode() + end for value in values]
    return b"".join(lines) + done


def _streamed(name: str, server: str, body: bytes, **more: Any) -> Quirk:
    return Quirk(name, server, body, kind="text/event-stream", streams=True, **more)


def _pieces(name: str, server: str, *uses: Mapping[str, Any], **more: Any) -> Quirk:
    values = [_chunk({"tool_calls": [use]}) for use in uses]
    return _streamed(name, server, _events(*values, _chunk({}, "tool_calls")), reason="tool_use", **more)


_SUM, _ANOTHER = {"input": "1 + 1"}, {"input": "2 + 2"}
_ONE, _TWO = json.dumps(_SUM), json.dumps(_ANOTHER)
_BOTH: Final = (("calculator", _SUM), ("calculator", _ANOTHER))
_HI: Final = _chunk({"content": "hi"})
_END: Final = _chunk({}, "stop")

QUIRKS: Final = (
    # Ollama
    _pieces(
        "every call of a stream has the index 0, and an id of its own",
        "Ollama",
        _use("calculator", _ONE, index=0, id="call_a"),
        _use("calculator", _TWO, index=0, id="call_b"),
        uses=_BOTH,
    ),
    Quirk(
        "parameters are an object, and calls have no id",
        "Ollama",
        _whole({"content": "", "tool_calls": [_use("calculator", _SUM), _use("calculator", _ANOTHER)]}, "stop"),
        uses=_BOTH,
        reason="tool_use",
    ),
    Quirk(
        "a model that is not there is told at the top, as a text",
        "Ollama",
        b'{"error": "model \\"nope\\" not found, try pulling it first"}',
        status=404,
        code="invalid_request",
        words="try pulling it first",
    ),
    _streamed(
        "an error within a stream is a text under error",
        "Ollama",
        _events(_HI, {"error": "an internal error occurred"}, done=b""),
        code="unavailable",
        retryable=True,
        words="an internal error occurred",
    ),
    # vLLM
    _streamed(
        "an error within a stream stands at the top, with a number for its code",
        "vLLM",
        _events(
            {"object": "error", "message": "maximum context length is 4096", "type": "BadRequestError", "code": 400}
        ),
        code="invalid_request",
        words="maximum context length is 4096",
    ),
    _pieces(
        "each piece of a call has another id",
        "vLLM",
        _use("calculator", '{"input": ', index=0, id="chatcmpl-tool-1"),
        {"index": 0, "id": "chatcmpl-tool-2", "function": {"arguments": '"1 + 1"}'}},
        uses=(("calculator", _SUM),),
    ),
    _streamed(
        "usage comes in each chunk, and the last one's choices are none",
        "vLLM",
        _events(
            _chunk({"role": "assistant", "content": ""}, usage={"prompt_tokens": 3, "completion_tokens": 0}),
            _chunk({"content": "hi"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
            _chunk({}, "stop", usage=None),
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}},
        ),
        text="hi",
        tokens=(3, 2),
    ),
    Quirk(
        "fields of its own are null, and tool_calls is empty",
        "vLLM",
        _whole(
            {"content": "hi", "tool_calls": [], "reasoning_content": None, "audio": None}, "stop", prompt_logprobs=None
        ),
        text="hi",
    ),
    # llama.cpp
    Quirk(
        "a question that is too long is a server's error",
        "llama.cpp",
        b'{"error": {"code": 500, "message": "it exceeds the available context size", "type": "server_error"}}',
        status=500,
        code="invalid_request",
        words="context size",
    ),
    Quirk(
        "the model is still being loaded",
        "llama.cpp",
        b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}',
        status=503,
        code="unavailable",
        retryable=True,
        words="Loading model",
    ),
    _streamed(
        "the stream ends without the empty line behind it",
        "llama.cpp",
        _events(_HI, _END, done=b"data: [DONE]"),
        text="hi",
    ),
    _streamed(
        "an error within a stream has the field error in place of data",
        "llama.cpp",
        _events(
            b'data: {"error": {"code": 400, "message": "invalid grammar", "type": "invalid_request_error"}}\n\n',
            done=b"",
        ),
        code="invalid_request",
        words="invalid grammar",
    ),
    # LM Studio
    _streamed(
        "an error is an event of that name",
        "LM Studio",
        _events(b'event: error\ndata: {"error": {"message": "Model unloaded."}}\n\n', done=b""),
        code="unavailable",
        retryable=True,
        words="Model unloaded.",
    ),
    _streamed(
        "the stream says that it is done, and never why",
        "LM Studio",
        _events(_HI),
        text="hi",
    ),
    _pieces(
        "name and id come again with each piece",
        "LM Studio",
        _use("calculator", '{"input": ', index=0, id="1"),
        _use("calculator", '"1 + 1"}', index=0, id="1"),
        uses=(("calculator", _SUM),),
    ),
    # OpenRouter
    _streamed(
        "comments keep the connection open",
        "OpenRouter",
        _events(b": OPENROUTER PROCESSING\n\n" * 3, _HI, b": OPENROUTER PROCESSING\n\n", _END),
        text="hi",
    ),
    _streamed(
        "an error within a stream stands beside choices that end with error",
        "OpenRouter",
        _events(_HI, {**_chunk({"content": ""}, "error"), "error": {"code": 502, "message": "Provider disconnected"}}),
        code="unavailable",
        retryable=True,
        words="Provider disconnected",
    ),
    Quirk(
        "an error in an answer that is 200, with what its own provider said",
        "OpenRouter",
        json.dumps(
            {
                "error": {
                    "code": 429,
                    "message": "Provider returned error",
                    "metadata": {"raw": "model is rate-limited upstream"},
                }
            }
        ).encode(),
        code="rate_limited",
        retryable=True,
        words="rate-limited upstream",
    ),
    Quirk(
        "an error in one of the choices",
        "OpenRouter",
        json.dumps({"choices": [{"error": {"code": 403, "message": "moderated"}, "finish_reason": "error"}]}).encode(),
        code="authentication",
        words="moderated",
    ),
    Quirk(
        "no credits are left",
        "OpenRouter",
        b'{"error": {"code": 402, "message": "Insufficient credits. Add more."}}',
        status=402,
        code="rate_limited",
        words="Insufficient credits",
    ),
    # Azure
    _streamed(
        "the first chunk has no choices but what its filter found",
        "Azure",
        _events({"choices": [], "model": "", "id": "", "prompt_filter_results": [{"prompt_index": 0}]}, _HI, _END),
        text="hi",
    ),
    Quirk(
        "a question that its filter refuses",
        "Azure",
        json.dumps(
            {
                "error": {
                    "code": "content_filter",
                    "message": "The response was filtered",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            }
        ).encode(),
        status=400,
        code="invalid_request",
        words="filtered",
    ),
    Quirk(
        "an answer that its filter cut off has no message",
        "Azure",
        json.dumps({"choices": [{"index": 0, "finish_reason": "content_filter", "message": None}]}).encode(),
        reason="content_filter",
    ),
    # Groq
    Quirk(
        "a call that the model wrote wrongly is refused, and may come out right the next time",
        "Groq",
        json.dumps(
            {
                "error": {
                    "message": "Failed to call a function. See failed_generation.",
                    "type": "invalid_request_error",
                    "code": "tool_use_failed",
                }
            }
        ).encode(),
        status=400,
        code="invalid_request",
        words="Failed to call a function",
    ),
    _streamed(
        "usage is in a field of its own, and null in usage",
        "Groq",
        _events(_HI, _chunk({}, "stop", usage=None, x_groq={"id": "req_1", "usage": {"prompt_tokens": 3}})),
        text="hi",
    ),
    # DeepSeek
    Quirk(
        "what it thinks stands beside what it says",
        "DeepSeek",
        _whole({"content": "hi", "reasoning_content": "they greet me"}),
        text="hi",
    ),
    _streamed(
        "it gives up when it is busy, and says so as its reason",
        "DeepSeek",
        _events(_HI, _chunk({}, "insufficient_system_resource")),
        code="unavailable",
        retryable=True,
        words="insufficient_system_resource",
    ),
    Quirk(
        "the account is empty",
        "DeepSeek",
        b'{"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}}',
        status=402,
        code="rate_limited",
        words="Insufficient Balance",
    ),
    Quirk(
        "empty lines come before the answer while one waits",
        "DeepSeek",
        b"\n\n\n" + _whole({"content": "hi"}),
        text="hi",
    ),
    # Gemini
    Quirk(
        "an error is the only item of a list",
        "Gemini",
        b'[{"error": {"code": 400, "message": "Please use a valid role", "status": "INVALID_ARGUMENT"}}]',
        status=400,
        code="invalid_request",
        words="valid role",
    ),
    Quirk(
        "reasons are in capitals",
        "Gemini",
        _whole({"content": "h"}, "MAX_TOKENS"),
        text="h",
        reason="length",
    ),
    _pieces(
        "calls have no index, and an id that is empty",
        "Gemini",
        _use("calculator", _ONE, id="", extra_content={"google": {"thought_signature": "c2ln"}}),
        _use("calculator", _TWO, id=""),
        uses=_BOTH,
    ),
    Quirk(
        "it asked for a tool in a way that nobody understands",
        "Gemini",
        _whole({"content": None}, "MALFORMED_FUNCTION_CALL"),
        code="unavailable",
        retryable=True,
        words="MALFORMED_FUNCTION_CALL",
    ),
    # Mistral
    Quirk(
        "content comes in parts, what it thinks among them",
        "Mistral",
        _whole(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "they greet me"}]},
                    {"type": "text", "text": "hi"},
                ]
            }
        ),
        text="hi",
    ),
    Quirk(
        "the limit of the model is a reason of its own",
        "Mistral",
        _whole({"content": "h"}, "model_length"),
        text="h",
        reason="length",
    ),
    Quirk(
        "a wrong request is told in a list of fields",
        "Mistral",
        b'{"object": "error", "message": {"detail": [{"loc": ["body"], "msg": "Field required"}]}, "type": "invalid"}',
        status=422,
        code="invalid_request",
        words="Field required",
    ),
    # OpenAI
    Quirk(
        "the quota is used up, which is 429 too",
        "OpenAI",
        b'{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}',
        status=429,
        code="rate_limited",
        words="current quota",
    ),
    Quirk(
        "a function is called as it was before there were tools",
        "OpenAI",
        _whole({"content": None, "function_call": {"name": "calculator", "arguments": _ONE}}, "function_call"),
        uses=(("calculator", _SUM),),
        reason="tool_use",
    ),
    Quirk(
        "it refuses, in a field of its own",
        "OpenAI",
        _whole({"content": None, "refusal": "I cannot help with that."}),
        text="I cannot help with that.",
    ),
    Quirk(
        "a call is cut off by the limit of the answer",
        "OpenAI",
        _whole({"content": None, "tool_calls": [_use("calculator", '{"input": "1', id="c")]}, "length"),
        uses=(("calculator", None),),
        reason="length",
    ),
    # Gateways and proxies between
    Quirk(
        "it streams although a whole answer was asked for",
        "a gateway",
        _events(_HI, _END),
        kind="text/event-stream",
        text="hi",
    ),
    _streamed(
        "lines end in CR LF, and events have names and ids",
        "a gateway",
        _events(
            b"id: 1\r\nevent: message\r\n",
            _HI,
            b"retry: 10\r\n\r\n",
            _END,
            end=b"\r\n\r\n",
            done=b"data:[DONE]\r\n\r\n",
        ),
        text="hi",
    ),
    _streamed(
        "a value is written over several lines",
        "a gateway",
        _events(b'data: {"choices": [{"delta":\ndata: {"content": "hi"}}]}\n\n', _END),
        text="hi",
    ),
    _streamed(
        "no empty lines part the events",
        "a gateway",
        _events(_HI, _END, end=b"\n", done=b"data: [DONE]\n"),
        text="hi",
    ),
    _streamed("it begins with a byte-order mark", "a gateway", b"\xef\xbb\xbf" + _events(_HI, _END), text="hi"),
    Quirk("a byte-order mark", "a gateway", b"\xef\xbb\xbf" + _whole({"content": "hi"}), text="hi"),
    Quirk("half of a letter", "a gateway", _whole({"content": "h\ud835i"}), text="h\ufffdi"),
    _streamed(
        "a letter is parted between two chunks",
        "a gateway",
        _events(_chunk({"content": "a\ud83d"}), _chunk({"content": "\ude00b"}), _END),
        text="a\U0001f600b",
    ),
    Quirk(
        "numbers are texts, and lists of one are objects",
        "a gateway",
        json.dumps(
            {
                "choices": {
                    "index": "0",
                    "message": {"content": {"type": "text", "text": "hi"}, "tool_calls": None},
                    "finish_reason": ["stop"],
                },
                "usage": {"prompt_tokens": "3", "completion_tokens": 1.0},
                "id": 7,
                "model": None,
            }
        ).encode(),
        text="hi",
        tokens=(3, 1),
    ),
    Quirk(
        "an error is a bare word",
        "a gateway",
        b'"Rate limit exceeded"',
        code="rate_limited",
        retryable=True,
        words="Rate",
    ),
    Quirk(
        "an error's code is a text",
        "a gateway",
        b'{"error": {"code": "429", "message": "slow down"}}',
        code="rate_limited",
        retryable=True,
        words="slow down",
    ),
    Quirk(
        "a page for people",
        "a gateway",
        b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        kind="text/html",
        code="protocol",
    ),
    Quirk(
        "a page for people, when it is down",
        "a gateway",
        b"<html><head><title>502 Bad Gateway</title></head></html>",
        kind="text/html",
        status=502,
        code="unavailable",
        retryable=True,
        words="502 Bad Gateway",
    ),
    Quirk("nobody may", "a gateway", b'{"message": "Forbidden"}', status=403, code="authentication", words="Forbidden"),
)
