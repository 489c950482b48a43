"""The topic dependencies: which components call which, as they declare it, and which hooks are asked about which.

What a component declares is what it was made with: the tools of an agent, the stages of a workflow. What its code calls
besides, nobody knows before it runs.

Invariant: a graph is of one moment. Its order is that in which components could be built: each behind all that it
calls, but for those that call each other in a ring; every ring is named.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from msgspec import Struct

from .kind import Declared

__all__ = ["AskedHook", "ComponentCall", "ComponentNode", "Declared", "Dependencies", "DependencyGraph"]


class ComponentNode(Struct, frozen=True):
    """A component.

    Attributes:
        address: ``kind:name``.
        missing: Whether somebody calls it, and its kind says that there is none; models, say, nobody can list.
    """

    address: str
    missing: bool = False


class ComponentCall(Struct, frozen=True):
    """A component calls another.

    Attributes:
        caller: Its address.
        callee: The other's.
        places: Where, if it says so: the stages of a workflow.
    """

    caller: str
    callee: str
    places: tuple[str, ...] = ()


class AskedHook(Struct, frozen=True):
    """A hook and what it is asked about.

    Attributes:
        point: Where it is asked.
        place: As which one of that point, from 1; 0 if it is disabled.
        plugin: Who registered it.
        name: Its name.
        kind: ``transform``, ``guard``, ``wrap`` or ``observe``.
        priority: The smaller comes first.
        match: The pattern for names, None for all.
        language: What it is written in.
        enabled: Whether it is asked.
        scope: The script whose operations alone it is asked about, unless settings say otherwise; empty for all.
        components: The addresses of the components of the graph that it is asked about.
    """

    point: str
    place: int
    plugin: str
    name: str
    kind: str
    priority: int
    match: str | None = None
    language: str = "python"
    enabled: bool = True
    scope: str = ""
    components: tuple[str, ...] = ()


class DependencyGraph(Struct, frozen=True):
    """Components, hooks and what leads from one to the other.

    Attributes:
        components: In their order: each behind all that it calls.
        calls: Who calls whom.
        hooks: Point by point, in the order in which they are asked.
        cycles: Rings of calls, each as the addresses on its way; behind the last comes the first again. Of components
            that all lead to each other a shortest one.
    """

    components: tuple[ComponentNode, ...] = ()
    calls: tuple[ComponentCall, ...] = ()
    hooks: tuple[AskedHook, ...] = ()
    cycles: tuple[tuple[str, ...], ...] = ()


@runtime_checkable
class Dependencies(Protocol):
    """What depends on what in a host."""

    async def graph(self, *, every: bool = False, component: str = "") -> DependencyGraph:
        """Return the graph as it is now.

        Args:
            every: With all components; else those that call, are called, or are fitted by the ``match`` of a hook.
            component: Only with the one of this address, whom it calls and who calls it, and the hooks about these.

        Raises:
            ComponentNotFoundError: There is no component of this address.
        """
