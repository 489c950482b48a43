"""Hooks that nobody asks and orders that hold nothing, since what they name is not there; a line for people each.

Invariant: neither is an error, for what they name may come later.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final, Protocol

from .order import Placed

__all__ = ["Asked", "unmatched", "unordered"]

_WILD: Final = frozenset("*?.")
_FEW: Final = 256
"""Among more names the nearest one is not looked for: that takes up to 20 us for each."""


class Asked(Placed, Protocol):
    """What is asked where it fits: a hook, as it is registered.

    Attributes:
        fits: Says of a component's name whether it is called there; None if it is for all.
    """

    fits: Callable[[str], object] | None

    @property
    def where(self) -> str:
        """How messages about it begin."""


def unmatched(hook: Asked, components: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Yield a line if the pattern of a hook fits no component of its point's topic, where that can be told."""
    match, there = hook.options.match, components.get(hook.point.topic)
    if match is not None and (meant := _misformed(match, hook.point.form)):
        what = f"match={match[:80]!r} fits none, for names at this point are formed as {hook.point.form}"
        yield f"{hook.where}: {what}, so it is not asked; did you mean {meant}?"
    elif hook.fits is not None and match is not None and there and not any(map(hook.fits, there)):
        what = f"match={match[:80]!r} fits no {hook.point.topic} that there is"
        yield f"{hook.where}: {what}, so it is not asked; {_advice(match, there)}"


def _misformed(match: str, form: str) -> str:
    """Return what was meant by a pattern that no name of this form fits, an empty text if one may."""
    if not form or "[" in match:
        return ""
    if ":" in match and ":" not in form:
        return match.rpartition(":")[2][:80] or "*"
    return f"{match[:80]}.*" if "." in form and not _WILD.intersection(match) else ""


def unordered(hook: Asked, there: Collection[str]) -> Iterator[str]:
    """Yield a line for each name in a hook's ``before`` and ``after`` that nobody bears."""
    for option in ("before", "after"):
        for name in getattr(hook.options, option):
            if name not in there:
                yield f"{hook.where}: {option}={name[:80]!r} names no hook and no plugin; {_advice(name, there)}"


def _advice(name: str, there: Collection[str]) -> str:
    near = difflib.get_close_matches(name[:80], sorted(there), 1) if len(there) <= _FEW else ()
    return f"did you mean {near[0]}?" if near else "correct it, unless that comes later"
