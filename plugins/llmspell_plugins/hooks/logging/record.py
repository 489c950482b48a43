"""A record as it is kept until it is rendered, and its rows: what of it is told, redacted and cut. Sizes in bytes.

Values are walked within a budget, so that a large one costs no more than what is shown of it. Texts are redacted
before they are cut, for half a secret is a secret.

Invariant: nothing of a record that could hold a secret is in a row before it went through the redactor, unless settings
ask for all of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import Failure, HookContext, HookResult, Phase
from llmspell_hookspecs.secret import HiddenText, hide, hide_item
from llmspell_hookspecs.spelling import one_line, told
from llmspell_plugins.hooks.security.secrets import Redactor

from .settings import Level, LoggingSettings

__all__ = ["Record", "Rows", "cut_bytes", "time_of"]

_SHORT: Final = 200
_DEPTH: Final = 12
_KEPT: Final = 1024
_AFTER_HOST: Final = re.compile(r"[/?#\s]")
_NO_SECRET: Final = 8
"""A text of fewer letters holds none that could be told from a word."""
_MASK: Final = "**********"
_CUT: Final = "..."
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
            room: About how many bytes its content may take; 0 for a row that has next to nothing.
        """
        known = self._known(record, room)
        found = {name: known[name] for name in self._fields if name in known}
        return {name: value for name, value in found.items() if value not in ("", None)}

    def _known(self, record: Record, room: int) -> dict[str, Any]:
        context = record.context
        known: dict[str, Any] = {
            "time": time_of(record.at_s),
            "level": record.level,
            "point": context.point[:100],
        }
        if not room:
            return {**known, "subject": _LEFT_OUT}
        operation, component, outcome = context.operation, context.component, context.outcome
        known |= {
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
                known[name] = _Walk(self._redactor, room // len(parts)).value(value)
        return known

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
            found["message"] = _Walk(self._redactor, min(room, 4 * _SHORT)).value(failure.message)
        return found

    def _name(self, text: str) -> str:
        """Return a name, or a reason, in one line of at most `_SHORT` characters."""
        text = str.__str__(text)
        if len(text) < _NO_SECRET and text.isprintable():
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
            text = self._redactor.beginning(text, 10 * _SHORT)
        return one_line(text, _SHORT)


def time_of(at_s: float) -> str:
    """Return a time since the epoch as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _contents(record: Record) -> dict[str, Any]:
    context = record.context
    if record.phase is Phase.BEFORE:
        return {"request": context.subject}
    if record.phase is Phase.AFTER:
        return {"request": context.request, "result": context.subject}
    return {"request": context.request} if record.phase is Phase.ERROR else {"subject": context.subject}


class _Walk:
    """One walk of a value, until its budget is used up.

    Args:
        redactor: Takes secrets out.
        room: How many bytes may be shown.
    """

    def __init__(self, redactor: Redactor | None, room: int) -> None:
        self._redactor = redactor
        self._room = room

    def value(self, value: Any, depth: int = 0, *, hidden: bool = False) -> Any:
        """Return a value plain, as much of it as there is room for.

        Args:
            value: Frozen, or not.
            depth: How many levels are around it.
            hidden: Whether it stands under a name that tells of a secret, so that no text of it is shown.
        """
        if isinstance(value, str):
            return self._text(str.__str__(value), hidden=hidden)
        if value is None or value is True or value is False:
            self._room -= 5
            return value
        if isinstance(value, int | float):
            self._room -= 12
            return _number(value)
        if self._room <= 0 or depth >= _DEPTH:
            return _CUT
        if isinstance(value, Mapping | Struct):
            return self._items(value, depth, hidden=hidden)
        if isinstance(value, list | tuple | frozenset | set):
            return self._list(value, depth, hidden=hidden)
        return self._other(value, hidden=hidden)

    def _items(self, value: Any, depth: int, *, hidden: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in _pairs(value):
            if self._room <= 0:
                found[_CUT] = _CUT
                break
            name = str.__str__(key) if isinstance(key, str) else _spelled(key)
            tells = False
            if self._redactor is not None:
                tells = hidden or _tells(name)
                if type(item) is str and not tells:
                    item = self._redactor.named(name, item)
            found[self._text(name, hidden=False)] = self.value(item, depth + 1, hidden=tells)
        return found

    def _list(self, value: Any, depth: int, *, hidden: bool) -> list[Any]:
        found: list[Any] = []
        for item in value:
            if self._room <= 0:
                found.append(_CUT)
                break
            found.append(self.value(item, depth + 1, hidden=hidden))
        return found

    def _other(self, value: Any, *, hidden: bool) -> Any:
        if hasattr(type(value), "get_secret_value"):
            return self._text(_MASK, hidden=False)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(f"{len(value)} bytes", hidden=False)
        return self._text(_spelled(value), hidden=hidden)

    def _text(self, text: str, *, hidden: bool) -> str:
        if hidden and text:
            text = _MASK
        most = max(self._room, 0)
        if len(text) < _NO_SECRET and most >= 4 * _NO_SECRET:
            self._room -= len(text) + 4
            return cut_bytes(text, most)
        shown = text[:most]
        if self._redactor is not None:
            shown = self._redactor.beginning(text, most)
            shown = str.__str__(hide(_without_torn_url(shown) if len(text) > most else shown))
        shown = cut_bytes(shown + _CUT if len(text) > most else shown, most + len(_CUT))
        self._room -= len(shown) + 4
        return shown


@lru_cache(4096)
def _tells(name: str) -> bool:
    """Whether whatever stands under a name is a secret."""
    return isinstance(hide_item(name, "x"), HiddenText)


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
        return
    for name in value.__struct_fields__:
        item = getattr(value, name)
        if not isinstance(item, BaseException) and item not in (None, "") and not _is_empty(item):
            yield name, item


def _is_empty(item: Any) -> bool:
    return isinstance(item, Mapping | tuple | list) and not item


def _without_torn_url(text: str) -> str:
    """Return a text that was cut without the host of a URL that ends it: a password may stand before the host."""
    start = text.rfind("://") + 3
    return text[:start] if start > 2 and not _AFTER_HOST.search(text, start) else text


def _number(value: int | float) -> Any:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return int(value) if value.bit_length() < 64 else told(int(value))


def _spelled(value: Any) -> str:
    """Return the text of a key or of a value of another type; its own code may run, and fail."""
    try:
        return str.__str__(str(value))
    except Exception:
        return f"a {type(value).__name__}"


def cut_bytes(text: str, most: int) -> str:
    """Return a text of at most so many bytes in UTF-8, and a mark if it was cut; no letter is cut in two."""
    if len(text) <= most // 4 and text.isascii():
        return text
    data = text.encode(errors="backslashreplace")
    if len(data) <= most:
        return data.decode()
    return data[: max(0, most - len(_CUT))].decode(errors="ignore") + _CUT
