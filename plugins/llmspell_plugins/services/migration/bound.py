"""How State reads and writes the items of a schema, also while a migration runs.

Invariant: every write expects the schema's standing as it was when the value was made ready, so nothing of one version
slips in among those of another, whichever process wrote it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import trio

from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Entry, Storage

from .catalog import Known
from .engine import upgraded
from .records import Before, Standing, before_key, pack, standing_key, unpack

__all__ = ["Bound"]

_TRIES: Final = 1000
_IDLE: Final = Standing("")


class Bound:
    """The items of one schema; implements the contract's `BoundState`.

    Args:
        known: The schema.
        standing: Returns where its items are, found out and written down if it is not yet, and that record's version.
    """

    def __init__(self, known: Known, standing: Callable[[Storage], Awaitable[tuple[Standing, int]]]) -> None:
        self._known = known
        self._standing = standing
        self._at = standing_key(known.schema.name)
        self._last: tuple[int, Standing] = (0, _IDLE)

    async def read(self, storage: Storage, place: str, /) -> Entry | None:
        """Return the entry, its value in the version that counts now."""
        for _ in range(_TRIES):
            version, standing = await self._now(storage)
            if standing.phase == "idle":
                entry = await storage.get(place)
            else:
                entry = await self._under_way(storage, place, standing)
            # What was looked up piece by piece belongs together if nothing began or ended meanwhile.
            if (await self._now(storage))[0] == version:
                return entry
            await trio.lowlevel.checkpoint()
        raise _unsettled(place)

    async def write(
        self, storage: Storage, place: str, value: bytes | None, expect: int | None, /
    ) -> Mapping[str, int] | None:
        """Write or delete it, so that the migration that may run knows of it; see the contract."""
        made_for = ""
        for _ in range(_TRIES):
            standing, version = await self._standing(storage)
            if standing.phase == "undoing":
                message = (
                    f"schema {self._known.schema.name}: a migration is being undone; try again when that has ended"
                )
                raise StorageError(message, code="migrating")
            made_for = made_for or standing.counts
            if value is not None and standing.counts != made_for:
                value = await self._along(place, value, self._known.path(made_for, standing.counts))
                made_for = standing.counts
            expected = {self._at: version}
            if expect is not None:
                expected[place] = expect
            batch: dict[str, bytes | None] = {place: value}
            if standing.phase == "running":
                mark = before_key(standing.run, place)
                if await storage.get(mark) is None:
                    there = await storage.get(place)
                    expected = {place: 0 if there is None else there.version, **expected, mark: 0}
                    batch[mark] = pack(Before(place, None if there is None else there.value, b""))
            written = await storage.write(batch, expect=expected)
            if written is not None:
                return written
            there = await storage.get(place)
            if expect is not None and (0 if there is None else there.version) != expect:
                return None
            await trio.lowlevel.checkpoint()
        raise _unsettled(place)

    async def _now(self, storage: Storage) -> tuple[int, Standing]:
        entry = await storage.get(self._at)
        if entry is None:
            return 0, _IDLE
        if self._last[0] != entry.version:
            self._last = entry.version, unpack(self._at, entry, Standing)
        return self._last

    async def _under_way(self, storage: Storage, place: str, standing: Standing) -> Entry | None:
        mark = before_key(standing.run, place)
        for _ in range(_TRIES):
            before = await storage.get(mark)
            entry = await storage.get(place)
            again = await storage.get(mark)
            if (before is None) == (again is None):
                break
        else:
            raise _unsettled(place)
        if standing.phase == "undoing":
            if before is None:
                return entry
            was = unpack(mark, before, Before)
            return None if was.value is None else Entry(was.value, 1 if entry is None else entry.version)
        if before is not None or entry is None:
            return entry
        path = self._known.path(standing.version, standing.target)
        return Entry(await self._along(place, entry.value, path), entry.version)

    async def _along(self, place: str, value: bytes, path: tuple[str, ...]) -> bytes:
        work = partial(upgraded, self._known, path, place, value)
        return await trio.to_thread.run_sync(work) if self._known.calls(path) else work()


def _unsettled(place: str) -> StorageError:
    scope, _, key = place.removeprefix("state:").partition("\n")
    return StorageError(f"state {scope} {key!r}: it is written too often to be read or written; try again")
