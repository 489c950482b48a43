"""Patterns over topics: read, checked, and split into what the trie holds.

Invariant: a pattern that is accepted costs a bounded time to match: its length, its alternatives and its ``**`` are
limited, and no segment's expression backtracks.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from .errors import InvalidInputError

__all__ = ["DEEP", "STAR", "expand_braces", "parse_pattern", "segment_matcher", "split_topic"]

DEEP: Final = "**"
STAR: Final = "*"
_LENGTH: Final = 512
_ALTERNATIVES: Final = 64
_DEEPS: Final = 8
_TOKEN = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)
_WILD = re.compile(r"[*?\[]")


def split_topic(topic: str) -> list[str]:
    """Return the segments of a topic; ``.`` and ``:`` separate alike.

    Raises:
        InvalidInputError: It is empty or too long.
    """
    if not topic or len(topic) > _LENGTH:
        raise InvalidInputError(f"event: the topic {topic[:40]!r} must have 1 to {_LENGTH} characters", field="type")
    return topic.replace(":", ".").split(".")


def parse_pattern(pattern: str) -> list[list[str]]:
    """Return the alternatives of a pattern, each as its segments.

    Raises:
        InvalidInputError: It is empty, too long, has too many alternatives, or a bracket that does not close.
    """
    if not pattern or len(pattern) > _LENGTH:
        raise _wrong(pattern, f"it must have 1 to {_LENGTH} characters")
    alternatives = list(dict.fromkeys(expand_braces(pattern)))
    parsed = [list(_segments(pattern, alternative)) for alternative in alternatives]
    if any(segments.count(DEEP) > _DEEPS for segments in parsed):
        raise _wrong(pattern, f"it has more than {_DEEPS} '**'; leave some out")
    return parsed


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield what a pattern with ``{a,b}`` stands for; braces may stand within braces.

    Raises:
        InvalidInputError: A brace does not close, or there are too many alternatives.
    """
    waiting, count = [pattern], 0
    while waiting:
        text = waiting.pop()
        opened = _find_open(text)
        if opened < 0:
            count += 1
            yield text
        else:
            closed, parts = _alternatives(pattern, text, opened)
            waiting += [text[:opened] + part + text[closed + 1 :] for part in reversed(parts)]
        if count + len(waiting) > _ALTERNATIVES:
            raise _wrong(pattern, f"it stands for more than {_ALTERNATIVES} patterns; subscribe to several")


def _find_open(text: str) -> int:
    return next((token.start() for token in _TOKEN.finditer(text) if token[0] == "{"), -1)


def _alternatives(pattern: str, text: str, opened: int) -> tuple[int, list[str]]:
    """Return where the brace closes, and what stands between its commas."""
    depth, start, parts = 0, opened + 1, []
    for token in _TOKEN.finditer(text, opened):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}":
            depth -= 1
        if (token[0] == "," and depth == 1) or depth == 0:
            parts.append(text[start : token.start()])
            start = token.end()
        if depth == 0:
            return token.start(), parts
    raise _wrong(pattern, "a '{' does not close; write {a,b}")


def _segments(pattern: str, alternative: str) -> Iterator[str]:
    segment = ""
    for token in _TOKEN.findall(alternative):
        if token in (".", ":"):
            yield _simple(segment)
            segment = ""
        elif token in ("[", "}", "[]", "[!]") or (len(token) > 1 and ("." in token or ":" in token)):
            raise _wrong(pattern, f"a {token[0]!r} encloses nothing, or a separator; write [abc] or {{a,b}}")
        else:
            segment += token
    yield _simple(segment)


def _simple(segment: str) -> str:
    if segment == DEEP:
        return segment
    return re.sub(r"\*{2,}", STAR, segment) if "[" not in segment else segment


def segment_matcher(segment: str) -> Callable[[str], Any] | None:
    """Return what tells whether a text fits a segment with wildcards; None if it has none."""
    if not _WILD.search(segment):
        return None
    return re.compile(fnmatch.translate(segment)).match


def _wrong(pattern: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"event pattern {pattern[:40]!r}: {problem}", field="pattern")
