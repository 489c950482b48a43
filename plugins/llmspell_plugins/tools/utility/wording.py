"""What can be done to the words and lines of a text; pure functions that never hold other threads for long.

Invariant: lines keep their own ends; a text of n characters takes time in proportion to n. Lengths in characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

__all__ = [
    "camel_case",
    "dedented",
    "indented",
    "joined",
    "lines",
    "mapped",
    "pascal_case",
    "sanitized",
    "snake_case",
    "truncated",
    "words",
    "wrapped",
]

_PIECE = 65_536
_BATCH = 10_000
_WORD = re.compile(r"\S+")
_ALPHANUMERIC = re.compile(r"[^\W_]+")
_JOINERS = "\u200c\u200d"


def mapped(text: str, change: Callable[[str], str]) -> str:
    """Return the text changed piece by piece; pieces end at white space, for Greek lower case looks at word ends."""
    return "".join(change(piece) for piece in _pieces(text))


def joined(separator: str, parts: Iterable[str]) -> str:
    """Return the parts with the separator between them, put together batch by batch."""
    remaining = iter(parts)
    batches = iter(lambda: list(islice(remaining, _BATCH)), [])
    return separator.join(separator.join(batch) for batch in batches)


def lines(text: str) -> Iterator[str]:
    """Yield the lines with their ends: LF, CR LF or CR."""
    start, feed, carriage = 0, text.find("\n"), text.find("\r")
    while start < len(text):
        if 0 <= feed < start:
            feed = text.find("\n", start)
        if 0 <= carriage < start:
            carriage = text.find("\r", start)
        last = min((position for position in (feed, carriage) if position >= 0), default=len(text) - 1)
        if last == carriage and feed == carriage + 1:
            last = feed
        yield text[start : last + 1]
        start = last + 1


def words(text: str) -> Iterator[str]:
    """Yield what stands between white space."""
    return (match.group() for match in _WORD.finditer(text))


def snake_case(text: str) -> str:
    """Return the words in lower case, joined by underscores."""
    return joined("_", (part.lower() for part in _parts(text)))


def camel_case(text: str) -> str:
    """Return the words joined, each but the first with a capital."""
    return joined("", (_capital(part) if index else part.lower() for index, part in enumerate(_parts(text))))


def pascal_case(text: str) -> str:
    """Return the words joined, each with a capital."""
    return joined("", map(_capital, _parts(text)))


def sanitized(text: str) -> str:
    """Return the text without control characters, invisible and direction marks, and lone surrogates; lines end in LF.

    Tabs, line ends, and the joiners that emoji and some scripts need, stay; the rest is composed (NFC).
    """
    unified = joined("", (line.rstrip("\r\n") + "\n" * (line[-1] in "\r\n") for line in lines(text)))
    return mapped(unified, _harmless)


def truncated(text: str, max_length: int) -> str:
    """Return the text, or as much of it as fits with an ellipsis of three dots."""
    if len(text) <= max_length:
        return text
    return f"{text[: max_length - 3]}..." if max_length > 3 else text[:max_length]


def indented(text: str, spaces: int) -> str:
    """Return the text with spaces before every line that is not blank."""
    prefix = " " * spaces
    return joined("", (prefix + line if line.strip() else line for line in lines(text)))


def dedented(text: str) -> str:
    """Return the text without the white space that all lines begin with; blank lines become empty."""
    margin: str | None = None
    for line in lines(text):
        if line.strip():
            begin = line[: len(line) - len(line.lstrip())]
            margin = begin if margin is None else _common(margin, begin)
    cut = len(margin or "")
    return joined("", (line[cut:] if line.strip() else line.lstrip(" \t\f\v") for line in lines(text)))


def wrapped(text: str, width: int) -> str:
    """Return the text with lines of at most so many characters, broken at white space; longer words stay whole."""
    return joined("", (_wrapped_line(line, width) for line in lines(text)))


def _wrapped_line(line: str, width: int) -> str:
    body = line.rstrip("\r\n")
    if len(body) <= width:
        return line
    rows: list[list[str]] = [[]]
    length = 0
    for word in words(body):
        if rows[-1] and length + 1 + len(word) > width:
            rows.append([])
            length = 0
        length += len(word) + (1 if rows[-1] else 0)
        rows[-1].append(word)
    return joined("\n", map(" ".join, rows)) + line[len(body) :]


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = min(start + _PIECE, len(text))
        while end < len(text) and end - start < 2 * _PIECE and not text[end].isspace():
            end += 1
        yield text[start:end]
        start = end


def _parts(text: str) -> Iterator[str]:
    """Yield the words of a name: apart where case changes, and at all but letters and digits."""
    for match in _ALPHANUMERIC.finditer(text):
        run, start = match.group(), 0
        for index in range(1, len(run)):
            before, here, after = run[index - 1], run[index], run[index + 1 : index + 2]
            if here.isupper() and (not before.isupper() or after.islower()):
                yield run[start:index]
                start = index
        yield run[start:]


def _capital(part: str) -> str:
    return part[:1].upper() + part[1:].lower()


def _harmless(text: str) -> str:
    kept = (
        character
        for character in text
        if character in "\t\n" or character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
    )
    return unicodedata.normalize("NFC", "".join(kept))


def _common(one: str, other: str) -> str:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]
