"""What OpenAI's chat interface is sent: a request as JSON.

Invariant: an option can add to a request, and never say which model is asked, what the conversation is, or how the
answer comes. Source: the API reference of OpenAI, "chat completions".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from llmspell_hookspecs import InvalidInputError, Message, ModelRequest, ToolSpec, ToolUse

__all__ = ["chat_messages", "chat_tools", "encode_request"]

_OWN: Final = frozenset({"model", "messages", "tools", "stream", "n"})
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_NO_PARAMETERS: Final = {"type": "object", "properties": {}}


def encode_request(model: str, request: ModelRequest, *, stream: bool, limit_name: str = "max_tokens") -> bytes:
    """Answer the request as it is sent.

    Args:
        model: As the service names it.
        request: What is asked.
        stream: Whether the answer is to come in pieces.
        limit_name: What the service calls the limit of the answer's tokens.

    Raises:
        InvalidInputError: An option says what only the request may, or something cannot be written as JSON.
    """
    body: dict[str, Any] = {"model": model, "messages": chat_messages(request.messages)}
    if request.tools:
        body["tools"] = chat_tools(request.tools)
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.max_tokens is not None and not any(name in request.options for name in _LIMITS):
        body[limit_name] = request.max_tokens
    if request.stop:
        body["stop"] = request.stop
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    for name, value in request.options.items():
        if name in _OWN:
            message = f"model:{request.model}: options.{name}: only the request itself says this; take it out"
            raise InvalidInputError(message, field=f"options.{name}")
        body[name] = value
    return _encoded({name: value for name, value in body.items() if value is not None}, request)


def chat_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Answer the conversation as the interface has it."""
    return [_message(message) for message in messages]


def chat_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """Answer the tools as the interface has them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema or _NO_PARAMETERS,
            },
        }
        for tool in tools
    ]


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_use_id, "content": message.content}
    if message.tool_uses:
        uses = [_use(use) for use in message.tool_uses]
        return {"role": message.role, "content": message.content or None, "tool_calls": uses}
    return {"role": message.role, "content": message.content}


def _use(use: ToolUse) -> dict[str, Any]:
    arguments = msgspec.json.encode(use.parameters, enc_hook=_plain).decode()
    return {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": arguments}}


def _encoded(body: Mapping[str, Any], request: ModelRequest) -> bytes:
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"model:{request.model}: the request cannot be written as JSON ({error}); use plain values"
        raise InvalidInputError(message, field="options") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (MappingProxyType, Mapping)):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")
