"""The storages that are open; keeps the contract's `Storages`.

A storage is used within ``async with``, which one task must enter and leave: here a task for each, shielded, so that a
cancelled host still closes what it opened after everything that uses it has ended.

Invariant: a storage is opened once, whoever asks for it and however many do so at once; one that could not be opened is
tried again by the next who asks.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from llmspell.plugins import Shelf
from llmspell_hookspecs import Storage, StorageError

__all__ = ["StorageHolder", "hold_storages"]

_log = logging.getLogger("llmspell")


class StorageHolder:
    """Opens storages and holds them open.

    Args:
        nursery: Outlives everything that uses a storage.

    Attributes:
        shelf: The backends, by name.
        backend: Answers the name of the one that settings choose.
    """

    shelf: Shelf[Storage]
    backend: Callable[[], str]

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._held: dict[str, _Held] = {}
        self._closing = trio.Event()

    async def open(self, name: str = "", /) -> Storage:
        """Answer an open storage; see the contract's `Storages`."""
        name = name or self.backend()
        if self._closing.is_set():
            raise StorageError(f"storage {name}: the host closes; use it while it is open", code="closed")
        held = self._held.get(name)
        if held is None:
            held = _Held(name, self.shelf.get(name))
            self._held[name] = held
            self._nursery.start_soon(self._hold, held, name=f"storage {name}")
        await held.settled.wait()
        if held.error is not None:
            raise held.error
        return held.storage

    def close(self) -> None:
        """Let every storage close."""
        self._closing.set()

    async def _hold(self, held: _Held) -> None:
        try:
            with trio.CancelScope(shield=True):
                async with held.storage:
                    held.settled.set()
                    await self._closing.wait()
        except Exception as error:
            if held.settled.is_set():
                _log.warning("storage %s: it did not close: %s", held.name, error)
            held.error = error
            del self._held[held.name]
        finally:
            held.settled.set()


class _Held:
    """A storage that is open, or is being opened."""

    __slots__ = ("error", "name", "settled", "storage")

    def __init__(self, name: str, storage: Storage) -> None:
        self.name = name
        self.storage = storage
        self.settled = trio.Event()
        self.error: Exception | None = None


@asynccontextmanager
async def hold_storages() -> AsyncIterator[StorageHolder]:
    """Answer a holder for the block; what it opened is closed when the block is left."""
    async with trio.open_nursery() as nursery:
        holder = StorageHolder(nursery)
        try:
            yield holder
        finally:
            holder.close()
