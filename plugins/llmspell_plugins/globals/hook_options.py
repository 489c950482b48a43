"""What a script may say when it registers a hook, in each of the call styles that scripts know.

Styles: ``(point, fn)``, ``(point, fn, "high")``, ``(point, fn, {priority = "high", ...})`` and
``({point = ..., handler = fn, ...})``.

Invariant: an option is checked before anything is registered; an unknown one names the nearest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from llmspell_hookspecs import HookKind, InvalidInputError, Priority
from llmspell_hookspecs.language import ScriptFunction
from llmspell_hookspecs.marker import priority_of
from llmspell_hookspecs.spelling import told

from .options import validated

__all__ = ["HookRequest", "ScriptHookOptions", "priority_from", "read_options", "read_request"]

_WHERE: Final = "Hook.register"
_POINT: Final = ("point", "hook_point")
_HANDLER: Final = ("handler", "callback", "fn")
_LISTED: Final = re.compile(r"Priority\((-?\d{1,10})\)")


def priority_from(value: Any) -> int:
    """Return the number of a priority as a script gives it: a word, a whole number, or as ``Hook.list`` shows it.

    Raises:
        HookRegistrationError: The word is none of the five.
        InvalidInputError: It is neither.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    listed = _LISTED.fullmatch(value) if isinstance(value, str) else None
    if listed is not None:
        value = int(listed[1])
    if isinstance(value, bool) or not isinstance(value, int | str):
        words = ", ".join(priority.name.lower() for priority in Priority)
        raise InvalidInputError(f"priority: {told(value)} is none; use a number or one of {words}", field="priority")
    return priority_of(value)


def _texts(value: Any) -> Any:
    """One text stands for a list of one, and an empty table for an empty list."""
    if isinstance(value, str):
        return (value,)
    return () if isinstance(value, Mapping) and not value else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class ScriptHookOptions(BaseModel):
    """The options of a script's hook."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: HookKind = HookKind.TRANSFORM
    priority: Annotated[int, BeforeValidator(priority_from)] = int(Priority.NORMAL)
    name: str = ""
    match: str | None = None
    before: Texts = ()
    after: Texts = ()
    tags: Texts = ()
    timeout_ms: float | None = Field(default=None, gt=0)
    timeout_s: float | None = Field(default=None, gt=0)
    on_error: str = "continue"
    enabled: bool = True
    description: str = ""
    version: str = "1.0.0"

    def for_registry(self) -> dict[str, Any]:
        """Return the options as the registry takes them."""
        given = {
            "kind": self.kind,
            "priority": self.priority,
            "before": self.before,
            "after": self.after,
            "on_error": self.on_error,
            "name": self.name,
            "timeout_s": self.timeout_s if self.timeout_ms is None else self.timeout_ms / 1000,
        }
        return given if self.match is None else {**given, "match": self.match}


class HookRequest(Struct, frozen=True):
    """What a script asks for when it registers a hook.

    Attributes:
        point: Any spelling of a point.
        function: The script's function.
        options: The rest.
    """

    point: str
    function: ScriptFunction
    options: ScriptHookOptions


def read_request(point: Any, function: Any, options: Any) -> HookRequest:
    """Return what the arguments of ``Hook.register`` ask for.

    Raises:
        InvalidInputError: A part is missing or of the wrong type, or an option is unknown.
        HookRegistrationError: The priority's word is none of the five.
    """
    if isinstance(point, Mapping):
        rest = dict(point)
        point = _take(rest, _POINT)
        function = _take(rest, _HANDLER)
        options = rest
    elif not isinstance(options, Mapping):
        options = {} if options is None or options == [] else {"priority": options}
    if not isinstance(point, str) or not point:
        raise InvalidInputError(f"{_WHERE}: the point is missing; name one, see Hook.points()", field="point")
    if not callable(function):
        raise InvalidInputError(f"{_WHERE}: the hook for {point} is no function; give one", field="handler")
    read = read_options(options)
    return HookRequest(point, function, read)


def _take(rest: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Take the first of these keys out of a table."""
    found = [rest.pop(name) for name in names if name in rest]
    return found[0] if found else None


def read_options(options: Mapping[str, Any], where: str = _WHERE) -> ScriptHookOptions:
    """Return a script's options, checked.

    Args:
        options: As the script gave them.
        where: How messages about them begin.

    Raises:
        InvalidInputError: One is unknown or wrong.
    """
    read = validated(where, ScriptHookOptions, options)
    if read.kind is HookKind.WRAP:
        message = (
            f"{where}: kind = 'wrap' stands inside of the guards, for plugins only; use a before and an after point"
        )
        raise InvalidInputError(message, field="kind")
    return read
