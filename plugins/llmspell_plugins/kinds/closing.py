"""Closing several things, one after the other.

Invariant: each is begun, whatever becomes of the others, and all together end in time, also when whoever closes them is
cancelled. What fails is logged. Durations in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import trio

from llmspell_hookspecs import PluginError
from llmspell_hookspecs.foreign import Blamed, text_of

__all__ = ["close_each"]

_log = logging.getLogger("llmspell")


async def close_each(closers: Iterable[Callable[[], Awaitable[None]]], time_s: float) -> None:
    """Call these; when the time is over each still begins, and ends where it first waits."""
    until_s = trio.current_time() + time_s
    for close in closers:
        with trio.CancelScope(shield=True, deadline=until_s):
            try:
                with Blamed(partial(_failed, close)):
                    await close()
            except PluginError as error:
                _log.warning("%s", error, exc_info=error.__cause__ if _log.isEnabledFor(logging.DEBUG) else None)


def _failed(close: object, error: BaseException) -> PluginError:
    name = getattr(close, "__qualname__", type(close).__name__)
    return PluginError(f"{name}: a clean-up failed: {text_of(error)}; repair it")
