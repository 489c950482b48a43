"""Handlebars: templates read into a tree and filled with values; the built-in helpers, no partials, no decorators.

Invariant: a template reaches the values that it is given, and nothing of Python. What is not there is empty, as in
Handlebars. Sources: the guide of handlebarsjs.com; comparisons (eq, lt, and ...) and how lists and objects are written
are those of the Rust crate handlebars.

It is longer than most because reading and filling a template know the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from .tera_filters import shown

__all__ = ["TemplateError", "filled", "parsed"]

_TAG: Final = re.compile(
    r"(?P<escape>\\*)\{\{(?P<left>~?)(?:!--(?P<comment>.*?)--|(?P<bare>!(?!--)[^{}]*?)|\{(?P<raw>[^{}]*)\}|(?P<tag>[^{}]*?))"
    r"(?P<right>~?)\}\}",
    re.DOTALL,
)
_WORD: Final = re.compile(
    r"\s*(?:(?P<string>\"[^\"]*\"|'[^']*')|(?P<number>-?\d+(?:\.\d+)?)(?=[\s)]|$)|(?P<paren>[()])|as\s+\|(?P<names>[^|]*)\|"
    r"|(?P<key>[^\s\"'()=|]+)=|(?P<path>(?:\[[^\]]*\]|[^\s\"'()=|\[\]])+))"
)
_STEP: Final = re.compile(r"\[([^\]]*)\]|([^./\[\]]+)|(\.\.)|(\.)|/")
_STANDS: Final = re.compile(r"\s*(?:[#^/]|else\b).*", re.DOTALL)
_REST: Final = re.compile(r"[ \t]*(?:\r?\n|\Z)")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;", "`": "&#x60;", "=": "&#x3D;"}
)
_LITERALS: Final = {"true": True, "false": False, "null": None, "undefined": None}
_DEEPEST: Final = 100
_BLOCKS: Final = ("if", "unless", "each", "with")


class TemplateError(ValueError):
    """A template is wrong.

    Attributes:
        lineno: In which line.
    """

    def __init__(self, message: str, lineno: int | None = None) -> None:
        super().__init__(message)
        self.lineno = lineno


class _Path(Struct, frozen=True):
    up: int
    steps: tuple[str, ...]
    data: bool
    text: str
    simple: bool


class _Call(Struct, frozen=True):
    head: Any
    arguments: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    names: tuple[str, ...] = ()


class _Value(Struct, frozen=True):
    call: _Call
    escape: bool


class _Block(Struct):
    call: _Call
    inverted: bool
    line: int
    name: str
    body: list[Any]
    other: list[Any]
    chained: bool = False


class _Scope(Struct, frozen=True):
    value: Any
    parent: _Scope | None
    data: Mapping[str, Any]
    names: Mapping[str, Any]


def parsed(text: str) -> list[Any]:
    """Return the tree.

    Raises:
        TemplateError: It is wrong.
    """
    return _Reader(text).read()


def filled(text: str, values: Mapping[str, Any], *, escape: bool) -> Iterator[str]:
    """Yield the text piece by piece.

    Raises:
        TemplateError: The template is wrong.
    """
    return _Filler(values, escape=escape).run(parsed(text), _Scope(values, None, {"root": values}, {}))


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._open: list[_Block] = []
        self._root: list[Any] = []
        self._into = self._root

    def read(self) -> list[Any]:
        at = counted = 0
        line = 1
        trims = False
        for tag in _TAG.finditer(self._text):
            line += self._text.count("\n", counted, tag.start())
            counted = tag.start()
            if len(tag["escape"]) == 1:
                self._literal(self._text[at : tag.start()], trims, False)
                self._into.append(tag[0][1:])
                at, trims = tag.end(), False
                continue
            start, end = tag.start(), tag.end()
            if _STANDS.fullmatch(tag["tag"] or "#") and tag["raw"] is None and not tag["left"] and not tag["right"]:
                start, end = self._alone(start, end)
            self._literal(self._text[at:start] + tag["escape"][1:], trims, bool(tag["left"]))
            at, trims = end, bool(tag["right"])
            if tag["raw"] is not None:
                self._into.append(_Value(_call(tag["raw"], line), escape=False))
            elif tag["tag"] is not None:
                self._statement(tag["tag"].strip(), line)
        self._literal(self._text[at:], trims, False)
        if self._open:
            raise TemplateError(f"{{{{#{self._open[-1].name}}}}} is not closed", self._open[-1].line)
        return self._root

    def _literal(self, text: str, trims_left: bool, trims_right: bool) -> None:
        text = text.lstrip() if trims_left else text
        text = text.rstrip() if trims_right else text
        if "{{" in text:
            raise TemplateError("a tag is not closed, or holds a brace")
        if text:
            self._into.append(text)

    def _alone(self, start: int, end: int) -> tuple[int, int]:
        """Where a tag begins and ends: one of a block that stands alone in its line takes the line with it."""
        begin = self._text.rfind("\n", 0, start) + 1
        rest = _REST.match(self._text, end)
        if rest is None or self._text[begin:start].strip(" \t"):
            return start, end
        return begin, rest.end()

    def _statement(self, tag: str, line: int) -> None:
        if not tag:
            raise TemplateError("a tag is empty", line)
        if tag[0] == ">" or tag.startswith(("#>", "#*", "*")):
            raise TemplateError("partials and decorators are not read; write the text itself", line)
        if tag[0] == "#" or (tag[0] == "^" and tag[1:].strip()):
            self._begin(_call(tag[1:], line), line, inverted=tag[0] == "^", chained=False)
        elif tag == "^" or re.match(r"else\b", tag):
            self._otherwise(tag.removeprefix("^").removeprefix("else").strip(), line)
        elif tag[0] == "/":
            self._end(tag[1:].strip(), line)
        else:
            self._into.append(_Value(_call(tag.removeprefix("&"), line), escape=tag[0] != "&"))

    def _begin(self, call: _Call, line: int, *, inverted: bool, chained: bool) -> None:
        name = call.head.text if isinstance(call.head, _Path) else "?"
        if name in _BLOCKS and len(call.arguments) != 1:
            raise TemplateError(f"{{{{#{name}}}}} takes one value", line)
        if name not in _BLOCKS and (call.arguments or call.named):
            raise TemplateError(f"{name!r:.60} is no block; take one of {', '.join(_BLOCKS)}", line)
        if len(self._open) >= _DEEPEST:
            raise TemplateError(f"blocks are nested deeper than {_DEEPEST}", line)
        block = _Block(call, inverted, line, name, [], [], chained)
        self._into.append(block)
        self._open.append(block)
        self._into = block.body

    def _otherwise(self, condition: str, line: int) -> None:
        if not self._open or self._into is self._open[-1].other:
            raise TemplateError("{{else}} stands in no block", line)
        self._into = self._open[-1].other
        if condition:
            self._begin(_call(condition, line), line, inverted=False, chained=True)

    def _end(self, name: str, line: int) -> None:
        while self._open and self._open[-1].chained:
            self._open.pop()
        if not self._open or self._open[-1].name != name:
            wanted = f"; {self._open[-1].name} is open" if self._open else ""
            raise TemplateError(f"{{{{/{name[:60]}}}}} closes nothing{wanted}", line)
        self._open.pop()
        above = self._open[-1] if self._open else None
        self._into = self._root if above is None else above.body
        if above is not None and above.other:
            self._into = above.other


def _call(text: str, line: int) -> _Call:
    words: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        word = _WORD.match(text, at)
        if word is None:
            raise TemplateError(f"{text[at:].strip()!r:.60} cannot be read", line)
        words.append((word.lastgroup or "", word[word.lastgroup or 0]))
        at = word.end()
    call, rest = _read_call(words, 0, line, 0)
    if rest != len(words):
        raise TemplateError("there is a ) too many", line)
    return call


def _read_call(words: list[tuple[str, str]], at: int, line: int, depth: int) -> tuple[_Call, int]:
    arguments: list[Any] = []
    named: dict[str, Any] = {}
    names: tuple[str, ...] = ()
    key = ""
    while at < len(words) and words[at] != ("paren", ")"):
        kind, word = words[at]
        at += 1
        if kind == "key":
            key = word
            continue
        if kind == "names":
            names = tuple(word.split())
            continue
        if kind == "paren":
            if depth >= _DEEPEST:
                raise TemplateError(f"calls are nested deeper than {_DEEPEST}", line)
            value, at = _read_call(words, at, line, depth + 1)
            if at >= len(words):
                raise TemplateError("a ) is missing", line)
            at += 1
        else:
            value = _atom(kind, word)
        if key:
            named[key], key = value, ""
        else:
            arguments.append(value)
    if not arguments or key:
        raise TemplateError("a name is missing", line)
    return _Call(arguments[0], tuple(arguments[1:]), named, names), at


def _atom(kind: str, word: str) -> Any:
    if kind == "string":
        return word[1:-1]
    if kind == "number":
        return float(word) if "." in word else int(word)
    if word in _LITERALS:
        return _LITERALS[word]
    steps: list[str] = []
    up = 0
    for found in _STEP.finditer(word.removeprefix("@")):
        if found[3]:
            up += 1
        elif found[1] is not None:
            steps.append(found[1])
        elif found[2] and not (found[2] == "this" and not steps):
            steps.append(found[2])
    simple = bool(steps) and up == 0 and not word.startswith(("this", "./", "@"))
    return _Path(up, tuple(steps), word.startswith("@"), word, simple)


class _Filler:
    def __init__(self, values: Mapping[str, Any], *, escape: bool) -> None:
        self._values = values
        self._escape = escape

    def run(self, nodes: list[Any], scope: _Scope) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, str):
                yield node
            elif isinstance(node, _Value):
                text = shown(self._called(node.call, scope))
                yield text.translate(_ESCAPES) if node.escape and self._escape else text
            else:
                yield from self._block(node, scope)

    def _block(self, block: _Block, scope: _Scope) -> Iterator[str]:
        name = block.name
        if name not in _BLOCKS:
            yield from self._section(block, scope)
            return
        value = self._value(block.call.arguments[0], scope)
        body, other = (block.other, block.body) if block.inverted else (block.body, block.other)
        if name in ("if", "unless"):
            zero = bool(self._value(block.call.named.get("includeZero"), scope))
            holds = _is_full(value) or (zero and value == 0 and not isinstance(value, bool))
            yield from self.run(body if holds == (name == "if") else other, scope)
        elif name == "with":
            yield from self._inside(body, scope, value, block, ()) if _is_full(value) else self.run(other, scope)
        elif isinstance(value, list | Mapping) and value:
            yield from self._each(block, body, scope, value)
        else:
            yield from self.run(other, scope)

    def _section(self, block: _Block, scope: _Scope) -> Iterator[str]:
        """A block with the name of a value: once for each of a list, inside of an object, or if it is true."""
        value = self._value(block.call.head, scope)
        if block.inverted or not (_is_full(value)):
            yield from self.run(block.body if block.inverted and not _is_full(value) else block.other, scope)
        elif isinstance(value, list):
            yield from self._each(block, block.body, scope, value)
        elif value is True:
            yield from self.run(block.body, scope)
        else:
            yield from self._inside(block.body, scope, value, block, ())

    def _each(self, block: _Block, body: list[Any], scope: _Scope, value: Any) -> Iterator[str]:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for index, (key, item) in enumerate(pairs):
            first, last = index == 0, index == len(value) - 1
            data = (("index", index), ("key", key), ("first", first), ("last", last))
            yield from self._inside(body, scope, item, block, data)

    def _inside(
        self, body: list[Any], scope: _Scope, value: Any, block: _Block, data: tuple[tuple[str, Any], ...]
    ) -> Iterator[str]:
        given = dict(data)
        names = dict(zip(block.call.names, (value, given.get("key")), strict=False))
        yield from self.run(body, _Scope(value, scope, {**scope.data, **given}, {**scope.names, **names}))

    def _called(self, call: _Call, scope: _Scope) -> Any:
        name = call.head.text if isinstance(call.head, _Path) else ""
        arguments = [self._value(each, scope) for each in call.arguments]
        if name == "log":
            return ""
        if name in _HELPERS and arguments:
            return _HELPERS[name](*arguments)
        if arguments or call.named:
            raise TemplateError(f"there is no helper {name!r:.60}; take one of {', '.join(sorted(_HELPERS))}")
        return self._value(call.head, scope)

    def _value(self, given: Any, scope: _Scope) -> Any:
        if isinstance(given, _Call):
            return self._called(given, scope)
        if not isinstance(given, _Path):
            return given
        steps = given.steps
        at: _Scope | None = scope
        for _ in range(given.up):
            at = at.parent if at else None
        value: Any = None if at is None else at.value
        if given.data:
            value, steps = scope.data, given.steps
        elif given.simple and steps[0] in scope.names:
            value, steps = scope.names[steps[0]], steps[1:]
        for step in steps:
            value = _step(value, step)
        return value


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list):
        if step == "length":
            return len(value)
        return value[int(step)] if step.isdecimal() and int(step) < len(value) else None
    return len(value) if isinstance(value, str) and step == "length" else None


def _is_full(value: Any) -> bool:
    return value not in (False, None, "", 0) and value != []


_HELPERS: Final[dict[str, Callable[..., Any]]] = {
    "lookup": lambda value, key: _step(value, str(key)),
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "and": lambda *values: all(map(_is_full, values)),
    "or": lambda *values: any(map(_is_full, values)),
    "not": lambda value: not _is_full(value),
    "len": len,
}
