"""Which subscribers a topic has: patterns compiled into a trie of segments, the answer kept for each topic.

``*`` stands for one segment; a pattern whose last segment ends in ``*`` also takes whatever segments follow, as in the
original; ``**`` stands for any number of segments, also none.

Invariant: a subscriber is answered once however many of its patterns match, in the order in which it was added. What is
taken out leaves nothing behind. At most 65,536 topics are kept, dropped when a subscriber comes or goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

from .patterns import DEEP, STAR, parse_pattern, segment_matcher, split_topic

__all__ = ["Topics"]

T = TypeVar("T")
_KEPT: Final = 65_536


class _Node:
    """Where the segments so far lead.

    Attributes:
        children: By the segment that follows, as the pattern spells it.
        globs: Those of them with wildcards, each with what matches them.
        here: The numbers of those whose pattern ends here.
        rest: The numbers of those whose pattern ends here and takes what follows.
    """

    __slots__ = ("children", "globs", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.globs: dict[str, Callable[[str], Any]] = {}
        self.here: dict[int, None] = {}
        self.rest: dict[int, None] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing ends here or below."""
        return not (self.children or self.here or self.rest)


class Topics(Generic[T]):
    """Subscribers by the patterns of the topics that they want.

    Attributes:
        routes: The subscribers of the topics that were asked for; to be read only.
    """

    def __init__(self) -> None:
        self._root = _Node()
        self._added: dict[int, tuple[T, list[list[str]]]] = {}
        self.routes: dict[str, tuple[T, ...]] = {}
        self._next = 0

    def add(self, patterns: Iterable[str], value: T) -> int:
        """Add a subscriber and return its number.

        Raises:
            InvalidInputError: A pattern is wrong; nothing is added then.
        """
        parsed = [segments for pattern in patterns for segments in parse_pattern(pattern)]
        self._next = number = self._next + 1
        for segments in parsed:
            node = self._root
            for segment in segments:
                node = _child(node, segment)
            (node.rest if _takes_rest(segments) else node.here)[number] = None
        self._added[number] = (value, parsed)
        self.routes.clear()
        return number

    def remove(self, number: int) -> None:
        """Take a subscriber out."""
        _, parsed = self._added.pop(number)
        for segments in parsed:
            _prune(self._root, segments, number)
        self.routes.clear()

    def route(self, topic: str) -> tuple[T, ...]:
        """Return the subscribers of a topic.

        Raises:
            InvalidInputError: The topic is empty or too long.
        """
        route = self.routes.get(topic)
        if route is None:
            route = self.match(topic)
            if len(self.routes) >= _KEPT:
                self.routes.clear()
            self.routes[topic] = route
        return route

    def match(self, topic: str) -> tuple[T, ...]:
        """Return the subscribers of a topic, worked out anew."""
        segments = split_topic(topic)
        numbers: set[int] = set()
        seen: set[tuple[int, int]] = set()
        waiting = [(self._root, 0)]
        while waiting:
            node, index = waiting.pop()
            if (id(node), index) in seen:
                continue
            seen.add((id(node), index))
            numbers.update(node.rest)
            if index == len(segments):
                numbers.update(node.here)
            waiting += _steps(node, segments, index)
        return tuple(self._added[number][0] for number in sorted(numbers))


def _steps(node: _Node, segments: list[str], index: int) -> list[tuple[_Node, int]]:
    """Return where a topic may go on from here."""
    steps = []
    deep = node.children.get(DEEP)
    if deep is not None:
        steps += [(deep, after) for after in range(index, len(segments) + 1)]
    if index == len(segments):
        return steps
    segment = segments[index]
    literal = node.children.get(segment)
    if literal is not None and segment not in node.globs and segment != DEEP:
        steps.append((literal, index + 1))
    for spelled, match in node.globs.items():
        if match(segment):
            steps.append((node.children[spelled], index + 1))
    return steps


def _takes_rest(segments: list[str]) -> bool:
    return segments[-1].endswith(STAR) and segments[-1] != DEEP


def _child(node: _Node, segment: str) -> _Node:
    child = node.children.get(segment)
    if child is None:
        child = node.children[segment] = _Node()
        matcher = None if segment == DEEP else segment_matcher(segment)
        if matcher is not None:
            node.globs[segment] = matcher
    return child


def _prune(root: _Node, segments: list[str], number: int) -> None:
    """Take a number out at the end of the path, then what is empty on the way back."""
    path = [root]
    for segment in segments:
        child = path[-1].children.get(segment)
        if child is None:  # an alternative with the same segments was taken out before
            return
        path.append(child)
    path[-1].here.pop(number, None)
    path[-1].rest.pop(number, None)
    for parent, child, segment in reversed(list(zip(path[:-1], path[1:], segments, strict=True))):
        if not child.empty:
            return
        del parent.children[segment]
        parent.globs.pop(segment, None)
