"""Telling of operations as events: ``tool.started``, ``tool.completed``, ``tool.failed``, ``tool.cancelled``.

Invariant: whether anybody listens is decided once, as an operation starts; each that is told of ends with exactly one
event. What a handler sets off is not told under the topic that it handles, so no handler keeps itself going.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmspell_hookspecs import Failure, LlmspellError, OperationCancelledError, OperationKind

from .course import Announcer, Course

__all__ = ["announce_end", "announce_start", "is_heard"]

_ENDS: Final = ("started", "completed", "failed", "cancelled")


def is_heard(announcer: Announcer | None, kind: OperationKind) -> bool:
    """Return whether anybody listens to the events of operations of this kind."""
    return announcer is not None and kind.events and any(announcer.listens(f"{kind.name}.{end}") for end in _ENDS)


def announce_start(course: Course) -> None:
    """Tell that the operation starts."""
    _publish(course, "started", {})


def announce_end(course: Course, status: str, subject: Any, elapsed_ms: float) -> None:
    """Tell how the operation ended: ``subject`` is its result, or the `Failure`."""
    facts: dict[str, Any] = {"duration_ms": elapsed_ms, "attempts": course.frame.attempt}
    if isinstance(subject, Failure):
        facts["error"] = {"type": subject.type, "code": subject.code, "message": subject.message}
        if isinstance(subject.error, OperationCancelledError):
            facts["error"] |= {"hook": subject.error.hook, "point": subject.error.point}
    elif course.operation.kind.facts is not None:
        facts |= course.operation.kind.facts(subject)
    _publish(course, status, facts)


def _publish(course: Course, end: str, facts: Mapping[str, Any]) -> None:
    topic = f"{course.operation.kind.name}.{end}"
    handled = getattr(course.frame.root, "event", None)
    if course.house.events is None or (handled is not None and handled.type == topic):
        return
    component, ref = course.frame.component, course.ref
    data = {
        "component": {"kind": component.kind, "name": component.name, "id": component.id},
        "operation_id": ref.id,
        "parent_id": ref.parent_id,
        **facts,
    }
    try:
        course.house.events.publish_nowait(topic, data, source=course.component)
    except LlmspellError as error:  # a mailbox that refuses, or a hook at the event: the operation is not to blame
        course.house.problem(error)
