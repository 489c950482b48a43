"""The registry: every hook of the host, whether a plugin or a running script brought it.

Invariant: one registry per host. Whatever changes the set of hooks drops the compiled chains; nothing is compiled
twice, at most 1024 chains are kept. A handle that is dropped does not unregister.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from threading import RLock
from time import monotonic
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import (
    HookInfo,
    HookKind,
    HookOptions,
    HookPoint,
    HookRegistrationError,
    hook_options,
)

from .breaker import Breaker, BreakerProfile, BreakerState
from .catalog import PointCatalog
from .chain import Chain, compile_chain
from .hook import Hook, name_of
from .order import ordered, reason
from .signature import check_signature
from .trace import Tracer

__all__ = ["Handle", "HookRegistry"]

_KEPT: Final = 1024


class Handle:
    """A registration; see the contract's `HookHandle`."""

    __slots__ = ("_hook", "_registry")

    def __init__(self, registry: HookRegistry, hook: Hook) -> None:
        self._registry = registry
        self._hook = hook

    @property
    def id(self) -> str:
        """Unique within the host."""
        return self._hook.id

    @property
    def point(self) -> HookPoint:
        """Where it is registered."""
        return self._hook.point

    @property
    def info(self) -> HookInfo:
        """What is known of it now."""
        return self._hook.info

    def unregister(self) -> bool:
        """Take it out; False if it was out already."""
        return self._registry.remove(self._hook)

    def enable(self, enabled: bool = True, /) -> None:
        """Call it, or call it no longer."""
        self._hook.enabled = enabled
        self._registry.changed()

    def reset_breaker(self) -> None:
        """Close its breaker by hand."""
        if self._hook.breaker is not None:
            self._hook.breaker.reset()


class HookRegistry:
    """Hooks by point.

    Args:
        catalog: The points.
        profile: The breaker's, or None for no breakers.
        timeout_s: For async hooks that name none.
        disabled: Patterns of ``plugin.hook`` that are not called.
        tracer: Records every call, if given.

    Attributes:
        catalog: The points.
        on_change: Called whenever a chain may have changed.
        on_breaker: Told a hook and its breaker's new state.
    """

    def __init__(
        self,
        catalog: PointCatalog,
        *,
        profile: BreakerProfile | None = None,
        timeout_s: float | None = None,
        disabled: tuple[str, ...] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self.catalog = catalog
        self.on_change: list[Callable[[], object]] = []
        self.on_breaker: Callable[[Hook, BreakerState], None] = lambda hook, state: None
        self._profile = profile
        self._timeout_s = timeout_s
        self._disabled = disabled
        self._tracer = tracer
        self._lock = RLock()  # hooks with thread=True may register hooks
        self._hooks: dict[str, list[Hook]] = {}
        self._chains: dict[str, dict[str, Chain | None]] = {}
        self._sequence = itertools.count(1)

    def chain(self, point: str, component: str) -> Chain | None:
        """Answer the compiled chain of a point for a component, or None if no hook is called there."""
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
        hook = Hook(
            point, function, options, sequence=next(self._sequence), plugin=plugin, language=language, scope=scope
        )
        if hook.awaits and options.timeout_s is None and self._timeout_s is not None:
            options = structs.replace(options, timeout_s=self._timeout_s)
            hook = Hook(point, function, options, sequence=hook.sequence, plugin=plugin, language=language, scope=scope)
        with self._lock:
            present = self._hooks.get(point.name, [])
            hook.name = self._free_name(hook, present, named=bool(options.name))
            hook.enabled = not any(fnmatchcase(f"{plugin}.{hook.name}", pattern) for pattern in self._disabled)
            self._equip(hook)
            self._hooks[point.name] = self._in_order([*present, hook])
            self.changed()
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
    ) -> Handle:
        """Register a hook at run time; see the contract's `Hooks`."""
        resolved, pattern = self.catalog.resolve(point)
        if pattern is not None:
            options.setdefault("match", pattern)
        checked = hook_options(**options)
        if not callable(function):
            message = f"hook at {point}: {function!r} cannot be called; give a function that takes the context"
            raise HookRegistrationError(message, point=point)
        check_signature(function, f"hook {plugin}.{checked.name or name_of(function)}", resolved)
        hook = self.add(resolved, function, checked, plugin=plugin, language=language, scope=scope)
        return Handle(self, hook)

    def remove(self, hook: Hook) -> bool:
        """Take a hook out; False if it was out already."""
        with self._lock:
            hooks = self._hooks.get(hook.point.name, [])
            if hook not in hooks:
                return False
            self._hooks[hook.point.name] = [other for other in hooks if other is not hook]
            hook.retire()
            self.changed()
        return True

    def remove_plugin(self, plugin: str) -> None:
        """Take out all hooks of a plugin."""
        for hook in [hook for hook in self if hook.plugin == plugin]:
            self.remove(hook)

    def unregister_scope(self, scope: str, /) -> int:
        """Take out all hooks of a script; answers how many. What no script registered has no scope, and stays."""
        mine = [hook for hook in self if scope and hook.scope == scope]
        return sum(self.remove(hook) for hook in mine)

    def order(self, point: str = "") -> list[tuple[HookInfo, str]]:
        """Answer the hooks of a point (or of all) in order, each with what settles its place."""
        names = [self.point(point).name] if point else list(self._hooks)
        return [(hook.info, reason(hook)) for name in names for hook in self._hooks.get(name, ())]

    def point(self, name: str, /) -> HookPoint:
        """Answer the point with this name or alias."""
        return self.catalog.resolve(name)[0]

    def points(self) -> list[HookPoint]:
        """Answer every point there is."""
        return list(self.catalog)

    def __iter__(self) -> Iterator[Hook]:
        return (hook for hooks in list(self._hooks.values()) for hook in hooks)

    def changed(self) -> None:
        """Drop every compiled chain."""
        self._chains.clear()
        for call in self.on_change:
            call()

    def hooked(self, point: str) -> bool:
        """Answer whether any hook is registered at the point with this name."""
        return bool(self._hooks.get(point))

    def _compile(self, point: str, component: str) -> Chain | None:
        if sum(map(len, self._chains.values())) >= _KEPT:
            self._chains.clear()
        hooks = self._hooks.get(point, ())
        compiled = compile_chain(self.catalog.get(point), hooks, component) if hooks else None
        self._chains.setdefault(point, {})[component] = compiled
        return compiled

    def _free_name(self, hook: Hook, present: list[Hook], *, named: bool) -> str:
        taken = {other.name for other in present if (other.plugin, other.scope) == (hook.plugin, hook.scope)}
        if hook.name not in taken:
            return hook.name
        if named:
            message = f"hook {hook.plugin}.{hook.name} at {hook.point.name}: the name is taken; choose another"
            raise HookRegistrationError(message, hook=hook.name, point=hook.point.name)
        return next(name for name in (f"{hook.name}_{i}" for i in itertools.count(2)) if name not in taken)

    def _equip(self, hook: Hook) -> None:
        if self._profile is not None and hook.options.kind is HookKind.TRANSFORM:

            def told(state: BreakerState) -> None:
                hook.slow_s = breaker.slow_s
                self.changed()
                self.on_breaker(hook, state)

            waits = hook.options.waits
            profile = structs.replace(self._profile, slow_s=math.inf) if waits else self._profile
            breaker = Breaker(profile, monotonic, told)
            hook.breaker = breaker
            hook.slow_s = breaker.slow_s
        if self._tracer is not None:
            hook.invoke = self._tracer.around(hook)

    def _in_order(self, hooks: list[Hook]) -> list[Hook]:
        kinds = {kind: [hook for hook in hooks if hook.options.kind is kind] for kind in HookKind}
        return [hook for kind in HookKind for hook in ordered(kinds[kind])]
