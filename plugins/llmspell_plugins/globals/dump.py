"""Dumps of values for people: bounded in depth, length and number, with circular references marked.

Invariant: a dump ends, whatever the value, and has at most 100,000 characters. The defaults are the original's; where
the original prints addresses, a dump numbers the containers, so that the same one is seen to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.language import ScriptObject

__all__ = ["COMPACT", "VERBOSE", "DumpOptions", "dump", "read_options"]

_MOST_CHARACTERS: Final = 100_000


class DumpOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How a value is shown.

    Attributes:
        max_depth: How many containers deep.
        max_string_length: How many characters of a text.
        max_array_elements: How many items of a list.
        max_table_pairs: How many pairs of a table.
        indent_size: In blanks.
        show_types: Whether the type stands before the value.
        show_addresses: Whether containers are numbered.
        compact_mode: On one line.
    """

    max_depth: int = 10
    max_string_length: int = 200
    max_array_elements: int = 50
    max_table_pairs: int = 50
    indent_size: int = 2
    show_types: bool = True
    show_addresses: bool = False
    compact_mode: bool = False


COMPACT: Final = DumpOptions(3, 50, 10, 10, 0, show_types=False, compact_mode=True)
VERBOSE: Final = DumpOptions(20, 1000, 200, 200, 4, show_addresses=True)
_LARGEST: Final = {"max_depth": 100, "indent_size": 16}


def read_options(options: Mapping[str, Any]) -> DumpOptions:
    """Return the options that a script gave, in snake or camel case.

    Raises:
        InvalidInputError: One is unknown, of the wrong type or out of range.
    """
    given = {_snake(str(name)): value for name, value in options.items()}
    try:
        read = msgspec.convert(given, DumpOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(DumpOptions.__struct_fields__)
        raise InvalidInputError(
            f"Debug.dump: {line_of_error(error)}; the options are {known}", field="options"
        ) from error
    for name in DumpOptions.__struct_fields__:
        most = _LARGEST.get(name, _MOST_CHARACTERS)
        if not 0 <= getattr(read, name) <= most:
            raise InvalidInputError(f"Debug.dump: {name} must lie between 0 and {most}; correct it", field=name)
    return read


def dump(value: Any, label: str = "", options: DumpOptions = DumpOptions()) -> str:  # noqa: B008 - it is frozen
    """Return a value as text.

    Args:
        value: Any plain value, function or object.
        label: What stands before it.
        options: How it is shown.
    """
    writer = _Writer(options)
    writer.value(value, 0)
    text = "".join(writer.parts)
    if writer.full:
        text += f"... (cut at {_MOST_CHARACTERS} characters)"
    return f"{label}: {text}" if label else text


class _Writer:
    def __init__(self, options: DumpOptions) -> None:
        self.options = options
        self.parts: list[str] = []
        self.full = False
        self._left = _MOST_CHARACTERS
        self._path: list[int] = []
        self._numbers: dict[int, int] = {}

    def value(self, value: Any, depth: int) -> None:
        """Write a value."""
        if isinstance(value, ScriptObject):
            self._object(value, depth)
        elif isinstance(value, Mapping):
            self._container(value, depth, "table", "{}")
        elif isinstance(value, list | tuple):
            self._container(value, depth, "list", "[]")
        elif isinstance(value, str):
            self._typed("string", self._string(value))
        elif value is None or isinstance(value, bool):
            self._put({None: "nil", True: "true", False: "false"}[value])
        elif isinstance(value, int | float):
            self._typed("number", str(value))
        else:
            self._put("<function>" if callable(value) else f"<{type(value).__name__}>")

    def _object(self, value: ScriptObject, depth: int) -> None:
        fields = value.script_fields()
        self._put(f"<{value.script_text()}>")
        if fields:
            self._put(" ")
            self._container(fields, depth, "object", "{}")

    def _container(self, value: Any, depth: int, kind: str, brackets: str) -> None:
        number = self._numbers.setdefault(id(value), len(self._numbers) + 1)
        if id(value) in self._path:
            return self._put(f"<circular #{number}>" if self.options.show_addresses else "<circular>")
        self._put(self._head(kind, len(value), number))
        if not value:
            return self._put(brackets)
        if depth >= self.options.max_depth:
            return self._put(f"{brackets[0]}...{brackets[1]}")
        self._path.append(id(value))
        self._put(brackets[0])
        self._members(value, depth + 1)
        self._break(depth)
        self._put(brackets[1])
        self._path.pop()
        return None

    def _members(self, value: Any, depth: int) -> None:
        named = isinstance(value, Mapping)
        most = self.options.max_table_pairs if named else self.options.max_array_elements
        for place, member in enumerate(value):
            if self.full:
                return None
            if place:
                self._put(", " if self.options.compact_mode else ",")
            self._break(depth)
            if place >= most:
                return self._put(f"... {len(value) - most} more")
            if named:
                self._put(f"{self._string(member) if isinstance(member, str) else f'[{member}]'}: ")
            self.value(value[member] if named else member, depth)
        return None

    def _head(self, kind: str, count: int, number: int) -> str:
        mark = f"#{number}" if self.options.show_addresses else ""
        return f"{kind}({count}){mark} " if self.options.show_types else f"{mark} ".lstrip()

    def _typed(self, kind: str, text: str) -> None:
        self._put(f"{kind} {text}" if self.options.show_types else text)

    def _string(self, text: str) -> str:
        most = self.options.max_string_length
        escaped = text[:most].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"' if len(text) <= most else f'"{escaped}..." ({len(text)} characters)'

    def _break(self, depth: int) -> None:
        if not self.options.compact_mode:
            self._put("\n" + " " * (depth * self.options.indent_size))

    def _put(self, text: str) -> None:
        if len(text) > self._left:
            self.full = True
            text = text[: self._left]
        self._left -= len(text)
        self.parts.append(text)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
