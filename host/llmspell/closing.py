"""Closing several things, one after the other.

Invariant: each is begun, whatever becomes of the others, and all together end in time, also when whoever closes them is
cancelled. What fails is logged. Durations in seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

import trio

__all__ = ["close_each"]

_log = logging.getLogger("llmspell")


async def close_each(closers: Iterable[Callable[[], Awaitable[None]]], time_s: float) -> None:
    """Call these; when the time is over each still begins, and ends where it first waits."""
    until_s = trio.current_time() + time_s
    for close in closers:
        with trio.CancelScope(shield=True, deadline=until_s):
            try:
                await close()
            except Exception as error:
                _log.warning("a clean-up failed: %s", error, exc_info=error)
