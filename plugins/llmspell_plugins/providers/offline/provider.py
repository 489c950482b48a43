"""The offline provider: which of its two models answers, how an answer is cut and streamed, and what it counts.

Invariant: the same request gets the same answer. Tokens are words, and cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar, Final

import trio
from pydantic import BaseModel, ConfigDict

from llmspell_hookspecs import InvalidInputError, Message, ModelChunk, ModelRequest, ModelResponse, ProviderInfo
from llmspell_hookspecs.errors import ProviderError
from llmspell_hookspecs.model import ChunkSink, Endpoint, ModelUsage, ToolUse

from .asking import missing_tools, tool_uses
from .wording import HELP, general, of_results, without

__all__ = ["Offline", "OfflineSettings"]

_MODELS: Final = ("rules", "echo")
_WORD: Final = re.compile(r"\s*\S+\s*\Z|\s*\S+|\s+")
_PIECE: Final = 64 * 1024
"""So many characters are counted before others get their turn."""
_LONGEST_WISH: Final = 1000


class OfflineSettings(BaseModel):
    """``[providers.offline]``; there is nothing to set."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Offline:
    """No model: ``offline/rules`` follows the rules in `wording`, ``offline/echo`` answers what it is told."""

    Settings: ClassVar[type[BaseModel]] = OfflineSettings
    rank: ClassVar[int | None] = 1000

    def info(self) -> ProviderInfo:
        """Return what is known of it."""
        return ProviderInfo(
            "",
            reason="it needs no key",
            default_model="rules",
            streams=True,
            tools=True,
            models=_MODELS,
            description="No model: answers by rules, and uses tools when told to.",
        )

    def at(self, endpoint: Endpoint, /) -> Offline:
        """Refuse: there is no endpoint.

        Raises:
            InvalidInputError: Always.
        """
        message = "offline: it is asked nowhere; leave out base_url and api_key, or name another provider"
        raise InvalidInputError(message, field="base_url")

    async def complete(self, model: str, request: ModelRequest, sink: ChunkSink | None, /) -> ModelResponse:
        """Return by the rules, word by word if there is a sink."""
        if model not in _MODELS:
            message = f"model:{request.model}: offline has no such model; use offline/rules or offline/echo"
            raise ProviderError(message, code="invalid_request")
        await trio.lowlevel.checkpoint()
        uses: tuple[ToolUse, ...] = ()
        if model == "echo":
            text = _last(request.messages, "user")
        else:
            text, uses = _by_rules(request)
        text, reason = _cut(text, request)
        usage = await _usage(request, text, uses)
        response = ModelResponse(text, uses, "tool_use" if uses else reason, usage, model)
        if sink is not None:
            await _stream(response, sink)
        return response


def _by_rules(request: ModelRequest) -> tuple[str, tuple[ToolUse, ...]]:
    results = _last_results(request.messages)
    if results:
        return of_results(results), ()
    asked = _last(request.messages, "user")
    uses = tool_uses(asked, request.tools, sum(len(message.tool_uses) for message in request.messages))
    if uses:
        return "", uses
    if len(asked) <= _LONGEST_WISH and re.fullmatch(r"\W*help\W*", asked, re.IGNORECASE):
        return HELP, ()
    missing = missing_tools(asked, request.tools)
    return (without(missing, request.tools) if missing else general(asked, request.tools)), ()


def _last(messages: Sequence[Message], role: str) -> str:
    return next((message.content for message in reversed(messages) if message.role == role), "")


def _last_results(messages: Sequence[Message]) -> list[Message]:
    results: list[Message] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, message)
    return results


def _cut(text: str, request: ModelRequest) -> tuple[str, str]:
    """The text up to the first stop text, and no longer than the request allows."""
    ends = [text.find(stop) for stop in request.stop if stop and stop in text]
    text = text[: min(ends)] if ends else text
    if request.max_tokens is None:
        return text, "stop"
    ends = [0, *(match.end() for match in islice(_WORD.finditer(text), request.max_tokens))]
    return text[: ends[-1]], "length" if ends[-1] < len(text) else "stop"


async def _usage(request: ModelRequest, text: str, uses: Sequence[ToolUse]) -> ModelUsage:
    asked = sum([await _words(message.content) for message in request.messages])
    return ModelUsage(asked, await _words(text) + sum(1 + len(use.parameters) for use in uses), 0.0)


async def _words(text: str) -> int:
    """Return how many words a text has, counted piece by piece."""
    count = len(text[:_PIECE].split())
    for start in range(_PIECE, len(text), _PIECE):
        await trio.lowlevel.checkpoint()
        count += len(text[start : start + _PIECE].split())
        count -= not (text[start - 1].isspace() or text[start].isspace())  # a word in two pieces
    return count


async def _stream(response: ModelResponse, sink: ChunkSink) -> None:
    index = 0
    for index, match in enumerate(_WORD.finditer(response.text)):
        await sink(ModelChunk("text", match[0], index=index))
    for place, use in enumerate(response.tool_uses, index + 1 if response.text else 0):
        await sink(ModelChunk("tool_use", tool_use=use, index=place))
