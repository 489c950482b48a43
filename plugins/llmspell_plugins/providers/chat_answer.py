"""What OpenAI's chat interface answers, and what those that speak it make of it: put together from one value or many.

Services keep to the interface in their own ways: what is nothing is null, absent or empty; a list of one is an object;
a number is a text. So each field is read for what it is used for, and no further. Which call a piece belongs to is told
by index, id, name and what the call has so far together, since each of them alone is wrong somewhere.

Invariant: an answer that says nothing that can be understood is an error, never a guess; parameters that are no JSON
object, that were cut off, or are longer or deeper than any model writes, are said to be so in `ToolUse.problem`, since
the model can fix them. Source: the API reference of OpenAI, "chat completions".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs import ModelResponse
from llmspell_hookspecs.model import ModelUsage, ToolUse
from llmspell_plugins.json_text import sound
from llmspell_plugins.tool_uses import settled

from .chat_call import LONGEST, Call, Piece, too_big
from .chat_names import ToolNames

__all__ = ["Assembly", "BrokenOffError", "choices_of", "large_answers"]

_REASONS: Final = {
    "tool_use": "tool_calls tool_call function_call tool_use",
    "length": "length max_tokens max_output_tokens max_length model_length model_context_window_exceeded truncated",
    "content_filter": "content_filter content_filtered safety sensitive recitation prohibited_content blocklist spii "
    "guardrail_intervened refusal",
    "stop": "stop end_turn eos eos_token end_of_text stop_sequence complete completed done finished null none",
}
_MEANING: Final = {word: reason for reason, words in _REASONS.items() for word in words.split()}
_BROKEN: Final = frozenset(
    {"error", "network_error", "abort", "aborted", "insufficient_system_resource", "malformed_function_call"}
)
_MOST_USES: Final = 1024
_OF_MESSAGE: Final = frozenset(
    {"role", "content", "tool_calls", "function_call", "refusal", "audio", "annotations", "name", "images", "citations"}
    | {"executed_tools", "parsed", "token_ids", "text"}
)
"""What a message has that is not sent back beside it."""
_OF_CALL: Final = frozenset({"id", "index", "type", "function", "name", "arguments"})
_WHOLE_WORDS: Final = frozenset({"type", "id", "format", "index", "signature", "role", "thought_signature"})


class _Part(Struct):
    text: str | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Use(Struct):
    function: _Function
    index: int | None = None
    id: str | None = None


class _Said(Struct):
    content: str | list[_Part] | None = None
    tool_calls: list[_Use] | None = None


class _Choice(Struct):
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Large(Struct):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    model: str | None = None
    id: str | None = None
    error: Any = None


large_answers: Final = msgspec.json.Decoder(_Large)
"""Reads an answer that is larger than any model's, and builds nothing of what is not asked for."""


def choices_of(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the answers that a completion, or a chunk of one, holds.

    Raises:
        ValueError: What should hold them is something else.
    """
    if not isinstance(value.get("choices"), list | tuple | Mapping | None):
        raise ValueError("its choices are no list")
    found = [choice for choice in _listed(value.get("choices")) if isinstance(choice, Mapping)]
    message = value.get("message")
    if not found and isinstance(message, Mapping) and "role" in message:  # as Ollama's own interface has it
        return [{"message": message, "finish_reason": value.get("done_reason")}]
    return found


class BrokenOffError(Exception):
    """A model gave up: its answer ends with a word for that in place of a reason."""


class Assembly:
    """An answer that comes at once or in chunks.

    Args:
        origin: The model's address, under which the fields are kept that it wants back.
        taken: The ids of calls that the conversation has.
        names: The tools' names, there and here.

    Attributes:
        finished: Whether the model said why it stopped.
        begun: Whether there was anything of an answer.
        cached_tokens: How many of the input's tokens the service had read before, which costs less.
    """

    def __init__(self, origin: str = "", taken: Collection[str] = (), names: ToolNames | None = None) -> None:
        self.finished = self.begun = False
        self.cached_tokens = 0
        self._origin, self._taken, self._names = origin, taken, names or ToolNames()
        self._reason = self._model = self._id = self._half = ""
        self._usage = ModelUsage()
        self._texts: list[str] = []
        self._calls: list[Call] = []
        self._extra: dict[str, Any] = {}
        self._choice: Any = None

    def add(self, value: Mapping[str, Any], *, whole: bool = False) -> str:
        """Take in an answer, or a chunk of one, and return the text that it brings.

        Raises:
            BrokenOffError: The model gave up.
            ValueError: It asks for more tools than any model does.
        """
        self._model = sound(_text(value.get("model"))) or self._model
        self._id = sound(_text(value.get("id"))) or self._id
        self._count(value.get("usage"))
        text = ""
        for choice in choices_of(value)[:1]:
            index = _count(choice.get("index"))
            self._choice = index if self._choice is None else self._choice
            if index != self._choice:
                continue
            self._count(choice.get("usage"))
            text += self._said(_message(choice), whole)
            self._end(choice)
        if text:
            text = self._joined(text)
            self._texts.append(text)
        return text

    def end(self) -> str:
        """Return the text that was held back, since the rest of its last letter never came."""
        half, self._half = self._half, ""
        self._texts.append(sound(half))
        return str(sound(half))

    def response(self) -> ModelResponse:
        """Return the whole of it.

        Raises:
            ValueError: It holds no answer.
        """
        if not self.begun:
            raise ValueError("it holds no answer")
        self.end()
        length = 0
        uses: list[ToolUse] = []
        for call in self._calls:
            length += call.length
            uses.append(call.use(self._names, self._origin, too_long=length > LONGEST))
        reason = _MEANING.get(self._reason.lower(), self._reason or "stop")
        if uses and reason == "stop":
            reason = "tool_use"
        text, extra = "".join(self._texts), {}
        if self._origin and uses and self._extra and not too_big(self._extra):
            extra = {self._origin: self._extra}
        metadata = {"id": self._id} if self._id else {}
        return ModelResponse(
            text, settled(uses, reason, self._taken), reason, self._usage, self._model, metadata, extra
        )

    def _said(self, said: Mapping[str, Any], whole: bool) -> str:
        if said:
            self.begun = True
        uses = [*_listed(said.get("tool_calls")), *_listed(said.get("function_call"))]
        for use in uses:
            if isinstance(use, Mapping):
                self._take(sound(use), whole)
        fields = {name: value for name, value in said.items() if name not in _OF_MESSAGE and value not in (None, "")}
        if fields:
            self._extra = _merged(self._extra, sound(fields))
        if isinstance(said.get("content"), bool):
            raise ValueError("its content is no text")
        return _text(said.get("content")) or _text(said.get("refusal")) or _text(said.get("text"))

    def _end(self, choice: Mapping[str, Any]) -> None:
        reason = choice.get("finish_reason")
        word = _text(reason.get("type") if isinstance(reason, Mapping) else reason).strip()
        if word.lower() in _BROKEN:
            raise BrokenOffError(word)
        if word:
            self.finished = self.begun = True
            self._reason = word

    def _joined(self, text: str) -> str:
        """The text with the half letter before it; half a letter at its end waits for the rest."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return str(sound(text))

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, Mapping):
            return
        asked = _count(usage.get("prompt_tokens") or usage.get("input_tokens"))
        answered = _count(usage.get("completion_tokens") or usage.get("output_tokens"))
        self._usage = ModelUsage(asked or self._usage.input_tokens, answered or self._usage.output_tokens)
        details = usage.get("prompt_tokens_details")
        if isinstance(details, Mapping):
            self.cached_tokens = _count(details.get("cached_tokens"))

    def _take(self, use: Mapping[str, Any], whole: bool) -> None:
        function = use.get("function")
        function = {"name": function} if isinstance(function, str) else function
        inner: Mapping[str, Any] = function if isinstance(function, Mapping) else use
        piece = Piece(
            None if use.get("index") is None else _count(use["index"], -1),
            _text(use.get("id")).strip(),
            _text(inner.get("name")).strip() or _text(use.get("name")).strip(),
            inner.get("arguments", inner.get("parameters", use.get("arguments"))),
        )
        call = None if whole else self._of(piece)
        if call is None:
            if len(self._calls) >= _MOST_USES:
                raise ValueError(f"it asks for more than {_MOST_USES} tools")
            call = Call(piece.index, piece.id)
            self._calls.append(call)
        call.take(piece)
        extra = {name: value for name, value in use.items() if name not in _OF_CALL and value is not None}
        own = {name: value for name, value in inner.items() if name not in _OF_CALL and value is not None}
        if own and inner is function:
            extra["function"] = own
        extra.pop("parameters", None)
        if extra:
            call.extra = _merged(call.extra, extra)

    def _of(self, piece: Piece) -> Call | None:
        """The call that a piece goes on with; None if it begins one."""
        calls = self._calls[::-1]
        by_index = next((each for each in calls if piece.index is not None and each.index == piece.index), None)
        by_id = next((each for each in calls if piece.id and each.id == piece.id), None)
        if not piece.name:
            # A call's later pieces bring no name; index and id may change from piece to piece, so the last one is left.
            return by_id or by_index or (calls[0] if calls else None)
        alone = piece.index is None and not piece.id
        found = by_index or (by_id if piece.index is None else None) or (calls[0] if alone and calls else None)
        return found if found is not None and found.goes_on_with(piece) else None


def _message(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("delta", "message"):
        said = choice.get(name)
        if isinstance(said, Mapping) and said:
            return said
        if isinstance(said, str) and said:
            return {"content": said}
    return {"content": choice["text"]} if choice.get("text") is not None else {}


def _listed(value: Any) -> Iterator[Any]:
    """A list's items; what is no list is a list of one, and nothing is none."""
    if isinstance(value, list | tuple):
        return iter(value)
    return iter(() if value is None or value == "" or value == {} else (value,))


def _text(value: Any) -> str:
    """A text, or what stands for one: a part, parts, a number; what a model thinks is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if value.get("type") in ("thinking", "reasoning"):
            return ""
        held = value.get("text", value.get("value", value.get("refusal")))
        return _text(held) if not isinstance(held, list) else ""
    if isinstance(value, list | tuple):
        return "".join(_text(part) for part in value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _count(value: Any, otherwise: int = 0) -> int:
    """A number of things, also where it is a text or a fraction."""
    try:
        number = int(float(value)) if isinstance(value, str | float) else value
    except (ValueError, OverflowError):
        return otherwise
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else otherwise


def _merged(old: Any, new: Any) -> Any:
    """What comes in pieces put together: texts joined, lists by the index of their items."""
    if isinstance(old, str) and isinstance(new, str):
        return old + new
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        both = dict(old)
        for name, value in new.items():
            joins = name in both and name not in _WHOLE_WORDS and value is not None
            both[name] = _merged(both[name], value) if joins else value
        return both
    if isinstance(old, list) and isinstance(new, list):
        items = list(old)
        for item in new:
            last = items[-1] if items else None
            goes_on = isinstance(item, Mapping) and isinstance(last, Mapping) and "index" in item
            if goes_on and item["index"] == last.get("index") and item.get("type") == last.get("type"):  # type: ignore[union-attr]
                items[-1] = _merged(last, item)
            else:
                items.append(item)
        return items
    return new
