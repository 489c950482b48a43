"""The order of the hooks of one kind at one point.

Invariant: constraints first, then priority, then registration. A cycle is an error that prints it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from llmspell_hookspecs import HookOrderError, Priority

from .hook import Hook

__all__ = ["ordered", "reason"]


def ordered(hooks: Sequence[Hook]) -> list[Hook]:
    """Answer the hooks in the order in which they are called.

    Raises:
        HookOrderError: Their constraints form a cycle.
    """
    plain = sorted(hooks, key=lambda hook: (hook.options.priority, hook.sequence))
    if not any(hook.options.before or hook.options.after for hook in plain):
        return plain
    later: list[set[int]] = [set() for _ in plain]
    for index, hook in enumerate(plain):
        for other, candidate in enumerate(plain):
            if other != index and _named(candidate, hook.options.before):
                later[index].add(other)
            if other != index and _named(candidate, hook.options.after):
                later[other].add(index)
    return _sorted(plain, later)


def _named(hook: Hook, names: Sequence[str]) -> bool:
    return any(name in (hook.name, hook.plugin, f"{hook.plugin}.{hook.name}") for name in names)


def _sorted(hooks: list[Hook], later: list[set[int]]) -> list[Hook]:
    waiting = [sum(index in others for others in later) for index in range(len(hooks))]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    answer: list[Hook] = []
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


def _cycle(hooks: list[Hook], later: list[set[int]], stuck: set[int]) -> HookOrderError:
    index, path = min(stuck), []
    earlier = {
        other: min(i for i in stuck if other in later[i]) for other in stuck if any(other in later[i] for i in stuck)
    }
    while index not in path:
        path.append(index)
        index = earlier[index]
    circle = [*path[path.index(index) :], index][::-1]
    names = " -> ".join(f"{hooks[i].plugin}.{hooks[i].name}" for i in circle)
    point = hooks[0].point.name
    message = f"hook order at {point}: these constraints form a cycle: {names}; take one 'before' or 'after' away"
    return HookOrderError(message, hook=hooks[circle[0]].name, point=point)


def reason(hook: Hook) -> str:
    """Answer, for people, what settles the hook's place."""
    number = hook.options.priority
    word = Priority(number).name.lower() if number in set(Priority) else str(number)
    parts = [f"priority {word}"]
    parts += [f"before {name}" for name in hook.options.before]
    parts += [f"after {name}" for name in hook.options.after]
    if hook.options.match:
        parts.append(f"only {hook.options.match}")
    return ", ".join([*parts, f"registered as number {hook.sequence}"])
