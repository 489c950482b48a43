"""Approvals: what a guard wants a person asked about, and what the person said.

A guard that answers ``Cancel(reason, "approval_required")`` refuses the operation and lets the question be kept. Once a
person has allowed it, the same call is let past this one guard's verdict, once; every other guard judges it as always.

Invariant: an approval belongs to one exact call, by the hash of all that the guard saw of it, and is used up once. Only
what is new at each call, such as the id of a run that is not durable, is no part of it; see `payload.lasting_of`.
Times in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, runtime_checkable

from msgspec import Struct

from .context import HookContext
from .results import Cancel

__all__ = ["APPROVAL_REQUIRED", "Approval", "Approvals"]

APPROVAL_REQUIRED: Final = "approval_required"
"""The code of a guard's Cancel that wants a person asked."""


class Approval(Struct, frozen=True):
    """What a person is asked.

    Attributes:
        id: Of the call, the guard that asks, and the run and stage that it belongs to; the same whenever it is asked.
        status: ``pending``; ``allowed`` or ``denied`` by a person; ``consumed`` once what was allowed was let pass.
        address: What would run, as ``kind:name``.
        point: Where the guard stands.
        hook: The guard.
        reason: Why it asks.
        call: What would run, as the guard saw it; secrets masked.
        run_id: The durable run that it belongs to; empty if to none.
        path: The stage of that run.
        asked_s: When it was asked last.
        expires_s: Until when an answer counts.
        decided_s: When a person answered.
        by: Who.
        note: What that person said.
    """

    id: str
    status: Literal["pending", "allowed", "denied", "consumed"]
    address: str
    point: str
    hook: str
    reason: str = ""
    call: Any = None
    run_id: str = ""
    path: str = ""
    asked_s: float = 0.0
    expires_s: float = 0.0
    decided_s: float = 0.0
    by: str = ""
    note: str = ""


@runtime_checkable
class Approvals(Protocol):
    """What persons are asked, kept in the storage of the host."""

    async def list(self, *, status: str = "") -> Sequence[Approval]:
        """Return what is kept, in order of when it was asked; only what is in one status, if that is given."""

    async def get(self, id: str, /) -> Approval | None:
        """Return what is kept under an id, or None."""

    async def allow(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Let the call pass once, when it is made again.

        Raises:
            InvalidInputError: There is no such question, it is answered, or its time is over.
        """

    async def reopen(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Take an answer back, so that the question is open again until its time is over.

        Raises:
            InvalidInputError: There is no such question, it is open, what was allowed is used up, or its time is over.
        """

    async def appeal(self, hook: str, cancel: Cancel, context: HookContext[Any], /) -> Cancel | None:
        """Return None if a person has allowed exactly this, which is used up by that; else keep the question.

        Args:
            hook: The guard that asks.
            cancel: What it answered.
            context: What it was given.

        Returns:
            What stands in its place: a Cancel that says how to allow it, or that it is denied.
        """

    async def deny(self, id: str, /, *, by: str = "", note: str = "") -> Approval:
        """Refuse the call for good; raises as `allow` does."""
