"""What a script may say when it registers hooks that answer as one: ``Hook.composite``.

Words of the original stand for ours: ``pattern`` for the mode, ``FirstMatch``, ``tie_breaker`` and ``PreferAction``.

Invariant: all is checked before anything is registered, and what a script names is refused: it has its own functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import HookKind, InvalidInputError, hookimpl
from llmspell_hookspecs.composites import Composite
from llmspell_hookspecs.language import ScriptFunction

from .hook_options import ScriptHookOptions, read_options
from .options import unknown_option

__all__ = ["CompositeRequest", "read_composite"]

MakeHook = Callable[[ScriptFunction, HookKind, str], Callable[..., Any]]
_WHERE: Final = "Hook.composite"
_MODE: Final = ("mode", "pattern", "type")
_CHILDREN: Final = ("children", "hooks")
_TIE: Final = ("tie", "tie_breaker")
_HANDLER: Final = ("handler", "callback", "fn")
_OWN: Final = ("threshold", "prefer", "on_error", "name")
_OF_COMPOSITE: Final = ("mode", "children", "tie", *_OWN)
_SPELLED: Final = (*_MODE, *_CHILDREN, *_TIE)
_OF_CHILD: Final = ("kind", "name", "match", "timeout_ms", "timeout_s", "on_error", "priority")
_TIES: Final = {
    "first_result": "first",
    "prefer_continue": "continue",
    "prefer_action": "action",
    "by_priority": "first",
}
_DEEP: Final = 16


class CompositeRequest(Struct, frozen=True):
    """What a script asks for when it registers a composite.

    Attributes:
        point: Any spelling of a point.
        composite: The composite.
        options: How it is registered.
    """

    point: str
    composite: Composite
    options: ScriptHookOptions


def read_composite(point: Any, table: Any, make: MakeHook) -> CompositeRequest:
    """Return what the arguments of ``Hook.composite`` ask for.

    Args:
        point: A point, or a table with ``point`` and all else.
        table: The rest.
        make: Makes a hook of a script's function.

    Raises:
        InvalidInputError: A part is missing or of the wrong type, or an option is unknown.
        HookRegistrationError: It is no composite: a mode, a threshold, the number of its children.
    """
    if isinstance(point, Mapping) and table is None:
        table = dict(point)
        point = next((table.pop(name) for name in ("point", "hook_point") if name in table), None)
    if not isinstance(point, str) or not point:
        raise InvalidInputError(f"{_WHERE}: the point is missing; name one, see Hook.points()", field="point")
    if not isinstance(table, Mapping):
        raise InvalidInputError(f"{_WHERE}: the second argument is no table; give mode and children", field="children")
    known = [*_OF_COMPOSITE, *(name for name in ScriptHookOptions.model_fields if name != "kind")]
    for name in table:
        if name not in (*known, *_SPELLED, "kind"):
            raise unknown_option(_WHERE, str(name), known)
    rest = dict(table)
    composite = _composite(rest, make, 0)
    if "kind" in rest:
        message = f"{_WHERE}: a composite has no kind of its own; say kind in a child, beside its handler"
        raise InvalidInputError(message, field="kind")
    options = read_options({**rest, "name": table.get("name", "")}, _WHERE)
    return CompositeRequest(point, composite, options)


def _composite(rest: dict[str, Any], make: MakeHook, depth: int) -> Composite:
    """Return the composite of a table; what it does not take of it is left."""
    if depth > _DEEP:
        raise InvalidInputError(f"{_WHERE}: it is nested more than {_DEEP} deep; make it flatter", field="children")
    mode, children = _taken(rest, _MODE), _taken(rest, _CHILDREN)
    tie = _taken(rest, _TIE)
    own = {name: rest.pop(name) for name in _OWN if name in rest}
    if not isinstance(mode, str):
        known = "sequential, parallel, first_match or voting"
        raise InvalidInputError(f"{_WHERE}: the mode is missing; say {known}", field="mode")
    if isinstance(children, Mapping) and not children:
        children = []
    if not isinstance(children, list | tuple):
        message = f"{_WHERE}: the children are no list; give functions, or tables with a handler or with children"
        raise InvalidInputError(message, field="children")
    if isinstance(own.get("prefer"), Mapping):
        own["prefer"] = [] if not own["prefer"] else own["prefer"]
    made = [_child(child, number, make, depth) for number, child in enumerate(children, 1)]
    return Composite(_word(mode), made, tie=_tie(tie), **own)


def _child(child: Any, number: int, make: MakeHook, depth: int) -> Any:
    if callable(child):
        return make(child, HookKind.TRANSFORM, f"child_{number}")
    if not isinstance(child, Mapping):
        message = f"{_WHERE}: child {number} is a {type(child).__name__}; give a function, or a table with a handler"
        raise InvalidInputError(message, field="children")
    rest = dict(child)
    handler = _taken(rest, _HANDLER)
    if handler is None and any(name in rest for name in _CHILDREN):
        nested = _composite(rest, make, depth + 1)
        _refuse_more(rest, number, _OF_COMPOSITE)
        return nested
    if not callable(handler):
        message = f"{_WHERE}: child {number} has no handler; give a function, or children of its own"
        raise InvalidInputError(message, field="children")
    _refuse_more({name: rest[name] for name in rest if name not in _OF_CHILD}, number, _OF_CHILD)
    options = read_options(rest, _WHERE)
    function = make(handler, options.kind, options.name or f"child_{number}")
    marked: Callable[..., Any] = hookimpl(**options.for_registry())(function)
    return marked


def _refuse_more(rest: Mapping[str, Any], number: int, known: tuple[str, ...]) -> None:
    for name in rest:
        raise unknown_option(f"{_WHERE}: child {number}", str(name), list(known))


def _taken(rest: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Take these keys out of a table, and return what the first of them holds."""
    found = [rest.pop(name) for name in names if name in rest]
    return found[0] if found else None


def _tie(given: Any) -> Any:
    word = _word("first" if given is None else given)
    return _TIES.get(word, word) if isinstance(word, str) else word


def _word(text: Any) -> Any:
    """Return a word of the original's as ours are spelled: ``FirstMatch`` as ``first_match``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower() if isinstance(text, str) else text
