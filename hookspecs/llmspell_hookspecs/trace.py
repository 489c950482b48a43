"""The trace behind ``explain``: which hooks fired, in what order, what each answered and changed, how long it took.

Invariant: secrets do not enter: values are shown as far as a change needs, cut to 200 characters, with secret-looking
fields masked. Tracing is put around a hook once, when it is registered; where it is off it costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, Final, Protocol

from msgspec import Struct, structs

from .context import HookContext
from .difference import difference
from .errors import text_of_error
from .marker import HookKind, HookOptions
from .results import Modified, Replace

__all__ = ["SHOWN", "TraceRow", "Tracer", "row_of", "shown_row", "trace_rows"]


_KEPT: Final = 100_000
SHOWN: Final = ("order", "point", "component", "hook", "kind", "answer", "time", "change")
"""The columns of a table for people."""


class Traced(Protocol):
    """A hook that is traced.

    Attributes:
        invoke: Calls it with the context.
        awaits: Whether what it answers must be awaited.
    """

    name: str
    plugin: str
    options: HookOptions
    invoke: Callable[[HookContext[Any]], Any]
    awaits: bool


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


def row_of(context: HookContext[Any], answer: Any, error: BaseException | None, elapsed_ns: int) -> TraceRow:
    """Return the row of a call but for which hook it was.

    Args:
        context: What the hook was given.
        answer: What it answered.
        error: What it raised.
        elapsed_ns: How long it took.
    """
    return TraceRow(
        point=context.point,
        hook="",
        plugin="",
        kind="",
        result="error" if error is not None else "Continue" if answer is None else type(answer).__name__,
        detail=_detail(answer),
        elapsed_ns=elapsed_ns,
        change=difference(context.subject, answer.value) if isinstance(answer, Modified | Replace) else "",
        component=f"{context.component.kind}:{context.component.name}",
        operation=context.operation.id,
        error="" if error is None else text_of_error(error),
    )


def _detail(answer: Any) -> str:
    for field in ("reason", "target", "key", "delay_s"):
        value = getattr(answer, field, None)
        if value is not None and value != "":
            return f"{field} {value}" if field in ("key", "delay_s") else str(value)
    calls = getattr(answer, "calls", None)
    return ", ".join(call.address for call in calls) if calls else ""


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

    def around(self, hook: Traced) -> Callable[[HookContext[Any]], Any]:
        """Return the hook's invocation with a record around it; of a wrap it is recorded that it was entered."""
        inner = hook.invoke

        async def waiting(context: HookContext[Any]) -> Any:
            with self._recorded(hook, context) as answers:
                answers.append(await inner(context))
            return answers[0]

        def direct(context: HookContext[Any]) -> Any:
            with self._recorded(hook, context) as answers:
                answers.append(inner(context))
            return answers[0]

        return waiting if hook.awaits else direct

    @contextmanager
    def _recorded(self, hook: Traced, context: HookContext[Any]) -> Iterator[list[Any]]:
        """Record the call of the block, which puts what the hook answered into the list."""
        started_ns, answers = perf_counter_ns(), list[Any]()
        try:
            yield answers
        finally:
            wraps = hook.options.kind is HookKind.WRAP
            error = sys.exception() if not answers else None
            answer = None if wraps or not answers else answers[0]
            row = row_of(context, answer, error, perf_counter_ns() - started_ns)
            self._add(structs.replace(row, hook=hook.name, plugin=hook.plugin, kind=hook.options.kind.value))

    def _add(self, row: TraceRow) -> None:
        if len(self.rows) >= _KEPT:
            del self.rows[: _KEPT // 10]
        self.rows.append(row)


def trace_rows(trace: Sequence[TraceRow]) -> list[dict[str, Any]]:
    """Return what every hook did as plain values, numbered."""
    return [{"order": order, **structs.asdict(row)} for order, row in enumerate(trace, 1)]


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return one of these rows for people, with the columns of `SHOWN`."""
    return {
        **row,
        "time": f"{row['elapsed_ns'] / 1000:.1f} us",
        "hook": f"{row['plugin']}.{row['hook']}" if row["hook"] else "(runner)",
        "answer": " ".join(filter(None, (row["result"], row["detail"], row["error"]))),
    }
