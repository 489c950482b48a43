"""Hiding the secrets of a tool's input before the first hook sees it; afterwards the tool's own types tell of them.

Invariant: what a tool declares a secret is hidden, in whatever shape it was given; so is what has a secret's name.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import AliasChoices, BaseModel, Secret, SecretBytes, SecretStr

from llmspell_hookspecs import InvalidInputError, Tool
from llmspell_hookspecs.secret import hide, hide_item, tells
from llmspell_hookspecs.values import freeze

__all__ = ["hidden_input", "hidden_model"]

_NUMBERS = frozenset({int, float, bool, type(None)})


def hidden_input(tool: Tool[Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a tool was given, with its secrets hidden."""
    declared = _declared(tool.parameters)
    changed: dict[str, Any] = {}
    for name, value in given.items():
        kind, names = type(value), declared.get(name, "any")
        if kind in _NUMBERS or (kind is str and names == "telling" and "://" not in value):
            continue
        try:
            frozen = value if kind is str else freeze(value)
        except InvalidInputError:  # the operation says so, to those who watch it
            return given
        hidden = hide(frozen, "all") if names == "all" else hide_item(name, frozen, names)
        if hidden is not frozen:
            changed[name] = hidden
    return {**given, **changed} if changed else given


def hidden_model(shown: Any, others: Sequence[str]) -> Any:
    """Return a tool's parameters, frozen, with their secrets hidden.

    Args:
        shown: The parameters.
        others: Which of them the tool does not declare.
    """
    hidden = hide(shown)
    if not others:
        return hidden
    changed = {name: hide_item(name, shown[name], "any") for name in others}
    return hidden.with_items(changed)


@lru_cache(maxsize=1024)
def _declared(parameters: type[BaseModel]) -> Mapping[Any, Any]:
    """Return, for each name of a parameter, which texts in it are hidden; see `hide`."""
    found: dict[Any, str] = {}
    for name, field in parameters.model_fields.items():
        secret, alias = _holds_secret(field.annotation, set()), field.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias, field.alias]
        for each in (name, *others):
            if isinstance(each, str):
                found[each] = "all" if secret or tells(each) else "telling"
    return found


def _holds_secret(annotation: Any, seen: set[Any]) -> bool:
    if isinstance(annotation, type) and annotation not in seen:
        seen.add(annotation)
        if issubclass(annotation, SecretStr | SecretBytes | Secret):
            return True
        if issubclass(annotation, BaseModel):
            return any(_holds_secret(field.annotation, seen) for field in annotation.model_fields.values())
    return any(_holds_secret(part, seen) for part in typing.get_args(annotation))
