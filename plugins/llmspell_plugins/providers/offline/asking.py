"""Which tools a text asks for, by the rules that `wording` tells.

Invariant: only tools that were offered are used; what is asked for explicitly goes before what is understood from
words.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from llmspell_hookspecs.errors import line_of_error
from llmspell_hookspecs.model import ToolSpec, ToolUse

__all__ = ["missing_tools", "tool_uses"]

_Found: TypeAlias = tuple[int, str, dict[str, Any], str]
"""Where in the text, which tool, its parameters, and why they cannot be read."""

_LONGEST: Final = 20_000
_EXPLICIT: Final = re.compile(r"\b(?:use|call)\s+([\w-]+)(?:\s+with)?\s*(?=\{)", re.IGNORECASE)
_BARE: Final = re.compile(r"^\s*(?:use|call)\s+([\w-]+)\s*[.!]?\s*$", re.IGNORECASE | re.MULTILINE)
_CALL: Final = re.compile(r"(?<![\w.-])([A-Za-z][\w-]*)\(((?:[^()\"']|\"[^\"]*\"|'[^']*')*)\)")
_WORDS: Final = {"plus": "+", "minus": "-", "times": "*", "divided by": "/", "over": "/"}
_SPOKEN: Final = re.compile(rf"(?<=\d)\s+({'|'.join(_WORDS)})\s+(?=\d)", re.IGNORECASE)
_FUNCTIONS: Final = r"(?:sqrt|sin|cos|tan|log|log10|ln|exp|abs|min|max|round|floor|ceil|pow)\s*\("
_SUM: Final = re.compile(rf"(?<![\w./-])(?:{_FUNCTIONS}|[-(]{{0,8}}\s{{0,3}}\.?\d)(?:{_FUNCTIONS}|[\d\s.+*/^%(),-])*")
_OPERATES: Final = re.compile(rf"[\d)]\s*(?:[-+*/^%]|\*\*|//)\s*[-(.\d]|{_FUNCTIONS}")
_DATE: Final = re.compile(r"\d{4}-\d\d(-\d\d)?|\d+\.\d+\.\d+")
_PATH: Final = r"[`'\"]?([^\s`'\",;?!]*(?:/|\.\w)[^\s`'\",;?!]*)"
_FOLDER: Final = r"[`'\"]?([^\s`'\",;?!]+)"
_READ: Final = re.compile(rf"\b(?:read|show|open|print)\s+(?:me\s+)?(?:the\s+)?(?:file\s+)?{_PATH}", re.IGNORECASE)
_DELETE: Final = re.compile(rf"\b(?:delete|remove)\s+(?:the\s+)?(?:file\s+)?{_PATH}", re.IGNORECASE)
_LIST: Final = re.compile(
    rf"\blist\s+(?:the\s+)?(?:(?:files|entries)(?:\s+(?:in|of|under)\s+(?:the\s+)?(?:folder\s+)?{_FOLDER})?"
    rf"|(?:folder|directory)\s+{_FOLDER}|{_PATH}|{_FOLDER}(?=\s*(?:$|[.,;!?])))",
    re.IGNORECASE | re.MULTILINE,
)
_WRITE: Final = re.compile(
    rf"\bwrite\s+(?:\"([^\"]*)\"|'([^']*)'|(.{{1,200}}?))\s+(?:to|into)\s+(?:the\s+)?(?:file\s+)?{_PATH}", re.IGNORECASE
)
_TABLE: Final = re.compile(
    r"\b(?:summari[sz]e|analy[sz]e|describe)\s+(?:me\s+)?(?:the\s+)?(?:file\s+)?[`'\"]?([^\s`'\",;?!]+\.[ct]sv)\b",
    re.IGNORECASE,
)
_SUMMARISE: Final = re.compile(rf"\bsummari[sz]e\s+(?:the\s+)?(?:file\s+)?{_PATH}", re.IGNORECASE)


def tool_uses(text: str, tools: Sequence[ToolSpec], before: int) -> tuple[ToolUse, ...]:
    """Return the tools that a text asks for, in its order.

    Args:
        text: What the user said.
        tools: What is offered.
        before: How many uses the conversation has already, so that no two have one id.
    """
    names = {tool.name for tool in tools}
    text = text[:_LONGEST]
    found = [each for each in _explicit(text, names) if each[1] in names]
    if not found:
        found = [each for tool, rule in _RULES if tool in names for each in rule(text)]
    chosen: dict[tuple[int, str], _Found] = {}
    for each in sorted(found, key=lambda item: item[0]):
        chosen.setdefault((each[0], each[1]), each)
    return tuple(
        ToolUse(f"call_{before + number}", name, parameters, problem)
        for number, (_, name, parameters, problem) in enumerate(chosen.values())
    )


def missing_tools(text: str, tools: Sequence[ToolSpec]) -> tuple[str, ...]:
    """Return the tools that a text names though they are not offered."""
    names = {tool.name for tool in tools}
    asked = [match[1] for match in _EXPLICIT.finditer(text[:_LONGEST])]
    return tuple(dict.fromkeys(name for name in asked if name not in names))


def _explicit(text: str, names: set[str]) -> Iterator[_Found]:
    """``use NAME {json}``, ``use NAME``, ``NAME(key=value)``."""
    end = 0
    for match in _EXPLICIT.finditer(text):
        if match.start() < end:
            continue
        try:
            parameters, end = json.JSONDecoder().raw_decode(text, match.end())
            yield match.start(), match[1], parameters, ""
        except (ValueError, RecursionError) as error:
            yield match.start(), match[1], {}, f"the parameters are no JSON: {line_of_error(error)}"
    for match in _BARE.finditer(text):
        yield match.start(1), match[1], {}, ""
    for match in _CALL.finditer(text):
        if match[1] in names:
            parameters = _keywords(match[2])
            if parameters is None:
                yield match.start(), match[1], {}, "the parameters are not written key=value"
            else:
                yield match.start(), match[1], parameters, ""


def _keywords(text: str) -> dict[str, Any] | None:
    """The values of ``key=value, ...``; None if it is not written so."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(call, ast.Call) or call.args:
        return None
    values = {keyword.arg: _value(keyword.value) for keyword in call.keywords if keyword.arg}
    return values if len(values) == len(call.keywords) else None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "null": None, "none": None}.get(node.id.lower(), node.id)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_value(key)): _value(value) for key, value in pairs if key is not None}
    try:
        return ast.literal_eval(node)
    except (ValueError, RecursionError):
        return ast.unparse(node)


def _arithmetic(text: str) -> Iterator[_Found]:
    text = _SPOKEN.sub(lambda match: f" {_WORDS[match[1].lower()]} ", text)
    for match in _SUM.finditer(text):
        expression = match[0].strip().rstrip("+-*/^%.,( ").strip()
        if _OPERATES.search(expression) and not _DATE.search(expression) and _balanced(expression):
            yield match.start(), "calculator", {"operation": "evaluate", "input": expression}, ""


def _balanced(expression: str) -> bool:
    return expression.count("(") == expression.count(")")


def _tables(text: str) -> Iterator[_Found]:
    for match in _TABLE.finditer(text):
        yield match.start(), "csv_analyzer", {"operation": "analyze", "input": match[1]}, ""


def _files(text: str) -> Iterator[_Found]:
    written = [(match.start(), match.end()) for match in _WRITE.finditer(text)]
    for match in _WRITE.finditer(text):
        content = next(part for part in match.groups()[:3] if part is not None)
        parameters = {"operation": "write", "path": _trimmed(match[4]), "input": content}
        yield match.start(), "file_operations", parameters, ""
    for operation, pattern in (("read", _READ), ("delete", _DELETE), ("list_dir", _LIST)):
        for match in pattern.finditer(text):
            if not any(start < match.start() < end for start, end in written):
                path = _trimmed(next((part for part in match.groups() if part), "."))
                yield match.start(), "file_operations", {"operation": operation, "path": path}, ""


def _summaries(text: str) -> Iterator[_Found]:
    for match in _SUMMARISE.finditer(text):
        if not match[1].lower().endswith((".csv", ".tsv")):
            yield match.start(), "file_operations", {"operation": "read", "path": _trimmed(match[1])}, ""


def _trimmed(path: str) -> str:
    """The path without the end of its sentence."""
    return path.rstrip(".,:;!?)") or path


_RULES: Final[Sequence[tuple[str, Callable[[str], Iterator[_Found]]]]] = (
    ("calculator", _arithmetic),
    ("csv_analyzer", _tables),
    ("file_operations", _files),
    ("file_operations", _summaries),
)
