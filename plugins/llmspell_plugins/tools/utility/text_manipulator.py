"""The text_manipulator tool: change texts, never by a pattern of the caller's. Lengths and positions in characters.

Invariant: every operation on a text that is not short works in a thread, in small steps where one large step would
hold all other threads; what the answer takes is known, and charged, before it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult

from . import wording

__all__ = ["TextManipulator", "TextManipulatorParameters", "TextOptions"]

_LARGEST = 10_000_000
_SHORT = 1_000
"""Up to here every operation ends at once, most of them sooner than they could be moved to a thread."""
_FARTHEST = 2**53
_MOST_PARTS = 100_000

Operation = Literal[
    "uppercase",
    "lowercase",
    "reverse",
    "trim",
    "replace",
    "substring",
    "split",
    "join",
    "snake_case",
    "camel_case",
    "pascal_case",
    "sanitize",
    "truncate",
    "indent",
    "dedent",
    "normalize_whitespace",
    "word_wrap",
]


class TextOptions(BaseModel):
    """What the operations may be told; each says which it heeds."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    from_: str | None = Field(default=None, alias="from", description="replace: what to look for.")
    to: str = Field(default="", description="replace: what to put there.")
    start: int = Field(
        default=0,
        ge=-_FARTHEST,
        le=_FARTHEST,
        description="substring: the first character, from 0; negative counts from the end.",
    )
    end: int | None = Field(
        default=None,
        ge=-_FARTHEST,
        le=_FARTHEST,
        description="substring: the character after the last; the end if left out.",
    )
    delimiter: str | None = Field(
        default=None, description="split: between parts, any white space if left out; join: put between lines, a space."
    )
    max_length: int = Field(default=100, ge=0, description="truncate: how long the answer may be, its ... included.")
    spaces: int = Field(default=4, ge=0, le=1000, description="indent: how many.")
    width: int = Field(default=80, ge=1, description="word_wrap: how long a line may be; longer words stay whole.")


class TextManipulatorParameters(BaseModel):
    """What the text_manipulator takes."""

    model_config = ConfigDict(extra="forbid")

    input: str | list[str] = Field(description="The text; for join also an array of texts.")
    operation: Operation = Field(description="What to do with it.")
    options: TextOptions = Field(default=TextOptions(), description="How to do it.")


class TextManipulator(Tool[TextManipulatorParameters]):
    """Change a text: its case, its lines, its length, its parts."""

    name = "text_manipulator"
    aliases = ("text-manipulator",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    examples = (
        ToolExample("upper case", {"operation": "uppercase", "input": "hello"}, {"result": "HELLO"}),
        ToolExample(
            "the parts of a text",
            {"operation": "split", "input": "a b", "options": {"delimiter": " "}},
            {"result": ["a", "b"]},
        ),
    )

    async def run(self, parameters: TextManipulatorParameters, context: ToolContext) -> ToolResult:
        """Return result, operation, original_length and result_length; the result of split is an array of texts.

        Raises:
            ToolError: ``invalid_input`` or ``limit_exceeded``.
        """
        operation, options, given = parameters.operation, parameters.options, parameters.input
        if not isinstance(given, str) and operation != "join":
            what = f"text_manipulator: input: {operation} takes a text, not an array; give a text, or join it first"
            raise ToolError(what, code="invalid_input")
        length = len(given) if isinstance(given, str) else sum(map(len, given))
        if length > _LARGEST:
            what = f"text_manipulator: input: {length} characters are more than {_LARGEST}; give less"
            raise ToolError(what, code="limit_exceeded")
        context.charge(length + _growth(operation, given, options))
        change = _OPERATIONS[operation]
        short = length + _growth(operation, given, options) <= _SHORT
        result = change(given, options) if short else await context.run_thread(change, given, options)
        answer = {
            "result": result,
            "operation": operation,
            "original_length": length,
            "result_length": len(result),
        }
        return ToolResult(operation=operation, result=answer)


def _growth(operation: str, given: str | list[str], options: TextOptions) -> int:
    """Return how many characters the answer may have more than the input."""
    if operation == "replace" and isinstance(given, str) and options.from_:
        return given.count(options.from_) * len(options.to)
    if operation == "indent" and isinstance(given, str):
        return (given.count("\n") + 1) * options.spaces
    if operation == "join":
        parts = given.count("\n") + 1 if isinstance(given, str) else len(given)
        return parts * len(options.delimiter or " ")
    return 0


def _replace(text: str, options: TextOptions) -> str:
    if not options.from_:
        raise ToolError("text_manipulator: options.from: it is empty; give what to look for", code="invalid_input")
    return text.replace(options.from_, options.to)


def _substring(text: str, options: TextOptions) -> str:
    start, end, _ = slice(options.start, options.end).indices(len(text))
    if start > end:
        what = f"text_manipulator: options.start: {options.start} comes after end {options.end}; put it before"
        raise ToolError(what, code="invalid_input")
    return text[start:end]


def _split(text: str, options: TextOptions) -> list[str]:
    if options.delimiter == "":
        raise ToolError("text_manipulator: options.delimiter: it is empty; leave it out", code="invalid_input")
    parts = text.split(options.delimiter, _MOST_PARTS)
    if len(parts) > _MOST_PARTS:
        what = f"text_manipulator: input: it has more than {_MOST_PARTS} parts; give less"
        raise ToolError(what, code="limit_exceeded")
    return parts


def _join(given: str | list[str], options: TextOptions) -> str:
    parts = (line.rstrip("\r\n") for line in wording.lines(given)) if isinstance(given, str) else given
    return wording.joined(" " if options.delimiter is None else options.delimiter, parts)


_OPERATIONS: dict[str, Callable[[Any, TextOptions], Any]] = {
    "uppercase": lambda text, _: wording.mapped(text, str.upper),
    "lowercase": lambda text, _: wording.mapped(text, str.lower),
    "reverse": lambda text, _: text[::-1],
    "trim": lambda text, _: text.strip(),
    "replace": _replace,
    "substring": _substring,
    "split": _split,
    "join": _join,
    "snake_case": lambda text, _: wording.snake_case(text),
    "camel_case": lambda text, _: wording.camel_case(text),
    "pascal_case": lambda text, _: wording.pascal_case(text),
    "sanitize": lambda text, _: wording.sanitized(text),
    "truncate": lambda text, options: wording.truncated(text, options.max_length),
    "indent": lambda text, options: wording.indented(text, options.spaces),
    "dedent": lambda text, _: wording.dedented(text),
    "normalize_whitespace": lambda text, _: wording.joined(" ", wording.words(text)),
    "word_wrap": lambda text, options: wording.wrapped(text, options.width),
}
