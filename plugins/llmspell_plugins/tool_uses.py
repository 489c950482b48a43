"""What a model asks for, made fit to be run: ids that tell calls apart, and calls that the answer's end cut off.

Invariant: within a conversation no two calls share an id, and a call whose parameters may be cut off says so in its
``problem``, so that it is told to the model and not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import count
from typing import Final

from msgspec import structs

from llmspell_hookspecs import Message
from llmspell_hookspecs.model import ToolUse

__all__ = ["ids_of", "settled"]

_CUTS: Final = {"length": "at its limit of tokens", "content_filter": "by the provider's filter"}


def ids_of(messages: Iterable[Message]) -> set[str]:
    """Return the ids of all calls in a conversation."""
    return {use.id for message in messages for use in message.tool_uses}


def settled(uses: Sequence[ToolUse], finish_reason: str, taken: Collection[str]) -> tuple[ToolUse, ...]:
    """Return the calls with ids that nobody has, the last one marked if it was cut off.

    Args:
        uses: As the model wrote them, in order.
        finish_reason: Why it stopped.
        taken: Ids that the conversation has.
    """
    known = set(taken)
    found: list[ToolUse] = []
    for use in uses:
        if not use.id or use.id in known:
            use = structs.replace(use, id=_free(known))
        known.add(use.id)
        found.append(use)
    if found and finish_reason in _CUTS:
        found[-1] = _cut(found[-1], _CUTS[finish_reason])
    return tuple(found)


def _cut(use: ToolUse, how: str) -> ToolUse:
    """The last call of an answer that was cut: empty parameters may be all that is left of them."""
    if use.parameters and not use.problem:
        return use
    problem = f"your answer was cut {how} before they were whole, so it was not run; ask again, more briefly"
    return structs.replace(use, parameters={}, problem=problem)


def _free(known: Collection[str]) -> str:
    """An id that is free; nine letters and digits, which is what the strictest service (Mistral) takes."""
    return next(id for id in (f"call{number:05d}" for number in count(len(known))) if id not in known)
