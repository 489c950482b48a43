"""The topic state, whole scopes: copied, moved and cleared, and writes that happen together or not at all.

Each value is read, written and deleted through `State`, so every hook sees it; a row of them is one write to the
storage, with how far it is. Broken off, it goes on where it was when it is asked for again.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["ScopeChange", "StateScopes"]


class ScopeChange(Struct, frozen=True):
    """What was done to a scope.

    Attributes:
        verb: What.
        source: Which scope.
        target: Where to; empty if it was cleared.
        items: How many values were copied, moved or deleted.
        kept: How many were left, because the target held that key already.
        resumed: Whether it went on with one that was broken off; then ``items`` counts from there.
    """

    verb: Literal["copy", "move", "clear"]
    source: str
    target: str = ""
    items: int = 0
    kept: int = 0
    resumed: bool = False


@runtime_checkable
class StateScopes(Protocol):
    """Does to whole scopes what `State` does to single values."""

    async def copy(self, source: str, target: str, /, *, overwrite: bool = True) -> ScopeChange:
        """Copy every value of a scope to another one.

        Args:
            source: Which scope.
            target: Where to.
            overwrite: Whether to replace what is there under the same key; else that is kept.

        Raises:
            InvalidInputError: A scope is none, or they are the same.
            OperationCancelledError: A hook refused a value; the rows before it are done.
            StorageError: It cannot be read or written.
        """

    async def move(self, source: str, target: str, /, *, overwrite: bool = True) -> ScopeChange:
        """Move every value of a scope to another one; raises as `copy` does. What is kept there stays here, too."""

    async def clear(self, scope: str, /) -> ScopeChange:
        """Delete every value of a scope; raises as `copy` does."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Return a block in which what is written to state is kept back, and written at its end in one write.

        Who reads within it reads what was written there. If the block fails, nothing is written.

        Raises:
            StorageError: With the code ``conflict``, at its end: a version that a write expected is no longer there.
        """
