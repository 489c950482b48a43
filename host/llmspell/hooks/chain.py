"""A compiled chain: the hooks of one point for one component, by kind, in order.

The hooks of scripts stand apart, outside of all others: which of them are asked depends on whose operation it is.

Invariant: a chain is immutable and never built per call; whatever changes the set of hooks drops it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmspell_hookspecs import HookKind, Phase
from llmspell_hookspecs.points import HookPoint

from .hook import Hook

__all__ = ["Chain", "compile_chain", "stands", "still_judging"]

_KEPT: Final = 64


class Chain:
    """The hooks of one point for one component.

    Attributes:
        point: The point.
        name: Its name.
        late: Whether hooks there are told what was asked and how long it took.
        transforms: In order; without those whose breaker is open.
        guards: In order.
        wraps: In order of entry.
        observers: In order.
        observer_steps: The same, in groups of which only the last may wait.
        waits: Whether any transform must be awaited.
        scripts: All hooks of scripts; none of them is in the tuples above, but in a chain that `of_scripts` answers.
        scripted: Whether it is such a chain.
    """

    def __init__(self, point: HookPoint, hooks: Iterable[Hook], *, scripted: bool = False) -> None:
        kinds: dict[HookKind, list[Hook]] = {kind: [] for kind in HookKind}
        scripts: list[Hook] = []
        for hook in hooks:
            (scripts if hook.scope and not scripted else kinds[hook.options.kind]).append(hook)
        self.scripted = scripted
        self.scripts = tuple(scripts)
        self._of_scripts: dict[tuple[str, ...], Chain | None] = {}
        self.point = point
        self.name = point.name
        self.late = point.phase in (Phase.AFTER, Phase.ERROR)
        self.transforms = tuple(kinds[HookKind.TRANSFORM])
        self.guards = tuple(kinds[HookKind.GUARD])
        self.wraps = tuple(kinds[HookKind.WRAP])
        self.observers = tuple(kinds[HookKind.OBSERVE])
        self.observer_steps = _steps(self.observers)
        self.waits = any(hook.awaits for hook in self.transforms)

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """All of them."""
        return (*self.transforms, *self.guards, *self.wraps, *self.observers, *self.scripts)

    @property
    def judges(self) -> tuple[Hook, ...]:
        """The guards, those of scripts among them."""
        return (*self.guards, *(hook for hook in self.scripts if hook.options.kind is HookKind.GUARD))

    def of_scripts(self, scopes: tuple[str, ...]) -> Chain | None:
        """Return the hooks of scripts that are asked about an operation within these runs; None if there are none."""
        if not self.scripts:
            return None
        try:
            return self._of_scripts[scopes]
        except KeyError:
            asked = [hook for hook in self.scripts if hook.everywhere or hook.scope in scopes]
            if len(self._of_scripts) >= _KEPT:
                self._of_scripts.clear()
            chain = self._of_scripts[scopes] = Chain(self.point, asked, scripted=True) if asked else None
            return chain


def _steps(hooks: tuple[Hook, ...]) -> tuple[tuple[Hook, ...], ...]:
    steps: list[tuple[Hook, ...]] = []
    first = 0
    for index, hook in enumerate(hooks, 1):
        if hook.awaits or index == len(hooks):
            steps.append(hooks[first:index])
            first = index
    return tuple(steps)


def compile_chain(point: HookPoint, hooks: Iterable[Hook], component: str) -> Chain | None:
    """Return the chain of the hooks that are called for this component, or None if none are."""
    if point.topic == "event":  # a topic may be spelled with dots or colons
        component = component.replace(":", ".")
    called = [hook for hook in hooks if stands(hook, component) and not _is_held(hook, component)]
    return Chain(point, called) if called else None


def stands(hook: Hook, component: str) -> bool:
    """Return whether a hook is asked about a component, by the chain or by a composite."""
    if ":" in component and hook.point.topic == "event":
        component = component.replace(":", ".")
    fits = hook.fits is None or bool(hook.fits(component))
    return fits and hook.enabled and hook.is_on and (hook.breaker is None or hook.breaker.state != "open")


def _is_held(hook: Hook, component: str) -> bool:
    """Return whether a composite asks a hook in place of the chain."""
    holder = hook.holder
    return holder is not None and (hook.is_part or stands(holder, component))


def still_judging(old: Chain | None, new: Chain | None) -> Chain | None:
    """Return the chain of those who stand at a point now, and of the guards that stood there before.

    A guard judges what began before it was taken out: else a hook that takes it out would get its operation past it.
    """
    if old is None or new is old:
        return new
    present = () if new is None else new.judges
    left = [guard for guard in old.judges if guard not in present]
    if not left:
        return new
    return Chain(old.point, left if new is None else (*new.hooks, *left))
