"""Walking values of many items beside the loop.

Invariant: what is called here only reads, so that nobody waits for it once its caller has been cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import trio

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.bounds import FEW, TooManyItemsError, has_many
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.fit import Addressed, freeze_fields, renew

__all__ = ["beside", "frozen", "renewed"]

T = TypeVar("T")
_WALKERS: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("llmspell.walkers")
_MOST: Final = 2
"""How many walk at once: they take turns with the loop, which would have to wait for each of them."""


async def beside(value: Any, walk: Callable[..., T], *arguments: Any) -> T:
    """Call a function that walks a value, in a thread if the value holds many items."""
    return await _in_thread(walk, *arguments) if has_many(value) else walk(*arguments)


async def frozen(value: T, where: str | Addressed = "", what: str = "value") -> T:
    """Return a value read-only all the way down; see `freeze_fields`."""
    try:
        return freeze_fields(value, where, what, FEW)
    except TooManyItemsError:
        return await _in_thread(freeze_fields, value, where, what)


async def renewed(value: T, where: Addressed, what: str) -> T:
    """Return a value as it comes back when hooks have seen it; see `renew`."""
    return await _in_thread(renew, value, where, what)


async def _in_thread(walk: Callable[..., T], *arguments: Any) -> T:
    try:
        walkers = _WALKERS.get()
    except LookupError:
        walkers = trio.CapacityLimiter(_MOST)
        _WALKERS.set(walkers)
    try:
        return await trio.to_thread.run_sync(walk, *arguments, abandon_on_cancel=True, limiter=walkers)
    except RuntimeError as error:
        if type(error) is not RuntimeError:
            raise
        message = f"value: it cannot be read ({text_of_error(error)}); hand over a copy that nobody changes meanwhile"
        raise InvalidInputError(message) from None
