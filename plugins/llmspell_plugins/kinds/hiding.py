"""Secrets in what models and agents are asked and answer: hidden before the first hook, revealed for whoever runs.

Invariant: no hook sees the text of a secret, and nothing but hooks sees a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeVar

from msgspec import Struct, structs

from llmspell_hookspecs import (
    AgentChunk,
    AgentConfig,
    AgentInput,
    AgentOutput,
    Message,
    ModelChunk,
    ModelRequest,
    ModelResponse,
    ToolRecord,
    ToolUse,
    freeze,
    hide,
    reveal,
)

__all__ = ["hide_fields", "reveal_fields"]

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
}
"""Which fields of which structs may hold secrets; what a model or a person says is text, and as it is."""
_HELD: Final[Mapping[type, Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*fields) if len(fields) > 1 else partial(_one, fields[0]) for kind, fields in _FIELDS.items()
}
"""Return what those fields of a struct hold."""


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


def _hidden(value: Any) -> Any:
    return hide(freeze(value), "any")


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    kind = type(value)
    fields = _FIELDS.get(kind)
    if fields is None:
        return value
    held_all = _HELD[kind](value)
    if not any(held_all):
        return value
    changed: dict[str, Any] = {}
    settled = change is _hidden and getattr(kind, "frozen_when_made", False)
    for name, held in zip(fields, held_all, strict=True):
        if not held:
            continue
        new = hide(held, "any") if settled and type(held) is MappingProxyType else _changed_field(held, change)
        if new is not held:
            changed[name] = new
    return structs.replace(value, **changed) if changed else value


def _changed_field(held: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(held, Struct):
        return _changed(held, change)
    if isinstance(held, list | tuple):
        new: list[Any] | None = None
        for index, item in enumerate(held):
            changed = _changed(item, change)
            if changed is not item:
                new = list(held) if new is None else new
                new[index] = changed
        return held if new is None else tuple(new)
    return change(held)
