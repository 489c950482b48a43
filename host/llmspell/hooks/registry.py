"""The registry: every hook of the host, whether a plugin or a running script brought it.

Invariant: one registry per host. Whatever changes the hooks of a point drops that point's compiled chains and no
others; nothing is compiled twice, at most 1024 chains are kept. The chains of a point lie in a dict that is replaced by
each change: what was compiled meanwhile, from the hooks as they were, goes into the old one and is not kept. A hook
that its registrar drops stays.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from threading import RLock
from time import monotonic
from typing import Any, Final, cast

from msgspec import structs

from llmspell_hookspecs import HookKind
from llmspell_hookspecs.breaker import Breaker, BreakerProfile, BreakerState
from llmspell_hookspecs.catalog import PointCatalog
from llmspell_hookspecs.composites import Composite
from llmspell_hookspecs.context import HookContext
from llmspell_hookspecs.errors import HookRegistrationError
from llmspell_hookspecs.hook_table import Composites
from llmspell_hookspecs.idle import unmatched, unordered
from llmspell_hookspecs.marker import HookOptions, hook_options
from llmspell_hookspecs.order import Row, reason
from llmspell_hookspecs.points import HookPoint
from llmspell_hookspecs.results import HookResult
from llmspell_hookspecs.services import Appeal, HookInfo
from llmspell_hookspecs.signature import check_names, check_signature, name_of
from llmspell_hookspecs.trace import Tracer

from .chain import Chain, compile_chain, stands
from .dispatch import accepted, advance, advance_waiting
from .hook import FOR_ALL, Hook

__all__ = ["HookRegistry"]

_KEPT: Final = 1024
_LINES: Final = 8
"""Of so many orders that name nobody it is told when their hooks go."""
_log = logging.getLogger("llmspell.hooks")


class HookRegistry:
    """Hooks by point.

    Args:
        catalog: The points.
        profile: The breaker's, or None for no breakers.
        timeout_s: For async hooks that name none.
        disabled: Patterns of ``plugin.hook`` that are not called.
        orders: Names of hooks or plugins, each before those that follow it.
        tracer: Records every call, if given.

    Attributes:
        catalog: The points.
        on_change: Called with the point whose chains have changed.
        on_open: Told a breaker that has opened.
        appeals: Asked about each Cancel of a guard that wants a person asked.
        composites: Returns who takes composites in; asked once there is one.
        entered: Told each hook that is taken in.
        components: By topic, the names of components where all of them are known; those of plugins under ``plugin``.
    """

    def __init__(
        self,
        catalog: PointCatalog,
        *,
        profile: BreakerProfile | None = None,
        timeout_s: float | None = None,
        disabled: tuple[str, ...] = (),
        orders: Sequence[Sequence[str]] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self.catalog = catalog
        self.on_change: list[Callable[[str], object]] = []
        self.on_open: Callable[[Breaker], None] = lambda breaker: None
        self.components: Mapping[str, Collection[str]] = {}
        self.appeals: list[Appeal] = []
        self._profile = profile
        self._timeout_s = timeout_s
        self._disabled = disabled
        self._orders = orders
        self._tracer = tracer
        self._lock = RLock()  # hooks with thread=True may register hooks
        self._rows: dict[str, Row[Hook]] = {}
        self._scopes: dict[str, dict[Hook, None]] = {}
        self._chains: dict[str, dict[str, Chain | None]] = {}
        self._sequence = itertools.count(1)
        self._opened = False
        self.composites: Callable[[], Composites]
        self.entered: list[Callable[[Hook], object]] = []
        self._composing: Composites | None = None

    def appeal(self, function: Appeal, /) -> Callable[[], None]:
        """Ask a function about each Cancel of a guard that wants a person asked; returns what takes it out."""
        self.appeals.append(function)
        return partial(self.appeals.remove, function)

    def open_to_scripts(self, opened: bool) -> None:
        """Ask the hooks of scripts about everybody's operations from now on, or about their own scripts' only."""
        if opened != self._opened:
            self._opened = opened
            hooks = list(self)
            for hook in hooks:
                hook.everywhere = opened or hook.point.topic in FOR_ALL
            for point in {hook.point.name for hook in hooks}:
                self.changed(point)

    def chain(self, point: str, component: str) -> Chain | None:
        """Return the compiled chain of a point for a component, or None if no hook is called there."""
        try:
            return self._chains[point][component]
        except KeyError:
            return self._compile(point, component)

    def add(
        self,
        point: HookPoint,
        function: Callable[..., Any],
        options: HookOptions,
        *,
        plugin: str,
        language: str = "python",
        scope: str = "",
    ) -> Hook:
        """Register a hook with checked options.

        Raises:
            HookRegistrationError: It cannot stand there, or its name is taken.
            HookOrderError: Its constraints close a cycle.
        """
        if isinstance(function, Composite):
            self._composing = self._composing or self.composites()
            whose = {"plugin": plugin, "language": language, "scope": scope}
            return cast(Hook, self._composing.add(point, function, options, **whose))
        return self.enter(point, function, options, plugin=plugin, language=language, scope=scope)

    def enter(
        self,
        point: HookPoint,
        function: Callable[..., Any],
        options: HookOptions,
        *,
        plugin: str,
        language: str,
        scope: str,
        holder: Hook | None = None,
        breaks: bool = True,
    ) -> Hook:
        """Take one hook in: by itself, or as a part of another; see the contract's `HookTable`."""
        known: dict[str, Any] = {"plugin": plugin, "language": language, "scope": scope, "registry": self}
        known["sequence"] = next(self._sequence)
        hook = Hook(point, function, options, **known)
        if hook.awaits and options.timeout_s is None and self._timeout_s is not None:
            hook = Hook(point, function, structs.replace(options, timeout_s=self._timeout_s), **known)
        hook.appeals = self.appeals
        with self._lock:
            row = self._rows.setdefault(point.name, Row())
            hook.name = row.free_name(hook, named=bool(options.name))
            if later := self._later(hook):
                hook.options = structs.replace(hook.options, before=(*hook.options.before, *later))
            hook.enabled = not self.is_disabled(hook)
            hook.everywhere = hook.everywhere or self._opened
            self._equip(hook, breaks=breaks)
            row.add(hook)
            if holder is not None:
                hook.is_part = True
                holder.parts.append(hook)
                hook.holder = holder if options.kind is HookKind.TRANSFORM else None
            for told in self.entered:
                told(hook)
            if scope:
                self._scopes.setdefault(scope, {})[hook] = None
            self.changed(point.name)
        return hook

    def register(
        self,
        point: str,
        function: Callable[..., Any],
        /,
        *,
        plugin: str = "code",
        language: str = "python",
        scope: str = "",
        **options: Any,
    ) -> Hook:
        """Register a hook at run time; see the contract's `Hooks`."""
        check_names(point=point, plugin=plugin, language=language, scope=scope)
        resolved, pattern = self.catalog.resolve(point)
        if pattern is not None:
            options.setdefault("match", pattern)
        checked = hook_options(**options)
        if not callable(function):
            message = f"hook at {point}: {function!r} cannot be called; give a function that takes the context"
            raise HookRegistrationError(message, point=point)
        check_signature(function, f"hook {plugin}.{checked.name or name_of(function)}", resolved)
        hook = self.add(resolved, function, checked, plugin=plugin, language=language, scope=scope)
        for line in unmatched(hook, self.components):
            _log.warning("%s", line)
        return hook

    def remove(self, hook: Hook) -> bool:
        """Take a hook out, of a composite all that came with it; False if it was out already."""
        return self._remove([hook]) > 0

    def is_disabled(self, hook: Hook) -> bool:
        """Return whether the settings say that a hook is not called."""
        return any(fnmatchcase(f"{hook.plugin}.{hook.name}", pattern) for pattern in self._disabled)

    def at(self, point: HookPoint) -> list[Hook]:
        """Return the hooks at a point, each kind in order."""
        return self._listed(point.name)

    def unregister_scope(self, scope: str, /) -> int:
        """Take out all hooks of a script; returns how many. What no script registered has no scope, and stays."""
        hooks = list(self._scopes.get(scope, ()))
        self.tell_unordered(hooks)
        return self._remove(hooks)

    def tell_unordered(self, hooks: Iterable[Hook]) -> None:
        """Log which orders of hooks that are about to go named nobody, unless others came meanwhile."""
        ordered = [hook for hook in hooks if hook.options.before or hook.options.after]
        there = self._words() if ordered else set()
        for line in itertools.islice((line for hook in ordered for line in unordered(hook, there)), _LINES):
            _log.warning("%s", line)

    def idle(self) -> list[tuple[Hook, str]]:
        """Return the hooks that nobody will ask, and those whose order names nobody, each with a line for people."""
        there = self._words()
        lines = [(hook, line) for hook in self for line in (*unmatched(hook, self.components), *unordered(hook, there))]
        return [*lines, *(self._composing.idle() if self._composing else ())]

    def _words(self) -> set[str]:
        """What orders may name; what settings name is told as a fault of theirs."""
        words = {name for order in self._orders for name in order}.union(self.components.get("plugin", ()))
        for hook in self:
            words.update(hook.words)
        return words

    def names_others(self, hook: Hook) -> bool:
        """Return whether a hook asks others by their names."""
        return self._composing is not None and self._composing.names_others(hook)

    # Asking a hook in the chain's place; see the contract's `HookTable`.

    stands = staticmethod(stands)

    def ask(self, hook: Hook, context: HookContext[Any], /) -> HookResult | None:
        """Ask one sync transform as the chain does."""
        return accepted(hook, advance((hook,), 0, context))

    async def ask_waiting(self, hook: Hook, context: HookContext[Any], /) -> HookResult | None:
        """Ask one transform as the chain does, and wait for its answer."""
        return accepted(hook, await advance_waiting((hook,), 0, context))

    def order(self, point: str = "") -> list[tuple[HookInfo, str]]:
        """Return the hooks of a point (or of all) in order, each with what settles its place."""
        return [
            (hook.info, f"asked by {hook.info.within}" if hook.holder else reason(hook)) for hook in self._listed(point)
        ]

    def infos(self, point: str = "") -> list[HookInfo]:
        """Return what is known of the hooks of a point (or of all), in order."""
        return [hook.info for hook in self._listed(point)]

    def point(self, name: str, /) -> HookPoint:
        """Return the point with this name or alias."""
        return self.catalog.resolve(name)[0]

    def __iter__(self) -> Iterator[Hook]:
        with self._lock:
            return iter([hook for row in self._rows.values() for hook in row])

    def changed(self, point: str) -> None:
        """Drop the compiled chains of a point."""
        self._chains.pop(point, None)
        for call in self.on_change:
            call(point)

    def hooked(self, point: str) -> bool:
        """Return whether any hook is registered at the point with this name."""
        return bool(self._rows.get(point))

    def _listed(self, point: str) -> list[Hook]:
        with self._lock:
            rows = [self._rows.get(self.point(point).name, ())] if point else list(self._rows.values())
            return [hook for row in rows for hook in row]

    def _remove(self, hooks: list[Hook]) -> int:
        hooks = list(dict.fromkeys(each for hook in hooks for each in (hook, *hook.parts)))
        with self._lock:
            here = [hook for hook in hooks if self._rows[hook.point.name].remove(hook)]
            for hook in here:
                if self._composing is not None:
                    self._composing.release(hook)
                if hook.scope:
                    self._scopes[hook.scope].pop(hook)
                    if not self._scopes[hook.scope]:
                        del self._scopes[hook.scope]
                hook.retire()
            for point in dict.fromkeys(hook.point.name for hook in here):
                self.changed(point)
        return len(here)

    def _later(self, hook: Hook) -> tuple[str, ...]:
        """What the settings want the hook to come before."""
        mine = set(hook.words)
        return tuple(
            name for order in self._orders for place, name in enumerate(order) if mine.intersection(order[:place])
        )

    def _compile(self, point: str, component: str) -> Chain | None:
        if sum(map(len, list(self._chains.values()))) >= _KEPT:
            self._chains.clear()
        kept = self._chains.setdefault(point, {})  # before the hooks are read: a change from here on replaces it
        row = self._rows.get(point)
        hooks: list[Hook] = []
        if row:
            with self._lock:
                hooks = list(row)
        compiled = compile_chain(self.catalog.get(point), hooks, component) if hooks else None
        kept[component] = compiled
        return compiled

    def _equip(self, hook: Hook, *, breaks: bool) -> None:
        if self._profile is not None and hook.options.kind is HookKind.TRANSFORM and breaks:

            def told(state: BreakerState) -> None:
                hook.mind()
                self.changed(hook.point.name)
                if state == "open":
                    message = "%s: its breaker is open for %g s, and it is left out: %s; fix it, or see hooks.breaker"
                    _log.warning(message, hook.where, breaker.open_s, breaker.cause)
                    self.on_open(breaker)
                else:
                    _log.info("%s: its breaker is %s", hook.where, state)

            waits = hook.options.waits
            profile = structs.replace(self._profile, slow_s=math.inf) if waits else self._profile
            breaker = Breaker(profile, monotonic, told)
            hook.breaker = breaker
            hook.mind()
        if self._tracer is not None:
            hook.invoke = self._tracer.around(hook)
