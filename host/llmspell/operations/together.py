"""What runs beside an operation, or beside each other within one: forks that hooks ask for, and branches.

Branches are stages of a workflow, or tools that a model calls at once: all have ended when `Together` returns or
raises. Where many run within one root, each is shielded and has a scope of its own, by which it is cancelled when it is
its turn: a thousand within each other, cut off in one step, would hold up everybody else. A few share their nursery's.

Invariant: a fork never cancels the body, and its error is an outcome. Starting one waits until its call is past its
guards, so what is denied is denied at once. When the operation ends, forks that still run are cancelled, or joined.

Forks and branches of one root begin and are cancelled in one row, some in each step of the loop: each that begins
starts its own, and each that unwinds cancels its own, so hundreds would run in one step and everybody else would wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from types import coroutine
from typing import Any, Final

import trio
from msgspec import Struct, field, structs

from llmspell_hookspecs import Failure, Fork
from llmspell_hookspecs.context import ForkOutcome
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.failure import failure_of
from llmspell_hookspecs.foreign import as_error, let_pass
from llmspell_hookspecs.operation import Ended
from llmspell_hookspecs.results import Call

from .correlation import Frame, RunnerLimits
from .wraps import LAST_MOMENTS_S

__all__ = ["Forks", "Together", "on_behalf"]

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
        self._waiting = deque(range(len(calls)))
        self._scopes: set[trio.CancelScope] = set()
        self._stopped = False
        self._workers = 0
        self._others: Callable[[], None] | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._all: trio.CancelScope | None = None

    async def run(self, limit: int) -> list[Ended]:
        """Run them, so many at once, and return how each ended."""
        await trio.lowlevel.checkpoint_if_cancelled()  # a nursery whose children do not wait would not notice
        count = min(max(1, limit), len(self._calls))
        if self._root.branches + count <= _FEW:
            async with trio.open_nursery() as nursery:
                self._all = nursery.cancel_scope
                self._others = partial(copy_context().run, self._begin, nursery, count - 1)
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

    def _begin(self, nursery: trio.Nursery, count: int) -> None:
        """Let others begin now that the first one waits: until then none needs a task of its own."""
        self._others = None
        for _ in range(min(count, len(self._waiting))):
            nursery.start_soon(self._work)

    async def _work(self) -> None:
        first = True
        try:
            while self._waiting:  # shared by all workers
                one = self._one(self._waiting.popleft(), first)
                await (one if self._others is None else _driven(one, self._others))
                first = False
        finally:
            self._workers -= 1
            if not self._workers:
                self._changed.unpark_all()

    async def _one(self, place: int, begins: bool) -> None:
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
        else:
            cancel_in_turn(self._root, self._nursery, self._scopes, self._root.branches)


@coroutine
def _driven(running: Coroutine[Any, Any, None], waits: Callable[[], None]) -> Generator[Any, Any, None]:
    """Drive a coroutine, and call a function when it waits for the first time."""
    try:
        trap = running.send(None)
        waits()
        while True:
            try:
                sent = yield trap
            except Exception as error:  # of what trio cannot wait for; a cancellation is sent
                trap = running.throw(error)
            else:
                trap = running.send(sent)
    except StopIteration:
        return


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


def cancel_in_turn(root: Frame, nursery: trio.Nursery, scopes: Iterable[trio.CancelScope], count: int) -> None:
    """Cancel these of a root, at once if so few run."""
    if root.turns is not None or count > AT_ONCE:
        turns_of(root, nursery).cancel(scopes)
        return
    for scope in scopes:
        scope.cancel()


def on_behalf(fork: Fork, scope: str) -> Fork:
    """Return a fork whose calls reach no more than the script does whose hook asked for it."""
    if not scope:
        return fork
    return structs.replace(fork, calls=tuple(structs.replace(call, scope=scope) for call in fork.calls))


class _Running(Struct, eq=False):
    call: Call
    join: bool
    frame: Frame
    outcome: ForkOutcome
    begun: bool = False
    swept: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)


class Forks:
    """The forks of one operation.

    Args:
        nursery: The host's; the tasks end when the operation does.
        call: Runs a call, and tells when it is past its guards.
        frame: The operation.
        limits: How many there may be.
    """

    def __init__(
        self, nursery: trio.Nursery, call: Callable[..., Awaitable[Any]], frame: Frame, limits: RunnerLimits
    ) -> None:
        self._nursery = nursery
        self._frame = frame
        self._root = frame.root
        self._limits = limits
        self._call = call
        self._running: list[_Running] = []

    async def start(self, forks: Sequence[Fork]) -> None:
        """Start every call of these forks; those above a limit have failed instead."""
        for fork in forks:
            for call in fork.calls:
                running = _Running(call, fork.join, self._frame, ForkOutcome(call, "cancelled"))
                refusal = self._refusal()
                self._running.append(running)
                if refusal is not None:
                    running.outcome = ForkOutcome(call, "failed", None, refusal)
                    running.done.set()
                    continue
                if self._root.forks is None:
                    self._root.forks = set()
                self._root.forks.add(running)
                try:
                    if len(self._root.forks) > AT_ONCE:
                        await turns_of(self._root, self._nursery).begin()
                    await self._nursery.start(self._task, running)
                finally:
                    if not running.begun:
                        self._ended(running)

    def _refusal(self) -> Failure | None:
        """Return why no more may start; what has once filled its root starts none until all of that has ended.

        So what forks itself ends soon: room that one fork leaves is not taken by the next ones of its kind.
        """
        root, limits = self._root, self._limits
        if len(self._running) >= limits.forks:
            what, limit, name = "it has started", limits.forks, "forks"
        elif root.exhausted or len(root.forks or ()) >= limits.descendants:
            root.exhausted = bool(root.forks)
            what, limit, name = "within its outermost operation run", limits.descendants, "descendants"
        else:
            return None
        message = (
            f"{self._frame.address}: {what} {limit} forks, the most that limits.{name} allows; look for a hook that"
        )
        return failure_of(ResourceLimitError(f"{message} matches its own call", resource=name, limit=limit))

    def _ended(self, running: _Running) -> None:
        if self._root.forks:
            self._root.forks.discard(running)
        if not self._root.forks:
            self._root.exhausted = False
        running.done.set()

    async def join(self, limit_s: float) -> None:
        """Wait for those that are to be joined, for so long at most."""
        with trio.move_on_after(limit_s):
            for running in self._running:
                if running.join:
                    await running.done.wait()

    async def finish(self, limit_s: float) -> None:
        """Join what still runs, for so long at most; cancel the rest."""
        if all(running.done.is_set() for running in self._running):
            return
        self._cancel([running for running in self._running if not running.join])
        try:
            with trio.move_on_after(limit_s) as scope:
                for running in self._running:
                    await running.done.wait()
            if scope.cancelled_caught:
                await self._abandon()
        except trio.Cancelled:
            await self._abandon()
            raise

    def outcomes(self) -> tuple[ForkOutcome, ...]:
        """Return how each ended so far."""
        return tuple(running.outcome for running in self._running)

    def _cancel(self, those: Sequence[_Running]) -> None:
        """Cancel these; when none is left, all that they started as well: level by level it would go on forking."""
        left = [running for running in those if not (running.done.is_set() or running.swept)]
        for running in left:
            running.swept = True
        if left and all(running.done.is_set() or running.swept for running in self._running):
            everything = self._frame is self._root
            self._root.exhausted = self._root.exhausted or everything
            for each in self._root.forks or ():
                if not each.swept and (everything or self._frame in each.frame.upward()):
                    each.swept = True
                    left.append(each)
        cancel_in_turn(self._root, self._nursery, [running.scope for running in left], len(left))

    async def _abandon(self) -> None:
        until_s = self._frame.hurry(LAST_MOMENTS_S)
        self._cancel(self._running)
        with trio.CancelScope(shield=True, deadline=until_s):
            for running in self._running:
                await running.done.wait()

    async def _task(self, running: _Running, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        running.begun = True
        told = False

        def started() -> None:
            nonlocal told
            if not told:
                told = True
                task_status.started()

        try:
            with running.scope:
                value = await self._call(running.call, started=started)
                running.outcome = ForkOutcome(running.call, "completed", value)
        except Exception as error:
            running.outcome = ForkOutcome(running.call, "failed", None, failure_of(error))
        finally:
            self._ended(running)
            started()
