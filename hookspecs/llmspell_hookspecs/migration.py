"""The topic migration: schemas of what state keeps, and the service that brings stored values from one to the next.

A `Schema` is bound to a scope and a glob of keys, such as ``agent:*`` and ``note-*``. It names versions, as in SemVer,
and transitions between them; a transition is a row of steps, from top to bottom. A field is a path with dots through
tables: ``address.city``. A step whose source is not there does nothing; null is left as it is by `Convert`.

Who gives a schema in settings writes it as a table, with the steps' fields by their names there (``from``, ``to``)::

    [plugins.migrations.schemas.notes]
    scope = "custom:notes"
    transitions = [{from = "1.0.0", to = "2.0.0", steps = [{step = "rename", from = "text", to = "body"}]}]

Invariant: an item is of one version at any time for whoever reads it through State, also while a migration runs.
Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from .storage import Entry, Storage

__all__ = [
    "BoundState",
    "Convert",
    "Copy",
    "Custom",
    "Default",
    "Merge",
    "Migration",
    "MigrationStatus",
    "Migrations",
    "Remove",
    "Rename",
    "Schema",
    "SchemaField",
    "SchemaVersion",
    "Split",
    "Step",
    "Transition",
    "Validation",
]

Validation: TypeAlias = Literal["none", "basic", "strict", "paranoid"]
"""``basic`` holds what comes out to the types and required fields of its version; ``strict`` also to the bounds, knows
no field that is not declared, and holds what goes in to its version; ``paranoid`` reads back what was written, too."""


class Copy(Struct, frozen=True, tag="copy", tag_field="step", rename={"source": "from", "target": "to"}):
    """Write a field's value to another one, too."""

    source: str
    target: str


class Rename(Struct, frozen=True, tag="rename", tag_field="step", rename={"source": "from", "target": "to"}):
    """Move a field's value to another one."""

    source: str
    target: str


class Convert(Struct, frozen=True, tag="convert", tag_field="step", rename={"type": "to"}):
    """Make a field's value one of another type.

    Attributes:
        field: Which.
        type: ``datetime`` makes ISO 8601 in UTC, of that or of seconds since the epoch; ``json`` reads a text, and
            ``text`` writes lists and tables as JSON.
    """

    field: str
    type: Literal["int", "float", "text", "bool", "datetime", "json"]


class Default(Struct, frozen=True, tag="default", tag_field="step"):
    """Give a field that is not there a value."""

    field: str
    value: Any = None


class Remove(Struct, frozen=True, tag="remove", tag_field="step"):
    """Take a field out."""

    field: str


class Split(Struct, frozen=True, tag="split", tag_field="step"):
    """Replace a text by its parts: the last one takes the rest, those that are missing are empty."""

    field: str
    into: tuple[str, ...]
    separator: str = " "


class Merge(Struct, frozen=True, tag="merge", tag_field="step"):
    """Replace texts and numbers by one text; those that are not there, or null, are left out."""

    fields: tuple[str, ...]
    into: str
    separator: str = " "


class Custom(Struct, frozen=True, tag="custom", tag_field="step"):
    """Call a function with the whole item, whatever it is; what it returns is the item from then on.

    Attributes:
        name: What it is called in plans and errors; in settings, one of ``plugins.migrations.functions``.
        function: What is called, in a thread; None for the one of that name.
    """

    name: str
    function: Any = None


Step: TypeAlias = Copy | Rename | Convert | Default | Remove | Split | Merge | Custom


class SchemaField(Struct, frozen=True, forbid_unknown_fields=True):
    """What a field of a version is held to.

    Attributes:
        type: ``number`` is a whole one or not.
        required: Whether it has to be there.
        null: Whether it may be null.
        min: The smallest number.
        max: The largest number.
        min_length: Of a text or list.
        max_length: Of a text or list.
        pattern: A regular expression that the whole text matches.
        values: What it may be; anything if left out.
    """

    type: Literal["any", "text", "int", "float", "number", "bool", "datetime", "list", "table"] = "any"
    required: bool = False
    null: bool = False
    min: float | None = None
    max: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str = ""
    values: tuple[Any, ...] = ()


class SchemaVersion(Struct, frozen=True, forbid_unknown_fields=True):
    """One version.

    Attributes:
        version: As in SemVer.
        fields: By path; what it is held to.
        model: A pydantic model or msgspec struct that it is held to instead.
    """

    version: str
    fields: Mapping[str, SchemaField] = {}
    model: Any = None


class Transition(Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}):
    """How an item of one version becomes one of another."""

    source: str
    target: str
    steps: tuple[Step, ...] = ()


class Schema(Struct, frozen=True, forbid_unknown_fields=True):
    """What a part of state keeps.

    Attributes:
        name: Under which it is known, and its version is kept.
        scope: Which scope, or a glob of some.
        keys: Which keys there, as a glob.
        versions: What is known of them; a version that only transitions name is held to nothing.
        transitions: Between them, without a cycle.
    """

    name: str
    scope: str
    keys: str = "*"
    versions: tuple[SchemaVersion, ...] = ()
    transitions: tuple[Transition, ...] = ()


class Migration(Struct, frozen=True):
    """A migration, as far as it came.

    Attributes:
        id: Of this run; empty for a dry one, and if nothing was to do.
        schema: Whose items.
        from_version: Where they were.
        to_version: Where they go.
        status: ``already_current`` if nothing was to do.
        path: The versions on the way, both ends included.
        items: How many were brought over, those that needed no change included.
        changed: How many of these are not as they were.
        skipped: How many were written anew by others meanwhile.
        duration_s: How long it took, all its parts together.
        errors: The first 20, one line each.
        samples: For a dry run: what would change, in the first three items.
    """

    id: str
    schema: str
    from_version: str
    to_version: str
    status: Literal["running", "completed", "failed", "stopped", "rolled_back", "already_current", "dry_run"]
    path: tuple[str, ...] = ()
    items: int = 0
    changed: int = 0
    skipped: int = 0
    duration_s: float = 0.0
    errors: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()


class MigrationStatus(Struct, frozen=True):
    """Where a schema's items are.

    Attributes:
        schema: Whose.
        current_version: Of the items; while a migration runs, what readers get.
        latest_version: The newest there is.
        versions: All, in order.
        targets: Which can be reached from the current one.
        running: The id of the migration that is not at its end; empty for none.
    """

    schema: str
    current_version: str
    latest_version: str
    versions: tuple[str, ...]
    targets: tuple[str, ...]
    running: str = ""


class BoundState(Protocol):
    """How State reads and writes an item that a schema is bound to."""

    async def read(self, storage: Storage, place: str, /) -> Entry | None:
        """Return the entry, its value in the version that counts now."""

    async def write(
        self, storage: Storage, place: str, value: bytes | None, expect: int | None, /
    ) -> Mapping[str, int] | None:
        """Write or delete it; returns what `Storage.write` returns.

        Raises:
            StorageError: A migration is just being undone.
        """


@runtime_checkable
class Migrations(Protocol):
    """Knows the schemas, and brings what is stored from one version to another; each migration is an operation.

    A process that keeps items of a schema has to know that schema, as the others do: settings see to that.
    """

    def register(self, schema: Schema, /) -> Callable[[], None]:
        """Make a schema known, and return what takes it out again.

        Raises:
            InvalidInputError: It is wrong, or one of this name, or for the same items, is known.
        """

    def schemas(self) -> Sequence[Schema]:
        """Return the schemas, by name."""

    def path(self, schema: str, from_version: str, to_version: str, /) -> Sequence[str]:
        """Return the versions on the shortest way, both ends included.

        Raises:
            InvalidInputError: There is none; the message tells where it breaks off.
        """

    async def status(self, schema: str, /) -> MigrationStatus:
        """Return where a schema's items are."""

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
        """Bring all items of a schema to a version; goes on with one that was broken off.

        Args:
            to_version: Where to.
            schema: Which; may be left out if there is one.
            dry_run: Whether to work it all out and write nothing.
            validation: How what comes out is checked.
            rollback_on_error: Whether to undo it all if an item cannot be brought over.

        Raises:
            InvalidInputError: There is no such schema, version or way.
            StorageError: Another one is not at its end.
        """

    async def rollback(self, id: str, /, *, force: bool = False) -> Migration:
        """Put back every item as it was, byte for byte; goes on with one that was broken off.

        Args:
            id: Which migration; the last one of its schema.
            force: Undo also what was written since. Without it, that is refused.

        Raises:
            InvalidInputError: There is none, or it is undone or forgotten.
            StorageError: Items were written since.
        """

    async def forget(self, id: str, /) -> int:
        """Delete what is kept to undo a migration that is at its end; returns of how many items."""

    async def runs(self) -> Sequence[Migration]:
        """Return the migrations that are not forgotten, oldest first."""

    def bound(self, scope: str, key: str, /) -> BoundState | None:
        """Return how an item is read and written, None if no schema is bound to it."""

    def on_change(self, function: Callable[[], object], /) -> None:
        """Call a function whenever schemas come or go."""
