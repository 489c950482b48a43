"""Which calls a rule of a built-in hook is about, by address, and what tells the calls of one from those of another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from llmspell_hookspecs import HookContext, Message, ModelRequest
from llmspell_hookspecs.model import ToolSpec

__all__ = ["KeyPart", "TokenCount", "address_of", "fits", "input_tokens", "key_of", "provider_of"]

KeyPart: TypeAlias = Literal["host", "provider", "component", "session", "user", "language"]
_BYTES_PER_TOKEN = 3


def address_of(context: HookContext[Any]) -> str:
    """Return what runs, as ``kind:name``; a model by its name, ``model:provider/model``."""
    return f"{context.component.kind}:{context.component.name}"


def provider_of(context: HookContext[Any]) -> str:
    """Return the provider of a model's call, else what runs."""
    name = context.component.name
    return name.partition("/")[0] if context.component.kind == "model" else name


def fits(pattern: str, address: str) -> bool:
    """Return whether a glob such as ``model:openai/*`` matches an address."""
    return _compiled(pattern).match(address) is not None


def key_of(parts: Sequence[KeyPart], context: HookContext[Any]) -> tuple[str, ...]:
    """Return what tells the calls of one session, user ... from those of another."""
    return tuple(_part(part, context) for part in parts)


def input_tokens(request: ModelRequest) -> int:
    """Return about how many tokens a request has, rather too many: one for each three bytes, and some for each part."""
    return TokenCount()(request)


class TokenCount:
    """Counts the tokens of requests as `input_tokens` does; what was counted last is not counted again."""

    def __init__(self) -> None:
        self._tools: tuple[tuple[ToolSpec, ...], int] = ((), 0)
        self._messages: tuple[tuple[Message, ...], int] = ((), 0)

    def __call__(self, request: ModelRequest) -> int:
        """Return about how many there are."""
        if request.tools is not self._tools[0]:
            self._tools = request.tools, sum(map(_bytes_of_tool, request.tools))
        if request.messages is not self._messages[0]:
            self._messages = request.messages, sum(map(_bytes_of_message, request.messages))
        return -(-(self._tools[1] + self._messages[1]) // _BYTES_PER_TOKEN)


def _bytes_of_tool(tool: ToolSpec) -> int:
    return len(tool.name) + len(tool.description) + len(str(tool.schema)) + 24


def _bytes_of_message(message: Message) -> int:
    content = message.content
    size_bytes = len(content) if content.isascii() else len(content.encode(errors="replace"))
    return size_bytes + sum(len(use.name) + len(str(use.parameters)) + 24 for use in message.tool_uses) + 12


def _part(part: KeyPart, context: HookContext[Any]) -> str:
    if part == "provider":
        return provider_of(context)
    if part == "component":
        return address_of(context)
    if part == "session":
        return context.operation.session_id
    if part == "user":
        return context.operation.baggage.get("user", "")
    return context.language if part == "language" else ""


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
