"""Functions beside each other within one operation: branches of a workflow, tools that a model calls at once.

Invariant: all have ended when it returns or raises. Where many run within one root, each is shielded and has a scope of
its own, by which it is cancelled when it is its turn: a thousand within each other, cut off in one step, would hold up
everybody else. A few share their nursery's.

Forks and branches of one root begin and are cancelled in one row, some in each step of the loop: each that begins
starts its own, and each that unwinds cancels its own, so hundreds would run in one step and everybody else would wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import trio

from llmspell_hookspecs.foreign import as_error, let_pass
from llmspell_hookspecs.operation import Ended

from .correlation import Frame

__all__ = ["AT_ONCE", "Together", "turns_of"]

AT_ONCE: Final = 8
"""How many of one root begin, or are cancelled, in one step of the loop once there are more."""
_FEW: Final = 16
"""How many of one root may be cancelled at once."""
_MANY: Final = 32
"""How many of one root begin at once; to begin costs less than to be cancelled."""


class Together:
    """Functions beside each other.

    Args:
        calls: What runs.
        stops: Returns whether an error cuts off the others.
        root: The outermost operation around them.
        nursery: The host's.
    """

    def __init__(
        self,
        calls: Sequence[Callable[[], Awaitable[Any]]],
        stops: Callable[[Exception], bool],
        root: Frame,
        nursery: trio.Nursery,
    ) -> None:
        self._calls, self._stops = calls, stops
        self._root, self._nursery = root, nursery
        self._ended = [Ended(cancelled=True)] * len(calls)
        self._waiting = iter(range(len(calls)))
        self._scopes: set[trio.CancelScope] = set()
        self._stopped = False
        self._workers = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._all: trio.CancelScope | None = None

    async def run(self, limit: int) -> list[Ended]:
        """Run them, so many at once, and return how each ended."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a nursery whose children do not wait would not notice
        count = min(max(1, limit), len(self._calls))
        if self._root.branches + count <= _FEW:
            async with trio.open_nursery() as nursery:
                self._all = nursery.cancel_scope
                if count == len(self._calls):
                    for place in range(count):
                        nursery.start_soon(self._one, place)
                else:
                    for _ in range(count):
                        nursery.start_soon(self._work)
            return self._ended
        async with trio.open_nursery() as nursery:
            try:
                for _ in range(count):
                    await self._turn()
                    if self._stopped:
                        break
                    self._workers += 1
                    nursery.start_soon(self._work)
                while self._workers:
                    await self._changed.park()
            except BaseException:
                self._stop()
                raise
        return self._ended

    async def _turn(self) -> None:
        """Wait for one's turn to begin, once many run."""
        if self._root.branches > _MANY:
            await turns_of(self._root, self._nursery).begin()

    async def _work(self) -> None:
        first = True
        try:
            for place in self._waiting:  # shared by all workers
                await self._one(place, first)
                first = False
        finally:
            self._workers -= 1
            if not self._workers:
                self._changed.unpark_all()

    async def _one(self, place: int, begins: bool = True) -> None:
        if self._stopped:
            return
        root = self._root
        root.branches += 1
        try:
            if self._all is not None:
                self._ended[place] = Ended(await self._calls[place]())
            else:
                await self._shielded(place, begins)
        except BaseException as caught:
            let_pass(caught)
            error = as_error(caught, root.address)
            self._ended[place] = Ended(None, error)
            if self._stops(error):
                self._stop()
        finally:
            root.branches -= 1

    async def _shielded(self, place: int, begins: bool) -> None:
        scope = trio.CancelScope(shield=True)
        self._scopes.add(scope)
        try:
            with scope:
                if not begins:
                    await self._turn()
                self._ended[place] = Ended(await self._calls[place]())
        finally:
            self._scopes.discard(scope)

    def _stop(self) -> None:
        """Let no more begin, and cancel those that run."""
        self._stopped = True
        if self._all is not None:
            self._all.cancel()
            return
        if self._root.turns is not None or self._root.branches > AT_ONCE:
            turns_of(self._root, self._nursery).cancel(self._scopes)
            return
        for scope in self._scopes:
            scope.cancel()


class Turns:
    """The row of one root.

    Args:
        nursery: The host's.
    """

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
