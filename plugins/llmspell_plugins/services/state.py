"""The service State: values under keys in scopes, kept in the configured storage.

Each method is an operation of its own kind, on the component ``state:<scope>``. The storage is opened by the first one.

Invariant: a version that is answered is that of the value written, or one that nothing has any more; so a write that
expects it never overwrites what somebody else wrote in between.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NoReturn

import trio
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import InvalidInputError, OperationCancelledError, Policy, Services, State, Storage
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.migration import BoundState, Migrations
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.payload import payload_of
from llmspell_hookspecs.state import StateConflict, StateDelete, StateRead, StateValue, StateWrite
from llmspell_hookspecs.storage import Entry, Storages
from llmspell_hookspecs.transaction import joined
from llmspell_plugins.storage.memory import Memory

from .state_address import SCOPES, address, canonical, prefix_of
from .state_value import decode, encoded

__all__ = ["StateService", "StateSettings"]

_READERS: Final = 4096
_STALE_S: Final = 0.002
"""Longer than a storage may miss what another process wrote."""


class StateSettings(BaseModel):
    """What ``state`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_value_bytes: int = Field(default=10_000_000, ge=1, description="How large one value may be, encoded.")
    ephemeral: Annotated[tuple[str, ...], Policy.FREE] = Field(
        default=(), description="Scopes, as globs, whose values are only kept in memory, as long as the host is open."
    )
    sensitive: Annotated[tuple[str, ...], Policy.SUPERSET_ONLY] = Field(
        default=(), description="Scopes, as globs, that are written to an encrypted storage or not at all."
    )


class StateService:
    """Implements the contract's `State`."""

    name: ClassVar[str] = "state"
    provides: ClassVar[type[Any]] = State
    Settings: ClassVar[type[StateSettings]] = StateSettings

    def __init__(self, settings: StateSettings, services: Services) -> None:
        self._max_bytes = settings.max_value_bytes
        self._services = services
        self._operations = services.get(Operations)
        self._storage: Storage | None = None
        self._ephemeral, self._sensitive = Globs(settings.ephemeral), Globs(settings.sensitive)
        self._classed = bool(settings.ephemeral or settings.sensitive)
        self._memory: Memory | None = None
        self._reader = functools.lru_cache(_READERS)(self._make_reader)
        self._bound = functools.lru_cache(_READERS)(self._find_bound)

    async def get(self, key: str, /, *, scope: str = "global") -> Any:
        """Return the value, None if there is none."""
        return (await self._reader(scope, key)()).value

    async def entry(self, key: str, /, *, scope: str = "global") -> tuple[Any, int]:
        """Return the value and its version, None and 0 if there is none."""
        found = await self._reader(scope, key)()
        return found.value, found.version

    async def set(self, key: str, value: Any, /, *, scope: str = "global", expect: int | None = None) -> int:
        """Keep a value and return its version; see the contract's `State`."""
        scope, key = canonical(scope, key)
        if expect is not None and (type(expect) is not int or expect < 0):
            message = f"state {scope} {key!r}: the expected version is {expect!r}; give a whole number from 0"
            raise InvalidInputError(message, field="expect")
        write = StateWrite(scope, key, value, expect)
        operation = Operation(_WRITE, _component(scope), write, self._write, repeatable=expect is None)
        written = await self._operations.execute(operation)
        version: int = written.version
        return version

    async def delete(self, key: str, /, *, scope: str = "global") -> bool:
        """Forget a value; False if there was none."""
        scope, key = canonical(scope, key)
        delete = Operation(_DELETE, _component(scope), StateDelete(scope, key), self._delete)
        deleted = await self._operations.execute(delete)
        found: bool = deleted.found
        return found

    async def keys(self, scope: str = "global", /, *, prefix: str = "", limit: int | None = None) -> Sequence[str]:
        """Return the keys in order, at most ``limit``."""
        if limit is not None and limit < 0:
            raise InvalidInputError(f"state {scope}: limit is {limit}; give 0 or more", field="limit")
        scope, _ = canonical(scope, "any")
        question = StateRead(scope, "", prefix, limit)
        reading = Operation(_READ, _component(scope), question, self._read, repeatable=True)
        listing = await self._operations.execute(reading)
        return list(listing.value or ())

    def _make_reader(self, scope: str, key: str) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Return what reads this key: all that it asks is frozen, so one serves every read."""
        scope, key = canonical(scope, key)
        question, place, absent = StateRead(scope, key), address(scope, key), StateValue(scope, key, None, False)
        bound = self._bound(scope, key)

        async def read(approved: StateRead) -> StateValue:
            if approved is not question:  # a hook changed it
                return await self._read(approved)
            storage = joined(self._storage or await self._open())
            if self._classed:
                storage = await self._kept_in(scope, storage)
            entry = await (storage.get(place) if bound is None else bound.read(storage, place))
            if entry is None:
                return absent
            return StateValue(scope, key, decode(place, entry.value), True, entry.version)

        return self._operations.prepare(_READ, _component(scope), question, read, repeatable=True)

    # The bodies.

    async def _read(self, read: StateRead) -> StateValue:
        storage = await self._kept_in(read.scope, joined(self._storage or await self._open()))
        if not read.key:
            return StateValue(read.scope, "", await self._keys(storage, read))
        place, bound = address(read.scope, read.key), self._bound(read.scope, read.key)
        entry = await (storage.get(place) if bound is None else bound.read(storage, place))
        if entry is None:
            return StateValue(read.scope, read.key, None, False)
        return StateValue(read.scope, read.key, decode(place, entry.value), True, entry.version)

    async def _keys(self, storage: Storage, read: StateRead) -> list[str]:
        """Return the keys of a scope; of a bare kind those of its ids too, each asked for by itself for its guards."""
        found = await _list(storage, read)
        if read.scope not in SCOPES[1:]:
            return found
        id, colon, rest = read.prefix.partition(":")
        for each in [id] if colon else await _ids(storage, read.scope, id):
            try:
                keys = await self.keys(f"{read.scope}:{each}", prefix=rest)
            except OperationCancelledError:
                continue
            found += [f"{each}:{key}" for key in keys]
        return sorted(found)[: read.limit]

    async def _write(self, write: StateWrite) -> StateValue:
        place = address(write.scope, write.key)
        value = await encoded(f"state {write.scope} {write.key!r}", write.value, self._max_bytes)
        storage = await self._kept_in(write.scope, joined(self._storage or await self._open()))
        if self._classed:
            self._check_sensitive(write.scope, write.key, storage)
        written = await self._put(storage, write, place, value, write.expect)
        if written is None and write.expect is not None:
            await self._conflict(storage, place, write)
        return StateValue(write.scope, write.key, write.value, True, _written(storage, place, written))

    async def _delete(self, delete: StateDelete) -> StateValue:
        storage = await self._kept_in(delete.scope, joined(self._storage or await self._open()))
        place = address(delete.scope, delete.key)
        while True:
            entry = await storage.get(place)
            if entry is None:
                return StateValue(delete.scope, delete.key, None, False)
            if await self._put(storage, delete, place, None, entry.version) is not None:
                return StateValue(delete.scope, delete.key, _decoded(place, entry), True, entry.version)
            await trio.sleep(_STALE_S)

    async def _kept_in(self, scope: str, storage: Storage) -> Storage:
        """Return where the values of a scope are: in the storage, or in memory if they are ephemeral."""
        if not self._classed or not self._ephemeral.match(scope):
            return storage
        if self._memory is None:
            memory = Memory()
            self._memory = await memory.__aenter__()  # it holds nothing that has to be given back
        return self._memory

    def _check_sensitive(self, scope: str, key: str, storage: Storage) -> None:
        if storage is self._memory or not self._sensitive.match(scope):
            return
        if getattr(self._storage, "sealed", None) is None:
            message = (
                f"state {scope} {key!r}: it is sensitive, and the storage is not encrypted; "
                "set storage.backend to encrypted, or let the scope be ephemeral"
            )
            raise StorageError(message, code="sensitive")

    async def _put(
        self, storage: Storage, asked: StateWrite | StateDelete, place: str, value: bytes | None, expect: int | None
    ) -> Mapping[str, int] | None:
        """Write or delete, through the schema that the item is bound to, if there is one."""
        bound = self._bound(asked.scope, asked.key)
        if bound is not None:
            return await bound.write(storage, place, value, expect)
        return await storage.write({place: value}, expect=None if expect is None else {place: expect})

    def _find_bound(self, scope: str, key: str) -> BoundState | None:
        if self._classed and self._ephemeral.match(scope):
            return None
        migrations = self._migrations
        return None if migrations is None else migrations.bound(scope, key)

    @functools.cached_property
    def _migrations(self) -> Migrations | None:
        """What knows the schemas; None if no plugin offers it."""
        try:
            migrations = self._services.get(Migrations)
        except ComponentNotFoundError:
            return None
        migrations.on_change(self._reader.cache_clear)
        migrations.on_change(self._bound.cache_clear)
        return migrations

    async def _conflict(self, storage: Storage, place: str, write: StateWrite) -> NoReturn:
        expected: Any = write.expect
        if (found := _version(await storage.get(place))) == expected:
            await trio.sleep(_STALE_S)
            found = _version(await storage.get(place))
        conflict = StateConflict(write.scope, write.key, expected, found)
        await self._operations.ask("state_conflict", conflict, _component(write.scope))
        message = f"state {write.scope} {write.key!r}: version {found} is there, not {expected}; read it and try again"
        raise StorageError(message, code="conflict")

    async def _open(self) -> Storage:
        self._storage = await self._services.get(Storages).open()
        return self._storage


def _written(storage: Storage, place: str, versions: Any) -> int:
    """Return the version that a storage tells of what was written; a backend that tells none is named."""
    version = versions.get(place) if isinstance(versions, Mapping) else None
    if isinstance(version, int) and version > 0:
        return version
    name = getattr(storage, "name", type(storage).__name__)
    told = f"{type(versions).__name__}" if not isinstance(versions, Mapping) else f"{version!r:.40} for the key"
    message = f"storage {name}: it wrote, and answered {told}, no new version; report it to its author"
    raise StorageError(message)


def _decoded(place: str, entry: Entry) -> Any:
    """The value of what was deleted; None if it was none of ours."""
    try:
        return decode(place, entry.value)
    except StorageError:
        return None


async def _list(storage: Storage, read: StateRead) -> list[str]:
    prefix, start = prefix_of(read.scope, read.prefix), len(prefix_of(read.scope, ""))
    limit = sys.maxsize if read.limit is None else read.limit
    return [place[start:] async for place, _ in storage.scan(prefix, limit=limit)]


async def _ids(storage: Storage, kind: str, beginning: str) -> list[str]:
    """Return the ids of a kind of scope that hold a value, in order."""
    prefix = f"state:{kind}:{beginning}"
    start = len(f"state:{kind}:")
    return list(
        dict.fromkeys([place[start:].partition("\n")[0] async for place, _ in storage.scan(prefix, limit=sys.maxsize)])
    )


def _component(scope: str) -> ComponentRef:
    return ComponentRef("state", scope, f"state:{scope}")


def _version(entry: Entry | None) -> int:
    return 0 if entry is None else entry.version


def _to_value(value: Any) -> StateValue:
    """Return a bare value, or what another component yielded, as a value that is not kept here."""
    return value if isinstance(value, StateValue) else StateValue(value=payload_of(value))


_READ: Final = OperationKind(
    name="state_read",
    before="before_state_read",
    after="after_state_read",
    result=StateValue,
    to_result=_to_value,
    payload=structs.asdict,
    named=("scope", "key"),
)
_WRITE: Final = OperationKind(
    name="state_write",
    before="before_state_write",
    after="after_state_write",
    result=StateValue,
    to_result=_to_value,
    payload=structs.asdict,
    named=("scope", "key"),
)
_DELETE: Final = OperationKind(
    name="state_delete",
    before="before_state_delete",
    after="after_state_delete",
    result=StateValue,
    to_result=_to_value,
    payload=structs.asdict,
    named=("scope", "key"),
)
