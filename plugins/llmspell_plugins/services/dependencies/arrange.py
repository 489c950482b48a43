"""Arranges nodes so that each stands behind what it leads to, and names the rings where that cannot be.

`graphlib` tells of one ring and stops; to name all of them it would be asked again for each. This is Tarjan's algorithm
("Depth-first search and linear graph algorithms", 1972), without recursion: it gives the order and all groups of nodes
that lead to each other in one pass over the edges.

Invariant: linear in nodes and edges, but for the search within each group, which is that for a shortest ring through
its first node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

__all__ = ["arrange"]


def arrange(edges: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the nodes, each behind all that it leads to, and one ring of each group that lead to each other.

    Args:
        edges: For each node those that it leads to, which are nodes, too.
    """
    order: list[str] = []
    rings: list[tuple[str, ...]] = []
    for group in _groups(edges):
        first = min(group)
        if len(group) > 1 or first in edges[first]:
            rings.append(_ring(edges, first, set(group)))
        order += sorted(group)
    return order, sorted(rings)


def _groups(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return the nodes in groups that lead to each other, each group behind those that it leads to."""
    numbers: dict[str, int] = {}  # in the order in which they were first seen
    lowest: dict[str, int] = {}  # the first seen of those on the path that a node leads back to
    path: list[str] = []
    on_path: set[str] = set()
    groups: list[list[str]] = []
    for start in edges:
        if start in numbers:
            continue
        waiting = [(start, iter(edges[start]))]
        numbers[start] = lowest[start] = len(numbers)
        path.append(start)
        on_path.add(start)
        while waiting:
            node, rest = waiting[-1]
            for other in rest:
                if other not in numbers:
                    numbers[other] = lowest[other] = len(numbers)
                    path.append(other)
                    on_path.add(other)
                    waiting.append((other, iter(edges[other])))
                    break
                if other in on_path:
                    lowest[node] = min(lowest[node], numbers[other])
            else:
                waiting.pop()
                if waiting:
                    above = waiting[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == numbers[node]:
                    group = [path.pop()]
                    while group[-1] != node:
                        group.append(path.pop())
                    on_path.difference_update(group)
                    groups.append(group)
    return groups


def _ring(edges: Mapping[str, Sequence[str]], start: str, group: set[str]) -> tuple[str, ...]:
    """Return a shortest way within a group from a node back to it."""
    came_from: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for other in edges[node]:
            if other == start:
                way = [node]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if other in group and other not in came_from:
                came_from[other] = node
                waiting.append(other)
    return (start,)
