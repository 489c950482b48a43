"""The wire of OpenAI's chat API, as its server writes it: completions, the lines of a stream, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Calls", "chunks", "completion", "error_body", "last_results", "line", "text_of"]

Calls = Sequence[tuple[str, Mapping[str, Any]]]


def completion(body: Mapping[str, Any], text: str, calls: Calls) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for number, (name, arguments) in enumerate(calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
    return {**_envelope(body, "chat.completion"), "choices": [choice], "usage": _usage(body, text, calls)}


def chunks(body: Mapping[str, Any], text: str, calls: Calls) -> Iterator[bytes]:
    """Return the lines of a stream: the role, each word, each call in pieces, the reason, the usage if asked for."""
    envelope = _envelope(body, "chat.completion.chunk")

    def chunk(delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        return line({**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    yield chunk({"role": "assistant", "content": ""})
    for word in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text):
        yield chunk({"content": word})
    for index, (name, arguments) in enumerate(calls):
        function: dict[str, Any] = {"name": name, "arguments": ""}
        call = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        yield chunk({"tool_calls": [call]})
        for piece in re.findall(r"(?s).{1,8}", json.dumps(arguments)):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, "tool_calls" if calls else "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        yield line({**envelope, "choices": [], "usage": _usage(body, text, calls)})
    yield b"data: [DONE]\n\n"


def _envelope(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body.get("model", "echo")}


def _usage(body: Mapping[str, Any], text: str, calls: Calls) -> dict[str, int]:
    """Return counts of words, which are the same each time."""
    prompt = sum(len(text_of(message).split()) for message in body.get("messages", []))
    completion = len(text.split()) + sum(1 + len(arguments) for _, arguments in calls)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def last_results(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.insert(0, text_of(message))
    return results


def text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def error_body(message: str, kind: str, status: int) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def line(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
