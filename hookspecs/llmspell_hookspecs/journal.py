"""The journal: one record of each operation as it ended, addressed by path and request; and what reads it.

A journal holds the operations of one session, or of one run: of an outermost operation and all that it set off. Its id
is the session's, or the run's. An operation's path is made of those of the bodies around it and of what was asked, so
that it is the same however the operations of a run were interleaved: ``/script:a.lua#5d41402a.1/tool:calc#7c5ab02f.1``.
The last number counts equal requests within the same body.

Invariant: what holds a secret enters masked. What `Journal.flush` has returned for is on record, durably. Durations in
nanoseconds where a name ends in ``_ns``, times in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["Journal", "JournalAnswer", "JournalRecord", "JournalReport", "JournalRun", "JournalStats"]


class JournalRun(Struct, frozen=True):
    """A journal.

    Attributes:
        id: Of the session, or of the run.
        session: Whether it is a session's.
        component: What ran first, as ``kind:name``; of a run, its outermost operation as soon as that has ended.
        began_s: When its first record was made.
        ended_s: When its last one was.
        records: How many there are.
        failed: How many of them did not complete.
        lost: How many could not be recorded.
        size_bytes: How much it takes, about.
    """

    id: str
    session: bool = False
    component: str = ""
    began_s: float = 0.0
    ended_s: float = 0.0
    records: int = 0
    failed: int = 0
    lost: int = 0
    size_bytes: int = 0


class JournalAnswer(Struct, frozen=True):
    """What a hook answered that was not to go on.

    Attributes:
        point: Where.
        hook: Which, as ``plugin.name``.
        result: The answer's name.
        value: Its fields, plain.
    """

    point: str
    hook: str
    result: str
    value: Any = None


class JournalRecord(Struct, frozen=True):
    """An operation on record.

    Attributes:
        path: See the module.
        number: The order in which they ended, from 1.
        id: The operation's, of the process that ran it.
        kind: Of operation.
        component: What ran.
        language: Where it was asked for.
        status: How it ended.
        code: Why it did not complete; empty if it did.
        attempt: The last one's number.
        hops: How often it was redirected.
        at_s: When it ended.
        elapsed_ns: How long its body took, in the last attempt.
        request: The call as the guards let it pass, plain.
        result: What left, plain; of one that did not complete, its error as a mapping.
        ran: Whether its body, or what stood in for it, was asked at all.
        answers: What its hooks answered.
    """

    path: str
    number: int
    id: str
    kind: str
    component: str
    language: str
    status: Literal["completed", "failed", "cancelled"]
    code: str
    attempt: int
    hops: int
    at_s: float
    elapsed_ns: int
    request: Any
    result: Any
    ran: bool
    answers: tuple[JournalAnswer, ...] = ()


class JournalReport(Struct, frozen=True):
    """Whether a journal is whole.

    Attributes:
        id: Of the journal.
        records: How many are in order, from the first on.
        problem: What is wrong behind them, and with which operation if that can be told; empty if nothing is.
        path: The path of the operation; empty if that cannot be told.
    """

    id: str
    records: int = 0
    problem: str = ""
    path: str = ""


class JournalStats(Struct, frozen=True):
    """What became of the operations of this host.

    Attributes:
        recording: Which are recorded: ``off``, ``sessions`` or ``all``.
        recorded: How many are on record.
        waiting: How many have ended and are not yet.
        lost: How many could not be recorded.
        held_up: How often an operation waited because too many were waiting.
        error: Why the last ones could not be recorded; empty if they were.
    """

    recording: str = "off"
    recorded: int = 0
    waiting: int = 0
    lost: int = 0
    held_up: int = 0
    error: str = ""


@runtime_checkable
class Journal(Protocol):
    """Records operations while ``journal.record`` says so, and reads what is on record."""

    async def flush(self) -> None:
        """Wait until all that ended before is on record.

        Raises:
            StorageError: Some of it could not be recorded; each is told of once.
        """

    async def runs(self, limit: int = 1000, /) -> Sequence[JournalRun]:
        """Return the journals, the newest first."""

    async def records(self, id: str, /) -> Sequence[JournalRecord]:
        """Return the records of a journal in the order in which their bodies began.

        Raises:
            ComponentNotFoundError: There is no such journal.
            StorageError: It cannot be read, or was changed; `verify` says where.
        """

    async def verify(self, id: str = "", /) -> Sequence[JournalReport]:
        """Return whether a journal is whole, or each of them.

        Raises:
            ComponentNotFoundError: There is no such journal.
        """

    async def export(self, *ids: str) -> str:
        """Return journals as a cassette: a text with one record on a line as JSON; all of them if none is named.

        Raises:
            ComponentNotFoundError: There is no such journal.
            InvalidInputError: A value on record could not be served again.
            StorageError: One cannot be read, or was changed.
        """

    async def forget(self, id: str, /) -> int:
        """Delete a journal with all that it holds; returns how many records it had.

        Raises:
            ComponentNotFoundError: There is no such journal.
        """

    async def stats(self) -> JournalStats:
        """Return what became of the operations of this host."""
