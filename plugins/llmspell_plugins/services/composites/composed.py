"""A composite where it is registered: its children as hooks, and how they are asked.

Invariant: each child is a hook of the registry as any other, with its kind, match, breaker, counts and place in lists.
The transforms among them are asked by the composite in place of the chain; where it is not asked, since it is disabled
or its match does not fit, those that it only names are asked by the chain. Guards and observers stay in the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, TypeAlias

import trio
from msgspec import Struct

from llmspell_hookspecs import HookContext, HookResult, LlmspellError, Modified
from llmspell_hookspecs.bounds import has_many
from llmspell_hookspecs.composites import Composite
from llmspell_hookspecs.composition import Asking, Wanted, steps
from llmspell_hookspecs.hook_table import HookTable, TableHook

__all__ = ["Composed", "Named", "Place", "asking"]

_ROW_S: Final = 0.002
"""How long children may take in a row before others have their turn."""
_Asked: TypeAlias = "list[tuple[int, TableHook | Composed, HookContext[Any]]]"


class Named(Struct, frozen=True):
    """A child by name.

    Attributes:
        word: The name of a plugin or a hook.
        found: Returns the transforms that answer to it now, in order.
    """

    word: str
    found: Callable[[], Sequence[TableHook]]


class Composed:
    """A composite with its children in their places.

    Args:
        table: Holds its children, and asks them.
        composite: What it is.
        where: Which it is, for errors.

    Attributes:
        places: The child in each place; None for one that stands in the chain itself, a guard or an observer.
    """

    __slots__ = ("composite", "places", "table", "where")

    def __init__(self, table: HookTable, composite: Composite, where: str) -> None:
        self.table = table
        self.composite = composite
        self.where = where
        self.places: list[Place] = []

    def asked(self, component: str) -> list[tuple[str, TableHook | Composed]]:
        """Return the transforms that are asked about a component, each with the name of its place."""
        asked: list[tuple[str, TableHook | Composed]] = []
        for name, place in zip(self.composite.names, self.places, strict=True):
            if isinstance(place, Composed):
                asked.append((name, place))
            elif place is not None:
                hooks = place.found() if isinstance(place, Named) else (place,)
                asked += [(name, hook) for hook in hooks if self.table.stands(hook, component)]
        return asked


Place: TypeAlias = TableHook | Composed | Named | None


def asking(composed: Composed, *, waits: bool) -> Callable[[HookContext[Any]], Any]:
    """Return the function that stands for a composite in the chain.

    Args:
        composed: The composite.
        waits: Whether some of its children may have to be awaited.
    """

    async def composite(context: HookContext[Any]) -> HookResult | None:
        return await _ask_waiting(composed, context)

    def at_once(context: HookContext[Any]) -> HookResult | None:
        return _ask(composed, context)

    return composite if waits else at_once


def _ask(composed: Composed, context: HookContext[Any]) -> HookResult | None:
    children = composed.asked(context.component.name)
    going = steps(composed.composite, [name for name, _ in children], context, composed.where)
    ask = composed.table.ask
    wanted, answer = _go_on(going, None)
    while wanted is not None:
        answers = []
        for place, given in wanted:
            child = children[place][1]
            answers.append(_ask(child, given) if isinstance(child, Composed) else ask(child, given))
        wanted, answer = _go_on(going, answers)
    return answer


async def _ask_waiting(composed: Composed, context: HookContext[Any]) -> HookResult | None:
    children = composed.asked(context.component.name)
    going = steps(composed.composite, [name for name, _ in children], context, composed.where)
    until = perf_counter() + _ROW_S
    wanted, answer = _go_on(going, None)
    while wanted is not None:
        answers = await _ask_all(composed.table, [(place, children[place][1], given) for place, given in wanted])
        if any(isinstance(each, Modified) and has_many(each.value) for each in answers):
            wanted, answer = await trio.to_thread.run_sync(_go_on, going, answers, abandon_on_cancel=True)
        else:
            wanted, answer = _go_on(going, answers)
        if perf_counter() > until:
            await trio.lowlevel.checkpoint()
            until = perf_counter() + _ROW_S
    return answer


def _go_on(going: Asking, answers: list[HookResult | None] | None) -> tuple[Wanted | None, HookResult | None]:
    """Return whom to ask next; or None, and what the composite answers."""
    try:
        return (next(going) if answers is None else going.send(answers)), None
    except StopIteration as end:
        return None, end.value


async def _ask_all(table: HookTable, wanted: _Asked) -> list[HookResult | None]:
    """Ask children at once, and return their answers in order.

    All of them are asked to the end, whatever others answer or raise; of what they raise the first counts.
    """
    if len(wanted) == 1:
        return [await _ask_one(table, wanted[0][1], wanted[0][2])]
    answers: list[HookResult | None] = [None] * len(wanted)
    errors: dict[int, LlmspellError] = {}

    async def ask(index: int, child: TableHook | Composed, context: HookContext[Any]) -> None:
        try:
            answers[index] = await _ask_one(table, child, context)
        except LlmspellError as error:
            errors[index] = error

    until = perf_counter() + _ROW_S
    async with trio.open_nursery() as nursery:
        for index, (_, child, context) in enumerate(wanted):
            if not isinstance(child, Composed) and not child.awaits:
                await ask(index, child, context)
            else:
                nursery.start_soon(ask, index, child, context)
            if perf_counter() > until:
                await trio.lowlevel.checkpoint()
                until = perf_counter() + _ROW_S
    if errors:
        raise errors[min(errors)]
    return answers


async def _ask_one(table: HookTable, child: TableHook | Composed, context: HookContext[Any]) -> HookResult | None:
    if isinstance(child, Composed):
        return await _ask_waiting(child, context)
    return await table.ask_waiting(child, context)
