"""The table of hooks as whoever lets hooks answer as one sees it: it takes them in, and asks some in the chain's place.

Invariant: a hook that has a holder is asked by that in place of the chain, through `HookTable.ask`, so that it is
timed, counted and left out as it would be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from .composites import Composite
from .context import HookContext
from .marker import HookOptions
from .points import HookPoint
from .results import HookResult

__all__ = ["Composites", "HookTable", "TableHook"]


class TableHook(Protocol):
    """A hook as the table holds it.

    Attributes:
        awaits: Whether what it answers must be awaited.
        holder: Who asks it in place of the chain.
        is_part: Whether it was registered with another, and goes with it.
        parts: What was registered with it.
        held: What it asks besides, in order.
    """

    point: HookPoint
    options: HookOptions
    sequence: int
    plugin: str
    name: str
    scope: str
    awaits: bool
    is_part: bool

    holder: Any
    parts: list[Any]
    held: list[Any]

    @property
    def words(self) -> tuple[str, str, str]:
        """What settings, orders and composites may call it."""

    @property
    def where(self) -> str:
        """How messages about it begin."""

    def switch(self, on: bool | None, session: str, /) -> None:
        """Ask it from now on or no longer, in a session or, if that is empty, for all; None takes back what was said.

        The chains of its point are to be dropped then.
        """


@runtime_checkable
class HookTable(Protocol):
    """The hooks of the host.

    Attributes:
        entered: Told each hook that is taken in, on whatever thread, before it is asked for the first time.
    """

    entered: list[Any]

    def __iter__(self) -> Iterator[Any]:
        """Yield the hooks that there are now."""

    def enter(
        self,
        point: HookPoint,
        function: Callable[..., Any],
        options: HookOptions,
        *,
        plugin: str,
        language: str,
        scope: str,
        holder: TableHook | None = None,
        breaks: bool = True,
    ) -> TableHook:
        """Take one hook in.

        Args:
            point: Where it stands.
            function: What is called.
            options: How.
            plugin: Who brings it.
            language: What it is written in.
            scope: The script that brings it; empty for all others.
            holder: With whom it goes, and who asks it if it is a transform; the chain if None.
            breaks: Whether it has a breaker; one that only asks others has none.

        Raises:
            HookRegistrationError: It cannot stand there, or its name is taken.
            HookOrderError: Its constraints close a cycle.
        """

    def remove(self, hook: TableHook, /) -> bool:
        """Take a hook out with all that came with it; False if it was out already."""

    def at(self, point: HookPoint, /) -> Sequence[TableHook]:
        """Return the hooks at a point, each kind in order."""

    def changed(self, point: str, /) -> None:
        """Drop the compiled chains of a point."""

    def point(self, name: str, /) -> HookPoint:
        """Return the point with this name or alias."""

    def stands(self, hook: TableHook, component: str, /) -> bool:
        """Return whether a hook is asked about a component: it is on, its match fits, its breaker is not open."""

    def ask(self, hook: TableHook, context: HookContext[Any], /) -> HookResult | None:
        """Ask one sync transform as the chain does.

        Raises:
            HookFailedError: It failed, and its ``on_error`` is ``raise``.
            UnsupportedResultError: It answered what the point does not accept.
        """

    async def ask_waiting(self, hook: TableHook, context: HookContext[Any], /) -> HookResult | None:
        """Ask one transform as the chain does, and wait for its answer; raises as `ask` does."""


@runtime_checkable
class Composites(Protocol):
    """Lets composites be registered: a service of a plugin, which the table asks."""

    def add(
        self,
        point: HookPoint,
        composite: Composite,
        options: HookOptions,
        /,
        *,
        plugin: str,
        language: str,
        scope: str,
    ) -> TableHook:
        """Register a composite with its children.

        Raises:
            HookRegistrationError: It, or a child, cannot stand there, or what it names closes a circle.
        """

    def release(self, hook: TableHook, /) -> None:
        """Forget a hook that was taken out."""

    def names_others(self, hook: TableHook, /) -> bool:
        """Return whether a hook is a composite with children by name."""

    def idle(self) -> Iterator[tuple[TableHook, str]]:
        """Yield composites that name what is not there, each with a line for people."""
