"""Finding the hooks of a plugin, however they are marked, without running more of it than must be.

A mark may lie on a function, or under ``staticmethod``, ``classmethod``, ``functools.partial``, a bound method or a
wrapper; on the class or on the instance; in a module, or in what its ``__getattr__`` makes on demand.

Invariant: what is marked, or is called as a point is, is a hook or is refused by name; nothing is passed over.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from .errors import HookRegistrationError
from .marker import HookOptions

__all__ = ["Found", "find_hooks"]

_MARK: Final = "llmspell_options"
_DEPTH: Final = 16
_ABSENT: Final = object()


class Found(Struct, frozen=True):
    """One hook of a plugin.

    Attributes:
        attribute: Under which name it stands.
        function: What is called.
        options: How.
    """

    attribute: str
    function: Callable[..., Any]
    options: HookOptions


def find_hooks(plugin: Any, who: str, points: Iterable[str]) -> list[Found]:
    """Return a plugin's hooks.

    Args:
        plugin: A module, a class or an object; a marked function is its own one hook.
        who: Its name, for errors.
        points: The names of points.

    Raises:
        HookRegistrationError: Something is marked that cannot be called as a hook, or stands where a hook would and is
            not marked.
    """
    if inspect.isroutine(plugin) or isinstance(plugin, functools.partial):
        options = _mark_of(plugin)
        return [] if options is None else [Found(_name_of(plugin), plugin, options)]
    named = frozenset(points)
    found = []
    for name in _names(plugin, named):
        hook = _look(plugin, name, who, is_point=name in named)
        if hook is not None:
            found.append(hook)
    return found


def _look(plugin: Any, name: str, who: str, *, is_point: bool) -> Found | None:
    """Return the hook under a name, if there is one."""
    static = inspect.getattr_static(plugin, name, _ABSENT)
    options = None if static is _ABSENT else _mark_of(static)
    if options is None and static is not _ABSENT:
        _refuse_lost(plugin, name, static, who)
    if isinstance(static, property | functools.cached_property) and options is not None:
        raise _wrong(who, name, "it is a property, which is read and never called; write a method")
    if options is None and not is_point:
        return None
    value = _value(plugin, name, on_demand=static is _ABSENT)
    options = _mark_of(value) or options
    if options is None:
        if static is not _ABSENT and callable(value) and not hasattr(value, "llmspell_point"):
            raise _wrong(who, name, "it is called as a hook point is, and has no @hookimpl; mark it, or rename it")
        return None
    if not callable(value):
        raise _wrong(who, name, f"it is marked, and a {type(value).__name__} cannot be called; mark a function")
    return Found(name, value, options)


def _refuse_lost(plugin: Any, name: str, static: Any, who: str) -> None:
    """Refuse what pluggy's own marker marked, and what hides a marked hook of a base class."""
    if "llmspell_impl" in _own(static):
        raise _wrong(who, name, "it is marked by pluggy's own marker; use llmspell_hookspecs.hookimpl")
    if inspect.ismodule(plugin) or static is None or not (callable(static) or isinstance(static, staticmethod)):
        return
    bases: tuple[type, ...] = (plugin if inspect.isclass(plugin) else type(plugin)).__mro__
    if any(_mark_of(vars(base)[name]) is not None for base in bases if name in vars(base)):
        raise _wrong(who, name, "it hides a hook of its base class and has no @hookimpl; mark it, or set it to None")


def _value(plugin: Any, name: str, *, on_demand: bool) -> Any:
    if not on_demand:
        return getattr(plugin, name, None)  # None for a slot that is not filled
    try:
        return getattr(plugin, name)
    except Exception:  # a __getattr__ that fails has no such hook
        return None


def _names(plugin: Any, points: frozenset[str]) -> Iterator[str]:
    """Yield the names under which a plugin may have hooks, in order; the points' for one that makes names on demand."""
    if inspect.ismodule(plugin):
        offered = [*vars(plugin), *(name for name in vars(plugin).get("__all__", ()) if isinstance(name, str))]
        on_demand = "__getattr__" in vars(plugin)
    else:
        kind: Any = plugin if inspect.isclass(plugin) else type(plugin)
        offered = [*object.__dir__(plugin), *type.__dir__(kind)]
        on_demand = inspect.getattr_static(kind, "__getattr__", _ABSENT) is not _ABSENT
    yield from dict.fromkeys([*offered, *(sorted(points) if on_demand else ())])


def _mark_of(item: Any) -> HookOptions | None:
    """Return the options with which something, or what it wraps, is marked; none of its code runs."""
    for _ in range(_DEPTH):
        options = _own(item).get(_MARK)
        if isinstance(options, HookOptions):
            return options
        item = _within(item)
        if item is None:
            return None
    return None


def _within(item: Any) -> Any:
    if isinstance(item, staticmethod | classmethod | types.MethodType):
        return item.__func__
    if isinstance(item, functools.partial | functools.partialmethod | functools.cached_property):
        return item.func
    return item.fget if isinstance(item, property) else _own(item).get("__wrapped__")


def _own(item: Any) -> dict[str, Any]:
    """Return what lies on an object itself; nothing of its class, and nothing that is made on demand."""
    try:
        own = object.__getattribute__(item, "__dict__")
    except AttributeError:
        return {}
    return own if isinstance(own, dict) else dict(own)


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", "hook"))


def _wrong(who: str, name: str, problem: str) -> HookRegistrationError:
    return HookRegistrationError(f"plugin {who}: {name}: {problem}", hook=name)
