"""One process's work at a migration forward: a batch at a time, from where it stands.

Invariant: a batch is written only as long as the migration stands where it stood when the batch was read.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import trio
from msgspec import Struct, structs

from llmspell_hookspecs import OperationCancelledError, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.migration import Migration
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.state import StateMigration

from .catalog import Known
from .engine import Moved, Page, begun, read_page, told, work_out, write_of
from .records import Run, Standing, pack, run_key, standing_key, unpack

__all__ = ["Forward", "Tools", "restless"]

_SAMPLES: Final = 3
_MOST_ERRORS: Final = 20
_TRIES: Final = 1000


class Tools(Struct, frozen=True):
    """What the work needs.

    Attributes:
        storage: Where the items are.
        clock: For how long it takes.
        batch: How many items are written at once.
        max_bytes: How large a value may be.
        ask: Asks the hooks about a batch; raises `OperationCancelledError` if one cancelled.
        standing: Returns where a schema's items are, and the version of that record.
    """

    storage: Storage
    clock: Clock
    batch: int
    max_bytes: int
    ask: Callable[[StateMigration], Awaitable[object]]
    standing: Callable[[Storage, Known], Awaitable[tuple[Standing, int]]]


class Forward:
    """Brings the items of a schema to a version.

    Args:
        tools: What it needs.
        known: The schema.
        to_version: Where to.
        validation: How what comes out is checked.
    """

    def __init__(self, tools: Tools, known: Known, to_version: str, validation: str) -> None:
        self._tools = tools
        self._known = known
        self._storage = tools.storage
        self._to = to_version
        self._validation = validation
        self._at = standing_key(known.schema.name)
        self._batches = 0

    async def rehearse(self) -> Migration:
        """Work everything out and write nothing."""
        began_s = self._tools.clock.monotonic_s()
        standing, _ = await self._tools.standing(self._storage, self._known)
        self._check_phase(standing)
        if standing.version == self._to:
            return self._current()
        path = self._known.path(standing.version, self._to)
        transform = self._known.transform(path, self._validation)
        items = changed = skipped = 0
        errors: tuple[str, ...] = ()
        samples: tuple[str, ...] = ()
        run, cursor = standing.run if standing.phase == "running" else "", ""
        while True:
            page = await read_page(self._storage, self._known, run, cursor, self._tools.batch)
            if not page.cursor:
                break
            cursor, skipped = page.cursor, skipped + page.skipped
            moved = await self._moved(transform, page, _SAMPLES - len(samples))
            if page.items:
                await self._ask(path, "", page, items)
            errors = (*errors, *moved.errors)[:_MOST_ERRORS]
            samples = (*samples, *moved.samples)
            for (_, entry), value in zip(page.items, moved.values, strict=True):
                items += value is not None
                changed += value is not None and value != entry.value
        took_s = self._tools.clock.monotonic_s() - began_s
        name = self._known.schema.name
        counts = items, changed, skipped, took_s
        return Migration("", name, path[0], self._to, "dry_run", path, *counts, errors, samples)

    async def forward(self) -> Migration:
        """Bring all items over, from where the migration stands."""
        for _ in range(_TRIES):
            standing, version = await self._tools.standing(self._storage, self._known)
            self._check_phase(standing)
            if standing.phase == "idle" and standing.version == self._to:
                if version or await self._storage.write({self._at: pack(standing)}, expect={self._at: 0}) is not None:
                    return self._current()
                continue
            if standing.phase == "running":
                return await self._go_on(standing.run, version)
            started = await self._begin(standing, version)
            if started is not None:
                return await self._go_on(*started)
        raise restless(self._known.schema.name)

    async def _begin(self, standing: Standing, version: int) -> tuple[str, int] | None:
        path = self._known.path(standing.version, self._to)
        self._known.transform(path, self._validation)
        id = secrets.token_hex(8)
        first = Migration(id, self._known.schema.name, path[0], self._to, "running", path)
        run = Run(first, self._validation, self._known.digest(path), started_s=self._tools.clock.now_s())
        batch, expect = begun(run, id, standing, version, self._at)
        written = await self._storage.write(batch, expect=expect)
        return None if written is None else (id, written[self._at])

    async def _go_on(self, id: str, version: int) -> Migration:
        key = run_key(id)
        run, run_version = await self._load(key)
        path = run.told.path
        if self._known.digest(path) != run.digest:
            message = f"migration {id}: its steps are not those it began with; put them back, or undo the migration"
            raise StorageError(message, code="migration")
        transform = self._known.transform(path, self._validation)
        run = told(run, status="running", errors=())
        ticked_s = self._tools.clock.monotonic_s()
        while True:
            page = await read_page(self._storage, self._known, id, run.cursor, self._tools.batch)
            moved = await self._moved(transform, page)
            if moved.errors:
                return await self._end(key, run_version, told(run, status="failed", errors=moved.errors))
            if page.items:
                try:
                    await self._ask(path, id, page, run.told.items)
                except OperationCancelledError:
                    with trio.CancelScope(shield=True):
                        await self._end(key, run_version, told(run, status="stopped"))
                    raise
            batch, expect, changed = write_of(page, moved, id)
            now_s = self._tools.clock.monotonic_s()
            after = told(
                run,
                items=run.told.items + len(page.items),
                changed=run.told.changed + changed,
                skipped=run.told.skipped + page.skipped,
                duration_s=run.told.duration_s + now_s - ticked_s,
                status="running" if page.cursor else "completed",
            )
            after = structs.replace(after, cursor=page.cursor)
            batch[key] = pack(after)
            expect |= {key: run_version, self._at: version}
            if not page.cursor:
                batch[self._at] = pack(Standing(self._to, "idle", id))
            written = await self._storage.write(batch, expect=expect)
            if written is None:
                run, run_version = await self._again(key, version)
                if run.told.status == "completed":
                    return run.told
                continue
            if self._validation == "paranoid":
                await self._read_back(page, moved)
            run, run_version, ticked_s = after, written[key], now_s
            if not page.cursor:
                return run.told

    async def _again(self, key: str, version: int) -> tuple[Run, int]:
        """Return the run as it is now: an item was written meanwhile, or another process is at it, too."""
        run, run_version = await self._load(key)
        if run.told.status != "completed":
            _, found = await self._tools.standing(self._storage, self._known)
            if found != version:
                message = f"migration {run.told.id}: another process ended it or undoes it; ask where it stands"
                raise StorageError(message, code="migrating")
        return run, run_version

    async def _end(self, key: str, run_version: int, run: Run) -> Migration:
        """Write down that it goes no further now."""
        await self._storage.write({key: pack(run)}, expect={key: run_version})
        return run.told

    async def _load(self, key: str) -> tuple[Run, int]:
        entry = await self._storage.get(key)
        if entry is None:
            raise StorageError(f"storage key {key}: the record of a migration is gone; restore a backup")
        return unpack(key, entry, Run), entry.version

    async def _moved(self, transform: Any, page: Page, samples: int = 0) -> Moved:
        work = partial(work_out, transform, page, self._tools.max_bytes, samples)
        return await trio.to_thread.run_sync(work)

    async def _ask(self, path: Sequence[str], id: str, page: Page, done: int) -> None:
        self._batches += 1
        name = self._known.schema.name
        subject = StateMigration(name, path[0], self._to, id, self._batches, len(page.items), done, not id)
        await self._tools.ask(subject)

    async def _read_back(self, page: Page, moved: Moved) -> None:
        for (place, _), value in zip(page.items, moved.values, strict=True):
            there = await self._storage.get(place)
            if there is None or there.value != value:
                message = f"{place!r}: what was written is not what is there; others wrote it, or the storage is broken"
                raise StorageError(f"migration: storage key {message}", code="migration")

    def _check_phase(self, standing: Standing) -> None:
        name = self._known.schema.name
        if standing.phase == "undoing":
            message = f"schema {name}: migration {standing.run} is being undone; let that end first"
            raise StorageError(message, code="migrating")
        if standing.phase == "running" and standing.target != self._to:
            message = (
                f"schema {name}: migration {standing.run} to {standing.target} is not at its end; "
                "go on with that one, or undo it"
            )
            raise StorageError(message, code="migrating")

    def _current(self) -> Migration:
        return Migration("", self._known.schema.name, self._to, self._to, "already_current", (self._to,))


def restless(name: str) -> StorageError:
    """Return the error for a schema that never comes to rest."""
    return StorageError(f"schema {name}: others keep beginning migrations of it; try again", code="migrating")
