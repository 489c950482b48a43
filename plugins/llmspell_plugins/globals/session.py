"""The global Session: a script makes sessions, runs within one, saves, hands on and ends them.

The current session is one script's: ``set_current`` lets all that the script does from then on carry it, and what other
scripts do is not touched. A session that the script itself suspends or ends is no longer its current one; resumed, it
is again.

Invariant: where an id may be left out the current session is meant; without one that is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from llmspell_hookspecs import InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import ComponentNotFoundError, SecurityError
from llmspell_hookspecs.language import ScriptObject, ScriptScope
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.parameters import unknown_keys, without_keys
from llmspell_hookspecs.sessions import SessionCheckpoint, SessionDraft, SessionInfo, SessionQuery, Sessions

__all__ = ["SessionBuilder", "SessionGlobal", "Texts", "moment", "read_table"]

_log = logging.getLogger("llmspell.script")


def _texts(value: Any) -> Any:
    """One text stands for a list of one, and an empty table for an empty list."""
    if isinstance(value, str):
        return (value,)
    return () if isinstance(value, Mapping) and not value else value


def _table(value: Any) -> Any:
    return {} if value == [] else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class _Draft(BaseModel):
    """What a session is made from, under every name that scripts give it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    description: str = ""
    tags: Texts = ()
    created_by: str = Field(default="", validation_alias=AliasChoices("created_by", "createdBy"))
    parent: str = Field(
        default="", validation_alias=AliasChoices("parent", "parent_session_id", "parentSessionId", "parent_id")
    )
    custom: Annotated[dict[str, Any], BeforeValidator(_table)] = Field(
        default={}, validation_alias=AliasChoices("custom", "custom_metadata", "customMetadata", "metadata")
    )
    max_duration_s: float | None = Field(
        default=None, validation_alias=AliasChoices("max_duration_s", "max_duration_secs", "max_duration")
    )
    max_operations: int | None = None


class _Query(BaseModel):
    """Which sessions a script asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Texts = ()
    tags: Texts = ()
    name: str = Field(default="", validation_alias=AliasChoices("name", "name_pattern", "namePattern"))
    created_by: str = Field(default="", validation_alias=AliasChoices("created_by", "createdBy"))
    parent: str = Field(default="", validation_alias=AliasChoices("parent", "parent_session_id"))
    since_s: float | None = Field(default=None, validation_alias=AliasChoices("since_s", "created_after"))
    until_s: float | None = Field(default=None, validation_alias=AliasChoices("until_s", "created_before"))
    sort: Literal["created", "updated", "name", "operations"] = Field(
        default="created", validation_alias=AliasChoices("sort", "sort_by", "sortBy")
    )
    descending: bool = False
    limit: int | None = Field(default=None, ge=0)


def read_table(where: str, what: str, model: type[BaseModel], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields that a script's table asks for; an unknown one is told and left out.

    Raises:
        InvalidInputError: A value does not fit.
    """
    given = {key: value for key, value in (given or {}).items() if value is not None}
    unknown = unknown_keys(model, given)
    for stray in unknown:
        advice = f"did you mean {stray.nearest!r}?" if stray.nearest else "leave it out"
        _log.warning("%s: %s has no %r; %s", where, what, stray.dotted, advice)
    try:
        read = model.model_validate(without_keys(given, unknown))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(model.model_fields)
        raise InvalidInputError(f"{where}: {field}: {problem['msg']}; there are {known}", field=field) from None
    return {name: getattr(read, name) for name in read.model_fields_set}


class SessionBuilder(ScriptObject):
    """Collects what a session is made from; each setter answers the builder."""

    def __init__(self, owner: SessionGlobal) -> None:
        self._owner = owner
        self._table: dict[str, Any] = {}
        self._tags: list[str] = []

    def _with(self, **values: Any) -> SessionBuilder:
        self._table |= values
        return self

    @script_method()
    def name(self, name: str) -> SessionBuilder:
        """Set its name."""
        return self._with(name=name)

    @script_method()
    def description(self, text: str) -> SessionBuilder:
        """Set what it is for."""
        return self._with(description=text)

    @script_method()
    def tag(self, tag: str) -> SessionBuilder:
        """Add a tag."""
        self._tags.append(tag)
        return self

    @script_method()
    def tags(self, tags: Sequence[str]) -> SessionBuilder:
        """Add several tags."""
        self._tags.extend(_texts(tags))
        return self

    @script_method("parent_session")
    def parent(self, id: str) -> SessionBuilder:
        """Set the session that it comes from."""
        return self._with(parent=id)

    @script_method("metadata")
    def custom(self, table: Mapping[str, Any]) -> SessionBuilder:
        """Set further facts."""
        return self._with(custom=table)

    @script_method("create")
    async def build(self) -> str:
        """Make the session and return its id."""
        return await self._owner.create({**self._table, "tags": self._tags})


class SessionGlobal(ScriptGlobal):
    """Make sessions, run within one, save, suspend, resume and end them."""

    name: ClassVar[str] = "Session"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._sessions = services.get(Sessions)
        self._left = ""
        self._given = self._current

    @script_method("new")
    async def create(self, options: Mapping[str, Any] | None = None) -> str:
        """Make a session and return its id.

        Args:
            options: name, description, tags, created_by, parent, custom, max_duration_s, max_operations.

        Raises:
            InvalidInputError: One of them is wrong.
            OperationCancelledError: A hook refused it.
        """
        info = await self._sessions.create(SessionDraft(**read_table("Session.create", "a session", _Draft, options)))
        return info.id

    @script_method()
    def builder(self) -> SessionBuilder:
        """Return a builder: ``Session.builder():name("work"):tag("daily"):build()``."""
        return SessionBuilder(self)

    @script_method("get_metadata")
    async def get(self, id: str | None = None) -> dict[str, Any]:
        """Return what is known of a session: id, name, description, tags, status, created_at, updated_at ..."""
        return _row(await self._sessions.get(self._named(id)))

    @script_method()
    async def list(self, query: Mapping[str, Any] | None = None) -> Sequence[dict[str, Any]]:
        """Return the sessions that are asked for: by status, tags, name, created_by, parent, since_s, until_s.

        ``sort``, ``descending`` and ``limit`` order them and say how many.
        """
        asked = SessionQuery(**read_table("Session.list", "a query", _Query, query))
        return [_row(info) for info in await self._sessions.list(asked)]

    @script_method()
    async def exists(self, id: str) -> bool:
        """Return whether there is a session of this id."""
        try:
            await self._sessions.get(id)
        except ComponentNotFoundError:
            return False
        return True

    @script_method("checkpoint")
    async def save(self, id: str | None = None) -> dict[str, Any]:
        """Save a session and return the checkpoint: session, number, made_at, values, size_bytes."""
        return _saved(await self._sessions.save(self._named(id)))

    @script_method("list_checkpoints")
    async def checkpoints(self, id: str | None = None) -> Sequence[dict[str, Any]]:
        """Return the checkpoints that are kept, the oldest first."""
        return [_saved(each) for each in await self._sessions.checkpoints(self._named(id))]

    @script_method()
    async def load(self, id: str) -> str:
        """Return the id of a session that is kept, or fail; its values are what was written last."""
        return (await self._sessions.get(id)).id

    @script_method()
    async def restore(self, id: str | None = None, number: int = 0) -> dict[str, Any]:
        """Give a session's values back what they were at a checkpoint, the newest if none is named."""
        return _saved(await self._sessions.restore(self._named(id), number))

    @script_method()
    async def suspend(self, id: str | None = None) -> bool:
        """Let nothing begin in a session, save it and let it go."""
        named = self._named(id)
        info = await self._sessions.suspend(named)
        self._leave(named)
        return info.status == "suspended"

    @script_method()
    async def resume(self, id: str | None = None, take_over: bool = False) -> bool:
        """Take up a session that is suspended, or whose host died."""
        named = id or self._left or self._named(id)
        info = await self._sessions.resume(named, take_over=take_over)
        if self._left == named:
            self._carry(named)
        return info.status == "active"

    @script_method()
    async def complete(self, id: str | None = None) -> bool:
        """End a session well."""
        named = self._named(id)
        info = await self._sessions.complete(named)
        self._leave(named)
        return info.status == "completed"

    @script_method()
    async def fail(self, id: str | None = None, reason: str = "") -> bool:
        """End a session badly."""
        named = self._named(id)
        info = await self._sessions.fail(named, reason)
        self._leave(named)
        return info.status == "failed"

    @script_method()
    async def archive(self, id: str) -> bool:
        """Put a session away that has ended."""
        return (await self._sessions.archive(id)).status == "archived"

    @script_method("remove")
    async def delete(self, id: str) -> bool:
        """Forget a session with all that belongs to it; False if there is none."""
        deleted = await self._sessions.delete(id)
        self._leave(id)
        return deleted

    @script_method()
    async def export(self, id: str | None = None) -> Mapping[str, Any]:
        """Return all that is kept of a session: session, state, checkpoints."""
        return await self._sessions.export(self._named(id))

    @script_method("current")
    def get_current(self) -> str | None:
        """Return the id of the session that the script runs in, or nothing."""
        return self._current or None

    @script_method()
    async def set_current(self, id: str | None = None) -> bool:
        """Run in a session from now on, or in none.

        Raises:
            SecurityError: The script was started within a session, which it cannot leave.
        """
        if self._given and id != self._given:
            message = f"Session.set_current: the script was started within session {self._given}, and stays there"
            raise SecurityError(message, rule="session")
        self._left = ""
        if id:
            await self._sessions.hold(id)
        self._carry(id or "")
        return True

    @property
    def _current(self) -> str:
        try:
            return self.services.get(Operations).current().session_id
        except LookupError:
            return ""

    def _carry(self, id: str) -> None:
        self._left = ""
        self.services.get(Operations).carry("session", id)

    def _leave(self, id: str) -> None:
        """Run in no session any more, if it is this one."""
        if self._current == id and not self._given:
            self._carry("")
            self._left = id

    def _named(self, id: str | None) -> str:
        named = id or self._current
        if not named:
            raise InvalidInputError("Session: no session is current; name one, or call Session.set_current", field="id")
        return named


def _row(info: SessionInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "name": info.name or None,
        "description": info.description or None,
        "tags": [*info.tags],
        "status": info.status,
        "created_at": moment(info.created_s),
        "updated_at": moment(info.updated_s),
        "started_at": moment(info.started_s),
        "ended_at": moment(info.ended_s),
        "created_by": info.created_by or None,
        "parent_session_id": info.parent or None,
        "custom_metadata": info.custom,
        "operation_count": info.operations,
        "checkpoints": info.checkpoints,
        "live": info.live,
        "error": info.error or None,
    }


def _saved(saved: SessionCheckpoint) -> dict[str, Any]:
    return {
        "session": saved.session,
        "number": saved.number,
        "made_at": moment(saved.made_s),
        "values": saved.values,
        "size_bytes": saved.size_bytes,
        "automatic": saved.automatic,
    }


def moment(time_s: float) -> str | None:
    """Return a time as ISO 8601 writes it, or nothing for 0."""
    return datetime.fromtimestamp(time_s, UTC).isoformat() if time_s else None
