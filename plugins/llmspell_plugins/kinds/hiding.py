"""Secrets in what models, agents and workflows are asked: hidden before the first hook, revealed for whoever runs.

Invariant: no hook sees the text of a secret, and nothing but hooks sees a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeVar

from msgspec import Struct, structs

from llmspell_hookspecs import AgentInput, AgentOutput, Message, ModelChunk, ModelRequest, ModelResponse
from llmspell_hookspecs.agent import AgentChunk, AgentConfig, ToolRecord
from llmspell_hookspecs.bounds import too_deep
from llmspell_hookspecs.errors import InvalidInputError
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.secret import hide, hide_item, reveal
from llmspell_hookspecs.values import freeze, restore
from llmspell_hookspecs.workflow import BranchOutcome, ConditionEvaluation, LoopIteration, ParallelJoin
from llmspell_hookspecs.workflows import StageRecord

__all__ = ["exact", "hide_fields", "hide_value", "reveal_fields"]

T = TypeVar("T")


def _one(name: str, value: Any) -> tuple[Any, ...]:
    return (getattr(value, name),)


_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    ModelRequest: ("messages", "options"),
    Message: ("tool_uses", "extra"),
    ToolUse: ("parameters", "extra"),
    ModelResponse: ("tool_uses", "metadata", "extra"),
    ModelChunk: ("tool_use",),
    AgentConfig: ("base_url", "options"),
    AgentInput: ("messages", "parameters"),
    AgentOutput: ("tool_calls", "metadata"),
    AgentChunk: ("tool_use", "tool_result"),
    ToolRecord: ("parameters",),
    LoopIteration: ("item", "output"),
    ConditionEvaluation: ("inputs",),
    ParallelJoin: ("outcomes",),
    BranchOutcome: ("output",),
    StageRecord: ("output",),
}
"""Which fields of which structs may hold secrets; what a model or a person says is text, and as it is."""
_HELD: Final[Mapping[type, Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*fields) if len(fields) > 1 else partial(_one, fields[0]) for kind, fields in _FIELDS.items()
}
"""Return what those fields of a struct hold."""
_VALUES: Final = frozenset({LoopIteration, ConditionEvaluation, BranchOutcome, StageRecord})
"""Those of which a field holds a value of any type, a list of mappings too."""
_SETTLED: Final = frozenset({ModelRequest, Message, ToolUse})
"""Those whose mappings are read-only from the moment they are made."""


def hide_fields(value: T) -> T:
    """Return a struct with its secrets hidden.

    Raises:
        InvalidInputError: A field cannot be shown to hooks.
    """
    hidden: T = _changed(value, _hidden)
    return hidden


def reveal_fields(value: T) -> T:
    """Return a struct with its secrets as they are."""
    revealed: T = _changed(value, reveal)
    return revealed


def hide_value(value: Any, name: str = "") -> Any:
    """Return a value of any type with its secrets hidden; itself if it has none, or cannot be shown to hooks.

    Args:
        value: What something is given.
        name: Under which name it stands, if under one.
    """
    try:
        frozen = value if type(value) is str else freeze(value)
    except InvalidInputError:  # the operation says so, to those who watch it
        return value
    hidden = hide_item(name, frozen, "any") if name else hide(frozen, "any")
    return value if hidden is frozen else hidden


def exact(value: Any) -> Any:
    """Return a value as it was before it was hidden; itself if nothing was.

    Raises:
        InvalidInputError: It holds itself, or has too many levels.
    """
    if value is None:
        return None
    found: list[str] = []
    try:
        real = reveal(value, found)
    except RecursionError:
        raise too_deep() from None
    return restore(real) if found else value


def _hidden(value: Any) -> Any:
    return hide(freeze(value), "any")


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a struct with its fields changed that may hold secrets; itself if nothing changes, as nearly always."""
    held_of = _HELD.get(type(value))
    return value if held_of is None else _changed_fields(value, held_of(value), change)


def _changed_fields(value: Any, held_all: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    kind = type(value)
    is_frozen = change is _hidden and kind in _SETTLED
    changed: dict[str, Any] | None = None
    for index, held in enumerate(held_all):
        if not held:
            continue
        shape = type(held)
        if kind in _VALUES and not isinstance(held, Struct):
            new = change(held)
        elif shape is tuple:
            new = _changed_items(held, change)
        elif shape is MappingProxyType:
            new = hide(held, "any") if is_frozen else change(held)
        elif isinstance(held, Struct):
            new = _changed(held, change)
        else:
            new = _changed_items(held, change) if isinstance(held, list | tuple) else change(held)
        if new is not held:
            changed = {} if changed is None else changed
            changed[_FIELDS[kind][index]] = new
    return value if changed is None else structs.replace(value, **changed)


def _changed_items(held: Any, change: Callable[[Any], Any]) -> Any:
    new: list[Any] | None = None
    for index, item in enumerate(held):
        held_of = _HELD.get(type(item))
        if held_of is None:
            continue
        held_all = held_of(item)
        if not any(held_all):  # as most messages of a conversation
            continue
        changed = _changed_fields(item, held_all, change)
        if changed is not item:
            new = list(held) if new is None else new
            new[index] = changed
    return held if new is None else tuple(new)
