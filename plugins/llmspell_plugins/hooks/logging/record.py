"""A record as it is kept until it is rendered, and its rows: what of it is told, redacted and cut. Sizes in bytes.

Invariant: nothing of a record that could hold a secret is in a row before it went through the redactor, unless settings
ask for all of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import Failure, HookContext, HookResult, Phase
from llmspell_hookspecs.spelling import one_line
from llmspell_plugins.hooks.security.secrets import Redactor
from llmspell_plugins.hooks.shown import NO_SECRET, Walk, redacted

from .settings import Level, LoggingSettings

__all__ = ["Record", "Rows", "time_of"]

_SHORT: Final = 200
_KEPT: Final = 1024
_LEFT_OUT: Final = "(left out)"


class Record(Struct, frozen=True, gc=False):
    """What a hook was told, and when.

    Attributes:
        at_s: Since the epoch.
        level: How much it weighs.
        phase: When its point is asked.
        context: What the hook was given.
    """

    at_s: float
    level: Level
    phase: Phase
    context: HookContext[Any]


class Rows:
    """Makes rows of records.

    Args:
        settings: Say what is told.
        redactor: Takes secrets out; None where all is told, or no content.
    """

    def __init__(self, settings: LoggingSettings, redactor: Redactor | None) -> None:
        self._fields = settings.fields
        self._tells = settings.content != "none"
        self._redactor = redactor
        self._known_names: dict[str, str] = {}

    def row(self, record: Record, room: int) -> dict[str, Any]:
        """Return what a line tells of a record.

        Args:
            record: The record.
            room: About how many bytes its content may take.
        """
        known = _first(record) | self._known(record, room)
        found = {name: known[name] for name in self._fields if name in known}
        return {name: value for name, value in found.items() if value not in ("", None)}

    def least(self, record: Record) -> dict[str, Any]:
        """Return the least that a line tells of a record: when it was, at which point, and that more was left out."""
        return _first(record) | {"subject": _LEFT_OUT}

    def _known(self, record: Record, room: int) -> dict[str, Any]:
        context = record.context
        operation, component, outcome = context.operation, context.component, context.outcome
        known: dict[str, Any] = {
            "component": self._name(f"{component.kind}:{component.name}"),
            "operation": operation.id,
            "correlation": self._name(operation.correlation_id),
            "parent": operation.parent_id,
            "session": self._name(operation.session_id),
            "user": self._name(operation.baggage.get("user", "")),
            "language": self._name(context.language),
            "attempt": operation.attempt if operation.attempt > 1 else "",
        }
        if outcome is not None and outcome.status != "running":
            known["status"] = outcome.status
        if record.phase in (Phase.AFTER, Phase.ERROR):
            known["elapsed_ms"] = round(context.elapsed_ns / 1e6, 3)
        if outcome is not None and outcome.decision is not None:
            known["decision"] = self._decision(outcome.decision, outcome.hook)
        if isinstance(context.subject, Failure):
            known["error"] = self._error(context.subject, room)
        if self._tells:
            parts = _contents(record)
            for name, value in parts.items():
                known[name] = self._shown(value, room // len(parts))
        return known

    def _shown(self, value: Any, room: int) -> Any:
        try:
            return Walk(self._redactor, room).value(value)
        except Exception:  # of any class: to be walked, a foreign value runs code of its own
            return _LEFT_OUT

    def _decision(self, decision: HookResult, hook: str) -> dict[str, Any]:
        found: dict[str, Any] = {"result": type(decision).__name__, "hook": self._name(hook)}
        for name in ("code", "reason", "target"):
            text = getattr(decision, name, "")
            if isinstance(text, str) and text and (self._tells or name == "code"):
                found[name] = self._name(text)
        return found

    def _error(self, failure: Failure, room: int) -> dict[str, Any]:
        found: dict[str, Any] = {"type": self._name(failure.type), "code": self._name(failure.code)}
        if self._tells:
            found["message"] = Walk(self._redactor, min(room, 4 * _SHORT)).value(failure.message)
        return found

    def _name(self, text: str) -> str:
        """Return a name, or a reason, in one line of at most `_SHORT` characters."""
        text = str.__str__(text)
        if len(text) < NO_SECRET and text.isprintable():
            return text
        known = self._known_names.get(text)
        if known is None:
            known = self._redacted_name(text)
            if len(text) <= _SHORT:
                if len(self._known_names) >= _KEPT:
                    self._known_names.clear()
                self._known_names[text] = known
        return known

    def _redacted_name(self, text: str) -> str:
        if self._redactor is not None:
            text = redacted(self._redactor, text, 10 * _SHORT)
        return one_line(text, _SHORT)


def time_of(at_s: float) -> str:
    """Return a time since the epoch as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _first(record: Record) -> dict[str, Any]:
    return {"time": time_of(record.at_s), "level": record.level, "point": record.context.point[:100]}


def _contents(record: Record) -> dict[str, Any]:
    context = record.context
    if record.phase is Phase.BEFORE:
        return {"request": context.subject}
    if record.phase is Phase.AFTER:
        return {"request": context.request, "result": context.subject}
    return {"request": context.request} if record.phase is Phase.ERROR else {"subject": context.subject}
