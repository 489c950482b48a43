"""Spans: an operation as it was noted while it ran, and as it is shown afterwards. Times in nanoseconds.

Invariant: what is shown holds no secret that the contract masks or the redactor finds, and is JSON. A span begins no
later than those within it, and ends no earlier than those of them that its own task ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from llmspell_hookspecs import Cancel, HookContext

from .values import Shower

__all__ = ["Record", "Span", "show_span", "widened"]


class Record(Struct):
    """An operation as it was noted.

    Attributes:
        first: What the first hook before it was given; None if that was not asked.
        last: What the last hook behind it was given.
        task: The task that ran it, later its number.
        begin_ns: When it began.
        end_ns: When it ended.
        begin_bytes: How much was allocated when it began; 0 if that was not measured.
        end_bytes: How much was when it ended; the same.
    """

    first: HookContext[Any] | None
    last: HookContext[Any]
    task: Any
    begin_ns: int
    end_ns: int = 0
    begin_bytes: int = 0
    end_bytes: int = 0


class Span(Struct, frozen=True):
    """An operation as it is shown.

    Attributes:
        kind: ``tool``, ``model``, ``agent``, ``workflow``, ``workflow_stage`` or ``script``.
        component: What ran, as ``kind:name``.
        operation: Its id.
        parent: The id of the operation around it; empty at the root.
        correlation: Shared by all that one cause set off.
        session: The session that it belongs to, if any.
        language: Where it was asked for.
        depth: How many operations are around it.
        task: The number of the task that ran it.
        begin_ns: When it began, on a clock that only grows.
        end_ns: When it ended.
        status: ``completed``, ``failed`` or ``cancelled``.
        attempt: How often it was tried.
        asked: What was asked for.
        answer: What it gave, or why it did not.
        changed: What differs between what was asked for and what ran.
        cancelled_by: The hook that cancelled it; empty if none did.
        forks: The address of each call that was forked, and how it ended.
        memory_bytes: How much more is allocated than when it began, by whomever; None if that is not measured.
    """

    kind: str
    component: str
    operation: str
    parent: str = ""
    correlation: str = ""
    session: str = ""
    language: str = ""
    depth: int = 0
    task: int = 0
    begin_ns: int = 0
    end_ns: int = 0
    status: str = "completed"
    attempt: int = 1
    asked: Any = None
    answer: Any = None
    changed: tuple[Mapping[str, Any], ...] = ()
    cancelled_by: str = ""
    forks: tuple[Mapping[str, Any], ...] = ()
    memory_bytes: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, without what it has nothing to say about."""
        fields = structs.asdict(self).items()
        return {key: [*item] if isinstance(item, tuple) else item for key, item in fields if item not in ("", None, ())}


def show_span(record: Record, show: Shower) -> Span:
    """Return an operation as it is shown; may take as long as its values are large."""
    last = record.last
    operation, outcome = last.operation, last.outcome
    asked = last.request if record.first is None else record.first.subject
    return Span(
        kind=last.component.kind,
        component=f"{last.component.kind}:{last.component.name}",
        operation=operation.id,
        parent=operation.parent_id,
        correlation=operation.correlation_id,
        session=operation.session_id,
        language=last.language,
        depth=operation.depth,
        task=record.task,
        begin_ns=record.begin_ns,
        end_ns=record.end_ns,
        status="completed" if outcome is None else outcome.status,
        attempt=operation.attempt,
        asked=show(asked),
        answer=show(last.subject),
        changed=() if asked is last.request else show.changes(asked, last.request),
        cancelled_by=outcome.hook if outcome is not None and isinstance(outcome.decision, Cancel) else "",
        forks=tuple({"call": fork.call.address, "status": fork.status} for fork in last.forks),
        memory_bytes=record.end_bytes - record.begin_bytes if record.begin_bytes and record.end_bytes else None,
    )


def widened(spans: Iterable[Span]) -> Sequence[Span]:
    """Return spans in the order in which they began, each as wide as what ran within it.

    What hooks of scripts call stands at the very ends of an operation, before its first hook of a plugin or behind the
    last one: it belongs to it all the same. What another task goes on with when the operation has ended does not.
    """
    by_id = {span.operation: span for span in spans}
    for span in sorted(by_id.values(), key=lambda span: -span.depth):
        child, parent = by_id[span.operation], by_id.get(span.parent)
        if parent is None:
            continue
        begin_ns = min(parent.begin_ns, child.begin_ns)
        end_ns = max(parent.end_ns, child.end_ns) if parent.task == child.task else parent.end_ns
        if (begin_ns, end_ns) != (parent.begin_ns, parent.end_ns):
            by_id[span.parent] = structs.replace(parent, begin_ns=begin_ns, end_ns=end_ns)
    return sorted(by_id.values(), key=lambda span: (span.begin_ns, -span.end_ns, span.depth))
