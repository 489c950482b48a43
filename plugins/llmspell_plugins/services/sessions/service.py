"""The service Sessions: makes sessions, holds them for this host, saves them, hands them on and ends them.

Each method is an operation on ``session:<id>``. The storage is opened by the first one. What this host holds is
renewed, saved and looked after by one task of the service; it is let go when the host closes.

Invariant: every change is one batch that expects what was read. Of a session that another host has taken nothing more
is written here, and nothing begins in it. Durations in seconds.

It is longer than most because the life of a session is told in one place.
"""

from __future__ import annotations

import builtins
import secrets
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, ClassVar, Final, Self, TypeVar

import trio
from msgspec import structs

from llmspell_hookspecs import Events, InvalidInputError, LlmspellError, Services, Storage
from llmspell_hookspecs.artifacts import Artifacts
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ComponentNotFoundError, OperationError, StorageError
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.services import Clock, Hooks, ProjectFolder
from llmspell_hookspecs.sessions import (
    SESSION_STATUSES,
    SessionChange,
    SessionCheckpoint,
    SessionDraft,
    SessionInfo,
    SessionQuery,
    Sessions,
    SessionSave,
)
from llmspell_hookspecs.state import StateConflict
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.system import LimitExceeded

from .archive import exported, keep_file
from .checkpoint import bring_back, checkpoint, keep_last, read_checkpoints, read_manifest, scope_of
from .held import Held, HeldSessions, Run, ends_of
from .records import DELETED, ENDED, Head, begin, change, check_id, forget, head_of, place_of, read_head, read_ids
from .settings import SessionSettings

__all__ = ["SessionService"]

T = TypeVar("T")
_DRAFT: Final = SessionDraft()
_ALL: Final = SessionQuery()
_AROUND: Final[ContextVar[tuple[Run, ...]]] = ContextVar("llmspell_session_runs", default=())
"""What runs within sessions around here, which cannot be waited for."""
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_ROW: Final = 64
_SORTED: Final[Mapping[str, Callable[[SessionInfo], Any]]] = {
    "updated": lambda info: info.updated_s,
    "name": lambda info: info.name,
    "operations": lambda info: info.operations,
}


def _kind(verb: str, result: type = object) -> OperationKind:
    return OperationKind(name=f"session_{verb}", result=result)


_CREATE, _READ, _WITHIN, _HOLD = _kind("create"), _kind("read"), _kind("within"), _kind("hold")
_SAVE, _RESTORE, _SUSPEND, _RESUME = _kind("save"), _kind("restore"), _kind("suspend"), _kind("resume")
_END, _ARCHIVE, _DELETE = _kind("end"), _kind("archive"), _kind("delete")


class SessionService:
    """Implements the contract's `Sessions`."""

    name: ClassVar[str] = "sessions"
    provides: ClassVar[type[Any]] = Sessions
    Settings: ClassVar[type[SessionSettings]] = SessionSettings

    def __init__(self, settings: SessionSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._operations = services.get(Operations)
        self._events = services.get(Events)
        self._clock = services.get(Clock)
        self._me = secrets.token_hex(8)
        self._opened: Storage | None = None
        self._limits: deque[LimitExceeded] = deque(maxlen=1000)
        self._stirred = trio.Event()
        self._taking = trio.Lock()
        self._held = HeldSessions(services.get(Hooks), self._clock, self._exceed)
        self._tidied_s: float | None = None

    # Life.

    async def __aenter__(self) -> Self:
        """Return it; the storage is opened by the first who asks."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let go what is held."""
        with trio.CancelScope(shield=True):
            for held in self._held:
                try:
                    await self._let_go(held)
                except LlmspellError as failure:
                    self._operations.problem(failure)

    async def run(self) -> None:
        """Renew, save and tell, until cancelled."""
        while True:
            wait_s = (
                min(self._settings.lease_s / 3, self._settings.autosave_s or _HOUR_S) if len(self._held) else _HOUR_S
            )
            with trio.move_on_after(wait_s):
                await self._stirred.wait()
            self._stirred = trio.Event()
            while self._limits:
                await self._operations.notify("resource_limit_exceeded", self._limits.popleft())
            for held in self._held:
                await self._look_after(held)
            await self._tidy_now_and_then()

    async def _look_after(self, held: Held) -> None:
        """Renew a lease, and save what changed; what goes wrong is told, and tried again."""
        try:
            if trio.current_time() - held.renewed_s >= self._settings.lease_s / 3:
                held.renewed_s = trio.current_time()
                await self._renew(held)
            autosave_s = self._settings.autosave_s
            if autosave_s and held.refusal is None and trio.current_time() - held.saved_s >= autosave_s:
                held.saved_s = trio.current_time()
                await self._save(held.id, automatic=True)
        except LlmspellError as error:
            self._operations.problem(error)

    async def _renew(self, held: Held) -> None:
        """Write that it is still held here; if it is not, nothing begins in it any more."""
        lease_s = self._clock.now_s() + self._settings.lease_s
        mine = True

        def step(head: Head) -> Head:
            nonlocal mine
            mine = head.owner == self._me and head.status == "active"
            return structs.replace(head, lease_s=lease_s, operations=held.operations) if mine else head

        try:
            await change(await self._storage(), held.id, step)
        except ComponentNotFoundError:
            mine = False
        if mine:
            held.lease_s = lease_s
        elif self._held.get(held.id) is held and held.refusal is None:
            self._held.refuse(held.id, f"session {held.id} was taken from this host", "session_lost")
            for run in held.runs:
                run.scope.cancel()

    # Making and finding.

    async def create(self, draft: SessionDraft = _DRAFT, /) -> SessionInfo:
        """Make a session; see the contract's `Sessions`."""
        id = str(uuid.uuid4())
        head = head_of(draft, self._clock.now_s())

        async def body(asked: SessionDraft) -> SessionInfo:
            component = _component(id, head.name)
            await self._ask("session_start", SessionChange(id, head.name, "active", "", head.tags), component)
            storage = await self._storage()
            if await storage.write(begin(id, head), expect={place_of(id): 0}) is None:
                raise StorageError(f"session {id}: there is one already; try again", code="conflict")
            self._tell("created", id, head)
            self._tell("started", id, head)
            return head.info(id, head.created_s)

        info: SessionInfo = await self._operations.run(_CREATE, _component(id, head.name), draft, body)
        if self._tidied_s is None:
            self._stir()
        return info

    async def get(self, id: str, /) -> SessionInfo:
        """Return what is known of a session; see the contract's `Sessions`."""

        async def body(asked: str) -> SessionInfo:
            return await self._info(asked)

        info: SessionInfo = await self._operations.run(_READ, _component(check_id(id)), id, body, repeatable=True)
        return info

    async def list(self, query: SessionQuery = _ALL, /) -> Sequence[SessionInfo]:
        """Return the sessions that are asked for; see the contract's `Sessions`."""
        _check_query(query)

        async def body(asked: SessionQuery) -> builtins.list[SessionInfo]:
            return await self._list(asked)

        found: builtins.list[SessionInfo] = await self._operations.run(
            _READ, ComponentRef("session", "*", "session:*"), query, body, repeatable=True
        )
        return found

    async def _list(self, query: SessionQuery) -> builtins.list[SessionInfo]:
        storage, now_s = await self._storage(), self._clock.now_s()
        globs = Globs((query.name,)) if query.name else None
        found: builtins.list[SessionInfo] = []
        straight = query.sort == "created" and not query.descending
        looked = 0
        for id in await read_ids(storage, query.since_s, query.until_s):
            looked += 1
            if looked % _ROW == 0:
                await trio.lowlevel.checkpoint()
            if straight and query.limit is not None and len(found) >= query.limit:
                break
            try:
                head, _ = await read_head(storage, id)
            except ComponentNotFoundError:
                continue
            except StorageError as error:  # one that cannot be read hides no other
                self._operations.problem(error)
                continue
            if _fits(query, head) and (globs is None or globs.match(head.name)):
                found.append(self._with_own(head.info(id, now_s)))
        if query.sort != "created":
            found.sort(key=_SORTED[query.sort], reverse=query.descending)
        elif query.descending:
            found.reverse()
        return found if query.limit is None else found[: query.limit]

    async def _info(self, id: str) -> SessionInfo:
        head, _ = await read_head(await self._storage(), id)
        return self._with_own(head.info(id, self._clock.now_s()))

    def _with_own(self, info: SessionInfo) -> SessionInfo:
        """Return it with the operations that began here since it was written."""
        held = self._held.get(info.id)
        return info if held is None else structs.replace(info, operations=max(info.operations, held.operations))

    # Holding, and running within.

    async def within(
        self, id: str, function: Callable[..., Awaitable[T]], /, *arguments: Any, take_over: bool = False
    ) -> T:
        """Run an async function within a session; see the contract's `Sessions`."""
        info = await self.hold(id, take_over=take_over)
        held = self._held.get(id)
        if held is None:
            raise OperationError(f"session {id}: it was let go as this was to begin; try again")
        run = Run(trio.CancelScope(), trio.Event())

        async def body(asked: SessionInfo) -> T:
            with run.scope:
                return await function(*arguments)
            reason = (held.refusal or ("it was taken from this host", ""))[0]
            raise OperationError(f"session {id}: what ran within was cut off, since {reason}; resume it and try again")

        operation = Operation(_WITHIN, _component(id, info.name), info, body, baggage={"session": id})
        held.runs.add(run)
        token = _AROUND.set((*_AROUND.get(), run))
        try:
            result: T = await self._operations.execute(operation)
            return result
        finally:
            _AROUND.reset(token)
            held.runs.discard(run)
            run.ended.set()

    async def hold(self, id: str, /, *, take_over: bool = False) -> SessionInfo:
        """Hold a session; see the contract's `Sessions`."""

        async def body(asked: str) -> SessionInfo:
            async with self._taking:
                held = self._held.get(asked)
                if held is not None and held.refusal is None and not take_over:
                    return await self._info(asked)
                return await self._take(asked, ("active",), take_over)

        info: SessionInfo = await self._operations.run(_HOLD, _component(check_id(id)), id, body)
        return info

    async def _take(self, id: str, statuses: tuple[str, ...], take_over: bool) -> SessionInfo:
        now_s = self._clock.now_s()
        lease_s = now_s + self._settings.lease_s

        def step(head: Head) -> Head:
            if head.status not in statuses:
                raise _wrong_status(id, head, "run in it")
            if self._is_elsewhere(head) and not take_over:
                raise self._belongs(id, head, now_s)
            fence = head.fence + 1
            return structs.replace(head, status="active", owner=self._me, lease_s=lease_s, fence=fence, updated_s=now_s)

        head = await change(await self._storage(), id, step)
        settings, held = self._settings, self._held.get(id)
        if held is None:
            most = settings.max_operations
            most = most if head.max_operations is None else min(most, head.max_operations)
            ends_s = ends_of(head.started_s, head.max_duration_s, settings.max_duration_s)
            held = Held(id, lease_s, ends_s, most, head.operations, trio.current_time(), trio.current_time())
        held.lease_s, held.refusal = lease_s, None
        self._held.take(held)
        self._stir()
        return head.info(id, now_s)

    def _is_elsewhere(self, head: Head) -> bool:
        return head.owner not in ("", self._me) and head.lease_s > self._clock.now_s()

    def _belongs(self, id: str, head: Head, now_s: float) -> OperationError:
        left_s = head.lease_s - now_s
        message = f"session {id}: another host holds it, or did until lately; wait {left_s:.0f} s, or take it over"
        return OperationError(message, component=f"session:{id}")

    async def release(self, id: str, /) -> None:
        """Hold a session no longer; see the contract's `Sessions`."""

        async def body(asked: str) -> None:
            held = self._held.get(asked)
            if held is None:
                await read_head(await self._storage(), asked)
            else:
                await self._let_go(held)

        await self._operations.run(_HOLD, _component(check_id(id)), id, body)

    async def _let_go(self, held: Held) -> None:
        """Save it if something changed, and write that nobody holds it."""
        try:
            if self._settings.autosave_s and held.refusal is None:
                await self._save(held.id, automatic=True)
        finally:
            self._held.drop(held.id)
            await self._disown(held)

    async def _disown(self, held: Held) -> None:
        def step(head: Head) -> Head:
            if head.owner != self._me:
                return head
            return structs.replace(head, owner="", lease_s=0.0, operations=max(head.operations, held.operations))

        try:
            await change(await self._storage(), held.id, step)
        except ComponentNotFoundError:  # it was deleted meanwhile
            return

    # Saving.

    async def save(self, id: str, /) -> SessionCheckpoint:
        """Save a session; see the contract's `Sessions`."""

        async def body(asked: str) -> SessionCheckpoint:
            return await self._save(asked, automatic=False)

        saved: SessionCheckpoint = await self._operations.run(_SAVE, _component(check_id(id)), id, body)
        return saved

    async def _save(self, id: str, *, automatic: bool) -> SessionCheckpoint:
        storage = await self._storage()
        head, _ = await read_head(storage, id)
        component = _component(id, head.name)
        asked = SessionSave(id, head.name, head.checkpoints + 1, 0, automatic)
        await self._ask("session_save", asked, component)
        now_s = self._clock.now_s()
        number, manifest, head, made = await checkpoint(storage, id, now_s, automatic=automatic)
        if made:
            if number > self._settings.keep_checkpoints:
                await keep_last(storage, id, self._settings.keep_checkpoints)
            done = SessionSave(id, head.name, number, len(manifest.values), automatic)
            await self._notice("session_checkpoint", done, component)
            self._tell("saved", id, head, checkpoint=number, automatic=automatic)
        return manifest.info(id, number)

    async def checkpoints(self, id: str, /) -> Sequence[SessionCheckpoint]:
        """Return the checkpoints that are kept; see the contract's `Sessions`."""

        async def body(asked: str) -> builtins.list[SessionCheckpoint]:
            storage = await self._storage()
            await read_head(storage, asked)
            return [manifest.info(asked, number) for number, manifest in await read_checkpoints(storage, asked)]

        found: builtins.list[SessionCheckpoint] = await self._operations.run(
            _READ, _component(check_id(id)), id, body, repeatable=True
        )
        return found

    async def restore(self, id: str, number: int = 0, /) -> SessionCheckpoint:
        """Give the session's scope the values of a checkpoint; see the contract's `Sessions`."""
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            message = f"session {id}: checkpoint {number!r:.40} is no number from 0; give one that it has"
            raise InvalidInputError(message, field="number")

        async def body(asked: int) -> SessionCheckpoint:
            return await self._restore(id, asked)

        restored: SessionCheckpoint = await self._operations.run(_RESTORE, _component(check_id(id)), number, body)
        return restored

    async def _restore(self, id: str, number: int) -> SessionCheckpoint:
        storage = await self._storage()
        head, _ = await read_head(storage, id)
        if head.status in ENDED:
            raise _wrong_status(id, head, "restore it")
        number = number or head.checkpoints
        manifest = await read_manifest(storage, id, number)
        component = _component(id, head.name)
        await self._ask("session_restore", SessionSave(id, head.name, number, len(manifest.values)), component)
        moved = await bring_back(storage, id, number, manifest)
        if moved is not None:
            key, expected, found = moved
            scope = f"session:{id}"
            conflict = StateConflict(scope, key, expected, found)
            await self._notice("state_conflict", conflict, ComponentRef("state", scope, f"state:{scope}"))
            message = f"session {id}: {key!r:.80} was written while checkpoint {number} was restored; try again"
            raise StorageError(message, code="conflict")
        self._tell("loaded", id, head, checkpoint=number)
        return manifest.info(id, number)

    # Handing on, and ending.

    async def suspend(self, id: str, /, *, grace_s: float | None = None) -> SessionInfo:
        """Let nothing begin in a session, save it and let it go; see the contract's `Sessions`."""
        grace = self._settings.grace_s if grace_s is None else grace_s

        async def body(asked: str) -> SessionInfo:
            return await self._suspend(asked, grace)

        info: SessionInfo = await self._operations.run(_SUSPEND, _component(check_id(id)), id, body)
        return info

    async def _suspend(self, id: str, grace_s: float) -> SessionInfo:
        storage = await self._storage()
        head, _ = await read_head(storage, id)
        if head.status != "active":
            raise _wrong_status(id, head, "suspend it")
        held = self._held.get(id)
        change_ = SessionChange(id, head.name, "suspended", head.status, head.tags)
        await self._ask("session_suspend", change_, _component(id, head.name))
        reason = f"session {id} is suspended"
        if held is not None:
            held.refusal = reason, "session_suspended"
        try:
            if held is not None:
                await self._settle(held, grace_s)
            await self._save(id, automatic=True)
            head = await self._become(id, "suspended", ("active",), held)
        except BaseException:
            if held is not None:
                held.refusal = None
            raise
        self._held.refuse(id, f"{reason}; resume it", "session_suspended")
        self._tell("suspended", id, head)
        return head.info(id, self._clock.now_s())

    async def _settle(self, held: Held, grace_s: float) -> None:
        """Wait for what runs in a session, but for what is around here; what takes too long is cancelled."""
        around = _AROUND.get()
        others = [run for run in held.runs if run not in around]
        with trio.move_on_after(grace_s):
            for run in others:
                await run.ended.wait()
        for run in others:
            run.scope.cancel()
        for run in others:
            await run.ended.wait()

    async def resume(self, id: str, /, *, take_over: bool = False) -> SessionInfo:
        """Take up a session that is suspended; see the contract's `Sessions`."""

        async def body(asked: str) -> SessionInfo:
            head, _ = await read_head(await self._storage(), asked)
            now_s = self._clock.now_s()
            if head.status not in ("suspended", "active"):
                raise _wrong_status(asked, head, "resume it")
            if head.status == "active" and head.owner in ("", self._me):
                raise _wrong_status(asked, head, "resume it")
            if self._is_elsewhere(head) and not take_over:
                raise self._belongs(asked, head, now_s)
            change_ = SessionChange(asked, head.name, "active", head.status, head.tags)
            await self._ask("session_resume", change_, _component(asked, head.name))
            info = await self._take(asked, ("suspended", "active"), take_over)
            self._tell("resumed", asked, head)
            return info

        info: SessionInfo = await self._operations.run(_RESUME, _component(check_id(id)), id, body)
        return info

    async def complete(self, id: str, /) -> SessionInfo:
        """End a session well; see the contract's `Sessions`."""
        return await self._end(id, "completed", "")

    async def fail(self, id: str, reason: str = "", /) -> SessionInfo:
        """End a session badly; see the contract's `Sessions`."""
        return await self._end(id, "failed", reason)

    async def _end(self, id: str, status: str, reason: str) -> SessionInfo:
        async def body(asked: str) -> SessionInfo:
            before, _ = await read_head(await self._storage(), asked)
            held = self._held.get(asked)
            head = await self._become(asked, status, ("active", "suspended"), held, reason)
            self._held.refuse(asked, f"session {asked} has {status}", "session_ended")
            ended = SessionChange(asked, head.name, status, before.status, head.tags, reason)
            await self._notice("session_end", ended, _component(asked, head.name))
            self._tell(status, asked, head)
            return head.info(asked, self._clock.now_s())

        info: SessionInfo = await self._operations.run(_END, _component(check_id(id)), id, body)
        return info

    async def archive(self, id: str, /) -> SessionInfo:
        """Put a session away that has ended; see the contract's `Sessions`."""

        async def body(asked: str) -> SessionInfo:
            head = await self._become(asked, "archived", ("completed", "failed"), None)
            await keep_last(await self._storage(), asked, 1)
            self._tell("archived", asked, head)
            return head.info(asked, self._clock.now_s())

        info: SessionInfo = await self._operations.run(_ARCHIVE, _component(check_id(id)), id, body)
        return info

    async def _become(
        self, id: str, status: str, statuses: tuple[str, ...], held: Held | None, reason: str = ""
    ) -> Head:
        """Write what a session becomes; nobody holds it then."""
        now_s = self._clock.now_s()

        def step(head: Head) -> Head:
            if head.status not in statuses:
                raise _wrong_status(id, head, f"make it {status}")
            operations = head.operations if held is None else max(head.operations, held.operations)
            ended_s = now_s if status in ("completed", "failed") else head.ended_s
            return structs.replace(
                head,
                status=status,
                owner="",
                lease_s=0.0,
                updated_s=now_s,
                ended_s=ended_s,
                operations=operations,
                error=reason or head.error,
            )

        return await change(await self._storage(), id, step)

    async def delete(self, id: str, /) -> bool:
        """Forget a session; see the contract's `Sessions`."""

        async def body(asked: str) -> bool:
            return await self._delete(asked)

        deleted: bool = await self._operations.run(_DELETE, _component(check_id(id)), id, body)
        return deleted

    async def _delete(self, id: str) -> bool:
        storage, now_s = await self._storage(), self._clock.now_s()
        head: Head | None = None

        def step(found: Head) -> Head:
            if self._is_elsewhere(found):
                raise self._belongs(id, found, now_s)
            return structs.replace(found, status=DELETED, owner="", lease_s=0.0)

        if await storage.get(f"artifact-head/{id}") is not None:
            await (await self._services.enter(Artifacts)).forget(id)
        try:
            head = await change(storage, id, step)
        except ComponentNotFoundError:
            if await storage.get(place_of(id)) is None:
                return False
        except StorageError as error:
            if error.code == "later":
                raise
        self._held.refuse(id, f"session {id} was deleted", "session_ended")
        await forget(storage, id, (scope_of(id),))
        if head is not None:
            self._tell("deleted", id, head)
        return head is not None

    async def export(self, id: str, /) -> Mapping[str, Any]:
        """Return all that is kept of a session; see the contract's `Sessions`."""

        async def body(asked: str) -> dict[str, Any]:
            return await exported(await self._storage(), asked, self._clock.now_s())

        found: dict[str, Any] = await self._operations.run(_READ, _component(check_id(id)), id, body, repeatable=True)
        return found

    # Retention.

    async def _tidy_now_and_then(self) -> None:
        """Take out what has to go, once an hour at most."""
        now_s = trio.current_time()
        if self._opened is None or (self._tidied_s is not None and now_s - self._tidied_s < _HOUR_S):
            return
        self._tidied_s = now_s
        try:
            await self._tidy()
        except (LlmspellError, OSError) as error:
            self._operations.problem(error)

    async def _tidy(self) -> None:
        days = self._settings.retention_days
        if not days:
            return
        storage = await self._storage()
        last_s = self._clock.now_s() - days * _DAY_S
        for id in await read_ids(storage, None, last_s):
            await trio.lowlevel.checkpoint()
            try:
                head, _ = await read_head(storage, id)
            except ComponentNotFoundError:  # a deletion that was cut off
                await forget(storage, id, (scope_of(id),))
                continue
            except StorageError:
                continue
            if head.status not in ENDED or head.ended_s > last_s:
                continue
            if self._settings.archive:
                whole = await exported(storage, id, self._clock.now_s())
                await keep_file(self._services.get(ProjectFolder).data("sessions"), id, whole)
            await self.delete(id)

    # What all of them use.

    async def _storage(self) -> Storage:
        if self._opened is None:
            self._opened = await self._services.get(Storages).open()
        return self._opened

    async def _ask(self, point: str, subject: Any, component: ComponentRef) -> None:
        if self._operations.asks((point,), component.name):
            await self._operations.ask(point, subject, component)

    async def _notice(self, point: str, subject: Any, component: ComponentRef) -> None:
        """Tell hooks of what is done already: what they answer wrongly undoes nothing."""
        try:
            await self._ask(point, subject, component)
        except LlmspellError as error:
            self._operations.problem(error)

    def _tell(self, what: str, id: str, head: Head, **facts: Any) -> None:
        topic = f"session.{what}"
        if self._events.listens(topic):
            data = {"id": id, "name": head.name, "status": head.status, "tags": [*head.tags], **facts}
            try:
                self._events.publish_nowait(topic, data, source=f"session:{id}")
            except LlmspellError as error:
                self._operations.problem(error)

    def _exceed(self, limit: LimitExceeded) -> None:
        self._limits.append(limit)
        self._stir()

    def _stir(self) -> None:
        self._stirred.set()


def _component(id: str, name: str = "") -> ComponentRef:
    return ComponentRef("session", name or id, f"session:{id}")


def _wrong_status(id: str, head: Head, verb: str) -> InvalidInputError:
    advice = {
        "suspended": "resume it first",
        "active": "it can be used as it is",
        "archived": "begin another one",
    }.get(head.status, "begin another one")
    message = f"session {id}: it is {head.status}, so you cannot {verb}; {advice}"
    return InvalidInputError(message, field="status")


def _check_query(query: SessionQuery) -> None:
    unknown = [status for status in query.status if status not in SESSION_STATUSES]
    if unknown:
        message = f"sessions: status {unknown[0]!r:.40} is none; they are {', '.join(SESSION_STATUSES)}"
        raise InvalidInputError(message, field="status")
    if query.sort != "created" and query.sort not in _SORTED:
        message = f"sessions: they cannot be sorted by {query.sort!r:.40}; take created, {', '.join(_SORTED)}"
        raise InvalidInputError(message, field="sort")
    if query.limit is not None and (isinstance(query.limit, bool) or query.limit < 0):
        raise InvalidInputError(f"sessions: limit is {query.limit}; give 0 or more", field="limit")


def _fits(query: SessionQuery, head: Head) -> bool:
    return (
        (not query.status or head.status in query.status)
        and all(tag in head.tags for tag in query.tags)
        and query.created_by in ("", head.created_by)
        and query.parent in ("", head.parent)
    )
