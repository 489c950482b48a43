"""The matchers of hook files: a name, several with bars between, or a regular expression.

Invariant: matching takes a time that is bounded by the pattern's and the name's length: what could take longer is
refused when the file is read. A pattern may match a part of a name, as there, so that a hook is rather asked than left
out; a plain name matches the whole of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from llmspell_hookspecs.errors import InvalidInputError

__all__ = ["check_matcher", "matches", "named"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_|, -]*", re.ASCII)
_LONGEST_PATTERN: Final = 500
_LONGEST_NAME: Final = 100
_MOST_REPEATS: Final = 3
_BACKWARDS: Final = re.compile(r"\(\?[^:)]|\\[1-9]")
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_BRACKETS: Final = re.compile(r"\[\^?\]?[^\]]*\]")
_REPEATED_GROUP: Final = re.compile(r"\)[*+{]")
_REPEAT: Final = re.compile(r"[*+{]")


def check_matcher(pattern: str) -> None:
    """Check that a matcher can be read, and takes no time worth speaking of.

    Raises:
        InvalidInputError: It cannot, or may.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise InvalidInputError(f"it has {len(pattern)} characters; at most {_LONGEST_PATTERN} are read")
    if _is_plain(pattern):
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        raise InvalidInputError(f"{pattern!r:.100} is no regular expression") from None
    if _BACKWARDS.search(pattern):
        raise InvalidInputError(f"{pattern!r:.100} looks around or back, which may take for ever; write it without")
    bare = _BRACKETS.sub("x", _ESCAPED.sub("x", pattern))
    if _REPEATED_GROUP.search(bare):
        raise InvalidInputError(f"{pattern!r:.100} repeats a group, which may take for ever; write it without")
    repeats = len(_REPEAT.findall(bare))
    if repeats > _MOST_REPEATS:
        raise InvalidInputError(f"{pattern!r:.100} repeats {repeats} times; {_MOST_REPEATS} are read")


def named(pattern: str) -> frozenset[str]:
    """Return the names that a matcher spells out; none of a regular expression."""
    return frozenset(each.strip() for each in re.split(r"[|,]", pattern)) if _is_plain(pattern) else frozenset()


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Return whether a matcher that was checked is about any of these names."""
    return pattern in ("", "*") or any(_fits(pattern, name) for name in names)


@lru_cache(4096)
def _fits(pattern: str, name: str) -> bool:
    if _is_plain(pattern):
        return name in named(pattern)
    return len(name) > _LONGEST_NAME or re.search(pattern, name) is not None


def _is_plain(pattern: str) -> bool:
    return pattern == "*" or _PLAIN.fullmatch(pattern) is not None
