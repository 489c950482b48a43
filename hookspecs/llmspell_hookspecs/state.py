r"""The topic state: values that outlive a run, each under a key in a scope, and the points around their use.

A scope is ``global``, or ``user``, ``session``, ``agent``, ``tool``, ``workflow``, ``hook`` or ``custom`` with an id
behind a colon (``agent:writer``), or a plain word of a script's own. Scopes share nothing. A key has 1 to 256
characters, composed as in Unicode's NFC; it holds no ``..``, ``\``, ``//``, NUL or line break and does not begin with
``__`` or ``$$``. A value is None, a boolean, a number, a text, bytes, or lists and tables of these with texts as keys.

Hooks at these points match the scope: ``match="session:*"``. Sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, runtime_checkable

from msgspec import Struct

from .context import HookContext
from .points import Phase, hookpoint
from .results import HookResult

__all__ = [
    "State",
    "StateConflict",
    "StateDelete",
    "StateMigration",
    "StateRead",
    "StateValue",
    "StateWrite",
    "after_state_delete",
    "after_state_read",
    "after_state_write",
    "before_state_delete",
    "before_state_read",
    "before_state_write",
    "state_conflict",
    "state_migration",
]

# A write that is left out because one like it was made before would leave what others wrote meanwhile.
_WRITES: Final = ("Continue", "Modified", "Cancel", "Redirect", "Replace", "Retry", "Fork", "Skipped")
# What is deleted is gone: a second time would answer that nothing was there.
_DELETED: Final = ("Continue", "Modified", "Cancel", "Redirect", "Replace", "Fork", "Skipped")


class StateRead(Struct, frozen=True):
    """A value is asked for, or the scope's keys.

    Attributes:
        scope: Where.
        key: Which; empty for a listing of keys.
        prefix: For a listing: what the keys begin with.
        limit: For a listing: how many at most; None for all.
    """

    scope: str
    key: str
    prefix: str = ""
    limit: int | None = None


class StateValue(Struct, frozen=True):
    """A value, as it was read, written or deleted.

    Attributes:
        scope: Where; always the one asked for.
        key: Which; always the one asked for, empty for a listing.
        value: The value; the keys of a listing.
        found: Whether it was there.
        version: Grows with each write of the key, from 1; 0 if it was not there, or is not kept here.
    """

    scope: str = ""
    key: str = ""
    value: Any = None
    found: bool = True
    version: int = 0


class StateWrite(Struct, frozen=True):
    """A value is to be kept.

    Attributes:
        scope: Where.
        key: Under which key.
        value: What.
        expect: The version that must be there, 0 for none at all; None for whatever is there.
    """

    scope: str
    key: str
    value: Any = None
    expect: int | None = None


class StateDelete(Struct, frozen=True):
    """A value is to be forgotten.

    Attributes:
        scope: Where.
        key: Which.
    """

    scope: str
    key: str


class StateConflict(Struct, frozen=True):
    """A write expected another version than was there.

    Attributes:
        scope: Where.
        key: Which.
        expected: The version that the write expected.
        version: The version that is there; 0 if there is none.
    """

    scope: str
    key: str
    expected: int
    version: int


class StateMigration(Struct, frozen=True):
    """A batch of a migration is about to be written.

    Attributes:
        schema: Whose items.
        from_version: Where they are.
        to_version: Where they go.
        migration: The id of the migration; empty for a dry run.
        batch: Which batch, from 1; of this process.
        items: How many items it holds.
        done: How many were brought over before.
        dry_run: Whether nothing will be written.
    """

    schema: str
    from_version: str
    to_version: str
    migration: str
    batch: int
    items: int
    done: int
    dry_run: bool = False


@runtime_checkable
class State(Protocol):
    """Keeps values in the configured storage; each method is an operation with the hooks of this topic."""

    async def get(self, key: str, /, *, scope: str = "global") -> Any:
        """Return the value, None if there is none.

        Raises:
            InvalidInputError: The key or scope is wrong.
            OperationCancelledError: A hook cancelled it.
            StorageError: It cannot be read.
        """

    async def entry(self, key: str, /, *, scope: str = "global") -> tuple[Any, int]:
        """Return the value and its version, None and 0 if there is none; give the version to ``set`` as ``expect``."""

    async def set(self, key: str, value: Any, /, *, scope: str = "global", expect: int | None = None) -> int:
        """Keep a value, durably as the storage is set, and return its version.

        Args:
            key: Under which key.
            value: Plain; see the top of this module.
            scope: Where.
            expect: Write only if this version is there, 0 for none at all.

        Raises:
            InvalidInputError: The key, the scope or the value is wrong.
            ResourceLimitError: The value is too large.
            OperationCancelledError: A hook cancelled it.
            StorageError: It cannot be written; with the code ``conflict``, another version is there.
        """

    async def delete(self, key: str, /, *, scope: str = "global") -> bool:
        """Forget a value; False if there was none."""

    async def keys(self, scope: str = "global", /, *, prefix: str = "", limit: int | None = None) -> Sequence[str]:
        """Return the keys in order, at most ``limit``; a read operation whose key is empty."""


@hookpoint(phase=Phase.BEFORE, topic="state")
def before_state_read(context: HookContext[StateRead]) -> HookResult | None:
    """A value, or a scope's keys, are about to be read.

    When: at each read and listing.
    Subject: what is read; ``Modified`` may name another key.
    """


@hookpoint(phase=Phase.AFTER, topic="state")
def after_state_read(context: HookContext[StateValue]) -> HookResult | None:
    """A value was read, or turned out not to be there.

    When: after each read and listing.
    Subject: the value; in a listing ``Modified`` may leave keys out.
    """


@hookpoint(phase=Phase.BEFORE, topic="state", accepts=_WRITES)
def before_state_write(context: HookContext[StateWrite]) -> HookResult | None:
    """A value is about to be written.

    When: at each write.
    Subject: the write; ``Modified`` may change the value.
    """


@hookpoint(phase=Phase.AFTER, topic="state", accepts=_WRITES)
def after_state_write(context: HookContext[StateValue]) -> HookResult | None:
    """A value was written.

    When: after each write, once it is durable; what is answered here changes what the writer is told, not what is kept.
    Subject: the value with its version.
    """


@hookpoint(phase=Phase.BEFORE, topic="state", accepts=_WRITES)
def before_state_delete(context: HookContext[StateDelete]) -> HookResult | None:
    """A value is about to be deleted.

    When: at each deletion.
    Subject: which one.
    """


@hookpoint(phase=Phase.AFTER, topic="state", accepts=_DELETED)
def after_state_delete(context: HookContext[StateValue]) -> HookResult | None:
    """A value was deleted.

    When: after each deletion, also if nothing was there.
    Subject: what was there.
    """


@hookpoint(phase=Phase.NOTICE, topic="state")
def state_conflict(context: HookContext[StateConflict]) -> HookResult | None:
    """A write expected another version than was there, so nothing was written.

    When: at each such write, before the writer is told.
    Subject: which versions.
    """


@hookpoint(phase=Phase.CHECK, topic="state")
def state_migration(context: HookContext[StateMigration]) -> HookResult | None:
    """A batch of a migration is worked out and about to be written.

    When: before each batch, of a dry run, too. Hooks match the schema's name.
    Subject: which migration, and how far it is; a Cancel ends it here, and it may go on or be undone later.
    """
