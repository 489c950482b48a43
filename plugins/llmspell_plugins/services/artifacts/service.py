"""The service Artifacts: keeps contents for sessions, tells who may touch them, and keeps that on record.

Each method is an operation on ``artifact:<name>``. Whether whoever asks may is judged before any guard is asked.

Invariant: an artifact and what refers to its content are written in one batch, after the content is whole in its place;
so a crash leaves a content that no artifact has at worst, which the next sweep takes out.

It is longer than most because each way to an artifact passes the same judge, which stands here once.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, Final, Self

import trio
from msgspec import structs

from llmspell_hookspecs import Events, InvalidInputError, LlmspellError, Services, Storage
from llmspell_hookspecs.artifacts import (
    HOST_SESSION,
    ArtifactAccess,
    ArtifactAudit,
    ArtifactChange,
    ArtifactDraft,
    ArtifactGrant,
    ArtifactId,
    ArtifactInfo,
    ArtifactQuery,
    ArtifactReport,
    ArtifactRight,
    Artifacts,
    ArtifactSweep,
    ArtifactValidation,
)
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import (
    ComponentNotFoundError,
    ResourceLimitError,
    SecurityError,
    StorageError,
    line_of_error,
)
from llmspell_hookspecs.operation import Asker, Operation, OperationKind, Operations
from llmspell_hookspecs.regular import read_regular
from llmspell_hookspecs.services import Clock, FileAccess, ProjectFolder, SettingsAccess
from llmspell_hookspecs.sessions import Sessions
from llmspell_hookspecs.storage import Storages

from .access import AuditTrail, check_grant, may, principals_of
from .content import Contents, Staged
from .kinds import Validator, Validators, problem_of
from .query import check_query, find
from .records import (
    Head,
    Name,
    Row,
    check_fields,
    check_place,
    encode_row,
    fields_of,
    head_key,
    missing,
    name_key,
    parent_of,
    read_head,
    read_name,
    read_row,
    row_key,
    tag_keys,
)
from .settings import ArtifactSettings
from .upkeep import sweep, verify

__all__ = ["ArtifactService"]

_ALL: Final = ArtifactQuery()
_PIECE_BYTES: Final = 1024 * 1024
_CHANGED: Final = ("type", "mime_type", "description", "tags", "custom")
_PATIENCE_S: Final = 0.002

_CREATE: Final = OperationKind(
    name="artifact_create", before="before_artifact_create", after="after_artifact_create", result=ArtifactInfo
)
_MODIFY: Final = OperationKind(
    name="artifact_modify", before="before_artifact_modify", after="after_artifact_modify", result=ArtifactInfo
)
_DELETE: Final = OperationKind(
    name="artifact_delete", before="before_artifact_delete", after="after_artifact_delete", result=ArtifactInfo
)
_READ: Final = OperationKind(name="artifact_read")
_ACCESS: Final = OperationKind(name="artifact_access")
_UPKEEP: Final = OperationKind(name="artifact_upkeep")


class ArtifactService:
    """Implements the contract's `Artifacts`."""

    name: ClassVar[str] = "artifacts"
    provides: ClassVar[type[Any]] = Artifacts
    Settings: ClassVar[type[ArtifactSettings]] = ArtifactSettings

    def __init__(self, settings: ArtifactSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._operations = services.get(Operations)
        self._events = services.get(Events)
        self._clock = services.get(Clock)
        self._sessions = services.get(Sessions)
        self._validators = Validators()
        self._opening = trio.Lock()
        self._is_open = trio.Event()
        self._opened: tuple[Storage, Contents, AuditTrail] | None = None

    async def __aenter__(self) -> Self:
        """Return it; the storage is opened by the first who asks."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Put what waits on record."""
        if self._opened is not None:
            with trio.CancelScope(shield=True):
                trail = self._opened[2]
                try:
                    await trail.flush()
                except LlmspellError as failure:
                    self._operations.problem(failure)
                trail.close()

    async def run(self) -> None:
        """Put on record what waits, until cancelled."""
        await self._is_open.wait()
        await (await self._open())[2].run(self._operations.problem)

    async def _open(self) -> tuple[Storage, Contents, AuditTrail]:
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    backend = self._services.get(SettingsAccess).section("storage").backend
                    storage, folder = await self._services.get(Storages).open(), self._services.get(ProjectFolder)
                    lasts, place = backend != "memory", self._settings.place
                    is_open = lasts and getattr(storage, "sealed", None) is None  # what is encrypted stays so
                    in_files = place == "files" or (place == "auto" and is_open)
                    files = folder.data("content") if in_files or lasts else None
                    contents = Contents(storage, files, in_files=in_files)
                    self._opened = storage, contents, AuditTrail(storage, folder, self._settings.audit, lasts=lasts)
                    self._is_open.set()
        return self._opened

    # Storing.

    async def put(self, draft: ArtifactDraft, content: bytes | str | AsyncIterable[bytes], /) -> ArtifactInfo:
        """Keep a content; see the contract's `Artifacts`."""
        fields = check_fields(fields_of(draft))
        session, parent = draft.session or self._running() or HOST_SESSION, parent_of(draft)
        check_place(session)
        _, contents, _ = await self._open()
        where = f"artifact {draft.name!r:.80}"
        staged = await contents.stage(content, self._settings.max_bytes, where)
        try:
            made_by = fields.pop("created_by")
            subject = ArtifactChange(
                session=session, content_hash=staged.hash, size_bytes=staged.known.size_bytes, **fields
            )

            async def prepare(asked: ArtifactChange, asker: Asker) -> ArtifactChange:
                _same(subject, asked)
                await self._judge("create", session, (), "admin", where=f"{session}/{draft.name}")
                if session != HOST_SESSION:
                    await self._sessions.get(session)
                if parent is not None:
                    await self._parent(parent)
                return structs.replace(asked, **check_fields(_known(asked)))

            async def body(asked: ArtifactChange) -> ArtifactInfo:
                await self._validate(asked, staged, contents)
                info = await self._commit(asked, staged, parent, made_by)
                if parent is not None:
                    derived = ArtifactAccess(info.id, info.name, principals_of(self._operations), parent)
                    await self._notice("artifact_derived", derived, info.name)
                return info

            operation = Operation(_CREATE, _component(draft.name), subject, body, prepare=prepare)
            made: ArtifactInfo = await self._operations.execute(operation)
            return made
        finally:
            await contents.discard(staged)

    async def put_file(self, draft: ArtifactDraft, path: str, /) -> ArtifactInfo:
        """Keep the content of a file; see the contract's `Artifacts`."""
        resolved = self._services.get(FileAccess).resolve(path, "read")
        try:
            content = await trio.to_thread.run_sync(read_regular, resolved, self._settings.max_bytes)
        except OSError as error:
            message = f"artifact {draft.name!r:.80}: {path} cannot be read: {line_of_error(error)}; name another file"
            raise InvalidInputError(message, field="path") from error
        return await self.put(draft, content)

    async def _parent(self, parent: ArtifactId) -> None:
        row, _ = await read_row((await self._open())[0], parent.session_id, parent.sequence)
        if row.info.id != parent:
            raise missing(parent.session_id, parent.sequence)
        await self._judge("read", parent.session_id, row.grants, "read", where=str(parent))

    async def _validate(self, asked: ArtifactChange, staged: Staged, contents: Contents) -> None:
        checks = self._validators.of(asked.mime_type) if self._settings.validation else []
        if not checks:
            return
        problem = await trio.to_thread.run_sync(problem_of, checks, await contents.plain_of(staged))
        told = ArtifactValidation(asked.name, asked.session, asked.mime_type, staged.hash, problem)
        point = "artifact_validation_failed" if problem else "artifact_validated"
        await self._notice(point, told, asked.name)
        if problem:
            message = f"artifact {asked.name!r:.80}: it is no {asked.mime_type}: {problem:.200}; give it its right kind"
            raise InvalidInputError(message, field="content")

    async def _commit(
        self, asked: ArtifactChange, staged: Staged, parent: ArtifactId | None, made_by: str
    ) -> ArtifactInfo:
        storage, contents, _ = await self._open()
        session, principals = asked.session, principals_of(self._operations)
        kept = check_fields(_known(asked))
        while True:
            now_s = self._clock.now_s()
            head, head_version = await read_head(storage, session)
            self._hold_to_limits(session, head, asked.size_bytes)
            before, name_version = await read_name(storage, session, asked.name)
            batch, expect = await contents.ready(staged, now_s)
            known = contents.known_in(batch, staged.hash)
            id = ArtifactId(staged.hash, session, head.last + 1)
            info = ArtifactInfo(
                id,
                asked.name,
                asked.type,
                asked.mime_type,
                known.size_bytes,
                known.stored_bytes,
                known.codec,
                asked.description,
                kept["tags"],
                kept["custom"],
                parent,
                made_by or ",".join(principals),
                now_s,
                now_s,
                before.version + 1,
                before.hash,
            )
            batch[row_key(session, id.sequence)] = encode_row(Row(info))
            grown = Head(id.sequence, head.count + 1, head.size_bytes + asked.size_bytes)
            batch[head_key(session)] = encode_row(grown)
            batch[name_key(session, asked.name)] = encode_row(Name(info.version, staged.hash))
            batch.update(dict.fromkeys(tag_keys(session, id.sequence, info.tags), b""))
            expect.update({head_key(session): head_version, name_key(session, asked.name): name_version})
            with trio.CancelScope(shield=True):
                written = await storage.write(batch, expect=expect)
            if written is not None:
                break
            await trio.sleep(_PATIENCE_S)
        await contents.settle(staged)
        await self._note("create", str(id))
        self._tell("stored", info)
        return info

    def _hold_to_limits(self, session: str, head: Head, size_bytes: int) -> None:
        """Refuse what would be too much for a session."""
        settings = self._settings
        for resource, would, most in (
            ("session_artifacts", head.count + 1, settings.max_artifacts),
            ("session_artifact_bytes", head.size_bytes + size_bytes, settings.max_session_bytes),
        ):
            if would > most:
                message = f"artifacts of {session}: {resource} would be {would}, and {most} is the most; delete some"
                raise ResourceLimitError(message, resource=resource, limit=most)

    # Reading.

    async def get(self, session: str, sequence: int, /) -> ArtifactInfo:
        """Return what is known of an artifact; see the contract's `Artifacts`."""
        check_place(session, sequence)

        async def body(asked: ArtifactId) -> ArtifactInfo:
            return (await self._judged("read", session, sequence, "read"))[0].info

        info: ArtifactInfo = await self._asked(_READ, session, sequence, body)
        return info

    async def read(self, session: str, sequence: int, /) -> bytes:
        """Return its content; see the contract's `Artifacts`."""
        check_place(session, sequence)

        async def body(asked: ArtifactId) -> bytes:
            row, _ = await self._judged("read", session, sequence, "read")
            info = row.info
            told = ArtifactAccess(info.id, info.name, principals_of(self._operations))
            await self._notice("artifact_accessed", told, info.name)
            content = await (await self._open())[1].read(info.id.content_hash, f"artifact {info.id}")
            if len(content) != info.size_bytes:
                raise StorageError(f"artifact {info.id}: its content has another size; restore it", code="corrupt")
            self._tell("retrieved", info)
            return content

        content: bytes = await self._asked(_READ, session, sequence, body)
        return content

    def stream(self, session: str, sequence: int, /) -> AsyncIterator[bytes]:
        """Return an iterator over its content; see the contract's `Artifacts`."""
        return _Pieces(lambda: self.read(session, sequence))

    async def query(self, query: ArtifactQuery = _ALL, /) -> Sequence[ArtifactInfo]:
        """Return the artifacts that are asked for and may be read; see the contract's `Artifacts`."""
        check_query(query)

        async def body(asked: ArtifactQuery) -> list[ArtifactInfo]:
            storage, _, _ = await self._open()
            principals, now_s = principals_of(self._operations), self._clock.now_s()

            def readable(row: Row) -> bool:
                return may(principals, row.info.id.session_id, row.grants, "read", now_s)

            found = await find(storage, asked, readable, self._operations.problem)
            await self._note("list", asked.session or "*")
            return found

        found: list[ArtifactInfo] = await self._operations.run(_READ, _component("*"), query, body)
        return found

    async def versions(self, session: str, name: str, /) -> Sequence[ArtifactInfo]:
        """Return all versions under a name; see the contract's `Artifacts`."""
        check_place(session)
        return [info for info in await self.query(ArtifactQuery(session=session)) if info.name == name]

    # Changing and forgetting.

    async def modify(self, session: str, sequence: int, /, **changes: Any) -> ArtifactInfo:
        """Change what is known of an artifact; see the contract's `Artifacts`."""
        check_place(session, sequence)
        for field in changes:
            if field not in _CHANGED:
                message = (
                    f"artifact {session}/{sequence}: {field!r:.40} cannot be changed; change {', '.join(_CHANGED)}"
                )
                raise InvalidInputError(message, field=field)
        storage, _, _ = await self._open()
        row, _ = await read_row(storage, session, sequence)
        subject = structs.replace(_change_of(row.info), **check_fields(changes))

        async def prepare(asked: ArtifactChange, asker: Asker) -> ArtifactChange:
            _same(subject, asked)
            await self._judged("modify", session, sequence, "write")
            return structs.replace(asked, **check_fields(_known(asked)))

        async def body(asked: ArtifactChange) -> ArtifactInfo:
            while True:
                row, version = await read_row(storage, session, sequence)
                info = structs.replace(row.info, **check_fields(_known(asked)), updated_s=self._clock.now_s())
                before = set(tag_keys(session, sequence, row.info.tags))
                after = set(tag_keys(session, sequence, info.tags))
                batch: dict[str, bytes | None] = dict.fromkeys(before - after)
                batch.update(dict.fromkeys(after - before, b""))
                batch[row_key(session, sequence)] = encode_row(structs.replace(row, info=info))
                if await storage.write(batch, expect={row_key(session, sequence): version}) is not None:
                    break
                await trio.sleep(_PATIENCE_S)
            await self._note("modify", str(info.id))
            return info

        operation = Operation(_MODIFY, _component(row.info.name), subject, body, prepare=prepare)
        changed: ArtifactInfo = await self._operations.execute(operation)
        return changed

    async def delete(self, session: str, sequence: int, /) -> bool:
        """Forget an artifact; see the contract's `Artifacts`."""
        check_place(session, sequence)
        storage, _, _ = await self._open()
        try:
            row, _ = await read_row(storage, session, sequence)
        except ComponentNotFoundError:
            return False
        subject = _change_of(row.info)

        async def prepare(asked: ArtifactChange, asker: Asker) -> ArtifactChange:
            await self._judged("delete", session, sequence, "admin")
            return asked

        async def body(asked: ArtifactChange) -> ArtifactInfo:
            info = await self._take_out(storage, session, sequence)
            await self._note("delete", str(info.id))
            self._tell("deleted", info)
            return info

        operation = Operation(_DELETE, _component(row.info.name), subject, body, prepare=prepare)
        try:
            await self._operations.execute(operation)
        except ComponentNotFoundError:
            return False
        return True

    async def _take_out(self, storage: Storage, session: str, sequence: int) -> ArtifactInfo:
        while True:
            row, version = await read_row(storage, session, sequence)
            head, head_version = await read_head(storage, session)
            info = row.info
            left = Head(head.last, max(head.count - 1, 0), max(head.size_bytes - info.size_bytes, 0))
            batch: dict[str, bytes | None] = dict.fromkeys(tag_keys(session, sequence, info.tags))
            batch.update({row_key(session, sequence): None, head_key(session): encode_row(left)})
            expect = {row_key(session, sequence): version, head_key(session): head_version}
            with trio.CancelScope(shield=True):
                if await storage.write(batch, expect=expect) is not None:
                    return info
            await trio.sleep(_PATIENCE_S)

    async def forget(self, session: str, /) -> int:
        """Forget all of a session's; see the contract's `Artifacts`."""
        check_place(session)
        storage, _, _ = await self._open()
        sequences = [int(key[-10:]) async for key, _ in storage.scan(f"artifact/{session}/", limit=sys.maxsize)]
        gone = 0
        for sequence in sequences:
            gone += await self.delete(session, sequence)
        await trio.lowlevel.checkpoint()
        rest = [key async for key, _ in storage.scan(f"artifact-name/{session}/", limit=sys.maxsize)]
        if gone == len(sequences) and (rest or sequences):
            await storage.write({head_key(session): None, **dict.fromkeys(rest)})
        return gone

    # Rights.

    async def grant(
        self, session: str, sequence: int, principal: str, right: ArtifactRight, /, *, expires_s: float | None = None
    ) -> None:
        """Let somebody do something with an artifact; see the contract's `Artifacts`."""
        check_place(session, sequence)
        check_grant(principal, right, expires_s)
        granted = ArtifactGrant(principal, right, expires_s)

        def change(grants: tuple[ArtifactGrant, ...]) -> tuple[ArtifactGrant, ...]:
            return (*(each for each in grants if each.principal != principal), granted)

        await self._change_grants("grant", session, sequence, change, f"{principal} may {right}")

    async def revoke(self, session: str, sequence: int, principal: str, /) -> bool:
        """Take back what somebody was granted; see the contract's `Artifacts`."""
        check_place(session, sequence)

        def change(grants: tuple[ArtifactGrant, ...]) -> tuple[ArtifactGrant, ...]:
            return tuple(each for each in grants if each.principal != principal)

        return await self._change_grants("revoke", session, sequence, change, str(principal)[:200])

    async def _change_grants(
        self,
        action: str,
        session: str,
        sequence: int,
        change: Callable[[tuple[ArtifactGrant, ...]], tuple[ArtifactGrant, ...]],
        details: str,
    ) -> bool:
        async def body(asked: ArtifactId) -> bool:
            storage, _, _ = await self._open()
            while True:
                row, version = await self._judged(action, session, sequence, "admin")
                grants = change(row.grants)
                if grants == row.grants:
                    return False
                if len(grants) > 1000:
                    message = f"artifact {session}/{sequence}: 1000 have rights on it, which is the most; revoke some"
                    raise ResourceLimitError(message, resource="artifact_grants", limit=1000)
                changed = encode_row(structs.replace(row, grants=grants))
                key = row_key(session, sequence)
                if await storage.write({key: changed}, expect={key: version}) is not None:
                    await self._note(action, f"{session}/{sequence}", details=details)
                    return True
                await trio.sleep(_PATIENCE_S)

        did: bool = await self._asked(_ACCESS, session, sequence, body)
        return did

    async def grants(self, session: str, sequence: int, /) -> Sequence[ArtifactGrant]:
        """Return what others may do with an artifact; see the contract's `Artifacts`."""
        check_place(session, sequence)

        async def body(asked: ArtifactId) -> tuple[ArtifactGrant, ...]:
            return (await self._judged("read", session, sequence, "admin"))[0].grants

        found: tuple[ArtifactGrant, ...] = await self._asked(_ACCESS, session, sequence, body)
        return found

    async def audit(self, session: str = "", /, *, limit: int = 1000) -> Sequence[ArtifactAudit]:
        """Return the newest accesses on record; see the contract's `Artifacts`."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidInputError(f"artifact audit: limit is {limit!r:.40}; give 1 or more", field="limit")

        async def body(asked: str) -> list[ArtifactAudit]:
            await self._judge("list", session or "*", (), "admin", where=session or "*")
            return await (await self._open())[2].read(session, limit)

        found: list[ArtifactAudit] = await self._operations.run(_ACCESS, _component("*"), session, body)
        return found

    # Upkeep.

    async def verify(self, *, repair: bool = False) -> ArtifactReport:
        """Hash all contents again; see the contract's `Artifacts`."""

        async def body(asked: bool) -> ArtifactReport:
            await self._judge("list", "*", (), "admin", where="*")
            storage, contents, trail = await self._open()
            report = await verify(storage, contents, await trail.problem())
            if repair and report.orphans:
                swept = await sweep(storage, contents, self._clock.now_s(), 0.0)
                report = structs.replace(report, removed=swept.removed)
            return report

        report: ArtifactReport = await self._operations.run(_UPKEEP, _component("*"), repair, body)
        return report

    async def sweep(self, grace_s: float | None = None, /) -> ArtifactSweep:
        """Take out the contents that no artifact has; see the contract's `Artifacts`."""
        grace_s = self._settings.grace_s if grace_s is None else grace_s
        if isinstance(grace_s, bool) or not isinstance(grace_s, int | float) or not grace_s >= 0:
            raise InvalidInputError(f"artifact sweep: {grace_s!r:.40} is no time; give seconds from 0", field="grace_s")

        async def body(asked: float) -> ArtifactSweep:
            await self._judge("list", "*", (), "admin", where="*")
            storage, contents, _ = await self._open()
            return await sweep(storage, contents, self._clock.now_s(), asked)

        swept: ArtifactSweep = await self._operations.run(_UPKEEP, _component("*"), grace_s, body)
        return swept

    def validate(self, mime_type: str, validator: Validator, /) -> Callable[[], None]:
        """Hold contents of a kind against a function; see the contract's `Artifacts`."""
        return self._validators.add(mime_type, validator)

    # What all of them use.

    def _running(self) -> str:
        try:
            return self._operations.current().session_id
        except LookupError:
            return ""

    async def _asked(self, kind: OperationKind, session: str, sequence: int, body: Callable[[ArtifactId], Any]) -> Any:
        component = ComponentRef("artifact", f"{session}/{sequence}", f"artifact:{session}/{sequence}")
        return await self._operations.run(kind, component, ArtifactId("", session, sequence), body)

    async def _judged(self, action: str, session: str, sequence: int, right: str) -> tuple[Row, int]:
        """Return an artifact, if whoever asks may do this with it, and put that on record."""
        row, version = await read_row((await self._open())[0], session, sequence)
        await self._judge(action, session, row.grants, right, where=str(row.info.id))
        if action == "read":
            await self._note(action, str(row.info.id))
        return row, version

    async def _judge(
        self, action: str, session: str, grants: tuple[ArtifactGrant, ...], right: str, *, where: str
    ) -> None:
        principals = principals_of(self._operations)
        if may(principals, session, grants, right, self._clock.now_s()):
            return
        await self._note(action, where, allowed=False)
        needed = f"{right} on it" if grants or action != "create" else "to be within its session"
        message = f"artifact {where}: {', '.join(principals)} may not {action} it; who may has {needed}"
        raise SecurityError(message, rule="artifact")

    async def _note(self, action: str, artifact: str, *, allowed: bool = True, details: str = "") -> None:
        trail = (await self._open())[2]
        principals = principals_of(self._operations)
        await trail.note(action, artifact, principals, self._clock.now_s(), allowed=allowed, details=details)

    async def _notice(self, point: str, subject: Any, name: str) -> None:
        """Tell hooks of what is done or refused already: what they answer wrongly changes nothing."""
        component = _component(name)
        try:
            if self._operations.asks((point,), component.name):
                await self._operations.ask(point, subject, component)
        except LlmspellError as error:
            self._operations.problem(error)

    def _tell(self, what: str, info: ArtifactInfo) -> None:
        topic = f"session.artifact.{what}"
        if self._events.listens(topic):
            id = info.id
            data = {
                "session_id": id.session_id,
                "sequence": id.sequence,
                "content_hash": id.content_hash,
                "name": info.name,
                "type": info.type,
                "size_bytes": info.size_bytes,
            }
            try:
                self._events.publish_nowait(topic, data, source=f"artifact:{info.name}")
            except LlmspellError as error:
                self._operations.problem(error)


class _Pieces:
    """A content, piece by piece, which is read when the first is asked for."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self._read, self._at = read, 0
        self._content: bytes | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._content is None:
            self._content = await self._read()
        else:
            await trio.lowlevel.checkpoint()
        assert self._content is not None
        piece = self._content[self._at : self._at + _PIECE_BYTES]
        self._at += len(piece)
        if not piece:
            raise StopAsyncIteration
        return piece


def _component(name: str) -> ComponentRef:
    return ComponentRef("artifact", name, f"artifact:{name}")


def _change_of(info: ArtifactInfo) -> ArtifactChange:
    hash, size = info.id.content_hash, info.size_bytes
    return ArtifactChange(
        info.name,
        info.id.session_id,
        info.type,
        info.mime_type,
        info.description,
        info.tags,
        info.custom,
        hash,
        size,
        info.id.sequence,
    )


def _known(change: ArtifactChange) -> dict[str, Any]:
    """Return what of a change hooks may change."""
    return {name: getattr(change, name) for name in _CHANGED}


def _same(subject: ArtifactChange, asked: ArtifactChange) -> None:
    """Refuse what a hook changed that stands fast.

    Raises:
        InvalidInputError: It did.
    """
    for field in ("name", "session", "content_hash", "size_bytes", "sequence"):
        if getattr(asked, field) != getattr(subject, field):
            message = f"artifact {subject.name!r:.80}: a hook changed its {field}, which stands fast; change another"
            raise InvalidInputError(message, field=field)
