"""What OpenAI's chat interface is sent: a request as JSON.

Invariant: an option can add to a request, and never say which model is asked, what the conversation is, or how the
answer comes; what a model wanted back goes back to that model only. Source: the API reference of OpenAI, "chat
completions".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from llmspell_hookspecs import InvalidInputError, Message, ModelRequest
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.model import ToolSpec, ToolUse
from llmspell_hookspecs.values import thaw
from llmspell_plugins.json_text import sound

from .chat_names import ToolNames, object_schema

__all__ = ["chat_messages", "chat_tools", "chosen_tool", "encode_request"]

_OWN: Final = frozenset({"model", "messages", "tools", "stream", "n"})
_LIMITS: Final = ("max_tokens", "max_completion_tokens")


def encode_request(
    model: str, request: ModelRequest, names: ToolNames, *, stream: bool, limit_name: str = "max_tokens"
) -> bytes:
    """Return the request as it is sent.

    Args:
        model: As the service names it.
        request: What is asked.
        names: The tools' names there.
        stream: Whether the answer is to come in pieces.
        limit_name: What the service calls the limit of the answer's tokens.

    Raises:
        InvalidInputError: An option says what only the request may, or something cannot be written as JSON.
    """
    body: dict[str, Any] = {"model": model, "messages": chat_messages(request, names)}
    if request.tools:
        body["tools"] = chat_tools(request.tools, names)
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
        body[name] = chosen_tool(value, names) if name == "tool_choice" else value
    return _encoded({name: value for name, value in body.items() if value is not None}, request)


def chat_messages(request: ModelRequest, names: ToolNames) -> list[dict[str, Any]]:
    """Return the conversation as the interface has it."""
    return [_message(message, request.model, names) for message in request.messages]


def chosen_tool(choice: Any, names: ToolNames) -> Any:
    """Return a choice of a tool with the name that the service knows."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return choice
    return {**choice, "function": {**function, "name": names.sent(function["name"])}}


def chat_tools(tools: tuple[ToolSpec, ...], names: ToolNames) -> list[dict[str, Any]]:
    """Return the tools as the interface has them."""
    return [
        {
            "type": "function",
            "function": {
                "name": names.sent(tool.name),
                "description": sound(tool.description),
                "parameters": object_schema(tool.schema),
            },
        }
        for tool in tools
    ]


def _message(message: Message, model: str, names: ToolNames) -> dict[str, Any]:
    content = sound(message.content)
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_use_id, "content": content}
    if message.tool_uses:
        uses = [_use(use, model, names) for use in message.tool_uses]
        own = {"role": message.role, "content": content or None, "tool_calls": uses}
        return {**thaw(message.extra.get(model, {})), **own}
    return {"role": message.role, "content": content}


def _use(use: ToolUse, model: str, names: ToolNames) -> dict[str, Any]:
    function: dict[str, Any] = {"name": names.sent(use.name or "unnamed"), "arguments": _arguments(use)}
    extra = thaw(use.extra.get(model, {}))
    function = {**extra.pop("function", {}), **function}
    return {**extra, "id": use.id, "type": "function", "function": function}


def _arguments(use: ToolUse) -> str:
    try:
        return msgspec.json.encode(use.parameters, enc_hook=_plain).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(sound(use.parameters), enc_hook=_plain).decode()


def _encoded(body: Mapping[str, Any], request: ModelRequest) -> bytes:
    try:
        try:
            return msgspec.json.encode(body, enc_hook=_plain)
        except UnicodeEncodeError:
            return msgspec.json.encode(sound(body), enc_hook=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        message = (
            f"model:{request.model}: the request cannot be written as JSON ({line_of_error(error)}); use plain values"
        )
        raise InvalidInputError(message, field="options") from error


def _plain(value: Any) -> Any:
    if isinstance(value, (MappingProxyType, Mapping)):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON")
