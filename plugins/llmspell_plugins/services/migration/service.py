"""The service Migrations: brings what state keeps from one version of its schema to another.

Each migration, forward or back, is one operation on the component ``schema:<name>``.

Invariant: a migration that was begun is on record before its first item changes, and is ended by exactly one of: all
items are at the new version, or all are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from msgspec import structs

from llmspell_hookspecs import InvalidInputError, Services, Storage
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.migration import (
    BoundState,
    Migration,
    Migrations,
    MigrationStatus,
    Schema,
    Validation,
)
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.services import Clock, SettingsAccess
from llmspell_hookspecs.state import StateMigration
from llmspell_hookspecs.storage import Storages

from .bound import Bound
from .catalog import Known, with_functions
from .engine import put_back, told, undo_problem
from .forward import Forward, Tools, restless
from .records import RUNS, Run, Standing, before_prefix, pack, run_key, standing_key, unpack
from .settings import MigrationSettings, function_of, schema_of

__all__ = ["MigrationService"]

_KIND: Final = OperationKind("state_migrate", result=Migration)
_BACK: Final = OperationKind("state_rollback", result=Migration)
_TRIES: Final = 1000
_MAX_BYTES: Final = 10_000_000
_CHECKED: Final = "undoing"
"""Stands in a run's cursor once it is settled that the migration is undone."""


class MigrationService:
    """Implements the contract's `Migrations`."""

    name: ClassVar[str] = "migrations"
    provides: ClassVar[type[Any]] = Migrations
    Settings: ClassVar[type[MigrationSettings]] = MigrationSettings

    def __init__(self, settings: MigrationSettings, services: Services) -> None:
        self._settings = settings
        self._services = services
        self._functions = {name: function_of(name, place) for name, place in settings.functions.items()}
        self._known: dict[str, Known] = {}
        self._bound: dict[str, Bound] = {}
        self._told: list[Callable[[], object]] = []
        for name, table in settings.schemas.items():
            self.register(schema_of(name, table))

    def register(self, schema: Schema, /) -> Callable[[], None]:
        """Make a schema known; see the contract's `Migrations`."""
        known = Known(with_functions(schema, self._functions))
        if schema.name in self._known:
            message = f"schema {schema.name}: there is one of this name already; give it another name"
            raise InvalidInputError(message, field="name")
        for other in self._known.values():
            if (other.schema.scope, other.schema.keys) == (schema.scope, schema.keys):
                message = f"schema {schema.name}: {other.schema.name} is bound to the same items; bind one of them"
                raise InvalidInputError(message, field="scope")
        self._known[schema.name] = known
        self._bound[schema.name] = Bound(known, partial(self._settled, known))
        self._changed()

        def forget() -> None:
            if self._known.get(schema.name) is known:
                del self._known[schema.name], self._bound[schema.name]
                self._changed()

        return forget

    def schemas(self) -> Sequence[Schema]:
        """Return the schemas, by name."""
        return [self._known[name].schema for name in sorted(self._known)]

    def path(self, schema: str, from_version: str, to_version: str, /) -> Sequence[str]:
        """Return the versions on the shortest way."""
        return self._named(schema).path(from_version, to_version)

    def bound(self, scope: str, key: str, /) -> BoundState | None:
        """Return how an item is read and written, None if no schema is bound to it."""
        found = [name for name, known in self._known.items() if known.binds(scope, key)]
        if len(found) > 1:
            message = f"state {scope} {key!r}: it is of the schemas {', '.join(found)}; bind it to one of them"
            raise InvalidInputError(message, field="key")
        return self._bound[found[0]] if found else None

    def on_change(self, function: Callable[[], object], /) -> None:
        """Call a function whenever schemas come or go."""
        self._told.append(function)

    async def status(self, schema: str, /) -> MigrationStatus:
        """Return where a schema's items are."""
        known = self._named(schema)
        standing, _ = await self._standing(await self._open(), known)
        running = standing.run if standing.phase != "idle" else ""
        counts = standing.counts
        targets = known.targets(counts) if counts in known else ()
        return MigrationStatus(known.schema.name, counts, known.latest, known.versions, targets, running)

    async def runs(self) -> Sequence[Migration]:
        """Return the migrations that are not forgotten, oldest first."""
        storage = await self._open()
        found = [unpack(key, entry, Run) async for key, entry in storage.scan(RUNS)]
        return [run.told for run in sorted(found, key=lambda run: run.started_s)]

    async def migrate(
        self,
        to_version: str,
        /,
        *,
        schema: str = "",
        dry_run: bool = False,
        validation: Validation = "basic",
        rollback_on_error: bool = True,
    ) -> Migration:
        """Bring all items of a schema to a version; see the contract's `Migrations`."""
        if validation not in ("none", "basic", "strict", "paranoid"):
            message = f"migration: validation is {validation!r:.40}; give none, basic, strict or paranoid"
            raise InvalidInputError(message, field="validation")
        known = self._named(schema)

        async def body(asked: StateMigration) -> Migration:
            work = Forward(await self._tools(known), known, to_version, validation)
            done = await (work.rehearse() if dry_run else work.forward())
            if done.status == "failed" and rollback_on_error:
                back = await self._back(done.id, force=False, known=known)
                return structs.replace(back, errors=done.errors, duration_s=done.duration_s + back.duration_s)
            return done

        subject = StateMigration(known.schema.name, "", to_version, "", 0, 0, 0, dry_run)
        migration: Migration = await self._services.get(Operations).run(_KIND, _component(known), subject, body)
        return migration

    async def rollback(self, id: str, /, *, force: bool = False) -> Migration:
        """Put back every item as it was; see the contract's `Migrations`."""
        run = await self._run(await self._open(), id)
        known = self._known.get(run.told.schema)

        async def body(asked: StateMigration) -> Migration:
            return await self._back(id, force=force, known=known)

        component = ComponentRef("schema", run.told.schema, f"schema:{run.told.schema}")
        subject = StateMigration(run.told.schema, run.told.to_version, run.told.from_version, id, 0, 0, 0)
        migration: Migration = await self._services.get(Operations).run(_BACK, component, subject, body)
        return migration

    async def forget(self, id: str, /) -> int:
        """Delete what is kept to undo a migration; see the contract's `Migrations`."""
        storage = await self._open()
        run = await self._run(storage, id)
        at = standing_key(run.told.schema)
        entry = await storage.get(at)
        standing = Standing(run.told.to_version) if entry is None else unpack(at, entry, Standing)
        if standing.run == id:
            if standing.phase != "idle":
                message = f"migration {id}: it is not at its end; go on with it, or undo it, first"
                raise StorageError(message, code="migrating")
            # From here on nobody can undo it, so that half of what that takes is never used.
            await storage.write({at: pack(structs.replace(standing, run=""))}, expect=_versions({at: entry}))
        count = 0
        while rows := [key async for key, _ in storage.scan(before_prefix(id), limit=self._settings.batch)]:
            await storage.write(dict.fromkeys(rows))
            count += len(rows)
        await storage.write({run_key(id): None})
        return count

    async def _tools(self, known: Known) -> Tools:
        """Return what the work at a migration needs."""
        operations = self._services.get(Operations)

        async def ask(subject: StateMigration) -> None:
            await operations.ask("state_migration", subject, _component(known))

        table = (self._services.get(SettingsAccess).plain("plugins") or {}).get("state") or {}
        most = int(table.get("max_value_bytes", _MAX_BYTES))
        clock = self._services.get(Clock)
        return Tools(await self._open(), clock, self._settings.batch, most, ask, self._standing)

    def _changed(self) -> None:
        for function in self._told:
            function()

    def _named(self, schema: str) -> Known:
        if not schema and len(self._known) == 1:
            return next(iter(self._known.values()))
        if schema in self._known:
            return self._known[schema]
        names = ", ".join(sorted(self._known))
        if not names:
            message = "migration: no schema is known; declare one under plugins.migrations.schemas"
        elif not schema:
            message = f"migration: there are several schemas, {names}; name one"
        else:
            message = f"migration: there is no schema {schema[:40]!r}; there is {names}"
        raise InvalidInputError(message, field="schema")

    async def _open(self) -> Storage:
        return await self._services.get(Storages).open()

    async def _run(self, storage: Storage, id: str) -> Run:
        key = run_key(id)
        entry = await storage.get(key) if id and len(id) <= 64 else None
        if entry is None:
            message = f"migration {id[:40]!r}: there is none, or it is forgotten; ask for the list of them"
            raise InvalidInputError(message, field="id")
        return unpack(key, entry, Run)

    async def _standing(self, storage: Storage, known: Known) -> tuple[Standing, int]:
        at = standing_key(known.schema.name)
        entry = await storage.get(at)
        if entry is not None:
            return unpack(at, entry, Standing), entry.version
        # Items that were there before anybody knew of versions are of the first one; where there are none, what will
        # be written is of the newest.
        there = await _holds_any(storage, known)
        return Standing(known.versions[0] if there else known.latest), 0

    async def _settled(self, known: Known, storage: Storage) -> tuple[Standing, int]:
        """As `_standing`, and written down: from then on writes can expect it."""
        at = standing_key(known.schema.name)
        for _ in range(_TRIES):
            standing, version = await self._standing(storage, known)
            if version:
                return standing, version
            await storage.write({at: pack(standing)}, expect={at: 0})
        raise restless(known.schema.name)

    async def _back(self, id: str, *, force: bool, known: Known | None) -> Migration:
        storage, began_s = await self._open(), self._services.get(Clock).monotonic_s()
        at = await self._begin_back(storage, id, force=force, known=known)
        count = 0
        while True:
            found = await put_back(storage, id, at, self._settings.batch)
            if found == 0:
                break
            count += found or 0
            if found is None and _versions({at[0]: await storage.get(at[0])})[at[0]] != at[1]:
                raise StorageError(f"migration {id}: another process undoes it, too; ask again", code="migrating")
        took_s = self._services.get(Clock).monotonic_s() - began_s
        run = told(await self._run(storage, id), status="rolled_back", items=count, duration_s=took_s)
        run = structs.replace(run, cursor="")
        standing = Standing(run.told.from_version)
        if await storage.write({at[0]: pack(standing), run_key(id): pack(run)}, expect={at[0]: at[1]}) is None:
            raise StorageError(f"migration {id}: another process undid it, too; ask again", code="migrating")
        return run.told

    async def _begin_back(self, storage: Storage, id: str, *, force: bool, known: Known | None) -> tuple[str, int]:
        """Close the items to writers, make sure that nothing is lost, and return the standing's key and version."""
        run = await self._run(storage, id)
        at = standing_key(run.told.schema)
        entry = await storage.get(at)
        if entry is None or unpack(at, entry, Standing).run != id:
            done = run.told.status == "rolled_back"
            reason = "it is undone already" if done else "it is not the last one of its schema, or is forgotten"
            raise InvalidInputError(f"migration {id}: {reason}; nothing is changed", field="id")
        standing, version = unpack(at, entry, Standing), entry.version
        if standing.phase != "undoing":
            undoing = structs.replace(standing, phase="undoing", version=run.told.from_version)
            written = await storage.write({at: pack(undoing)}, expect={at: version})
            if written is None:
                raise StorageError(f"migration {id}: another process is at it; ask again", code="migrating")
            version = written[at]
        if run.cursor != _CHECKED:
            problem = "" if force else await undo_problem(storage, run, id, known, self._settings.batch)
            if problem:
                back = structs.replace(
                    standing,
                    phase="idle" if run.told.status == "completed" else "running",
                    version=run.told.to_version if run.told.status == "completed" else run.told.from_version,
                    target=run.told.to_version,
                )
                await storage.write({at: pack(back)}, expect={at: version})
                message = f"migration {id}: {problem}, and undoing it would lose that; ask with force to undo it anyway"
                raise StorageError(message, code="conflict")
            checked = structs.replace(run, cursor=_CHECKED)
            if await storage.write({run_key(id): pack(checked)}, expect={at: version}) is None:
                raise StorageError(f"migration {id}: another process is at it; ask again", code="migrating")
        return at, version


async def _holds_any(storage: Storage, known: Known) -> bool:
    """Return whether there is an item of a schema."""
    cursor = ""
    while rows := [place async for place, _ in storage.scan(known.prefix, after=cursor, limit=500)]:
        if any(map(known.binds_place, rows)):
            return True
        cursor = rows[-1]
    return False


def _versions(entries: dict[str, Any]) -> dict[str, int]:
    return {key: 0 if entry is None else entry.version for key, entry in entries.items()}


def _component(known: Known) -> ComponentRef:
    return ComponentRef("schema", known.schema.name, f"schema:{known.schema.name}")
