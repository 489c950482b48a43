"""The deadline of one operation: over all of its attempts and the waits between them. Times in seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import trio

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.errors import OperationTimeoutError

from .correlation import Frame

__all__ = ["Deadline"]


class Deadline:
    """How long an operation may take.

    Args:
        limit_s: How long, from now on; None for no limit.
        frame: The operation.
        began_s: Since when it runs, on trio's clock; None for now.

    Attributes:
        is_set: Whether there is one.
        passed: The error of the deadline, once it has passed.
    """

    def __init__(self, limit_s: float | None, frame: Frame, began_s: float | None = None) -> None:
        """Begin; raises `InvalidInputError` for what is no number."""
        if limit_s != limit_s:  # NaN, which passes every check of bounds
            raise InvalidInputError(
                f"{frame.address}: a deadline of {limit_s} s is none; give seconds", field="deadline_s"
            )
        self._limit_s = limit_s
        self._frame = frame
        self.is_set = limit_s is not None
        self._began_s = 0.0 if limit_s is None else trio.current_time() if began_s is None else began_s
        self._at_s = None if limit_s is None else self._began_s + limit_s + frame.paused_s
        self._scope: trio.CancelScope | None = None
        if limit_s is not None:
            frame.limit = self
        self.passed: OperationTimeoutError | None = None

    def hold(self, time_s: float) -> None:
        """Shorten it."""
        if self._limit_s is not None and time_s < self._limit_s:
            self._limit_s = time_s
            self.deadline = self._began_s + time_s + self._frame.paused_s

    @property
    def deadline(self) -> float:
        """When it passes, on trio's clock."""
        return inf if self._at_s is None else self._at_s

    @deadline.setter
    def deadline(self, at_s: float) -> None:
        self._at_s = at_s
        if self._scope is not None:
            self._scope.deadline = at_s

    def left_s(self) -> float:
        """Return how much time is left; 0 if there is no deadline."""
        return 0.0 if self._at_s is None else max(0.0, self._at_s - trio.current_time())

    def leaves(self, time_s: float) -> bool:
        """Return whether so much time is left."""
        return self._at_s is None or trio.current_time() + time_s <= self._at_s

    async def over(self, step: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Run a step within what is left and return its result.

        Raises:
            OperationTimeoutError: The deadline passed.
        """
        if self._at_s is None:
            return await step(*arguments)
        self._scope = trio.CancelScope(deadline=self._at_s)
        with self._scope:
            return await step(*arguments)
        raise self.error()

    @property
    def has_cut_off(self) -> bool:
        """Whether the step that ran last was cut off, whatever it made of that."""
        return self._scope is not None and self._scope.cancel_called

    def instead_of(self, cause: Exception) -> OperationTimeoutError:
        """Return the error of this deadline for what a body raised as it was cut off."""
        late = self.error()
        late.__cause__ = cause
        return late

    def error(self) -> OperationTimeoutError:
        """Return the error of this deadline, and note that it has passed."""
        limit_s, component = self._limit_s or 0.0, self._frame.address
        why = self._frame.stopped or f"it took longer than {limit_s:g} s; give it more time or less to do"
        message = f"{component}: {why}"
        self.passed = OperationTimeoutError(message, limit_s=limit_s, operation=self._frame.id, component=component)
        return self.passed
