"""What OpenAI's chat interface answers: whole completions, and the chunks of a stream put together.

Invariant: an answer of the wrong shape is an error, never a guess; parameters that are no JSON object, or longer than
any model writes, are said to be so, in `ToolUse.problem`, since the model can mend them. Source: the API reference of
OpenAI, "chat completions".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs import ModelResponse, ModelUsage, ToolUse

__all__ = ["Assembly", "Usage", "completion_decoder", "parameters_of", "response_of"]

_REASONS: Final = {"tool_calls": "tool_use", "function_call": "tool_use", "max_tokens": "length", "end_turn": "stop"}
_MOST_USES: Final = 1024
_LONGEST: Final = 1024 * 1024
"""Characters of all parameters in one answer."""


class Part(Struct):
    """A part of a text, for services that answer their texts in parts."""

    text: str | None = None


class Function(Struct):
    """Which tool, and its parameters: as JSON in a text, or as some services have it, as an object."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Use(Struct):
    """A tool use, or a piece of one."""

    function: Function
    index: int | None = None
    id: str | None = None


class Said(Struct):
    """A message, or a piece of one."""

    content: str | list[Part] | None = None
    tool_calls: list[Use] | None = None
    refusal: str | None = None


class Choice(Struct):
    """One of the answers to a request; the first is taken."""

    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    index: int | None = None


class Details(Struct):
    """Of the tokens that were sent."""

    cached_tokens: int | None = None


class Usage(Struct):
    """What a call used."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None

    @property
    def cached_tokens(self) -> int:
        """How many of the input's tokens the service had read before, which costs less."""
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details is not None else 0

    def plain(self, cost_usd: float | None = None) -> ModelUsage:
        """Answer it as the contract has it."""
        return ModelUsage(self.prompt_tokens or 0, self.completion_tokens or 0, cost_usd)


class Completion(Struct):
    """A whole answer, or a chunk of one."""

    choices: list[Choice] = []
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    error: Any = None


completion_decoder: Final = msgspec.json.Decoder(Completion)


class Assembly:
    """An answer that comes in chunks.

    Attributes:
        usage: What the call used, once it is known.
        finished: Whether the model said why it stopped.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self.finished = False
        self._reason = ""
        self._texts: list[str] = []
        self._uses: dict[int, tuple[list[str], list[str], list[Any]]] = {}
        self._model = ""
        self._id = ""

    def add(self, chunk: Completion) -> str:
        """Take a chunk in and answer the text that it brings.

        Raises:
            ValueError: It asks for more tools than any model does.
        """
        self._model = chunk.model or self._model
        self._id = chunk.id or self._id
        self.usage = chunk.usage or self.usage
        text = ""
        for choice in chunk.choices[:1]:
            if choice.index:
                continue
            said = choice.delta or choice.message
            if said is not None:
                text = _text(said)
                for use in said.tool_calls or ():
                    self._add_use(use)
            if choice.finish_reason:
                self.finished, self._reason = True, choice.finish_reason
        if text:
            self._texts.append(text)
        return text

    def response(self) -> ModelResponse:
        """Answer the whole of it."""
        uses = _tool_uses(("".join(ids[:1]), "".join(names), pieces) for ids, names, pieces in self._uses.values())
        return _response("".join(self._texts), uses, self._reason, self.usage, self._model, self._id)

    def _add_use(self, use: Use) -> None:
        key = use.index if use.index is not None else len(self._uses) - (0 if use.id or not self._uses else 1)
        ids, names, pieces = self._uses.setdefault(key, ([], [], []))
        if len(self._uses) > _MOST_USES:
            raise _too_many()
        if use.id:
            ids.append(use.id)
        if use.function.name and not names:
            names.append(use.function.name)
        if use.function.arguments:
            pieces.append(use.function.arguments)


def response_of(completion: Completion) -> ModelResponse:
    """Answer a whole completion as the contract has it.

    Raises:
        ValueError: It holds no answer, or asks for more tools than any model does.
    """
    choice = completion.choices[0] if completion.choices else None
    said = choice.message if choice is not None else None
    if choice is None or said is None:
        raise ValueError("it holds no answer")
    if len(said.tool_calls or ()) > _MOST_USES:
        raise _too_many()
    uses = _tool_uses(
        (use.id or "", use.function.name or "", [use.function.arguments]) for use in said.tool_calls or ()
    )
    usage, reason = completion.usage or Usage(), choice.finish_reason or ""
    return _response(_text(said), uses, reason, usage, completion.model or "", completion.id or "")


def parameters_of(arguments: str | dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Answer a tool use's parameters, and why they cannot be read if they cannot."""
    if isinstance(arguments, dict):
        return arguments, ""
    if not arguments or not arguments.strip():
        return {}, ""
    try:
        read = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return {}, f"the parameters are no JSON: {error}"
    return (read, "") if isinstance(read, dict) else ({}, "the parameters are no JSON object")


def _response(text: str, uses: list[ToolUse], reason: str, usage: Usage, model: str, id: str) -> ModelResponse:
    reason = "tool_use" if uses and reason in ("", "stop") else _REASONS.get(reason, reason or "stop")
    return ModelResponse(text, tuple(uses), reason, usage.plain(), model, {"id": id} if id else {})


def _tool_uses(asked: Iterable[tuple[str, str, list[Any]]]) -> list[ToolUse]:
    """The tools that are asked for: id, name and the pieces of the parameters of each."""
    uses: list[ToolUse] = []
    length = 0
    for position, (id, name, pieces) in enumerate(asked):
        length += sum(len(piece) for piece in pieces if isinstance(piece, str))
        if length > _LONGEST:
            problem = f"the parameters of all tools together are longer than {_LONGEST} characters"
            uses.append(ToolUse(id or f"call_{position}", name, {}, problem))
        else:
            uses.append(_tool_use(position, id, name, pieces))
    return uses


def _too_many() -> ValueError:
    return ValueError(f"it asks for more than {_MOST_USES} tools")


def _tool_use(position: int, id: str, name: str, pieces: list[Any]) -> ToolUse:
    whole = next((piece for piece in pieces if isinstance(piece, dict)), None)
    arguments = whole if whole is not None else "".join(piece for piece in pieces if piece)
    parameters, problem = parameters_of(arguments)
    return ToolUse(id or f"call_{position}", name, parameters, problem)


def _text(said: Said) -> str:
    content = said.content
    if isinstance(content, list):
        content = "".join(part.text or "" for part in content)
    return content or said.refusal or ""
