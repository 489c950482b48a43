"""The hooks of one point: their order within a kind, and their names.

Invariant: constraints first, then priority, then registration. A cycle is an error that prints it. What a registration
costs does not grow with the number of hooks beside it: places are found by bisection, names by index, and who comes
before whom is worked out when somebody asks for the order.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

from .errors import HookOrderError, HookRegistrationError
from .marker import HookKind, HookOptions, Priority
from .points import HookPoint

__all__ = ["Lineup", "Placed", "Registered", "Row", "ordered", "reason"]

_PRIORITIES: Final = {int(priority): priority.name.lower() for priority in Priority}


class Placed(Protocol):
    """What has a place among hooks: a hook, as it is registered."""

    name: str
    plugin: str
    point: HookPoint
    options: HookOptions
    sequence: int


class Registered(Placed, Protocol):
    """What also has a name to itself, within its plugin and the run of a script that registered it."""

    scope: str

    @property
    def where(self) -> str:
        """How messages about it begin."""


H = TypeVar("H", bound=Placed)
R = TypeVar("R", bound=Registered)
_Index = dict[str, dict[H, None]]


class Lineup(Generic[H]):
    """The hooks of one kind at one point; to be changed by one thread at a time."""

    __slots__ = ("_after", "_before", "_called", "_order", "_plain")

    def __init__(self) -> None:
        self._plain: list[H] = []  # by priority and registration
        self._called: _Index[H] = defaultdict(dict)  # who answers to a word that constraints use
        self._before: _Index[H] = defaultdict(dict)  # who wants to come before those who answer to a word
        self._after: _Index[H] = defaultdict(dict)
        self._order: tuple[H, ...] | None = None

    def __len__(self) -> int:
        return len(self._plain)

    def __iter__(self) -> Iterator[H]:
        """Iterate in the order of calls."""
        order = self._order
        if order is None:
            order = self._order = tuple(self._sorted() if self._before or self._after else self._plain)
        return iter(order)

    def add(self, hook: H) -> None:
        """Take a hook in.

        Raises:
            HookOrderError: Its constraints close a cycle; it is not taken in then.
        """
        insort(self._plain, hook, key=_place)
        for index, words in self._words(hook):
            for word in words:
                index[word][hook] = None
        self._order = None
        if (self._before or self._after) and self._closes_a_cycle(hook):
            try:
                self._sorted()
            finally:
                self.remove(hook)

    def remove(self, hook: H) -> None:
        """Take a hook out."""
        del self._plain[bisect_left(self._plain, _place(hook), key=_place)]
        for index, words in self._words(hook):
            for word in words:
                index[word].pop(hook, None)
                if not index[word]:
                    del index[word]
        self._order = None

    def _words(self, hook: H) -> tuple[tuple[_Index[H], Iterable[str]], ...]:
        options = hook.options
        return (self._called, _answers_to(hook)), (self._before, options.before), (self._after, options.after)

    def _later(self, hook: H) -> Iterator[H]:
        """Yield those who must come after a hook."""
        return self._beside(hook, hook.options.before, self._after)

    def _earlier(self, hook: H) -> Iterator[H]:
        return self._beside(hook, hook.options.after, self._before)

    def _beside(self, hook: H, named: Iterable[str], naming: _Index[H]) -> Iterator[H]:
        for index, words in ((self._called, named), (naming, _answers_to(hook))):
            for word in words:
                for other in index.get(word, ()):
                    if other is not hook:
                        yield other

    def _closes_a_cycle(self, hook: H) -> bool:
        """Return whether a way leads from a hook back to it; searched from both ends, the shorter one first."""
        ends: list[tuple[set[H], list[H], Callable[[H], Iterator[H]]]] = [
            ({hook}, [hook], self._later),
            ({hook}, [hook], self._earlier),
        ]
        if any(next(beside(hook), None) is None for _, _, beside in ends):
            return False
        while all(front for _, front, _ in ends):
            ends.sort(key=lambda end: len(end[1]))
            (seen, front, beside), (met, _, _) = ends
            step = front.copy()
            front.clear()
            for other in step:
                for further in beside(other):
                    if further in met:
                        return True
                    if further not in seen:
                        seen.add(further)
                        front.append(further)
        return False

    def _sorted(self) -> list[H]:
        place = {hook: index for index, hook in enumerate(self._plain)}
        later: list[dict[int, None]] = [{} for _ in place]
        for index, first in ((self._before, False), (self._after, True)):
            for word, wanting in index.items():
                named = [place[other] for other in self._called.get(word, ())]
                for mine in map(place.__getitem__, wanting):
                    for other in named:
                        if other != mine:
                            later[other if first else mine][mine if first else other] = None
        return _sorted(self._plain, later)


class Row(Generic[R]):
    """The hooks of one point, by kind and in order, each under a name of its own; as `Lineup` otherwise."""

    def __init__(self) -> None:
        self._lineups: dict[HookKind, Lineup[R]] = {kind: Lineup() for kind in HookKind}
        self._hooks: set[R] = set()
        self._names: set[tuple[str, str, str]] = set()
        self._numbers: dict[tuple[str, str, str], int] = {}

    def __len__(self) -> int:
        return len(self._hooks)

    def __iter__(self) -> Iterator[R]:
        return iter([hook for lineup in self._lineups.values() for hook in lineup])

    def free_name(self, hook: R, *, named: bool) -> str:
        """Return the name of a hook, numbered if it was given none and another of its plugin has this one."""
        taken = (hook.plugin, hook.scope, hook.name)
        if taken not in self._names:
            return hook.name
        if named:
            message = f"{hook.where}: the name is taken; choose another"
            raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
        for number in itertools.count(self._numbers.get(taken, 2)):
            name = f"{hook.name}_{number}"
            if (hook.plugin, hook.scope, name) not in self._names:
                self._numbers[taken] = number + 1
                break
        return name

    def add(self, hook: R) -> None:
        """Take a hook in; raises `HookOrderError` if its constraints close a cycle."""
        self._lineups[hook.options.kind].add(hook)
        self._hooks.add(hook)
        self._names.add((hook.plugin, hook.scope, hook.name))

    def remove(self, hook: R) -> bool:
        """Take a hook out; False if it was out already."""
        if hook not in self._hooks:
            return False
        self._hooks.remove(hook)
        self._lineups[hook.options.kind].remove(hook)
        self._names.discard((hook.plugin, hook.scope, hook.name))
        if not self._hooks:
            self._numbers.clear()
        return True


def ordered(hooks: Iterable[H]) -> list[H]:
    """Return the hooks in the order in which they are called.

    Raises:
        HookOrderError: Their constraints form a cycle.
    """
    lineup: Lineup[H] = Lineup()
    for hook in hooks:
        lineup.add(hook)
    return list(lineup)


def _place(hook: Placed) -> tuple[int, int]:
    return hook.options.priority, hook.sequence


def _answers_to(hook: Placed) -> set[str]:
    return {hook.name, hook.plugin, f"{hook.plugin}.{hook.name}"}


def _sorted(hooks: Sequence[H], later: Sequence[Iterable[int]]) -> list[H]:
    waiting = [0] * len(hooks)
    for others in later:
        for other in others:
            waiting[other] += 1
    ready = [index for index, count in enumerate(waiting) if count == 0]
    answer: list[H] = []
    while ready:
        index = heapq.heappop(ready)
        answer.append(hooks[index])
        for other in later[index]:
            waiting[other] -= 1
            if waiting[other] == 0:
                heapq.heappush(ready, other)
    if len(answer) < len(hooks):
        raise _cycle(hooks, later, {index for index, count in enumerate(waiting) if count > 0})
    return answer


def _cycle(hooks: Sequence[Placed], later: Sequence[Iterable[int]], stuck: set[int]) -> HookOrderError:
    index, path = min(stuck), []
    earlier: dict[int, int] = {}
    for other in sorted(stuck):
        for further in later[other]:
            earlier.setdefault(further, other)
    while index not in path:
        path.append(index)
        index = earlier[index]
    circle = [*path[path.index(index) :], index][::-1]
    names = " -> ".join(f"{hooks[i].plugin}.{hooks[i].name}" for i in circle)
    point = hooks[0].point.name
    message = f"hook order at {point}: these constraints form a cycle: {names}; take one 'before' or 'after' away"
    return HookOrderError(message, hook=hooks[circle[0]].name, point=point)


def reason(hook: Placed) -> str:
    """Return, for people, what settles the hook's place."""
    number = hook.options.priority
    word = _PRIORITIES.get(number, str(number))
    parts = [f"priority {word}"]
    parts += [f"before {name}" for name in hook.options.before]
    parts += [f"after {name}" for name in hook.options.after]
    if hook.options.match:
        parts.append(f"only {hook.options.match}")
    return ", ".join([*parts, f"registered as number {hook.sequence}"])
