"""What the regex-matcher and others run in a child process: patterns of strangers, which nothing else can stop.

Invariant: every position is counted in characters, from 0; what is found is bounded before it is collected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error

__all__ = ["compiled", "find_all", "match", "matching", "replace", "split", "validate"]

_FLAGS = {
    "ignore_case": re.IGNORECASE,
    "multiline": re.MULTILINE,
    "dot_all": re.DOTALL,
    "verbose": re.VERBOSE,
    "ascii": re.ASCII,
}
_MOST_CHARACTERS = 50_000_000


def compiled(pattern: str, flags: Sequence[str], where: str) -> re.Pattern[str]:
    """Return the pattern.

    Raises:
        InvalidInputError: It is none; the message tells where.
    """
    bits = re.NOFLAG
    for flag in flags:
        bits |= _FLAGS[flag]
    try:
        return re.compile(pattern, bits)
    except (re.error, RecursionError, OverflowError, ValueError) as error:
        message = f"{where}: it is no regular expression ({line_of_error(error)}); correct it"
        raise InvalidInputError(message, field="pattern") from error


def match(pattern: str, text: str, flags: Sequence[str]) -> dict[str, Any]:
    """Return the first match, and whether it is the whole text."""
    found = compiled(pattern, flags, _WHERE).search(text)
    if found is None:
        return {"matched": False, "full": False}
    return {"matched": True, "full": found.group() == text, **_told(found)}


def find_all(pattern: str, text: str, flags: Sequence[str], most: int) -> dict[str, Any]:
    """Return all matches, at most ``most``, and whether there are more."""
    matches: list[dict[str, Any]] = []
    more = False
    for found in compiled(pattern, flags, _WHERE).finditer(text):
        if len(matches) == most:
            more = True
            break
        matches.append(_told(found))
    return {"matches": matches, "count": len(matches), "truncated": more}


def replace(pattern: str, text: str, flags: Sequence[str], replacement: str, most: int) -> dict[str, Any]:
    r"""Return the text with matches replaced; ``\1``, ``\g<name>`` and ``$1``, ``${name}`` are what groups took."""
    expression = compiled(pattern, flags, _WHERE)
    pieces: list[str] = []
    at = count = size = 0
    for found in expression.finditer(text):
        if most and count == most:
            break
        try:
            put = found.expand(_python_replacement(replacement))
        except (re.error, IndexError) as error:
            why = line_of_error(error)
            message = f"{_WHERE}: replacement: {replacement!r:.80} cannot be used ({why}); name a group that there is"
            raise InvalidInputError(message, field="replacement") from error
        pieces += (text[at : found.start()], put)
        size += found.start() - at + len(put)
        if size > _MOST_CHARACTERS:
            message = f"{_WHERE}: the result has more than {_MOST_CHARACTERS} characters; replace by less"
            raise ResourceLimitError(message, resource="characters", limit=_MOST_CHARACTERS)
        at = found.end()
        count += 1
    return {"result": "".join([*pieces, text[at:]]), "count": count}


def split(pattern: str, text: str, flags: Sequence[str], most: int) -> dict[str, Any]:
    """Return the parts between matches, without what groups took."""
    parts: list[str] = []
    at = 0
    for found in compiled(pattern, flags, _WHERE).finditer(text):
        if len(parts) == most - 1:
            break
        if not found.group() and found.start() in (0, len(text)):
            continue
        parts.append(text[at : found.start()])
        at = found.end()
    parts.append(text[at:])
    return {"parts": parts, "count": len(parts)}


def validate(pattern: str, flags: Sequence[str]) -> dict[str, Any]:
    """Return whether it is a pattern, and which groups it has, or what is wrong with it."""
    try:
        expression = compiled(pattern, flags, _WHERE)
    except InvalidInputError as error:
        cause = error.__cause__
        at = cause.pos if isinstance(cause, re.error) else None
        return {"valid": False, "error": str(cause), "position": at}
    return {"valid": True, "groups": expression.groups, "group_names": list(expression.groupindex)}


def matching(patterns: Sequence[tuple[str, str]]) -> list[bool]:
    """Return for each pattern whether it is found in its text.

    Raises:
        InvalidInputError: One is no pattern.
    """
    return [compiled(pattern, (), "pattern").search(text) is not None for pattern, text in patterns]


_WHERE = "regex-matcher"
_DOLLAR = re.compile(r"\$(?:\$|(\d+)|\{(\w+)\})", re.ASCII)


def _python_replacement(replacement: str) -> str:
    def written(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return "$" if name is None else rf"\g<{name}>"

    return _DOLLAR.sub(written, replacement)


def _told(found: re.Match[str]) -> dict[str, Any]:
    return {
        "match": found.group(),
        "start": found.start(),
        "end": found.end(),
        "groups": list(found.groups()),
        "named_groups": found.groupdict(),
    }
