"""What holds a content against the kind that it is said to be.

Invariant: a validator is called in a thread, sees the whole content, and returns what is wrong; one that fails says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from llmspell_hookspecs.errors import line_of_error, text_of_error
from llmspell_hookspecs.globs import Globs

__all__ = ["Validator", "Validators", "problem_of"]

Validator = Callable[[bytes], str]


def _json(content: bytes) -> str:
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        return f"it is no JSON: {line_of_error(error)}"
    return ""


def _lines(content: bytes) -> str:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip() and (problem := _json(line)):
            return f"line {number}: {problem}"
    return ""


def _text(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"it is no text in UTF-8: byte {error.start} begins no character"
    return ""


def _begins(*starts: bytes) -> Validator:
    def check(content: bytes) -> str:
        return "" if content.startswith(starts) else "it does not begin as one does"

    return check


_OWN: Final[tuple[tuple[str, Validator], ...]] = (
    ("application/json", _json),
    ("application/*+json", _json),
    ("application/x-ndjson", _lines),
    ("text/*", _text),
    ("image/png", _begins(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", _begins(b"\xff\xd8\xff")),
    ("image/gif", _begins(b"GIF87a", b"GIF89a")),
    ("application/pdf", _begins(b"%PDF-")),
    ("application/zip", _begins(b"PK\x03\x04", b"PK\x05\x06")),
)


class Validators:
    """What contents are held against: first what was added last, and of all that fit each one."""

    def __init__(self) -> None:
        self._all: list[tuple[Globs, Validator]] = [(Globs((kind,)), check) for kind, check in _OWN]

    def add(self, mime_type: str, validator: Validator) -> Callable[[], None]:
        """Add one; returns what takes it out."""
        added = Globs((mime_type,), str.lower), validator
        self._all.insert(0, added)
        return lambda: self._all.remove(added) if added in self._all else None

    def of(self, mime_type: str) -> list[Validator]:
        """Return those for a kind."""
        kind, _, more = mime_type.lower().partition(";")
        kind = kind.strip()
        if "charset" in more and "utf-8" not in more and "utf8" not in more:
            return []
        return [check for globs, check in self._all if globs.match(kind)]


def problem_of(checks: list[Validator], content: bytes) -> str:
    """Return the first thing that is wrong with a content; called in a thread."""
    for check in checks:
        try:
            found = check(content)
        except Exception as error:
            return f"its validator failed: {text_of_error(error)}"
        if found:
            return str(found)
    return ""
