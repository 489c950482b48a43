"""The trace behind ``explain``, recorded; see the contract's `TraceRow`.

Invariant: tracing is put around a hook once, when it is registered; where it is off it costs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from msgspec import structs

from llmspell_hookspecs import HookContext
from llmspell_hookspecs.trace import TraceRow, row_of

from .hook import Hook

__all__ = ["Tracer"]

_KEPT: Final = 100_000


class Tracer:
    """Records rows, the newest 100,000 at most.

    Attributes:
        rows: What was recorded, in order.
    """

    def __init__(self) -> None:
        self.rows: list[TraceRow] = []

    def note(self, point: str, result: str, detail: str, *, component: str = "", operation: str = "") -> None:
        """Record what the runner itself did."""
        self._add(TraceRow(point, "", "", "runner", result, detail, component=component, operation=operation))

    def around(self, hook: Hook) -> Callable[[HookContext[Any]], Any]:
        """Return the hook's invocation with a record around it."""
        inner = hook.invoke
        if inspect.isasyncgenfunction(hook.function):
            return self._around_wrap(hook, inner)
        if hook.awaits:

            async def waiting(context: HookContext[Any]) -> Any:
                started = perf_counter_ns()
                try:
                    answer = await inner(context)
                except BaseException as error:
                    self._record(hook, context, None, started, error)
                    raise
                self._record(hook, context, answer, started)
                return answer

            return waiting

        def direct(context: HookContext[Any]) -> Any:
            started = perf_counter_ns()
            try:
                answer = inner(context)
            except BaseException as error:
                self._record(hook, context, None, started, error)
                raise
            self._record(hook, context, answer, started)
            return answer

        return direct

    def _around_wrap(self, hook: Hook, inner: Callable[..., Any]) -> Callable[[HookContext[Any]], Any]:
        def enter(context: HookContext[Any]) -> Any:
            self._record(hook, context, None, perf_counter_ns())
            return inner(context)

        return enter

    def _record(
        self, hook: Hook, context: HookContext[Any], answer: Any, started: int, error: BaseException | None = None
    ) -> None:
        row = row_of(context, answer, error, perf_counter_ns() - started)
        self._add(structs.replace(row, hook=hook.name, plugin=hook.plugin, kind=hook.options.kind.value))

    def _add(self, row: TraceRow) -> None:
        if len(self.rows) >= _KEPT:
            del self.rows[: _KEPT // 10]
        self.rows.append(row)
