"""The service StateScopes: whole scopes copied, moved and cleared, in rows that are each one write.

Invariant: a row is in the storage together with the place that it reached, so nothing of it is half-done; and a value
is copied only as the version that was read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, Literal

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs import InvalidInputError, Services, State, Storage
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.state_scopes import ScopeChange, StateScopes
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.transaction import Transaction

from .state_address import address, canonical

__all__ = ["StateScopeService"]

_ROW: Final = 100
_TRIES: Final = 100
_KIND: Final = OperationKind("state_scope", result=ScopeChange)


class _Place(Struct, frozen=True):
    """How far a change of a scope is.

    Attributes:
        change: What is done; its counts are those of the rows so far.
        key: The last key that was looked at.
    """

    change: ScopeChange
    key: str = ""


class StateScopeService:
    """Implements the contract's `StateScopes`."""

    name: ClassVar[str] = "state_scopes"
    provides: ClassVar[type[Any]] = StateScopes

    def __init__(self, settings: None, services: Services) -> None:
        self._services = services

    async def copy(self, source: str, target: str, /, *, overwrite: bool = True) -> ScopeChange:
        """Copy every value of a scope to another one; see the contract's `StateScopes`."""
        return await self._change("copy", source, target, overwrite=overwrite)

    async def move(self, source: str, target: str, /, *, overwrite: bool = True) -> ScopeChange:
        """Move every value of a scope to another one; see the contract's `StateScopes`."""
        return await self._change("move", source, target, overwrite=overwrite)

    async def clear(self, scope: str, /) -> ScopeChange:
        """Delete every value of a scope; see the contract's `StateScopes`."""
        return await self._change("clear", scope, "", overwrite=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Return a block whose writes happen together; see the contract's `StateScopes`."""
        storage = await self._services.get(Storages).open()
        transaction = Transaction(storage)
        with transaction.around():
            yield
        batch, expect = transaction.commitment()
        if batch and await storage.write(batch, expect=expect) is None:
            message = "state: what the transaction expected is no longer there; read it and try again"
            raise StorageError(message, code="conflict")

    async def _change(
        self, verb: Literal["copy", "move", "clear"], source: str, target: str, *, overwrite: bool
    ) -> ScopeChange:
        source, _ = canonical(source, "any")
        if target or verb != "clear":
            target, _ = canonical(target, "any")
        if source == target:
            raise InvalidInputError(f"state {source}: it is to be {verb}d to itself; name two scopes", field="target")

        async def body(asked: ScopeChange) -> ScopeChange:
            return await self._all(asked, overwrite=overwrite)

        component = ComponentRef("state", source, f"state:{source}")
        asked = ScopeChange(verb, source, target)
        change: ScopeChange = await self._services.get(Operations).run(_KIND, component, asked, body)
        return change

    async def _all(self, asked: ScopeChange, *, overwrite: bool) -> ScopeChange:
        storage = await self._services.get(Storages).open()
        mark = _mark(asked)
        entry = await storage.get(mark)
        place = _Place(asked) if entry is None else _decoded(mark, entry.value)
        version = 0 if entry is None else entry.version
        change = structs.replace(asked, resumed=entry is not None)
        keys = [key for key in await self._services.get(State).keys(asked.source) if key > place.key]
        for start in range(0, len(keys), _ROW):
            row = keys[start : start + _ROW]
            after = _Place(asked, row[-1])
            done, kept, version = await self._row(storage, asked, row, (mark, after, version), overwrite=overwrite)
            change = structs.replace(change, items=change.items + done, kept=change.kept + kept)
        if version:
            await storage.write({mark: None}, expect={mark: version})
        return change

    async def _row(
        self,
        storage: Storage,
        asked: ScopeChange,
        row: Sequence[str],
        marked: tuple[str, _Place, int],
        *,
        overwrite: bool,
    ) -> tuple[int, int, int]:
        """Do one row; returns how many were done, how many kept, and the version of its place."""
        mark, after, version = marked
        for _ in range(_TRIES):
            transaction = Transaction(storage)
            done = kept = 0
            with transaction.around():
                for key in row:
                    left = await self._one(transaction, asked, key, overwrite=overwrite)
                    done, kept = done + (left is True), kept + (left is False)
            batch, expect = transaction.commitment()
            batch[mark] = msgspec.msgpack.encode(after)
            written = await storage.write(batch, expect={**expect, mark: version})
            if written is not None:
                return done, kept, written[mark]
            entry = await storage.get(mark)
            if (0 if entry is None else entry.version) != version:
                message = f"state {asked.source}: somebody else does the same to it; ask again"
                raise StorageError(message, code="conflict")
            await trio.lowlevel.checkpoint()
        raise StorageError(f"state {asked.source}: it is written too often to be read; try again", code="conflict")

    async def _one(self, transaction: Transaction, asked: ScopeChange, key: str, *, overwrite: bool) -> bool | None:
        """Do it to one value: True if it was done, False if it was kept, None if it is gone."""
        state = self._services.get(State)
        if asked.verb == "clear":
            return True if await state.delete(key, scope=asked.source) else None
        value, version = await state.entry(key, scope=asked.source)
        if version == 0:
            return None
        if not overwrite:
            _, there = await state.entry(key, scope=asked.target)
            if there:
                return False
        await _expect(transaction, address(*canonical(asked.source, key)), version)
        await state.set(key, value, scope=asked.target, expect=None if overwrite else 0)
        if asked.verb == "move":
            await state.delete(key, scope=asked.source)
        return True


def _mark(asked: ScopeChange) -> str:
    """Return where its place is; hashed, since two scopes may be longer than a key may be."""
    words = "\n".join((asked.verb, asked.source, asked.target))
    return f"state-scope/{blake3(words.encode()).hexdigest(16)}"


def _decoded(mark: str, value: bytes) -> _Place:
    try:
        return msgspec.msgpack.decode(value, type=_Place)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise StorageError(f"storage key {mark}: it holds no place of a scope; restore a backup") from None


async def _expect(transaction: Transaction, place: str, version: int) -> None:
    """Let the row be written only if this version is still there; what is kept in memory has no place."""
    there = await transaction.get(place)
    if there is not None:
        await transaction.write({}, expect={place: version})
