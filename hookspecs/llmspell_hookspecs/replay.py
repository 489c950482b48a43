"""Replay: what is on record runs again, served from the journal, and the first thing that differs is named.

Bodies that reach the outside are served: of models, tools, state. Those that only run other operations (agents,
workflows, scripts) run again, and so do the hooks, whose answers are compared with those on record. A request is
matched as a whole, below the same body, and never by less.

Invariant: what is not on record does not run, unless `ReplayOptions.live` or ``on_miss`` says so; nothing of it is
recorded. Hooks find ``context.operation.replayed`` set.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["Comparison", "Difference", "Divergence", "Replay", "ReplayOptions", "ReplayReport", "Replaying"]


class ReplayOptions(Struct, frozen=True):
    """How something runs again.

    Attributes:
        mode: ``exact``: what hooks answer and what leaves is compared, too. ``modified``: only requests are matched.
        until: Up to the operation with this path, and no further; empty for all.
        changes: What is served differently: by path and JSON pointer, such as ``PATH/result/text``.
        without: Hooks that are not asked, as patterns of ``plugin.hook``.
        live: What runs although it is on record: kinds, or addresses such as ``tool:calculator``.
        on_miss: What becomes of a request that is not on record: the replay ends, its body runs, or it is answered
            with nothing.
        ignore: JSON pointers of what may differ in requests, such as ``/parameters/date``.
    """

    mode: Literal["exact", "modified"] = "exact"
    until: str = ""
    changes: Mapping[str, Any] = {}
    without: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    on_miss: Literal["stop", "live", "stub"] = "stop"
    ignore: tuple[str, ...] = ()


class Difference(Struct, frozen=True):
    """A place where two values differ.

    Attributes:
        pointer: Where, as a JSON pointer.
        expected: What is on record; None if nothing is there.
        actual: What is there now.
    """

    pointer: str
    expected: Any = None
    actual: Any = None


class Divergence(Struct, frozen=True):
    """Something that is not as it is on record.

    Attributes:
        kind: ``request``: it is not on record. ``hook``: a hook answered otherwise. ``result``: another value left, or
            failed otherwise. ``status``: it ended otherwise. ``end``: the record does not tell how its body ended.
        path: Of the operation on record that is nearest; of the body around it if none is.
        component: What ran, as ``kind:name``.
        message: One sentence.
        hook: Whose answer differs, as ``plugin.name``; empty if none does.
        differences: Where it differs, ten at most.
    """

    kind: Literal["request", "hook", "result", "status", "end"]
    path: str
    component: str
    message: str
    hook: str = ""
    differences: tuple[Difference, ...] = ()


class ReplayReport(Struct, frozen=True):
    """What came of a replay.

    Attributes:
        id: Of the journal.
        mode: Of the replay.
        operations: How many ran again.
        served: How many bodies were served from the record.
        live: How many ran although, or because, they were not.
        missed: How many requests are not on record.
        divergences: What differs, in the order in which it was found; a hundred at most.
        unused: The paths of records that nobody asked for; a hundred at most.
        leftovers: How many there are.
        skipped: The outermost operations that cannot be run again by themselves, and why.
        values: What the outermost operations returned, plain.
    """

    id: str
    mode: str
    operations: int = 0
    served: int = 0
    live: int = 0
    missed: int = 0
    divergences: tuple[Divergence, ...] = ()
    unused: tuple[str, ...] = ()
    leftovers: int = 0
    skipped: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether nothing differs and nothing is left over."""
        return not (self.divergences or self.leftovers)

    @property
    def first(self) -> Divergence | None:
        """What differed first."""
        return self.divergences[0] if self.divergences else None


class Comparison(Struct, frozen=True):
    """What two plain values have in common.

    Attributes:
        identical: Whether they are equal.
        similarity: Equal leaves, of all leaves; from 0 to 1.
        differences: Where they differ.
    """

    identical: bool
    similarity: float
    differences: tuple[Difference, ...] = ()


class Replaying(Protocol):
    """A replay that runs."""

    def report(self) -> ReplayReport:
        """Return what came of it so far; what nobody asked for yet is left over."""


@runtime_checkable
class Replay(Protocol):
    """Runs again what a journal has on record."""

    async def run(self, id: str, options: ReplayOptions = ..., /) -> ReplayReport:
        """Run the outermost operations of a journal again, one after the other.

        Raises:
            ComponentNotFoundError: There is no such journal.
            InvalidInputError: A path, a pointer or a hook of the options is of nothing there is.
            StorageError: The journal cannot be read, or was changed.
        """

    def playing(self, id: str, options: ReplayOptions = ..., /) -> AbstractAsyncContextManager[Replaying]:
        """Return a block in which every operation is served from a journal: for code that runs again by itself.

        In the block a request that is not on record raises an `OperationError` with the code ``diverged``.

        Raises:
            ComponentNotFoundError: There is no such journal.
            StorageError: It cannot be read, or was changed.
        """

    def playing_cassette(
        self, text: str, name: str, options: ReplayOptions = ..., /
    ) -> AbstractAsyncContextManager[Replaying]:
        """Return a block in which every operation is served from a cassette, as `playing` does from a journal.

        Args:
            text: What `Journal.export` has returned.
            name: What errors call it.
            options: How.

        Raises:
            StorageError: It is no cassette.
        """

    def compare(self, expected: Any, actual: Any, /) -> Comparison:
        """Return what two plain values have in common."""
