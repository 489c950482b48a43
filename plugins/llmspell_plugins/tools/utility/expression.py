"""Arithmetic expressions over floats: read once under limits, evaluated any number of times, without ``eval``.

The text is cut into tokens here, so that nothing but numbers, names, operators, commas and parentheses ever reaches
Python's parser; simpleeval walks the tree. Invariants: reading and evaluating any text ends well within 100 ms, for the
text has at most 1000 characters, 20 levels of parentheses, 100 operators and 50 calls; every value is a float, so no
result grows.

Binds from loose to tight: ``||``, ``&&``, comparisons (``1 < x < 3`` reads as in mathematics), ``+ -``, ``* / %``,
the signs and ``!``, ``^`` (from the right: ``2^3^2`` is 512). ``**`` is ``^``. A name in backticks may hold anything.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from llmspell_hookspecs import ToolError

from .arithmetic import CONSTANTS, FUNCTIONS, OPERATORS

__all__ = ["Expression"]

_LENGTH, _NESTING, _OPERATORS, _CALLS = 1000, 20, 100, 50

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[^\W\d]\w*|`[^`]+`)"
    r"|(?P<operator>\*\*|&&|\|\||[<>=!]=|[-+*/%^<>!])|(?P<punctuation>[(),])",
)
_PYTHON = {"^": "**", "&&": "and", "||": "or", "!": "~"}
_WORDS = {"and": "&&", "or": "||", "not": "!"}
_NODES = (ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Name, ast.Constant)
_NODE_PARTS = (ast.Expression, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context)


class Expression:
    """An expression that was read and found well-formed.

    Attributes:
        text: As it was given.
        names: The variables that it needs, in order of appearance.
    """

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            ToolError: It is not an expression (``invalid_input``), or too large (``limit_exceeded``).
        """
        from simpleeval import SimpleEval

        self.text = text
        tokens = _Tokens(text)
        self.names = tuple(tokens.names)
        self._keys = [f"v{index}" for index in range(len(self.names))]
        self._tree = tokens.tree()
        functions = {f"f_{name}": function.call for name, function in FUNCTIONS.items()}
        self._evaluator: Any = SimpleEval(operators=OPERATORS, functions=functions, names={})

    def evaluate(self, variables: Mapping[str, float]) -> float:
        """Return its value, infinity and NaN included; ``pi`` and ``e`` have their values unless given.

        Raises:
            ToolError: A variable is missing (``invalid_input``), or an exponent too large (``limit_exceeded``).
        """
        values = {**CONSTANTS, **variables}
        missing = [name for name in self.names if name not in values]
        if missing:
            known = ", ".join(sorted(values))
            raise _invalid(f"{', '.join(map(repr, missing))} has no value", f"give it in variables; known are {known}")
        self._evaluator.names = dict(zip(self._keys, (float(values[name]) for name in self.names), strict=True))
        return float(self._evaluator.eval(self.text, previously_parsed=self._tree))


class _Tokens:
    """The text in Python's spelling: numbers as floats, variables as v0, v1 ..., functions as f_name."""

    def __init__(self, text: str) -> None:
        if len(text) > _LENGTH:
            raise _limit(f"{len(text)} characters are more than {_LENGTH}", "make it shorter")
        self.text = text
        self.names: dict[str, str] = {}
        self._python: list[str] = []
        self._starts: list[int] = []
        self._open: list[int] = []
        self._operators = 0
        self._calls = 0
        self._read()

    def tree(self) -> ast.expr:
        """Return the tree of what was read."""
        source = " ".join(self._python)
        try:
            tree = ast.parse(source, mode="eval")
        except SyntaxError as error:
            # The offset is 0 where an expression ends too early.
            ended = not error.offset
            raise self._astray(len(self.text) if ended else self._position((error.offset or 1) - 1)) from None
        for node in ast.walk(tree):
            if not isinstance(node, _NODES + _NODE_PARTS):
                raise self._astray(self._position(getattr(node, "col_offset", 0)))
            if isinstance(node, ast.Call):
                self._check_call(node)
        return tree.body

    def _read(self) -> None:
        position = 0
        while position < len(self.text):
            match = _TOKEN.match(self.text, position)
            if match is None:
                raise self._wrong(f"{self.text[position]!r} means nothing here", position)
            if match.lastgroup != "space":
                self._starts.append(position)
                self._python.append(self._spell(str(match.lastgroup), match.group(), match.end()))
            position = match.end()
        if not self._python:
            raise _invalid("it is empty", "give an expression such as '2 + 2'")
        if self._open:
            raise self._wrong("a '(' is never closed", self._open[-1])

    def _spell(self, kind: str, token: str, end: int) -> str:
        """Return one token in Python's spelling, counted against the limits."""
        if kind == "number":
            if math.isinf(float(token)):
                raise self._wrong(f"the number {token[:30]} is too large", end - len(token))
            return repr(float(token))
        if kind == "punctuation":
            return self._nest(token, end - 1)
        if kind == "operator" or token in _WORDS:
            self._operators += 1
            if self._operators > _OPERATORS:
                raise _limit(f"there are more than {_OPERATORS} operators", "take it apart")
            token = _WORDS.get(token, token)
            return _PYTHON.get(token, token)
        if self.text[end:].lstrip().startswith("("):
            return self._function(token)
        return self.names.setdefault(token.strip("`"), f"v{len(self.names)}")

    def _nest(self, mark: str, position: int) -> str:
        if mark == "(":
            self._open.append(position)
            if len(self._open) > _NESTING:
                raise _limit(f"parentheses are nested more than {_NESTING} deep", "take it apart")
        elif mark == ")":
            if not self._open:
                raise self._wrong("a ')' has no '('", position)
            self._open.pop()
        return mark

    def _function(self, name: str) -> str:
        self._calls += 1
        if self._calls > _CALLS:
            raise _limit(f"there are more than {_CALLS} function calls", "take it apart")
        if name not in FUNCTIONS:
            near = difflib.get_close_matches(name, FUNCTIONS, 3) or list(FUNCTIONS)
            raise _invalid(f"there is no function {name!r}", f"use {', '.join(near)}")
        return f"f_{name}"

    def _check_call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Name) or node.func.id in self.names.values():
            position = self._position(node.col_offset)
            raise self._wrong("only a function can be called", position)
        function = FUNCTIONS[node.func.id.removeprefix("f_")]
        if not function.least <= len(node.args) <= function.most:
            name = node.func.id.removeprefix("f_")
            raise _invalid(f"{name} cannot take {len(node.args)} values", f"write {function.signature}")

    def _position(self, offset: int) -> int:
        """Return where in the text the token stands that begins at or after an offset of the Python spelling."""
        length = 0
        for start, token in zip(self._starts, self._python, strict=True):
            if length + len(token) > offset:
                return start
            length += len(token) + 1
        return len(self.text)

    def _astray(self, position: int) -> ToolError:
        rest = self.text[position:]
        what = f"it goes wrong at {rest[:20]!r}" if rest.strip() else "something is missing at its end"
        return self._wrong(what, position)

    def _wrong(self, what: str, position: int) -> ToolError:
        return _invalid(f"{self.text[:60]!r}: {what} (character {position + 1})", "correct it there", position=position)


def _invalid(what: str, advice: str, **details: Any) -> ToolError:
    return ToolError(f"expression: {what}; {advice}", code="invalid_input", details=details or None)


def _limit(what: str, advice: str) -> ToolError:
    return ToolError(f"expression: {what}; {advice}", code="limit_exceeded")
