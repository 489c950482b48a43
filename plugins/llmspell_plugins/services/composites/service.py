"""Composites in the table of hooks: each is taken in with its children, and what it names is handed to it.

Invariant: a composite is registered with all of its children or not at all, and they go with it. A hook is asked by one
composite at most; what names lead to closes no circle. What it names may come later, and go, and come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, Final

from msgspec import structs

from llmspell_hookspecs import HookKind, Priority, Services
from llmspell_hookspecs.composites import Composite, options_of_child
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_hookspecs.hook_table import Composites, HookTable, TableHook
from llmspell_hookspecs.marker import HookOptions
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.signature import check_signature, is_async

from .composed import Composed, Named, Place, asking

__all__ = ["CompositeService"]

_SPELLED: Final = "give the name of a plugin, or plugin.hook"


class CompositeService:
    """Implements the contract's `Composites`."""

    name: ClassVar[str] = "composites"
    provides: ClassVar[type[Any]] = Composites

    def __init__(self, settings: object, services: Services) -> None:
        self._table = services.get(HookTable)
        self._table.entered.append(self._place)
        self._naming: dict[str, dict[TableHook, tuple[str, ...]]] = {}

    def add(self, point: HookPoint, composite: Composite, options: HookOptions, /, **whose: Any) -> TableHook:
        """Register a composite with its children; see the contract.

        Raises:
            HookRegistrationError: It, or a child, cannot stand there, or what it names closes a circle.
        """
        name = options.name or composite.__name__
        where = f"hook {whose['plugin']}.{name} at {point.name}"
        if options.kind is not HookKind.TRANSFORM or options.thread:
            what = "a thread" if options.thread else f"the kind {options.kind.value}"
            raise HookRegistrationError(f"{where}: a composite has not {what} itself; say it of its children")
        words = tuple(composite.words)
        if words and whose["scope"]:
            message = f"{where}: a script's composite names {words[0][:80]!r}; give functions of the script"
            raise HookRegistrationError(message, point=point.name)
        composed = Composed(self._table, composite, where)
        waits = not point.sync_only and (bool(words) or any(map(_waits, composite.functions)))
        own = options if options.on_error == "raise" else structs.replace(options, on_error=composite.on_error)
        hook = self._table.enter(point, _called(asking(composed, waits=waits), name), own, breaks=False, **whose)
        try:
            for child, text in zip(composite.children, composite.names, strict=True):
                composed.places.append(self._take(hook, child, text, composed.where, whose))
            self._name(hook, words)
        except Exception:
            self._table.remove(hook)
            raise
        return hook

    def _place(self, hook: TableHook) -> None:
        """Say who asks a hook that was just taken in."""
        for naming, words in self._naming.get(hook.point.name, {}).items():
            if _answers(hook, words) and hook.holder is None and not _leads_to(naming, hook):
                _hold(naming, hook)

    def release(self, hook: TableHook, /) -> None:
        """Forget a hook that was taken out; what it named is asked by the chain again."""
        if hook.holder is not None and hook in hook.holder.held:
            hook.holder.held.remove(hook)
        for held in hook.held:
            held.holder = None
        hook.held = []
        self._naming.get(hook.point.name, {}).pop(hook, None)

    def names_others(self, hook: TableHook, /) -> bool:
        """Return whether a hook is a composite with children by name."""
        return hook in self._naming.get(hook.point.name, {})

    def idle(self) -> Iterator[tuple[TableHook, str]]:
        """Yield composites that name what is not there, each with a line for people."""
        for naming in list(self._naming.values()):
            for hook, words in list(naming.items()):
                there = {word for other in self._table.at(hook.point) for word in other.words}
                for word in (word for word in words if word not in there):
                    yield hook, f"{hook.where}: no hook there is called {word[:80]!r}, so nobody is asked; {_SPELLED}"

    def _take(self, hook: TableHook, child: Any, name: str, where: str, whose: Any) -> Place:
        """Register one child, and return what stands in its place."""
        if isinstance(child, str):
            return Named(child, partial(_held_as, hook, child))
        if isinstance(child, Composite):
            nested = Composed(self._table, child, where)
            for each, text in zip(child.children, child.names, strict=True):
                nested.places.append(self._take(hook, each, f"{name}/{text}", where, whose))
            return nested
        options = options_of_child(child) or HookOptions()
        self._check(child, options, hook, name)
        options = structs.replace(options, name=f"{hook.name}/{name}", specname="", tags=hook.options.tags)
        if options.kind is not HookKind.TRANSFORM:
            options = _as_outside(options, hook, name)
        part = self._table.enter(hook.point, child, options, holder=hook, **whose)
        return part if options.kind is HookKind.TRANSFORM else None

    def _check(self, child: Any, options: HookOptions, hook: TableHook, name: str) -> None:
        check_signature(child, f"{hook.where}: its child {name}", hook.point)
        spelled = options.specname and self._table.point(options.specname)
        if spelled and spelled.name != hook.point.name:
            message = f"{hook.where}: its child {name} is for {options.specname}; register it there"
            raise HookRegistrationError(message, hook=name, point=hook.point.name)

    def _name(self, hook: TableHook, words: tuple[str, ...]) -> None:
        """Hand a composite what it names, now and later.

        Raises:
            HookRegistrationError: Another one has it, or it leads back to this one.
        """
        if f"{hook.plugin}.{hook.name}" in words:
            message = f"{hook.where}: it names itself; take {hook.plugin}.{hook.name} out of its children"
            raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
        if not words:
            return
        naming = self._naming.setdefault(hook.point.name, {})
        naming[hook] = words
        for other in self._table.at(hook.point):
            if other is hook or not _answers(other, words):
                continue
            if _leads_to(hook, other):
                way = " -> ".join(f"{each.plugin}.{each.name}" for each in (hook, *_holders(hook), hook))
                message = f"{hook.where}: composites hold each other in a circle: {way}; take one name out"
                raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
            if other.holder is not None:
                holder = f"{other.holder.plugin}.{other.holder.name}"
                message = f"{hook.where}: {other.plugin}.{other.name} is asked by {holder} already; name it in one"
                raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
            _hold(hook, other)
        self._table.changed(hook.point.name)


def _called(function: Any, name: str) -> Any:
    function.__name__ = name
    return function


def _waits(child: Any) -> bool:
    options = options_of_child(child) or HookOptions()
    return options.kind is HookKind.TRANSFORM and (options.thread or is_async(child))


def _as_outside(options: HookOptions, hook: TableHook, name: str) -> HookOptions:
    """Return the options of a guard or an observer, which stands where the composite does unless it says otherwise."""
    match = hook.options.match
    if match is not None and options.match not in (None, match):
        message = f"{hook.where}: both it and its {options.kind.value} {name} have a match; say it of one of them"
        raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
    if options.priority == Priority.NORMAL:
        options = structs.replace(options, priority=hook.options.priority)
    return structs.replace(options, match=options.match if match is None else match)


def _answers(hook: TableHook, words: tuple[str, ...]) -> bool:
    """Return whether these words may mean a hook: a transform of a plugin that is no part of a composite."""
    if hook.options.kind is not HookKind.TRANSFORM or hook.scope or hook.is_part:
        return False
    return not {hook.plugin, f"{hook.plugin}.{hook.name}"}.isdisjoint(words)


def _hold(composite: TableHook, hook: TableHook) -> None:
    hook.holder = composite
    composite.held.append(hook)
    composite.held.sort(key=lambda each: (each.options.priority, each.sequence))


def _held_as(composite: TableHook, word: str) -> list[TableHook]:
    return [hook for hook in composite.held if word in (hook.plugin, f"{hook.plugin}.{hook.name}")]


def _holders(hook: TableHook) -> Iterator[TableHook]:
    while hook.holder is not None:
        hook = hook.holder
        yield hook


def _leads_to(hook: TableHook, other: TableHook) -> bool:
    """Return whether another hook is this one, or asks it through others."""
    return other is hook or other in _holders(hook)
