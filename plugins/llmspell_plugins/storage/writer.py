"""The one writer of a storage: writes that wait while a commit runs share the next one.

Commits run in a thread of trio's own, one at a time, and no task waits behind the scenes: the first write starts a
round, and the end of a round starts the next one if there is anything to do.

Invariant: a write is told of its end after its commit; a cancelled write is taken out, or its commit goes on whole.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import trio
from msgspec import Struct

from llmspell_hookspecs import StorageError, check_batch

__all__ = ["GroupWriter", "Write"]

T = TypeVar("T")


class Write(Struct, eq=False):
    """A batch on its way.

    Attributes:
        batch: What to write; None deletes.
        expect: The versions that must be there.
        task: Who waits; None once cancelled.
        written: Set by the commit: whether the versions were as expected.
        error: Why it failed.
    """

    batch: dict[str, bytes | None]
    expect: dict[str, int]
    task: trio.lowlevel.Task | None
    written: bool = False
    error: Exception | None = None


class GroupWriter:
    """Commits groups of writes, one group after the other.

    Args:
        name: The storage's, for messages.
        commit: Commits a group in a thread, all or nothing, and sets ``written`` of each.
        committed: Told each group on the loop, before its writes return.
        pause_s: How long to gather writes between one commit and the next.
    """

    def __init__(
        self,
        name: str,
        commit: Callable[[Sequence[Write]], None],
        committed: Callable[[Sequence[Write]], None],
        pause_s: float = 0.0,
    ) -> None:
        self._name = name
        self._commit = commit
        self._committed = committed
        self._pause_s = pause_s
        self._waiting: list[Write] = []
        self._turns: deque[trio.Event] = deque()
        self._busy = False
        self._closed = False

    async def write(self, batch: Mapping[str, bytes | None], expect: Mapping[str, int] | None) -> bool:
        """Write a batch with the next commit and answer whether its versions were as expected.

        Raises:
            InvalidInputError: A key or value is wrong.
            StorageError: The storage is closed, or the commit failed.
        """
        check_batch(batch, expect)
        write = Write(dict(batch), dict(expect or {}), trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StorageError(f"storage {self._name}: it is closed; write while it is open", code="closed")
        self._waiting.append(write)
        if not self._busy:
            self._next()
        await trio.lowlevel.wait_task_rescheduled(partial(self._abort, write))
        if write.error is not None:
            raise write.error
        return write.written

    async def alone(self, work: Callable[[], T]) -> T:
        """Run this in a thread while no commit runs, before any write that waits; it ends even if cancelled."""
        turn = trio.Event()
        self._turns.append(turn)
        if not self._busy:
            self._next()
        try:
            await turn.wait()
            return await trio.to_thread.run_sync(work)
        finally:
            if turn.is_set():
                self._next()
            else:
                self._turns.remove(turn)

    async def close(self, work: Callable[[], None]) -> None:
        """Take no further write, end those that were taken, then do this work in a thread. Only once."""
        self._closed = True
        while self._waiting:
            await self.alone(lambda: None)
        await self.alone(work)

    def _abort(self, write: Write, _raise_cancel: object) -> trio.lowlevel.Abort:
        write.task = None
        with suppress(ValueError):
            self._waiting.remove(write)
        return trio.lowlevel.Abort.SUCCEEDED

    def _next(self) -> None:
        """Start what comes next, if anything does."""
        self._busy = bool(self._turns or self._waiting)
        if self._turns:
            self._turns.popleft().set()
        elif self._waiting:
            group, self._waiting = self._waiting, []
            token = trio.lowlevel.current_trio_token()
            # Half the way of trio.to_thread, which would take a task of our own besides.
            trio.lowlevel.start_thread_soon(partial(self._round, group, token), lambda _: None, "llmspell storage")

    def _round(self, group: list[Write], token: trio.lowlevel.TrioToken) -> None:
        """Commit a group, in the thread."""
        self._carry_out(group)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._settle, group)
            if self._pause_s:
                time.sleep(self._pause_s)
                token.run_sync_soon(self._next)

    def _carry_out(self, group: Sequence[Write]) -> None:
        try:
            self._commit(group)
        except StorageError as error:
            if error.code == "busy":
                for write in group:
                    write.error = StorageError(str(error), code=error.code)
            else:
                self._one_by_one(group, error)
        except Exception as error:
            self._one_by_one(group, error)

    def _one_by_one(self, group: Sequence[Write], error: Exception) -> None:
        """Let a write that cannot be committed fail alone."""
        if len(group) == 1:
            group[0].error = error
            return
        for write in group:
            self._carry_out([write])

    def _settle(self, group: Sequence[Write]) -> None:
        self._committed(group)
        for write in group:
            if write.task is not None:
                trio.lowlevel.reschedule(write.task)
        if not self._pause_s:
            self._next()
