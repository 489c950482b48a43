"""Versions as in Semantic Versioning 2.0.0 (https://semver.org), and their order."""

from __future__ import annotations

import re
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError

__all__ = ["order_of"]

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_WORD: Final = rf"(?:{_NUMBER}|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_WORD}(?:\.{_WORD})*))?(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_LONGEST: Final = 100


def order_of(where: str, version: str) -> tuple[Any, ...]:
    """Return what versions are sorted by; what stands behind ``+`` does not count.

    Args:
        where: For the message.
        version: ``major.minor.patch``, with ``-beta.1`` or ``+build`` behind it.

    Raises:
        InvalidInputError: It is none.
    """
    found = _VERSION.fullmatch(version) if isinstance(version, str) and len(version) <= _LONGEST else None
    if found is None:
        message = f"{where}: {str(version)[:40]!r} is no version as in SemVer; write one such as 1.2.0"
        raise InvalidInputError(message, field="version")
    *numbers, before = found.groups()
    # A release comes after all of its pre-releases; of their parts numbers come before words.
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in before.split(".")] if before else []
    return (*map(int, numbers), not parts, parts)
