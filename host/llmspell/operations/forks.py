"""Forks: calls that run beside an operation.

Invariant: a fork never cancels the body, and its error is an outcome. Starting one waits until its call is past its
guards, so what is denied is denied at once. When the operation ends, forks that still run are cancelled, or joined.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio
from msgspec import Struct, field, structs

from llmspell_hookspecs import Failure, Fork
from llmspell_hookspecs.context import ForkOutcome
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.failure import failure_of
from llmspell_hookspecs.results import Call

from .correlation import Frame, RunnerLimits
from .together import AT_ONCE, turns_of
from .wraps import LAST_MOMENTS_S

__all__ = ["Forks", "on_behalf"]


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
                return
            for running in self._running:
                await running.done.wait()
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
        if self._root.turns is not None or len(left) > AT_ONCE:
            turns_of(self._root, self._nursery).cancel([running.scope for running in left])
            return
        for running in left:
            running.scope.cancel()

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
