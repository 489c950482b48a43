"""What a subject or a result gives to another component: its own ``payload()``, or itself.

A result type also has ``of(value)``, which makes one of a bare value or of another kind of result; both together are
what a Redirect, a Replace or a tool's bare answer need, and no kind need know the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from .values import freeze

__all__ = ["payload_of", "payload_text", "question_of"]


def payload_of(value: Any) -> Any:
    """Return what an envelope holds, or what a subject gives to another component; anything else as it is."""
    payload: Callable[[], Any] | None = getattr(value, "payload", None) if isinstance(value, Struct) else None
    return value if payload is None else payload()


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
