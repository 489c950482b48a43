"""How a plugin marks its hooks: `hookimpl`, the four kinds, the five priorities.

Invariant: the options are checked where they are written, so a wrong one fails at import with its remedy.
Durations in seconds.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeVar, overload

import msgspec
import pluggy
from msgspec import Struct

from .errors import HookRegistrationError
from .points import PROJECT
from .spelling import told

__all__ = ["HookKind", "HookOptions", "Priority", "hook_options", "hookimpl", "priority_of"]

F = TypeVar("F", bound=Callable[..., object])
_ATTRIBUTE = "llmspell_options"


class Priority(enum.IntEnum):
    """Who comes first within a kind; the smaller number does. The numbers are the original's."""

    HIGHEST = -2147483648
    HIGH = -100
    NORMAL = 0
    LOW = 100
    LOWEST = 2147483647


class HookKind(enum.StrEnum):
    """What a hook is for; see docs/design.md."""

    TRANSFORM = "transform"
    GUARD = "guard"
    WRAP = "wrap"
    OBSERVE = "observe"


class HookOptions(Struct, frozen=True):
    """How a hook is called.

    Attributes:
        kind: Transform, guard, wrap or observe.
        priority: Any integer; the smaller comes first.
        before: Names of plugins or hooks that must come after this one.
        after: Names of plugins or hooks that must come before this one.
        match: A pattern for the component's name, as `fnmatch` knows them; None for all.
        timeout_s: How long an async (or threaded) hook may take.
        on_error: What a transform's failure does: ``continue`` counts it, ``raise`` fails the operation.
        thread: Run a sync hook in a worker thread.
        waits: Its time is a declared wait (a rate limiter's sleep), so the breaker never counts it as slow.
        name: Unique within its plugin and point; the function's name if empty.
        specname: The point, where the function has another name.
        tags: For listing.
        quick: Asked first of an async (or threaded) hook, without waiting: returns its answer, or ``NotImplemented``
            where the hook itself has to be awaited. That saves the other calls the scope of the timeout.
    """

    kind: HookKind = HookKind.TRANSFORM
    priority: int = Priority.NORMAL
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    match: str | None = None
    timeout_s: float | None = None
    on_error: Literal["continue", "raise"] = "continue"
    thread: bool = False
    waits: bool = False
    name: str = ""
    specname: str = ""
    tags: tuple[str, ...] = ()
    quick: Callable[[Any], Any] | None = None


def priority_of(value: int | str | Priority) -> int:
    """Return the number of a priority given as a number or as one of the five words.

    Raises:
        HookRegistrationError: The word is none of the five.
    """
    if isinstance(value, int):
        return int(value)
    try:
        return int(Priority[value.upper()])
    except (KeyError, AttributeError):
        words = ", ".join(priority.name.lower() for priority in Priority)
        raise HookRegistrationError(f"priority: {told(value)} is none; use a number or one of {words}") from None


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else value


_REFUSED: Final = {
    "tryfirst": "priority='high'",
    "trylast": "priority='low'",
    "hookwrapper": "kind='wrap'",
    "wrapper": "kind='wrap'",
    "firstresult": "a Replace or a Cancel as the answer",
    "optionalhook": "a point of your own, declared with @hookpoint",
}


def hook_options(**values: Any) -> HookOptions:
    """Return checked options from keyword arguments as `hookimpl` takes them.

    Raises:
        HookRegistrationError: An option is unknown, wrong, or one of pluggy's own.
    """
    for name in values:
        if name in _REFUSED:
            raise HookRegistrationError(f"hookimpl: pluggy's {name} is not used here; say {_REFUSED[name]}")
        if name not in HookOptions.__struct_fields__:
            known = ", ".join(HookOptions.__struct_fields__)
            raise HookRegistrationError(f"hookimpl: there is no option {name!r}; there are {known}")
    try:
        values["kind"] = HookKind(values.get("kind", HookKind.TRANSFORM))
    except ValueError:
        kinds = ", ".join(kind.value for kind in HookKind)
        message = f"hookimpl: kind {values['kind']!r} is none; use one of {kinds}"
        raise HookRegistrationError(message) from None
    values["priority"] = priority_of(values.get("priority", Priority.NORMAL))
    for name in ("before", "after", "tags"):
        values[name] = _names(values.get(name, ()))
    if values.get("on_error", "continue") not in ("continue", "raise"):
        raise HookRegistrationError(f"hookimpl: on_error {values['on_error']!r} is none; use 'continue' or 'raise'")
    try:
        options = msgspec.convert(values, HookOptions)
    except msgspec.ValidationError as error:
        told, _, place = str(error).partition(" - at `$.")
        message = f"hookimpl: {place.rstrip('`')}: {told}; see llmspell_hookspecs.HookOptions"
        raise HookRegistrationError(message) from None
    if options.timeout_s is not None and not options.timeout_s > 0:
        raise HookRegistrationError(f"hookimpl: timeout_s must be above 0, not {options.timeout_s!r}")
    if not options.name.isprintable() or options.name != options.name.strip() or ":" in options.name:
        message = f"hookimpl: the name {options.name[:80]!r} holds a colon, blanks around it or what cannot be printed"
        raise HookRegistrationError(f"{message}; rename it")
    return options


class _Marker(pluggy.HookimplMarker):  # type: ignore[misc]  # final for type checkers only
    """pluggy's marker with our options instead of pluggy's."""

    @overload  # type: ignore[override]
    def __call__(self, function: F, **options: Any) -> F: ...
    @overload
    def __call__(self, function: None = None, **options: Any) -> Callable[[F], F]: ...
    def __call__(self, function: F | None = None, **options: Any) -> F | Callable[[F], F]:
        """Mark a function as a hook; the options are those of `HookOptions`."""
        checked = hook_options(**options)
        mark = super().__call__(specname=checked.specname or None)

        def decorate(target: F) -> F:
            if not hasattr(target, "__dict__") or inspect.ismethod(target):  # nothing can be written on it
                part: Any = functools.update_wrapper(functools.partial(target), target)
                target = part
            setattr(target, _ATTRIBUTE, checked)
            return mark(target)

        return decorate if function is None else decorate(function)


hookimpl = _Marker(PROJECT)
"""Mark a function as a hook: ``@hookimpl`` or ``@hookimpl(kind="guard", priority=Priority.HIGH)``."""
