"""How the mailbox of a subscription is bounded, and what becomes of events that find it full. Durations in seconds."""

from __future__ import annotations

import re
from typing import Final, Literal

from msgspec import Struct

from .errors import InvalidInputError

__all__ = ["MailboxOptions", "Overflow", "read_options"]

Overflow = Literal["drop_oldest", "drop_newest", "block", "reject", "sample"]
_OVERFLOWS: Final = ("drop_oldest", "drop_newest", "block", "reject")
_SAMPLE = re.compile(r"sample\((\d*\.?\d+)\)")
_MOST: Final = 1_000_000


class MailboxOptions(Struct, frozen=True):
    """How a mailbox is bounded.

    Attributes:
        capacity: How many events it holds.
        overflow: What becomes of those that find it full.
        rate: With ``sample``, the share that is taken in from the high mark on.
        block_s: With ``block``, how long a publisher waits; None for ever.
        as_published: Whether neither priority nor age counts.
    """

    capacity: int = 1024
    overflow: Overflow = "drop_oldest"
    rate: float = 1.0
    block_s: float | None = None
    as_published: bool = False

    @property
    def spelled(self) -> str:
        """The strategy as it is written."""
        return f"sample({self.rate:g})" if self.overflow == "sample" else self.overflow


def read_options(capacity: int, overflow: str, block_s: float | None, as_published: bool = False) -> MailboxOptions:
    """Return how a mailbox is bounded; the arguments are those of `Events.subscribe`.

    Raises:
        InvalidInputError: One is wrong.
    """
    if not 1 <= capacity <= _MOST:
        raise InvalidInputError(f"event: capacity must be 1 to {_MOST}, not {capacity!r}", field="capacity")
    if block_s is not None and not block_s >= 0:
        raise InvalidInputError(f"event: block_s must be 0 or more, not {block_s!r}", field="block_s")
    sample = _SAMPLE.fullmatch(overflow)
    if sample is not None and 0 < float(sample[1]) <= 1:
        return MailboxOptions(capacity, "sample", float(sample[1]), as_published=as_published)
    for known in _OVERFLOWS:
        if overflow == known:
            return MailboxOptions(capacity, known, block_s=block_s, as_published=as_published)
    message = f"event: overflow {overflow!r} is none; use {', '.join(_OVERFLOWS)} or sample(0.1)"
    raise InvalidInputError(message, field="overflow")
