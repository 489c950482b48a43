"""What file_search runs in a child process: a pattern of a stranger over files that were judged.

Invariant: each file is opened without following a link, read no further than it may be, and skipped if it is no text.
Lines and columns count from 1, columns in characters.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError, LlmspellError
from llmspell_hookspecs.errors import line_of_error

from .anchor import anchored, open_regular

__all__ = ["Question", "search"]

_LONGEST_LINE = 2000


class Question(Struct, frozen=True):
    """What is looked for.

    Attributes:
        pattern: A text or a regular expression.
        use_regex: Which of them.
        case_sensitive: Whether upper and lower case differ.
        context_lines: How many lines before and after are told.
        max_file_size: Larger files are skipped; in bytes.
        max_matches_per_file: How many a file may have, 0 for any number.
        max_matches: How many are told in all.
    """

    pattern: str
    use_regex: bool
    case_sensitive: bool
    context_lines: int
    max_file_size: int
    max_matches_per_file: int
    max_matches: int


def search(question: Question, paths: Sequence[str]) -> dict[str, Any]:
    """Return the matches, and which files were skipped and why.

    Raises:
        InvalidInputError: The pattern is none.
    """
    expression = _expression(question)
    matches: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    searched = 0
    for path in paths:
        if len(matches) >= question.max_matches:
            break
        try:
            text = _text(path, question.max_file_size)
        except (OSError, LlmspellError) as error:
            text = _Skip(getattr(error, "strerror", None) or line_of_error(error))
        if isinstance(text, _Skip):
            skipped.append({"path": path, "reason": text.reason.lower()})
            continue
        searched += 1
        matches += _matches(expression, path, text, question, question.max_matches - len(matches))
    full = len(matches) >= question.max_matches
    return {"matches": matches, "skipped": skipped, "searched": searched, "truncated": full}


class _Skip(Struct):
    reason: str


def _expression(question: Question) -> re.Pattern[str]:
    pattern = question.pattern if question.use_regex else re.escape(question.pattern)
    try:
        return re.compile(pattern, re.NOFLAG if question.case_sensitive else re.IGNORECASE)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        why = line_of_error(error)
        message = f"file_search: pattern: it is no regular expression ({why}); correct it, or set use_regex to false"
        raise InvalidInputError(message, field="pattern") from error


def _text(path: str, max_bytes: int) -> str | _Skip:
    with anchored(path) as anchor:
        descriptor, _ = open_regular(anchor, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        return _Skip(f"larger than {max_bytes} bytes")
    if b"\0" in content[:8192]:
        return _Skip("no text")
    return content.decode("utf-8-sig", "replace")


def _matches(expression: re.Pattern[str], path: str, text: str, question: Question, left: int) -> list[dict[str, Any]]:
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines]
    most = min(question.max_matches_per_file or left, left)
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        for match in expression.finditer(line):
            if len(found) == most:
                return found
            around = question.context_lines
            found.append(
                {
                    "file_path": path,
                    "line_number": number + 1,
                    "column_number": match.start() + 1,
                    "line_content": line[:_LONGEST_LINE],
                    "matched_text": match.group()[:_LONGEST_LINE],
                    "context_before": [each[:_LONGEST_LINE] for each in lines[max(0, number - around) : number]],
                    "context_after": [each[:_LONGEST_LINE] for each in lines[number + 1 : number + 1 + around]],
                }
            )
    return found
