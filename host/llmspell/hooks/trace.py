"""The trace behind ``explain``: which hooks fired, in what order, what each answered and changed, how long it took.

Invariant: tracing is put around a hook once, when it is registered; where it is off it costs nothing. Secrets do not
enter: values are shown as far as a change needs, cut to 200 characters, with secret-looking fields masked.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import HookContext, Modified, Replace
from llmspell_hookspecs.difference import difference
from llmspell_hookspecs.errors import text_of_error

from .hook import Hook

__all__ = ["TraceRow", "Tracer"]

_KEPT: Final = 100_000


class TraceRow(Struct, frozen=True):
    """One call of one hook, or what became of a fork, a retry or a cache.

    Attributes:
        point: Where.
        hook: Its name; empty for what the runner itself notes.
        plugin: Who registered it.
        kind: ``transform``, ``guard``, ``wrap``, ``observe``, or ``runner``.
        result: The answer's name, ``Continue`` for None, ``error`` if it raised.
        detail: The answer's reason, target or delay.
        elapsed_ns: How long it took.
        change: What a Modified or Replace changed, one ``field: old -> new`` for each.
        component: ``kind:name`` of what runs.
        operation: Its operation's id.
        error: What it raised.
    """

    point: str
    hook: str
    plugin: str
    kind: str
    result: str
    detail: str = ""
    elapsed_ns: int = 0
    change: str = ""
    component: str = ""
    operation: str = ""
    error: str = ""


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
        result = "error" if error is not None else "Continue" if answer is None else type(answer).__name__
        self._add(
            TraceRow(
                point=context.point,
                hook=hook.name,
                plugin=hook.plugin,
                kind=hook.options.kind.value,
                result=result,
                detail=_detail(answer),
                elapsed_ns=perf_counter_ns() - started,
                change=difference(context.subject, answer.value) if isinstance(answer, Modified | Replace) else "",
                component=f"{context.component.kind}:{context.component.name}",
                operation=context.operation.id,
                error="" if error is None else text_of_error(error),
            )
        )

    def _add(self, row: TraceRow) -> None:
        if len(self.rows) >= _KEPT:
            del self.rows[: _KEPT // 10]
        self.rows.append(row)


def _detail(answer: Any) -> str:
    for field in ("reason", "target", "key", "delay_s"):
        value = getattr(answer, field, None)
        if value is not None and value != "":
            return f"{field} {value}" if field in ("key", "delay_s") else str(value)
    calls = getattr(answer, "calls", None)
    return ", ".join(call.address for call in calls) if calls else ""
