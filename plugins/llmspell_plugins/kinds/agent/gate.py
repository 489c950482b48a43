"""Where the runs of one agent stop while it is paused, and where they are told what was said to them meanwhile.

Invariant: a run that nobody pauses and nobody tells anything tests one attribute. Paused time counts against no
deadline, and is bounded. Times in seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import trio

from llmspell_hookspecs import Message
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.operation import RunningOperation

__all__ = ["Gate"]

T = TypeVar("T")


class Gate:
    """Where runs stop.

    Args:
        name: The agent's.
        longest_s: How long one run waits at most.

    Attributes:
        attention: Whether whoever passes has to stop, or is told something.
        paused: Whether it is shut.
        when: How it was paused.
        reason: Why.
    """

    def __init__(self, name: str, longest_s: float) -> None:
        self.attention = self.paused = False
        self.when: Literal["step", "now"] = "step"
        self.reason = ""
        self._name, self._longest_s = name, longest_s
        self._opened = trio.Event()
        self._said: list[Message] = []
        self._calls: set[trio.CancelScope] = set()

    def shut(self, when: Literal["step", "now"], reason: str) -> None:
        """Let runs stop at their next step; ``now`` cuts off what `interruptible` runs, too."""
        if not self.paused:  # who waits goes on waiting for the same
            self._opened = trio.Event()
        self.attention = self.paused = True
        self.when, self.reason = when, reason
        if when == "now":
            for call in tuple(self._calls):
                call.cancel()

    def open(self) -> None:
        """Let runs go on."""
        self.paused, self.reason = False, ""
        self.attention = bool(self._said)
        self._opened.set()

    def say(self, message: Message) -> None:
        """Let the next run that passes take this in."""
        self._said.append(message)
        self.attention = True

    @property
    def may_cut(self) -> bool:
        """Whether something runs that can be cut off."""
        return bool(self._calls)

    async def passed(self, operation: RunningOperation, *, take: bool) -> Sequence[Message]:
        """Wait while it is shut, and return what was said, if that is to be taken.

        Raises:
            ResourceLimitError: It stayed shut for too long.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.paused:
            with operation.paused(), trio.move_on_after(self._longest_s) as patience:
                await self._opened.wait()
            if patience.cancelled_caught:
                message = f"agent {self._name}: it was paused for {self._longest_s:g} s, the longest that a run waits"
                raise ResourceLimitError(
                    f"{message}; resume it earlier, or raise agents.pause_s",
                    resource="pause_s",
                    limit=int(self._longest_s),
                )
        if not take:
            return ()
        said, self._said = self._said, []
        self.attention = False
        return said

    async def interruptible(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Run a call that ``shut("now")`` cuts off; None if it did."""
        with trio.CancelScope() as scope:
            self._calls.add(scope)
            try:
                return await call()
            finally:
                self._calls.discard(scope)
        return None
