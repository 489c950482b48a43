"""The trace behind ``explain``: which hooks fired, in what order, what each answered and changed, how long it took.

Invariant: secrets do not enter: values are shown as far as a change needs, cut to 200 characters, with secret-looking
fields masked.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .context import HookContext
from .difference import difference
from .errors import text_of_error
from .results import Modified, Replace

__all__ = ["TraceRow", "row_of"]


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
