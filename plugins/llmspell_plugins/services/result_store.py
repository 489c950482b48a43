"""The service ResultStore: results that hooks ask to keep, as MessagePack in the configured storage.

An entry says when it was written and for how long it is fresh, by the clock on the wall, which may step back: what was
written later than now counts as written now.

Invariant: what is found is equal to what was kept, of the same types; what would not be is not written. All entries
together stay within their bound, but for a sixteenth; the first to expire go first. Each counts as 1 KiB at least, so
their number is bounded, too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import msgspec
import trio
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Services
from llmspell_hookspecs.result_store import ResultStore, StoredResult
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.storage import Storages
from llmspell_hookspecs.values import canonical, freeze

__all__ = ["StoredResults", "StoredResultsSettings"]

_PLACE: Final = "result:"
_SHARE: Final = 16
_AT_ONCE: Final = 100
_LEAST_BYTES: Final = 1024
_SHORT_BYTES: Final = 100_000
"""What is decoded on the loop."""


class _Written(Struct, frozen=True, array_like=True):
    """What an entry consists of; the value by itself, since only who asks knows its type."""

    at_s: float
    ttl_s: float
    value: bytes


class StoredResultsSettings(BaseModel):
    """What ``result_store`` takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    storage: str = Field(
        default="", description="In which storage they are kept; the one of `storage.backend` if empty."
    )
    max_bytes: int = Field(default=256 * 1024 * 1024, ge=1024, description="How much all of them may hold, encoded.")


class StoredResults:
    """Implements the contract's `ResultStore`."""

    name: ClassVar[str] = "result_store"
    provides: ClassVar[type[Any]] = ResultStore
    Settings: ClassVar[type[StoredResultsSettings]] = StoredResultsSettings

    def __init__(self, settings: StoredResultsSettings, services: Services) -> None:
        self._settings = settings
        self._storages = services.get(Storages)
        self._clock = services.get(Clock)
        self._since_bytes = 0
        self._much = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drop what is too much, now and whenever a sixteenth of the room has been written."""
        task_status.started()
        while True:
            await self._drop()
            await self._much.wait()
            self._much = trio.Event()

    async def find(self, key: str, kind: type, /) -> StoredResult | None:
        """Return what is kept under this key; see the contract's `ResultStore`."""
        entry = await (await self._storages.open(self._settings.storage)).get(_PLACE + key)
        if entry is None:
            return None
        if len(entry.value) > _SHORT_BYTES:
            found = await trio.to_thread.run_sync(_decoded, entry.value, kind)
        else:
            found = _decoded(entry.value, kind)
        if found is None:
            return None
        written, value = found
        age_s = max(0.0, self._clock.now_s() - written.at_s)
        return StoredResult(value, written.ttl_s - age_s)

    async def keep(self, key: str, value: Any, ttl_s: float, kind: type, /) -> bool:
        """Keep a result; see the contract's `ResultStore`."""
        encoded = await trio.to_thread.run_sync(_encoded, value, kind)
        if encoded is None or len(encoded) > self._settings.max_bytes // _SHARE:
            return False
        entry = msgspec.msgpack.encode(_Written(self._clock.now_s(), ttl_s, encoded))
        await (await self._storages.open(self._settings.storage)).write({_PLACE + key: entry})
        self._since_bytes += max(len(entry), _LEAST_BYTES)
        if self._since_bytes > self._settings.max_bytes // _SHARE:
            self._since_bytes = 0
            self._much.set()
        return True

    async def _drop(self) -> None:
        """Drop what expires first until the rest fits."""
        storage = await self._storages.open(self._settings.storage)
        kept: list[tuple[float, int, str]] = []
        async for place, entry in storage.scan(_PLACE, limit=sys.maxsize):
            written = _written(entry.value)
            expires_s = 0.0 if written is None else written.at_s + written.ttl_s
            kept.append((expires_s, max(len(entry.value), _LEAST_BYTES), place))
        places = await trio.to_thread.run_sync(_first_to_go, kept, self._settings.max_bytes)
        for start in range(0, len(places), _AT_ONCE):
            await storage.write(dict.fromkeys(places[start : start + _AT_ONCE]))


def _first_to_go(kept: list[tuple[float, int, str]], max_bytes: int) -> list[str]:
    """Return which entries are dropped: when each expires, its size and its place are given."""
    excess_bytes = sum(size_bytes for _, size_bytes, _ in kept) - max_bytes
    dropped: list[str] = []
    for _, size_bytes, place in sorted(kept):
        if excess_bytes <= 0:
            break
        excess_bytes -= size_bytes
        dropped.append(place)
    return dropped


def _encoded(value: Any, kind: type) -> bytes | None:
    """Return the bytes of a value; None if it would not come back as it is."""
    try:
        encoded = msgspec.msgpack.encode(value, enc_hook=_encodable)
        again: Any = msgspec.msgpack.decode(encoded, type=kind)
        return encoded if canonical(freeze(again)) == canonical(value) else None
    except (TypeError, ValueError, RecursionError):
        return None


def _encodable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} has no bytes")


def _decoded(entry: bytes, kind: type) -> tuple[_Written, Any] | None:
    """Return an entry and its value; None if it is none of ours, or of another type by now."""
    written = _written(entry)
    if written is None:
        return None
    try:
        return written, msgspec.msgpack.decode(written.value, type=kind)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return None


def _written(entry: bytes) -> _Written | None:
    try:
        return msgspec.msgpack.decode(entry, type=_Written)
    except msgspec.DecodeError:
        return None
