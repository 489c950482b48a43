"""The topic sessions: what belongs together over hosts and days, and the points around a session's life.

A session is ``active`` from the moment it is made; ``suspended`` while nobody may run within it; and ended for good as
``completed`` or ``failed``, which may be ``archived`` later. What runs within one carries its id as the ``session`` of
its baggage, so hooks read ``context.operation.session_id``, and the scope ``session:<id>`` of the state is its own.

One host at a time holds a session: by a lease with a fence that counts how often it was taken up. A save is a
checkpoint: which values the session's scope has, kept by what they hold, so what did not change costs nothing.

Hooks at these points match the session's name, or its id if it has none. Times in seconds since the epoch, sizes in
bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from msgspec import Struct

from .context import HookContext
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "SESSION_STATUSES",
    "SessionChange",
    "SessionCheckpoint",
    "SessionDraft",
    "SessionInfo",
    "SessionQuery",
    "SessionSave",
    "SessionStatus",
    "Sessions",
    "session_checkpoint",
    "session_end",
    "session_restore",
    "session_resume",
    "session_save",
    "session_start",
    "session_suspend",
]

T = TypeVar("T")
SessionStatus = Literal["active", "suspended", "completed", "failed", "archived"]
SESSION_STATUSES: tuple[SessionStatus, ...] = ("active", "suspended", "completed", "failed", "archived")


class SessionDraft(Struct, frozen=True):
    """What a session is made from.

    Attributes:
        name: For people; up to 255 characters, empty for none.
        description: What it is for.
        tags: For selecting; up to 64, each of up to 64 characters.
        created_by: Who made it.
        parent: The id of the session that it came from; empty for none.
        custom: Further facts, plain.
        max_duration_s: How long after its start operations may begin in it; None for what settings say.
        max_operations: How many operations may begin in it; None for what settings say.
    """

    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    created_by: str = ""
    parent: str = ""
    custom: Mapping[str, Any] = {}
    max_duration_s: float | None = None
    max_operations: int | None = None


class SessionInfo(Struct, frozen=True):
    """What is known of a session.

    Attributes:
        id: Unique.
        status: As at the top of this module.
        name: As in `SessionDraft`; likewise the rest.
        description: What it is for.
        tags: For selecting.
        created_by: Who made it.
        parent: The session that it came from.
        custom: Further facts.
        created_s: When it was made.
        updated_s: When something of it was written last.
        started_s: When it began.
        ended_s: When it ended; 0 if it has not.
        operations: How many operations began in it, as far as it is written.
        checkpoints: The number of its newest checkpoint; 0 if it has none.
        live: Whether a host holds it, as far as its lease tells.
        fence: How often it was taken up.
        error: Why it failed.
    """

    id: str
    status: SessionStatus = "active"
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    created_by: str = ""
    parent: str = ""
    custom: Mapping[str, Any] = {}
    created_s: float = 0.0
    updated_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    operations: int = 0
    checkpoints: int = 0
    live: bool = False
    fence: int = 0
    error: str = ""


class SessionQuery(Struct, frozen=True):
    """Which sessions are asked for; what is left out asks for all.

    Attributes:
        status: One of these.
        tags: All of these.
        name: A glob that its name matches.
        created_by: Who made it.
        parent: The session that it came from.
        since_s: Made from this time on.
        until_s: Made up to this time.
        sort: ``created``, ``updated``, ``name`` or ``operations``.
        descending: Whether the last come first.
        limit: So many of them; None for all.
    """

    status: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    name: str = ""
    created_by: str = ""
    parent: str = ""
    since_s: float | None = None
    until_s: float | None = None
    sort: Literal["created", "updated", "name", "operations"] = "created"
    descending: bool = False
    limit: int | None = None


class SessionCheckpoint(Struct, frozen=True):
    """A session as it was saved.

    Attributes:
        session: Its id.
        number: Which of its checkpoints, from 1.
        made_s: When.
        values: How many values its scope had.
        size_bytes: How large they were together, encoded.
        automatic: Whether nobody asked for it.
    """

    session: str
    number: int
    made_s: float = 0.0
    values: int = 0
    size_bytes: int = 0
    automatic: bool = False


class SessionChange(Struct, frozen=True):
    """A session becomes something else.

    Attributes:
        id: The session's.
        name: Its name.
        status: What it becomes.
        previous: What it was; empty if it is made.
        tags: Its tags.
        reason: Why, where somebody said so.
    """

    id: str
    name: str = ""
    status: str = "active"
    previous: str = ""
    tags: tuple[str, ...] = ()
    reason: str = ""


class SessionSave(Struct, frozen=True):
    """A session is saved, or brought back to how it was saved.

    Attributes:
        id: The session's.
        name: Its name.
        number: Which checkpoint.
        values: How many values it holds; 0 while they are not counted.
        automatic: Whether nobody asked for it.
    """

    id: str
    name: str = ""
    number: int = 0
    values: int = 0
    automatic: bool = False


@runtime_checkable
class Sessions(Protocol):
    """Makes sessions, runs within them, and finds them; each method is an operation on ``session:<id>``.

    Every method that takes an id raises `ComponentNotFoundError` if there is no such session, and `StorageError` if
    what is kept of it cannot be read or written.
    """

    async def create(self, draft: SessionDraft = ..., /) -> SessionInfo:
        """Make a session, which begins with that.

        Raises:
            InvalidInputError: A field is wrong.
            OperationCancelledError: A hook at ``session_start`` refused it; then there is none.
        """

    async def get(self, id: str, /) -> SessionInfo:
        """Return what is known of a session."""

    async def list(self, query: SessionQuery = ..., /) -> Sequence[SessionInfo]:
        """Return the sessions that are asked for, in the order in which they were made if nothing else is said.

        Raises:
            InvalidInputError: Something asked for is wrong.
        """

    async def within(
        self, id: str, function: Callable[..., Awaitable[T]], /, *arguments: Any, take_over: bool = False
    ) -> T:
        """Run an async function within a session and return its result.

        The host holds the session from then on, until it closes or the session is suspended, ended or released.

        Args:
            id: The session's.
            function: What to run; all operations that begin in it carry the session.
            arguments: What it is given.
            take_over: Take the session from whoever holds it.

        Raises:
            InvalidInputError: It is not active.
            OperationError: Another host holds it, or it was suspended or taken over meanwhile.
        """

    async def hold(self, id: str, /, *, take_over: bool = False) -> SessionInfo:
        """Hold a session, so that operations may run within it here; raises as `within` does."""

    async def release(self, id: str, /) -> None:
        """Hold a session no longer: it is saved if something changed, and stays active for the next one."""

    async def save(self, id: str, /) -> SessionCheckpoint:
        """Save a session, and return the checkpoint.

        Raises:
            OperationCancelledError: A hook at ``session_save`` refused it.
        """

    async def checkpoints(self, id: str, /) -> Sequence[SessionCheckpoint]:
        """Return the checkpoints that are kept, the oldest first."""

    async def restore(self, id: str, number: int = 0, /) -> SessionCheckpoint:
        """Give the session's scope the values of a checkpoint, all of them or none; others are taken out.

        Args:
            id: The session's.
            number: Which checkpoint; 0 for the newest.

        Raises:
            ComponentNotFoundError: There is no such checkpoint.
            OperationCancelledError: A hook at ``session_restore`` refused it.
            StorageError: What it holds was changed, or, with the code ``conflict``, somebody wrote meanwhile.
        """

    async def suspend(self, id: str, /, *, grace_s: float | None = None) -> SessionInfo:
        """Let nothing begin in a session, wait for what runs in it, save it and let it go.

        Args:
            id: The session's.
            grace_s: How long what runs here may take; then it is cancelled. None for what settings say.

        Raises:
            InvalidInputError: It is not active.
            OperationCancelledError: A hook at ``session_suspend`` or ``session_save`` refused it; then it goes on.
        """

    async def resume(self, id: str, /, *, take_over: bool = False) -> SessionInfo:
        """Take up a session that is suspended, or whose host died, and hold it here.

        Raises:
            InvalidInputError: It is neither.
            OperationCancelledError: A hook at ``session_resume`` refused it.
            OperationError: Another host holds it.
        """

    async def complete(self, id: str, /) -> SessionInfo:
        """End a session well.

        Raises:
            InvalidInputError: It has ended.
        """

    async def fail(self, id: str, reason: str = "", /) -> SessionInfo:
        """End a session badly; raises as `complete` does."""

    async def archive(self, id: str, /) -> SessionInfo:
        """Put a session away that has ended: its newest checkpoint is kept, the others are not.

        Raises:
            InvalidInputError: It has not ended.
        """

    async def delete(self, id: str, /) -> bool:
        """Forget a session with all that belongs to it; False if there is none.

        Raises:
            OperationError: Another host holds it.
        """

    async def export(self, id: str, /) -> Mapping[str, Any]:
        """Return all that is kept of a session as plain values: what is known of it, its state, its checkpoints."""


@hookpoint(phase=Phase.CHECK, topic="session")
def session_start(context: HookContext[SessionChange]) -> HookResult | None:
    """A session is about to be made.

    When: before anything of it is written.
    Subject: what it will be; after a ``Cancel`` there is none.
    """


@hookpoint(phase=Phase.CHECK, topic="session")
def session_save(context: HookContext[SessionSave]) -> HookResult | None:
    """A session is about to be saved.

    When: before its values are read, also when nobody asked for it.
    Subject: which one; its number is that of the checkpoint if nobody else saves meanwhile.
    """


@hookpoint(phase=Phase.NOTICE, topic="session")
def session_checkpoint(context: HookContext[SessionSave]) -> HookResult | None:
    """A session was saved: a checkpoint of it is kept, durably.

    When: after each save.
    Subject: the checkpoint.
    """


@hookpoint(phase=Phase.CHECK, topic="session")
def session_restore(context: HookContext[SessionSave]) -> HookResult | None:
    """A session is about to be brought back to a checkpoint.

    When: before anything is written.
    Subject: which checkpoint.
    """


@hookpoint(phase=Phase.CHECK, topic="session")
def session_suspend(context: HookContext[SessionChange]) -> HookResult | None:
    """A session is about to be suspended.

    When: before anything in it is stopped.
    Subject: the change.
    """


@hookpoint(phase=Phase.CHECK, topic="session")
def session_resume(context: HookContext[SessionChange]) -> HookResult | None:
    """A session is about to be taken up again.

    When: before it is.
    Subject: the change; its previous status is ``active`` if its host died.
    """


@hookpoint(phase=Phase.NOTICE, topic="session")
def session_end(context: HookContext[SessionChange]) -> HookResult | None:
    """A session has ended for good.

    When: once it is written that it completed or failed.
    Subject: the change.
    """
