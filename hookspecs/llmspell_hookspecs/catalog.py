"""The catalogue of hook points: every point under every spelling.

Invariant: a name leads to one point. Unknown names are errors that say the nearest three.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from .errors import HookRegistrationError
from .points import HookPoint, custom_point

__all__ = ["PointCatalog"]


class PointCatalog:
    """Points by name, script name, alias and further names.

    Args:
        points: Those that the host itself fires; what is added later belongs to plugins, and anyone may fire it.
    """

    def __init__(self, points: Iterable[HookPoint] = ()) -> None:
        self._points: dict[str, HookPoint] = {}
        self._spellings: dict[str, str] = {}
        for point in points:
            self.add(point)
        self._own = frozenset(self._points)

    def add(self, point: HookPoint) -> None:
        """Take a point in.

        Raises:
            HookRegistrationError: One of its names belongs to another point.
        """
        names = (point.name, point.script_name, point.alias, *point.aliases)
        for spelling in names:
            known = self._spellings.get(spelling)
            if known is not None and self._points[known] != point:
                message = f"hook point {point.name}: the name {spelling!r} belongs to {known}; choose another"
                raise HookRegistrationError(message, point=point.name)
        self._points[point.name] = point
        self._spellings.update(dict.fromkeys(names, point.name))

    def remove(self, point: HookPoint) -> None:
        """Take out a point that a plugin declared."""
        self._points.pop(point.name, None)
        self._spellings = {spelling: name for spelling, name in self._spellings.items() if name != point.name}

    def __contains__(self, point: HookPoint) -> bool:
        return point.name in self._points

    def __iter__(self) -> Iterator[HookPoint]:
        return iter(self._points.values())

    def get(self, name: str) -> HookPoint:
        """Return the point with this name in snake case, as the host itself uses it."""
        point = self._points.get(name)
        return custom_point(name.removeprefix("custom:")) if point is None else point

    def fireable(self, name: str) -> HookPoint:
        """Return the point that anyone may fire under this name: a plugin's, or else ``custom:<name>``.

        Raises:
            HookRegistrationError: It is one of the host's own.
        """
        known = self._spellings.get(name)
        if known is None:
            return custom_point(name.removeprefix("custom:"))
        if known in self._own:
            message = (
                f"fire {name}: the host alone fires this point; fire custom:<name>, or a point that a plugin declares"
            )
            raise HookRegistrationError(message, point=known)
        return self._points[known]

    def resolve(self, name: str) -> tuple[HookPoint, str | None]:
        """Return the point that any spelling names, and the component pattern in it (``tool:calc*:before_execution``).

        Raises:
            HookRegistrationError: There is no such point.
        """
        if name.startswith("custom:") and len(name) > len("custom:"):
            return custom_point(name.removeprefix("custom:")), None
        known = self._spellings.get(name)
        if known is not None:
            return self._points[known], None
        topic, _, rest = name.partition(":")
        pattern, _, moment = rest.rpartition(":")
        known = self._spellings.get(f"{topic}:{moment}") if pattern else None
        if known is not None:
            return self._points[known], None if pattern == "*" else pattern
        raise HookRegistrationError(self._unknown(name), point=name)

    def _unknown(self, name: str) -> str:
        folded = {spelling.lower(): spelling for spelling in self._spellings}
        close = difflib.get_close_matches(name.lower(), folded, n=len(folded), cutoff=0.0)
        nearest: dict[str, str] = {}
        for word in close:
            nearest.setdefault(self._spellings[folded[word]], folded[word])
        return f"Unknown hook point: {name}; the nearest are {', '.join(list(nearest.values())[:3])}"
