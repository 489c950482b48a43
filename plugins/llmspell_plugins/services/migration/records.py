"""What the storage keeps of schemas and migrations, and under which keys.

- ``migration/at/<schema>``: `Standing`, the version of its items; it changes as a migration begins, ends or is undone.
- ``migration/run/<id>``: `Run`, a migration and how far it is; it changes with each batch.
- ``migration/before/<id>/<hash of the place>``: `Before`, an item as it was, of each that was brought over or written
  by others meanwhile. So an item without one is not reached yet.

Invariant: an item, its `Before` and the place of the run change in one write.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

import msgspec
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.migration import Migration
from llmspell_hookspecs.storage import Entry

__all__ = [
    "RUNS",
    "Before",
    "Run",
    "Standing",
    "before_key",
    "before_prefix",
    "mark_of",
    "pack",
    "run_key",
    "standing_key",
    "unpack",
]

RUNS: Final = "migration/run/"
T = TypeVar("T")
_encode: Final = msgspec.msgpack.Encoder().encode


class Standing(Struct, frozen=True):
    """Where a schema's items are.

    Attributes:
        version: Of all items; while a migration runs, of those that are not reached.
        phase: What is under way.
        run: The id of the last migration; empty for none.
        target: While one runs, where to.
    """

    version: str
    phase: Literal["idle", "running", "undoing"] = "idle"
    run: str = ""
    target: str = ""

    @property
    def counts(self) -> str:
        """The version that readers get."""
        return self.target if self.phase == "running" else self.version


class Run(Struct, frozen=True):
    """A migration as it is kept.

    Attributes:
        told: What is told of it.
        validation: How items are checked.
        digest: Of its steps.
        cursor: The last place that was looked at.
        started_s: When it began, in seconds since the epoch.
    """

    told: Migration
    validation: str
    digest: str
    cursor: str = ""
    started_s: float = 0.0


class Before(Struct, frozen=True, array_like=True):
    """An item as it was.

    Attributes:
        place: The storage's key.
        value: What was there, None for nothing.
        after: The hash of what the migration wrote; empty if somebody else wrote.
    """

    place: str
    value: bytes | None
    after: bytes


def standing_key(schema: str) -> str:
    """Return where a schema's `Standing` is."""
    return f"migration/at/{schema}"


def run_key(id: str) -> str:
    """Return where a `Run` is."""
    return f"{RUNS}{id}"


def before_prefix(id: str) -> str:
    """Return what the keys of a run's `Before` begin with."""
    return f"migration/before/{id}/"


def before_key(id: str, place: str) -> str:
    """Return where an item as it was is; hashed, since a place may be as long as a key may be."""
    return f"{before_prefix(id)}{blake3(place.encode()).hexdigest(16)}"


def pack(value: Any) -> bytes:
    """Return the bytes of a record."""
    return _encode(value)


def unpack(where: str, entry: Entry, kind: type[T]) -> T:
    """Return the record.

    Raises:
        StorageError: It is none.
    """
    try:
        return msgspec.msgpack.decode(entry.value, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        message = f"storage key {where}: it holds no {kind.__name__.lower()} of a migration; restore a backup"
        raise StorageError(message) from error


def mark_of(value: bytes) -> bytes:
    """Return what a value is recognized by."""
    return blake3(value).digest(16)
