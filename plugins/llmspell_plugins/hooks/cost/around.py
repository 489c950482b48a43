"""What runs around a call: the agents and workflows whose budgets it is spent of, however deep it lies within them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import HookContext
from llmspell_plugins.hooks.call_match import KeyPart, key_of
from llmspell_plugins.hooks.standing import POINTS

from .settings import BudgetKey

__all__ = ["WITHIN", "Around"]

WITHIN: Final = {
    **{before: tuple(ends) for kind, (before, *ends) in POINTS.items() if kind != "model"},
    "before_workflow_stage": ("after_workflow_stage",),
}
"""Where what may have others within it begins and ends."""
_KEPT: Final = 100_000
_ENCLOSING: Final = ("agent", "workflow")


class _Place(Struct, frozen=True):
    kind: str
    name: str
    parent: str


class Around:
    """Remembers what runs within what, while it runs."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def begin(self, context: HookContext[Any]) -> None:
        """Remember an operation."""
        operation, component = context.operation, context.component
        self._places[operation.id] = _Place(component.kind, component.name, operation.parent_id)
        if len(self._places) > _KEPT:
            self._places.popitem(last=False)

    def end(self, context: HookContext[Any]) -> None:
        """Forget it."""
        self._places.pop(context.operation.id, None)

    def keys(self, parts: Sequence[BudgetKey], context: HookContext[Any]) -> list[tuple[str, ...]]:
        """Return whose budget a call is spent of: for ``agent`` and ``workflow`` of each around it, the nearest first.

        One that stands in none of them is spent of what nobody's name is on.
        """
        if not any(part in _ENCLOSING for part in parts):
            return [self._plain(parts, context)]
        names = [list(self._names(part, context)) or [""] for part in parts]
        return list(itertools.product(*names))

    def _plain(self, parts: Sequence[BudgetKey], context: HookContext[Any]) -> tuple[str, ...]:
        plain: list[KeyPart] = [part for part in parts if part != "agent" and part != "workflow"]
        return key_of(plain, context)

    def _names(self, part: BudgetKey, context: HookContext[Any]) -> Iterator[str]:
        if part not in _ENCLOSING:
            yield from self._plain((part,), context)
            return
        seen: set[str] = set()
        component, place = context.component, self._places.get(context.operation.parent_id)
        if component.kind == part:
            seen.add(component.name)
            yield component.name
        while place is not None:
            if place.kind == part and place.name not in seen:
                seen.add(place.name)
                yield place.name
            place = self._places.get(place.parent)
