"""The host's one asyncio thread, for libraries that need asyncio; started when it is first asked for.

Invariant: a task there outlives whoever waits for it by no more than the 5 s that it has to end when it is cancelled;
when the thread is closed nobody waits for a task of it. Each task runs in a copy of its caller's context. Durations in
seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar

import trio

from llmspell_hookspecs.plugin import Closing
from llmspell_hookspecs.services import AsyncioThread as Contract

if TYPE_CHECKING:
    import asyncio

__all__ = ["AsyncioThread"]

P = ParamSpec("P")
T = TypeVar("T")

_GRACE_S = 5.0


class AsyncioThread(Closing):
    """Implements the contract's `AsyncioThread`."""

    name: ClassVar[str] = "asyncio_thread"
    provides: ClassVar[type[Any]] = Contract

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._calls: set[_Call[Any]] = set()
        self._closed = False

    async def run(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function as a task of the loop and return its result; see the contract."""
        call = self.start(partial(function, *args, **kwargs), _nothing)
        try:
            await call.ended.wait()
        finally:
            await self.end(call)
        return call.result()

    def stream(
        self, function: Callable[P, AsyncGenerator[T, None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> _Stream[T]:
        """Run an async generator function there, for the block; see the contract."""
        return _Stream(self, partial(function, *args, **kwargs))

    async def __aexit__(self, *error: object) -> None:
        """Cancel what runs, and end the thread."""
        self._closed = True
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            with suppress(RuntimeError):  # the loop ended by itself
                loop.call_soon_threadsafe(loop.stop)
            await trio.to_thread.run_sync(thread.join, _GRACE_S)
        for call in list(self._calls):
            call.settle()

    def start(self, function: Callable[[], Awaitable[T]], told: Callable[[], None]) -> _Call[T]:
        """Start a task that runs this; ``told`` is called, on trio, when it has ended."""
        loop = self._running()
        call = _Call(function, partial(self._ended, told))
        self._calls.add(call)
        try:
            loop.call_soon_threadsafe(call.start, loop)
        except RuntimeError:  # the loop ended by itself
            call.settle()
        return call

    async def end(self, call: _Call[Any]) -> None:
        """Cancel a task that still runs, and wait for it, no longer than it is given."""
        if call.ended.is_set() or self._loop is None:
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call.cancel)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _GRACE_S):
            await call.ended.wait()

    def soon(self, function: Callable[[], object]) -> None:
        """Call a function on the loop."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise _closing()
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._serve, args=(self._loop,), name="llmspell-asyncio", daemon=True
            )
            self._thread.start()
        return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: runs the loop until it is stopped, then ends every task."""
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            try:
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()
                for call in list(self._calls):
                    call.settle_soon()

    def _ended(self, told: Callable[[], None], call: _Call[Any]) -> None:
        self._calls.discard(call)
        told()


class _Call(Generic[T]):
    """One task, seen from both threads: `start` and `cancel` are for the loop's, all else is for trio's.

    Attributes:
        ended: Set when the task has ended, or will never be waited for again.
    """

    def __init__(self, function: Callable[[], Awaitable[T]], told: Callable[[_Call[T]], None]) -> None:
        self.ended = trio.Event()
        self._function = function
        self._told = told
        self._token = trio.lowlevel.current_trio_token()
        self._task: asyncio.Task[T] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the task."""
        self._task = loop.create_task(self._run())
        self._task.add_done_callback(lambda _: self.settle_soon())

    def cancel(self) -> None:
        """Cancel the task; it ends when it likes to."""
        if self._task is not None:
            self._task.cancel()

    def settle_soon(self) -> None:
        """Settle it on trio's thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.settle)

    def settle(self) -> None:
        """Say that it has ended."""
        if not self.ended.is_set():
            self.ended.set()
            self._told(self)

    def result(self) -> T:
        """Return what came out.

        Raises:
            trio.ClosedResourceError: It was cancelled, but not by its caller.
        """
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise _closing()
        return self._task.result()

    async def _run(self) -> T:
        return await self._function()


class _Stream(Generic[T]):
    """The items of an async generator on the loop, one prefetched: a context manager, and the iterator it answers."""

    def __init__(self, thread: AsyncioThread, function: Callable[[], AsyncGenerator[T, None]]) -> None:
        import asyncio

        self._thread = thread
        self._function = function
        self._items: deque[T] = deque()
        self._changed = trio.Event()
        self._taken = asyncio.Event()

    async def __aenter__(self) -> _Stream[T]:
        self._token = trio.lowlevel.current_trio_token()
        self._call = self._thread.start(self._produce, self._wake)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._thread.end(self._call)

    def __aiter__(self) -> _Stream[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._call.ended.is_set():
                self._call.result()
                raise StopAsyncIteration
            self._changed = trio.Event()
            await self._changed.wait()
        item = self._items.popleft()
        self._thread.soon(self._taken.set)
        return item

    async def _produce(self) -> None:
        """On the loop: hand over an item, wait until it is taken, and so on."""
        async with aclosing(self._function()) as items:
            async for item in items:
                self._taken.clear()
                self._token.run_sync_soon(self._arrived, item)
                await self._taken.wait()

    def _arrived(self, item: T) -> None:
        self._items.append(item)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))


def _closing() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("the asyncio thread: it is closed, as the host closes; ask before that")


def _nothing() -> None:
    """Tell nobody."""
