"""Globs: whether one of several matches a text, and whether they match all that others match.

Invariant: `Globs.cover` says yes only if every text that the others match is matched here, too; what cannot be decided,
or not with little work, is no. The signs are those of `fnmatch`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from typing import Final

__all__ = ["Globs", "is_wild"]

_SIGNS: Final = re.compile(r"[*?\[]")
_SET: Final = re.compile(r"\[!?+\]?+[^\]]*+\]")
_STEPS: Final = 200_000
"""How many signs are compared before a question counts as undecided."""


def is_wild(pattern: str) -> bool:
    """Return whether it may match more than its own text."""
    return _SIGNS.search(pattern) is not None


class Globs:
    """Globs that are asked together; upper and lower case are the same only as far as ``fold`` makes them so.

    Args:
        patterns: The globs.
        fold: Applied to each pattern; whoever asks applies it to the text.
    """

    def __init__(self, patterns: Iterable[str], fold: Callable[[str], str] = str) -> None:
        self.patterns = frozenset(map(fold, patterns))
        self._expression = re.compile("|".join(map(translate, self.patterns)) or r"(?!)")
        self._wild = [_signs(pattern) for pattern in self.patterns if is_wild(pattern)]

    def match(self, text: str) -> bool:
        """Return whether one of them matches the whole text."""
        return self._expression.match(text) is not None

    def cover(self, others: Globs) -> bool:
        """Return whether all that the others match is matched here, too."""
        steps = _Steps()
        return all(self._covers(pattern, steps) for pattern in others.patterns - self.patterns)

    def _covers(self, pattern: str, steps: _Steps) -> bool:
        if not is_wild(pattern):
            return self.match(pattern)
        narrow = _signs(pattern)
        return any(_includes(wide, narrow, steps) for wide in self._wild)


class _Steps:
    """What is left of the work that one question may make."""

    def __init__(self) -> None:
        self.left = _STEPS


def _signs(pattern: str) -> list[str]:
    """The pattern sign by sign: a character, ``*``, ``?``, or a set; a bracket that is no sign stands as ``[[]``."""
    return list(_split(pattern))


def _split(pattern: str) -> Iterator[str]:
    place = 0
    while place < len(pattern):
        found = _SET.match(pattern, place)
        sign = found.group() if found else pattern[place]
        yield "[[]" if sign == "[" else sign
        place += len(sign)


def _includes(wide: list[str], narrow: list[str], steps: _Steps) -> bool:
    """Whether each sign of the narrow glob falls to one of the wide glob that matches as much: so do their texts."""
    at = other = 0
    star = resume = -1
    while other < len(narrow):
        steps.left -= 1
        if steps.left < 0:
            return False
        if at < len(wide) and wide[at] == "*":
            star, resume = at, other
            at += 1
        elif at < len(wide) and _takes(wide[at], narrow[other]):
            at, other = at + 1, other + 1
        elif star >= 0:
            resume += 1
            at, other = star + 1, resume
        else:
            return False
    return all(sign == "*" for sign in wide[at:])


def _takes(wide: str, narrow: str) -> bool:
    """Whether a sign of the wide glob matches all that the narrow glob's sign stands for; stars fall to stars alone."""
    if narrow == "*":
        return False
    if wide in ("?", narrow):
        return True
    return len(wide) > 1 and len(narrow) == 1 and narrow != "?" and re.match(translate(wide), narrow) is not None
