"""The one writer of a storage: writes that wait while a commit runs share the next one.

Commits run in a thread of the writer's own, one at a time. There and back takes 30 microseconds, a third of what
`trio.to_thread` takes: the thread waits on a lock, and rings by a pipe, on which the waiting task itself is woken.
There is no task behind the scenes: one of those who wait watches for the end of the round, tells the others and starts
the next round; a watcher that leaves appoints another.

Invariant: a write is told of its end after its commit; a cancelled write is taken out, or its commit goes on whole.
While somebody waits for something that will end, exactly one of them watches for it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import trio

from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import check_batch

__all__ = ["GroupWriter", "Write"]

T = TypeVar("T")


class _Waiter:
    """Who waits for a turn: to be told of a commit, or to work alone."""

    __slots__ = ("done", "task")

    def __init__(self) -> None:
        self.done = False
        self.task: trio.lowlevel.Task | None = None
        """Who sleeps; None while it is awake."""


class Write(_Waiter):
    """A batch on its way.

    Attributes:
        batch: What to write; None deletes.
        expect: The versions that must be there.
        written: Set by the commit: the new versions; None if others were there than expected.
        error: Why it failed.
    """

    __slots__ = ("batch", "error", "expect", "written")

    def __init__(self, batch: Mapping[str, bytes | None], expect: Mapping[str, int] | None) -> None:
        super().__init__()
        self.batch = dict(batch)
        self.expect = dict(expect or {})
        self.written: Mapping[str, int] | None = None
        self.error: Exception | None = None


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
        self._resume_s = 0.0
        self._pausing = False
        self._worker = _Worker()
        self._group: list[Write] | None = None
        self._waiting: list[Write] = []
        self._turns: deque[_Waiter] = deque()
        self._asleep: dict[_Waiter, None] = {}
        self._alone = False
        self._watched = False
        self._closed = False

    async def write(
        self, batch: Mapping[str, bytes | None], expect: Mapping[str, int] | None
    ) -> Mapping[str, int] | None:
        """Write a batch with the next commit and return its new versions, or None if others are there than expected.

        Raises:
            InvalidInputError: A key or value is wrong.
            StorageError: The storage is closed, or the commit failed.
        """
        check_batch(batch, expect)
        write = Write(batch, expect)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise StorageError(f"storage {self._name}: it is closed; write while it is open", code="closed")
        self._waiting.append(write)
        self._next()
        try:
            await self._until_done(write)
        finally:
            if not write.done and write in self._waiting:
                self._waiting.remove(write)
        if write.error is not None:
            raise write.error
        return write.written

    async def alone(self, work: Callable[[], T]) -> T:
        """Run this in a thread while no commit runs, before any write that waits; it ends even if cancelled."""
        turn = _Waiter()
        self._turns.append(turn)
        self._next()
        try:
            await self._until_done(turn)
            return await trio.to_thread.run_sync(work)
        finally:
            if turn.done:
                self._alone = False
                self._next()
                self._appoint()
            else:
                self._turns.remove(turn)

    async def close(self, work: Callable[[], None]) -> None:
        """Take no further write, end those that were taken, then do this work in a thread. Only once."""
        self._closed = True
        while self._waiting:
            await self.alone(lambda: None)
        await self.alone(work)
        self._worker.stop()

    def stop(self) -> None:
        """End the thread of one that was never used."""
        self._closed = True
        self._worker.stop()

    # Waiting.

    async def _until_done(self, waiter: _Waiter) -> None:
        """Wait, and watch if nobody else does."""
        try:
            while not waiter.done:
                if self._watched or not self._ends():
                    await self._sleep(waiter)
                else:
                    await self._watch()
        finally:
            self._appoint()

    def _ends(self) -> bool:
        """Whether there is something whose end a watcher can see."""
        # A pause ends when a watcher says so, not when the clock does: it could end between two looks at it, and then
        # nobody would start the next round.
        return self._group is not None or self._pausing

    async def _watch(self) -> None:
        self._watched = True
        try:
            if self._group is not None:
                await self._worker.done()
                self._settle(self._group)
            else:
                await trio.sleep_until(self._resume_s)
                self._pausing = False
        finally:
            self._watched = False
        self._next()

    async def _sleep(self, waiter: _Waiter) -> None:
        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            waiter.task = None
            del self._asleep[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        waiter.task = trio.lowlevel.current_task()
        self._asleep[waiter] = None
        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self, waiter: _Waiter) -> None:
        if waiter.task is not None:
            trio.lowlevel.reschedule(waiter.task)
            waiter.task = None
            del self._asleep[waiter]

    def _appoint(self) -> None:
        """Wake somebody to watch, if that is needed."""
        if self._asleep and not self._watched and self._ends():
            self._wake(next(iter(self._asleep)))

    # Rounds.

    def _next(self) -> None:
        """Start what comes next, if its time has come."""
        if self._alone or self._ends():
            return
        if self._turns:
            self._alone = True
            turn = self._turns.popleft()
            turn.done = True
            self._wake(turn)
        elif self._waiting:
            self._group, self._waiting = self._waiting, []
            self._worker.start(partial(self._carry_out, self._group))

    def _carry_out(self, group: Sequence[Write]) -> None:
        """Commit a group, in the thread."""
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
        self._group = None
        if self._pause_s:
            self._resume_s = trio.current_time() + self._pause_s
            self._pausing = True
        self._committed(group)
        for write in group:
            write.done = True
            self._wake(write)


class _Worker:
    """The thread: it does one job at a time, and rings when that is done.

    No job is started before the last one has rung and was heard. It ends with `stop` or the process.
    """

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._go.acquire()
        self._job: Callable[[], None] | None = None
        self._ear, self._bell = os.pipe()
        threading.Thread(target=self._serve, name="llmspell storage", daemon=True).start()

    def start(self, job: Callable[[], None]) -> None:
        """Do a job, which must not raise."""
        self._job = job
        self._go.release()

    async def done(self) -> None:
        """Wait until the job is done; one task may."""
        await trio.lowlevel.wait_readable(self._ear)
        os.read(self._ear, 1)

    def stop(self) -> None:
        """End the thread, which has no job."""
        self._job = None
        self._go.release()
        os.close(self._ear)
        os.close(self._bell)

    def _serve(self) -> None:
        while True:
            self._go.acquire()
            job = self._job
            if job is None:
                return
            job()
            os.write(self._bell, b"\0")
