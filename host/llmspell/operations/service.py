"""The service that runs operations for plugins; implements the contract's `Operations`.

Invariant: it adds nothing to what the runner does and to what that costs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final

import trio

from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.operation import OperationKind

from .beside import beside
from .correlation import CURRENT
from .kind import Operation
from .runner import Runner

__all__ = ["OperationService"]

_TURNS: Final = 64
"""After how many calls others have their turn."""


class OperationService:
    """Runs operations of services.

    Args:
        runner: Does it.

    Attributes:
        execute: Run an operation as a component kind makes it.
        current: Return the operation that runs.
        settles: Return whether anybody may change or withhold what an operation yields.
        asks: Return whether any hook stands at one of some points.
        running: Return the operation that runs.
        tap: Call a function with each operation as it ends.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.execute, self.current, self.settles, self.asks = runner.run, runner.current, runner.settles, runner.asks
        self.tap = runner.tap
        self.running: Callable[[], Any] = CURRENT.get
        self._walks = 0

    def run(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        /,
        *,
        repeatable: bool = False,
        deadline_s: float | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Run it and return its result; see the contract's `Operations`."""
        return self._runner.run(Operation(kind, component, subject, body, None, None, deadline_s, repeatable))

    def prepare(
        self,
        kind: OperationKind,
        component: ComponentRef,
        subject: Any,
        body: Callable[[Any], Awaitable[Any]],
        /,
        *,
        repeatable: bool = False,
        deadline_s: float | None = None,
    ) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Return a function that runs it anew at each call; see the contract's `Operations`."""
        operation = Operation(kind, component, subject, body, None, None, deadline_s, repeatable)
        return partial(self._runner.run, operation)

    @property
    def as_of(self) -> object:
        """Another object after every change of hooks, listeners and settings."""
        return self._runner.generation

    async def ask(self, point: str, subject: Any, component: ComponentRef, /) -> Any:
        """Ask a check, a decision or a notice; see the contract's `Operations`."""
        return await self._runner.ask(point, subject, component)

    async def notify(self, point: str, subject: Any, /) -> None:
        """Give a notice of the system; see the contract's `Operations`."""
        await self._runner.notify(point, subject)

    async def beside(self, value: Any, walk: Callable[..., Any], /, *arguments: Any) -> Any:
        """Call a function that walks a value, in a thread if it holds many items; see the contract's `Operations`."""
        self._walks += 1
        if self._walks % _TURNS == 0:
            await trio.lowlevel.checkpoint()
        return await beside(value, walk, *arguments)

    def problem(self, error: Exception, /) -> None:
        """Keep an error that nobody is there to be told of; see the contract's `Operations`."""
        self._runner.problem(error)
