"""Functions beside each other within one operation: branches of a workflow, tools that a model calls at once.

Invariant: all have ended when it returns or raises. Where many run within one root, each is shielded and has a scope of
its own, by which it is cancelled when it is its turn: a thousand within each other, cut off in one step, would hold up
everybody else. A few share their nursery's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from llmspell_hookspecs.foreign import as_error, let_pass
from llmspell_hookspecs.operation import Ended

from .correlation import Frame
from .turns import AT_ONCE, turns_of

__all__ = ["Together"]

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
