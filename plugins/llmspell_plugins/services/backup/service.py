"""The service Backups: backups of the configured storage, and the way back to one.

Invariant: a restore is on record, in the storage itself, before its first write, until its last; what it writes depends
on nothing but the files, so beginning again goes on.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import trio
from msgspec import Struct

from llmspell_hookspecs import InvalidInputError, Services, Storage
from llmspell_hookspecs.backup import Backup, BackupCheck, BackupCleanup, Backups, Restored
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.services import Clock, ProjectFolder
from llmspell_hookspecs.storage import Snapshots, Storages
from llmspell_plugins.services.storages import RESTORING, OpenStorages

from .chain import Chain, check_chain, open_chain
from .contents import CONTENTS, hash_of_key, is_in_file, moved, next_page, pieces_of, place
from .file import BackupWriter, Header, codec_here
from .folder import ENDING, ID, Ends, all_in, begin, clean, held_by, in_words, parent_of, told
from .settings import BackupSettings

__all__ = ["LEFT_OUT", "BackupService"]

LEFT_OUT: Final = ("audit/", "backup/", "event/", "event-follower/", "restore/")
"""What no backup holds: the chained logs, whose heads lie outside and never go back, and what is told of backups."""
_LAST: Final = "backup/last"
_BATCH: Final = 100
_TRIES: Final = 5
_BATCH_BYTES: Final = 8 * 1024 * 1024
_FRAME_BYTES: Final = 1024 * 1024
_FRAME_ROWS: Final = 2000
_LONGEST_WORDS: Final = 500
_DAY_S: Final = 86_400.0
_CREATE, _RESTORE = OperationKind("backup_create", result=Backup), OperationKind("backup_restore", result=Restored)
_CLEANUP: Final = OperationKind("backup_cleanup", result=BackupCleanup)


class Asked(Struct, frozen=True):
    """What an operation on backups is asked: the subject of hooks around it, if there were any."""

    id: str = ""
    description: str = ""


class Marker(Struct, frozen=True):
    """A restore that is not at its end.

    Attributes:
        id: To which backup.
        before: The backup of what was there; empty for none.
    """

    id: str
    before: str = ""


class BackupService:
    """Implements the contract's `Backups`."""

    name: ClassVar[str] = "backups"
    provides: ClassVar[type[Any]] = Backups
    Settings: ClassVar[type[BackupSettings]] = BackupSettings

    def __init__(self, settings: BackupSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._alone = trio.Lock()

    async def create(self, *, incremental: bool = False, description: str = "") -> Backup:
        """Make a backup; see the contract's `Backups`."""
        if not isinstance(description, str) or len(description) > _LONGEST_WORDS or not description.isprintable():
            message = f"backup: its description is no line of at most {_LONGEST_WORDS} characters; shorten it"
            raise InvalidInputError(message, field="description")

        async def body(asked: Asked) -> Backup:
            async with self._alone:
                storages, storage = await self._storage()
                if await storage.get(RESTORING) is not None:
                    raise _half_way(storages.default)
                return await self._create(storages.default, storage, incremental=incremental, description=description)

        made: Backup = await self._run(_CREATE, Asked("", description), body)
        return made

    async def list(self) -> Sequence[Backup]:
        """Return all, newest first; see the contract's `Backups`."""
        return await trio.to_thread.run_sync(all_in, self._folder())

    async def info(self, id: str, /) -> Backup:
        """Return one; see the contract's `Backups`."""
        return await trio.to_thread.run_sync(told, self._path(id))

    async def validate(self, id: str, /) -> BackupCheck:
        """Read it and all that it goes on from; see the contract's `Backups`."""
        self._path(id)
        return await trio.to_thread.run_sync(partial(check_chain, self._folder(), id), abandon_on_cancel=True)

    async def restore(self, id: str, /, *, dry_run: bool = False, backup_current: bool = True) -> Restored:
        """Bring the storage back to a backup; see the contract's `Backups`."""
        self._path(id)

        async def body(asked: Asked) -> Restored:
            async with self._alone:
                check = await self.validate(id)
                if not check.is_valid:
                    raise StorageError(f"{check.errors[0]}; nothing was changed", code="backup")
                storages, storage = await self._storage()
                if await storage.get(RESTORING) is not None:
                    raise _half_way(storages.default)
                if dry_run:
                    return await self._bring_back(storage, Marker(id), write=False)
                before = ""
                if backup_current:
                    words = f"before going back to {id}"
                    made = await self._create(storages.default, storage, incremental=True, description=words)
                    before = made.id
                marker = Marker(id, before)
                if await storage.write({RESTORING: msgspec.msgpack.encode(marker)}, expect={RESTORING: 0}) is None:
                    raise _half_way(storages.default)
                return await self._go_back(storages, storage, marker)

        done: Restored = await self._run(_RESTORE, Asked(id), body)
        return done

    async def resume(self) -> Restored:
        """Go on with a restore that was broken off; see the contract's `Backups`."""

        async def body(asked: Asked) -> Restored:
            async with self._alone:
                storages, storage = await self._storage()
                return await self._go_back(storages, storage, await self._marker(storage))

        done: Restored = await self._run(_RESTORE, Asked(), body)
        return done

    async def abandon(self) -> Restored:
        """Bring the storage back to what it was before; see the contract's `Backups`."""

        async def body(asked: Asked) -> Restored:
            async with self._alone:
                storages, storage = await self._storage()
                marker = await self._marker(storage)
                if not marker.before:
                    message = (
                        f"backup restore: none was made before going back to {marker.id}, so there is no way back; "
                        "go on with --resume"
                    )
                    raise InvalidInputError(message, field="id")
                back = Marker(marker.before, marker.before)
                await storage.write({RESTORING: msgspec.msgpack.encode(back)})
                return await self._go_back(storages, storage, back)

        done: Restored = await self._run(_RESTORE, Asked(), body)
        return done

    async def cleanup(self, *, dry_run: bool = False) -> BackupCleanup:
        """Delete the backups that need not be kept; see the contract's `Backups`."""

        async def body(asked: Asked) -> BackupCleanup:
            async with self._alone:
                storages, storage = await self._storage()
                if await storage.get(RESTORING) is not None:
                    raise _half_way(storages.default)
                now_s = self._services.get(Clock).now_s()
                work = partial(clean, self._folder(), self._settings, now_s, dry_run=dry_run)
                return await trio.to_thread.run_sync(work)

        done: BackupCleanup = await self._run(_CLEANUP, Asked(), body)
        return done

    # Making one.

    async def _create(self, backend: str, storage: Storage, *, incremental: bool, description: str) -> Backup:
        if not isinstance(storage, Snapshots):
            message = f"storage {backend}: it cannot be read as it is at one moment, so no backup is made; use another"
            raise StorageError(message)
        now_s = self._services.get(Clock).now_s()
        folder = self._folder()
        parent = await self._parent(storage, folder, now_s) if incremental else None
        known: dict[str, int] = {}
        there: dict[str, int] = {}
        if parent is not None:
            known, there = await trio.to_thread.run_sync(held_by, folder, parent.header.id)
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%d-%H%M%S")
        id = f"{stamp}-{secrets.token_hex(4)}"
        codec = codec_here() if self._settings.codec == "auto" else self._settings.codec
        header = Header(
            id,
            now_s,
            codec,
            backend,
            "" if parent is None else parent.header.id,
            "" if parent is None else parent.trailer.hash,
            description,
        )
        path = folder / f"{id}{ENDING}"
        for left in range(_TRIES, 0, -1):
            writer = await trio.to_thread.run_sync(begin, path, header)
            try:
                versions, expected = await self._copy(storage, writer, known)
                lost = await self._copy_contents(writer, versions, there, expected)
                if left == 1 or not await moved(storage, versions, lost):
                    await trio.to_thread.run_sync(in_words, partial(writer.finish, versions), path)
                    break
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(writer.give_up)
        # What comes after goes on from this one, as long as this stands in the storage: one that was put back to an
        # older state by hand has another, and versions there would tell nothing.
        await storage.write({_LAST: id.encode()})
        return await self.info(id)

    async def _copy(
        self, storage: Any, writer: BackupWriter, known: Mapping[str, int]
    ) -> tuple[dict[str, int], set[str]]:
        """Write what changed; returns the versions of all keys, and which contents should lie in files."""
        versions: dict[str, int] = {}
        expected: set[str] = set()
        rows: list[tuple[str, int, bytes]] = []
        size_bytes = 0
        async with storage.snapshot() as snapshot:
            async for key, entry in snapshot.scan("", limit=sys.maxsize):
                if key.startswith(LEFT_OUT):
                    continue
                versions[key] = entry.version
                if key.startswith(CONTENTS) and is_in_file(entry.value) and (hash := hash_of_key(key)):
                    expected.add(hash)
                if known.get(key) != entry.version:
                    rows.append((key, entry.version, entry.value))
                    size_bytes += len(entry.value)
                if size_bytes >= _FRAME_BYTES or len(rows) >= _FRAME_ROWS:
                    await trio.to_thread.run_sync(in_words, partial(writer.add, rows), writer.path)
                    rows, size_bytes = [], 0
        if rows:
            await trio.to_thread.run_sync(in_words, partial(writer.add, rows), writer.path)
        return versions, expected

    async def _copy_contents(
        self, writer: BackupWriter, versions: Mapping[str, int], there: Mapping[str, int], expected: set[str]
    ) -> Sequence[str]:
        """Write the contents that lie in files; returns those that are missing."""
        hashes = [hash for key in versions if key.startswith(CONTENTS) and (hash := hash_of_key(key))]
        lost: Sequence[str] = ()
        if not hashes:
            return lost
        pieces = pieces_of(self._contents(), hashes, there, expected)
        while page := await trio.to_thread.run_sync(in_words, partial(next_page, pieces), writer.path):
            await trio.to_thread.run_sync(in_words, partial(writer.add_contents, page), writer.path)
            lost = [*lost, *(hash for hash, size, _, _ in page if size < 0)]
        return lost

    def _contents(self) -> Path:
        return self._services.get(ProjectFolder).data("content")

    async def _parent(self, storage: Storage, folder: Path, now_s: float) -> Ends | None:
        """Return the backup that the next one may go on from; None for a full one."""
        last = await storage.get(_LAST)
        if last is None:
            return None
        id = last.value.decode("ascii", "replace")
        oldest_s = now_s - self._settings.full_every_days * _DAY_S
        return await trio.to_thread.run_sync(parent_of, folder, id, oldest_s) if ID.fullmatch(id) else None

    # Going back to one.

    async def _go_back(self, storages: OpenStorages, storage: Storage, marker: Marker) -> Restored:
        name = storages.default
        reason = (
            f"it is half-way back to the backup {marker.id}; wait, or go on with 'llmspell backup restore --resume'"
        )
        await storages.close_to_others(name, reason)
        try:
            return await self._bring_back(storage, marker, write=True)
        finally:
            with trio.CancelScope(shield=True):
                if await storage.get(RESTORING) is None:  # also where its last write only seemed to fail
                    await storages.close_to_others(name, "")

    async def _bring_back(self, storage: Storage, marker: Marker, *, write: bool) -> Restored:
        folder = self._folder()
        chain: Chain = await trio.to_thread.run_sync(open_chain, folder, marker.id)
        try:
            final = await trio.to_thread.run_sync(chain.versions)
            contents = await self._place_contents(chain, write=write)
            written = unchanged = 0
            rows = chain.rows(final)
            while page := await trio.to_thread.run_sync(partial(_page, rows)):
                batch: dict[str, bytes | None] = {}
                for key, value in page:
                    there = await storage.get(key)
                    if there is not None and there.value == value:
                        unchanged += 1
                    else:
                        batch[key] = value
                written += len(batch)
                if batch and write:
                    await storage.write(batch)
                await trio.lowlevel.checkpoint()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(chain.close)
        deleted = await self._delete_others(storage, final, write=write)
        if write:
            await storage.write({RESTORING: None})
        return Restored(marker.id, written, deleted, unchanged, marker.before, not write, contents)

    async def _place_contents(self, chain: Chain, *, write: bool) -> int:
        """Put the contents that lie in files into their places, before anything refers to them; returns how many."""
        wanted = {hash for hash, size in (await trio.to_thread.run_sync(chain.sizes)).items() if size >= 0}
        if write and wanted:
            work = partial(place, self._contents(), chain.contents(), wanted)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(in_words, work, self._contents())
        return len(wanted)

    async def _delete_others(self, storage: Storage, final: Mapping[str, int], *, write: bool) -> int:
        """Delete what was not there then; returns how many."""
        count, cursor = 0, ""
        while keys := [key async for key, _ in storage.scan("", after=cursor, limit=1000)]:
            cursor = keys[-1]
            gone = [key for key in keys if key not in final and not key.startswith(LEFT_OUT)]
            count += len(gone)
            if write:
                for start in range(0, len(gone), _BATCH):
                    await storage.write(dict.fromkeys(gone[start : start + _BATCH]))
            await trio.lowlevel.checkpoint()
        return count

    async def _marker(self, storage: Storage) -> Marker:
        entry = await storage.get(RESTORING)
        if entry is None:
            raise InvalidInputError("backup restore: none was broken off; name the backup to go back to", field="id")
        try:
            return msgspec.msgpack.decode(entry.value, type=Marker)
        except (msgspec.DecodeError, msgspec.ValidationError):
            message = f"storage key {RESTORING}: it holds none of ours; a newer version may have written it"
            raise StorageError(message) from None

    # The rest.

    async def _run(self, kind: OperationKind, asked: Asked, body: Callable[[Any], Any]) -> Any:
        component = ComponentRef("backup", asked.id or "all", f"backup:{asked.id or 'all'}")
        return await self._services.get(Operations).run(kind, component, asked, body)

    async def _storage(self) -> tuple[OpenStorages, Storage]:
        storages = self._services.get(Storages)
        if not isinstance(storages, OpenStorages):
            raise StorageError(
                "backup: the service storages is not the one in the box, which makes backups; enable that"
            )
        return storages, await storages.bare(storages.default)

    def _folder(self) -> Path:
        project = self._services.get(ProjectFolder)
        return project.place(self._settings.folder) if self._settings.folder else project.data("backups")

    def _path(self, id: str) -> Path:
        if not isinstance(id, str) or not ID.fullmatch(id):
            message = f"backup {str(id)[:40]!r}: it is no backup's id; 'llmspell backup list' shows them"
            raise InvalidInputError(message, field="id")
        return self._folder() / f"{id}{ENDING}"


def _half_way(name: str) -> StorageError:
    message = f"storage {name}: it is half-way back to a backup; go on with --resume, or undo it with --abandon"
    return StorageError(message, code="restoring")


def _page(rows: Any) -> list[tuple[str, bytes]]:
    """Return what is written at once."""
    page: list[tuple[str, bytes]] = []
    size_bytes = 0
    for key, value in rows:
        page.append((key, value))
        size_bytes += len(value)
        if len(page) >= _BATCH or size_bytes >= _BATCH_BYTES:
            break
    return page
