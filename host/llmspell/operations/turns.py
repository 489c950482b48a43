"""The row in which what one root sets off begins and is cancelled, some in each step of the loop.

Each fork or branch that begins starts its own, and each that unwinds cancels its own: without one row for all of them
hundreds would run in one step, and everybody else would wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import trio

from .correlation import Frame

__all__ = ["AT_ONCE", "Turns", "turns_of"]

AT_ONCE: Final = 8
"""How many of one root begin, or are cancelled, in one step of the loop once there are more."""


class Turns:
    """The row of one root.

    Args:
        nursery: The host's.
    """

    __slots__ = ("_beginning", "_cancelled", "_moves", "_nursery")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._beginning = trio.lowlevel.ParkingLot()
        self._cancelled: deque[trio.CancelScope] = deque()
        self._moves = False

    async def begin(self) -> None:
        """Wait for one's turn to begin."""
        self._move()
        if self._moves:
            await self._beginning.park()

    def cancel(self, scopes: Iterable[trio.CancelScope]) -> None:
        """Cancel these, each when it is its turn."""
        self._cancelled.extend(scopes)
        self._move()

    def _move(self) -> None:
        if not self._moves:
            self._moves = True
            try:
                self._nursery.start_soon(self._go_on)
            except RuntimeError:  # the host has closed: nobody is there to take turns
                self._let_go()

    async def _go_on(self) -> None:
        try:
            while self._cancelled or self._beginning:
                count = min(AT_ONCE, len(self._cancelled))
                for _ in range(count):
                    self._cancelled.popleft().cancel()
                self._beginning.unpark(count=AT_ONCE - count)
                await trio.lowlevel.checkpoint()
        finally:  # also when the host closes
            self._let_go()

    def _let_go(self) -> None:
        """Cancel all that is to be, and let whoever waits go on, who is refused where the host is closed."""
        self._moves = False
        while self._cancelled:
            self._cancelled.popleft().cancel()
        self._beginning.unpark_all()


def turns_of(root: Frame, nursery: trio.Nursery) -> Turns:
    """Return the row of a root."""
    if root.turns is None:
        root.turns = Turns(nursery)
    turns: Turns = root.turns
    return turns
