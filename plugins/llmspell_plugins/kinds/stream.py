"""The chunks of one streamed call or run: handed on as they come, or held back until its result may leave.

Invariant: chunks are handed on in order, and none while somebody stands behind the call who may still change or
withhold its result. What was handed on of an attempt that is void is followed by one ``restart``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from llmspell_hookspecs.operation import Operations

__all__ = ["Stream", "Watch"]

Chunk = TypeVar("Chunk")


class Watch:
    """Who stands somewhere: asked anew only when somebody has come or gone, so that a chunk need not ask.

    Args:
        operations: Tell when that is.
        question: Returns whether somebody stands there.
    """

    def __init__(self, operations: Operations, question: Callable[[], bool]) -> None:
        self._operations = operations
        self._question = question
        self._as_of: object = None
        self._answer = False

    def __call__(self) -> bool:
        """Return whether somebody stands there now."""
        as_of = self._operations.as_of
        if as_of is not self._as_of:
            self._as_of, self._answer = as_of, self._question()
        return self._answer


class Stream(Generic[Chunk]):
    """What of one call was handed on, over all of its attempts, and what is held back.

    Args:
        sink: Takes what is handed on; returns whether it was something.
        restart: Tells that what was handed on is void.
        holds: Returns whether chunks are to be held back; asked as the call begins, since those who stand there then
            judge it, and again for those who come while it goes on.

    Attributes:
        holding: Whether they are held back by now.
    """

    def __init__(
        self,
        sink: Callable[[Chunk], Awaitable[bool]],
        restart: Callable[[], Awaitable[None]],
        holds: Callable[[], bool],
    ) -> None:
        self._sink = sink
        self._restart = restart
        self._holds = holds
        self._waiting: deque[Chunk] = deque()
        self._begun = False
        self.holding = holds()

    async def put(self, chunk: Chunk) -> None:
        """Take the next chunk, and hand on what may be."""
        self._waiting.append(chunk)
        if not self.looks():
            await self._hand_on()

    def looks(self) -> bool:
        """Return whether chunks are held back, by those who stand there now, too."""
        self.holding = self.holding or self._holds()
        return self.holding

    async def void(self) -> None:
        """Forget what is held back, and tell that what was handed on is void."""
        self._waiting.clear()
        if self._begun:
            self._begun = False
            await self._restart()

    async def finish(self) -> None:
        """Hand on what was held back."""
        self.holding = False
        await self._hand_on()

    async def _hand_on(self) -> None:
        while self._waiting:
            self._begun = await self._sink(self._waiting.popleft()) or self._begun
