"""What a subject or a result gives to another component: its own ``payload()``, or itself; and what of it lasts.

A result type also has ``of(value)``, which makes one of a bare value or of another kind of result; both together are
what a Redirect, a Replace or a tool's bare answer need, and no kind need know the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from .values import freeze

__all__ = ["lasting_of", "payload_of", "payload_text", "question_of"]


def payload_of(value: Any) -> Any:
    """Return what an envelope holds, or what a subject gives to another component; anything else as it is."""
    payload: Callable[[], Any] | None = getattr(value, "payload", None) if isinstance(value, Struct) else None
    return value if payload is None else payload()


def lasting_of(subject: Any) -> Any:
    """Return what of a subject is the same when the same is asked again.

    A struct names in ``volatile``, a class variable, the fields that are new each time, such as the id of a run.
    """
    volatile = getattr(subject, "volatile", None) if isinstance(subject, Struct) else None
    if not isinstance(volatile, frozenset):
        return subject
    kind = type(subject)
    fields = {name: value for name, value in structs.asdict(subject).items() if name not in volatile}
    return f"{kind.__module__}.{kind.__qualname__}", fields


def question_of(value: Any) -> Any:
    """Return what a subject or result gives to a component that is asked something: a text as its ``input``."""
    held = payload_of(value)
    return {"input": held} if isinstance(held, str) else held


def payload_text(value: Any) -> str:
    """Return a value as text: an envelope's own, a text as it is, a ``text`` in a mapping, anything else as JSON."""
    own = getattr(value, "text", None) if isinstance(value, Struct) else None
    if isinstance(own, str):
        return own
    held = payload_of(value)
    if isinstance(held, Mapping) and isinstance(held.get("text"), str):
        return str(held["text"])
    return held if isinstance(held, str) else msgspec.json.encode(freeze(held), enc_hook=_encodable).decode()


def _encodable(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
