"""A call that a model asks for, as far as its pieces have come, and whether a piece belongs to it.

Invariant: each piece is read once, however many there are; parameters that are no JSON object, or are longer or deeper
than any model writes, are said to be so in `ToolUse.problem`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.model import ToolUse

from .chat_names import ToolNames
from .wire_json import depth_of, read_json

__all__ = ["LONGEST", "Call", "Piece", "parameters_of", "too_big"]

LONGEST: Final = 1024 * 1024
"""Characters of all parameters in one answer."""
_DEEPEST: Final = 100
_EXTRA_BYTES: Final = 1024 * 1024
_BRACKETS: Final = re.compile(r'["\\{}\[\]]')


class Piece(Struct):
    """What a chunk says of a call."""

    index: int | None
    id: str
    name: str
    arguments: Any


class Call:
    """A call as far as it has come."""

    def __init__(self, index: int | None, id: str) -> None:
        self.index, self.id, self.name = index, id, ""
        self.length = 0
        self.extra: dict[str, Any] = {}
        self._object: Any = None
        self._texts: list[str] = []
        self._read = 0
        self._depth, self._quoted, self._escaped, self._opened = 0, False, -1, False

    def take(self, piece: Piece) -> None:
        """Take a piece in that belongs to it."""
        self.id, self.name = self.id or piece.id, self.name or piece.name
        if piece.name and self._whole():
            return  # said once more
        if not isinstance(piece.arguments, str):
            self._object = piece.arguments or self._object
        elif piece.arguments:
            self._texts.append(piece.arguments)
            self.length += len(piece.arguments)

    def goes_on_with(self, piece: Piece) -> bool:
        """Whether a piece that has a name belongs here, and begins no call of its own."""
        if not self.name:
            return True
        if piece.name != self.name or (self.id and piece.id and piece.id != self.id):
            return False
        if not piece.arguments or not self._whole():
            return True
        same = self._object if self._object is not None else "".join(self._texts)
        return bool(piece.arguments == same)

    def use(self, names: ToolNames, origin: str, *, too_long: bool) -> ToolUse:
        """Return it as the contract has it."""
        name = names.known(self.name)
        if too_long:
            problem = f"the parameters of all tools together are longer than {LONGEST} characters"
            return ToolUse(self.id, name, {}, problem)
        parameters, problem = parameters_of(self._object if self._object is not None else "".join(self._texts))
        extra = {origin: self.extra} if origin and self.extra and not too_big(self.extra) else {}
        return ToolUse(self.id, name, parameters, problem, extra)

    def _whole(self) -> bool:
        """Whether the parameters so far are a whole object: each bracket is closed. Reads each piece once."""
        if self._object is not None:
            return True
        for text in self._texts[self._read :]:
            self._scan(text)
        self._read = len(self._texts)
        return self._opened and self._depth == 0

    def _scan(self, text: str) -> None:
        for match in _BRACKETS.finditer(text):
            sign, place = match[0], match.start()
            if self._escaped == place:
                self._escaped = -1
            elif sign == "\\":
                self._escaped = place + 1
            elif sign == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._opened = True
                self._depth += 1 if sign in "{[" else -1
        self._escaped = 0 if self._escaped == len(text) else -1


def parameters_of(arguments: Any) -> tuple[dict[str, Any], str]:
    """Return a tool use's parameters, and why they cannot be read if they cannot."""
    if isinstance(arguments, str):
        if not arguments.strip() or arguments.strip() == "null":
            return {}, ""
        try:
            arguments = read_json(arguments.encode("utf-8", "surrogatepass"))
        except ValueError as error:
            return {}, f"the parameters are no JSON: {line_of_error(error)}"
    if isinstance(arguments, str):  # JSON within JSON
        try:
            arguments = read_json(arguments.encode("utf-8", "surrogatepass")) if arguments.strip() else {}
        except ValueError:
            return {}, "the parameters are no JSON object"
    if arguments is None or arguments == []:
        return {}, ""
    if not isinstance(arguments, Mapping):
        return {}, "the parameters are no JSON object"
    if depth_of(arguments, _DEEPEST) > _DEEPEST:
        return {}, f"the parameters are nested more than {_DEEPEST} levels deep"
    return dict(arguments), ""


def too_big(extra: Mapping[str, Any]) -> bool:
    """Whether it is more than any service wants back."""
    if depth_of(extra, _DEEPEST) > _DEEPEST:
        return True
    return len(msgspec.json.encode(extra, enc_hook=str)) > _EXTRA_BYTES
