"""The service Storages: the storages of a host, by name, closed while one of them is half-way to a backup.

Invariant: while a storage holds a restore's marker, nothing but that restore writes to it, whichever process asks: each
write expects that there is none. Who asks for the storage then, or reads it in the process that restores, is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn, Self

import trio

from llmspell_hookspecs import Services, Storage
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.kind import Registries, Registry
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.storage import Entry, Storages

__all__ = ["RESTORING", "Fenced", "OpenStorages"]

_STALE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""
_TRIES: Final = 3
"""How often what expects nothing is written while a restore begins and ends; a storage that then says no is broken."""
RESTORING: Final = "restore/marker"
"""The key of a restore that is not at its end."""


class OpenStorages:
    """Opens storages, each once for all who ask; implements the contract's `Storages`."""

    name: ClassVar[str] = "storages"
    provides: ClassVar[type[Any]] = Storages

    def __init__(self, settings: None, services: Services) -> None:
        self._registry: Registry[Storage] = services.get(Registries).of("llmspell.storage")
        self._settings = services.get(SettingsAccess)
        self._fenced: dict[str, Fenced] = {}

    async def open(self, name: str = "", /) -> Storage:
        """Return an open storage; see the contract's `Storages`."""
        await trio.lowlevel.checkpoint()
        name = name or self.default
        storage = await self._enter(name)
        fenced = self._fenced.get(name)
        if fenced is None or fenced.storage is not storage:
            fenced = self._fenced[name] = Fenced(name, storage)
        return fenced

    @property
    def default(self) -> str:
        """The name of the backend that settings name."""
        name: str = self._settings.section("storage").backend
        return name

    async def bare(self, name: str) -> Storage:
        """Return the storage itself, for who makes and restores backups: what it holds as it lies there."""
        return below(await self._enter(name))

    async def close_to_others(self, name: str, reason: str) -> None:
        """Refuse whoever reads or writes a storage in this process; an empty reason ends that."""
        storage = await self._enter(name)
        fenced = self._fenced.get(name)
        if fenced is None or fenced.storage is not storage:
            fenced = self._fenced[name] = Fenced(name, storage)
        fenced.close_to_others(reason)

    async def _enter(self, name: str) -> Storage:
        if self._registry.closing:
            raise StorageError(f"storage {name}: the host closes; use it while it is open", code="closed")
        return await self._registry.enter(name)


class Fenced:
    """A storage that is closed to others while it is restored; implements `Storage`.

    The first reading looks for a restore that is not at its end. From then on reading goes straight to what it holds: a
    layer would cost as much as the reading.

    Args:
        name: The backend's.
        storage: What it holds.

    Attributes:
        storage: What it holds.
    """

    def __init__(self, name: str, storage: Storage) -> None:
        self.name = name
        self.storage = storage
        self._below = below(storage)
        self._reason = ""
        self._checked = False
        self.close_to_others("")

    def __getattr__(self, name: str) -> Any:
        """Return what the storage offers beside the contract."""
        return getattr(self.storage, name)

    async def __aenter__(self) -> Self:
        """Return it; it is open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close nothing: the host does."""

    async def get(self, key: str, /) -> Entry | None:
        """Return the entry, or None."""
        return await self.storage.get(key)

    def scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        """Return an iterator over entries in order of keys."""
        return self.storage.scan(prefix, after=after, limit=limit)

    async def write(
        self, batch: Mapping[str, bytes | None], /, *, expect: Mapping[str, int] | None = None
    ) -> Mapping[str, int] | None:
        """Write all of it or nothing, unless it is being restored; see the contract's `Storage`."""
        if self._reason:
            self._refuse()
        batch = dict(batch)
        expected = {RESTORING: 0} if expect is None else {**expect, RESTORING: 0}
        for _ in range(1 if expect else _TRIES):
            written = await self.storage.write(batch, expect=expected)
            if written is not None:
                return written
            await trio.sleep(_STALE_S)
            await self.check()
        return None

    async def close(self) -> None:
        """Close the storage; see the contract's `Storage`."""
        await self.storage.close()

    async def check(self) -> None:
        """Refuse if it is half-way to a backup.

        Raises:
            StorageError: It is.
        """
        if await self._below.get(RESTORING) is not None:
            message = (
                f"storage {self.name}: it is half-way back to a backup; wait, or go on with 'llmspell backup restore "
                "--resume', or undo it with 'llmspell backup restore --abandon'"
            )
            raise StorageError(message, code="restoring")

    def close_to_others(self, reason: str) -> None:
        """Refuse whoever reads or writes, for a reason; empty to open it."""
        self._reason = reason
        first = {"get": self._first_get, "scan": self._first_scan, "snapshot": self._first_snapshot}
        for name, checking in first.items():
            if hasattr(self.storage, name):
                open_way = getattr(self.storage, name) if self._checked else checking
                setattr(self, name, self._refused if reason else open_way)

    async def first(self) -> None:
        """Look once whether it is half-way to a backup."""
        await self.check()
        if not self._checked:
            self._checked = True
            self.close_to_others(self._reason)

    async def _first_get(self, key: str, /) -> Entry | None:
        await self.first()
        return await self.storage.get(key)

    def _first_scan(self, prefix: str, /, *, after: str = "", limit: int = 1000) -> AsyncIterator[tuple[str, Entry]]:
        return _Checked(self, self.storage.scan(prefix, after=after, limit=limit))

    @asynccontextmanager
    async def _first_snapshot(self) -> AsyncIterator[Any]:
        await self.first()
        storage: Any = self.storage
        async with storage.snapshot() as snapshot:
            yield snapshot

    def _refused(self, *given: Any, **named: Any) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StorageError(f"storage {self.name}: {self._reason}", code="restoring")


class _Checked:
    """A scan that looks once whether its storage is half-way to a backup."""

    def __init__(self, fenced: Fenced, rows: AsyncIterator[tuple[str, Entry]]) -> None:
        self._fenced: Fenced | None = fenced
        self._rows = rows

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[str, Entry]:
        if self._fenced is not None:
            await self._fenced.first()
            self._fenced = None
        return await anext(self._rows)


def below(storage: Storage) -> Storage:
    """Return what lies below a storage that only bends the values of another one; itself if it is none such."""
    inner: Storage = getattr(storage, "sealed", storage)
    return inner
