"""Addresses: ``kind:name`` leads to whoever runs components of that kind.

Invariant: whatever can be called has an address, and an address leads to one runner of components.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from llmspell_hookspecs import Call, ComponentNotFoundError

__all__ = ["Addresses", "CallOptions", "ComponentRunner"]


class CallOptions(Struct, frozen=True):
    """How a call is made.

    Attributes:
        deadline_s: How long it may take; the component's own limit counts as well.
        hops: How often it was redirected so far.
        started: Told once the call is past its guards, or has ended.
        scope: The script on whose behalf a hook of its own asks; empty for whoever is trusted.
        apart: Whether the hooks of the script around it are not asked; tools alone heed it.
        lenient: Whether parameters that a tool does not take are left out instead of refused.
    """

    deadline_s: float | None = None
    hops: int = 0
    started: Callable[[], None] | None = None
    scope: str = ""
    apart: bool = False
    lenient: bool = False


class ComponentRunner(Protocol):
    """Runs the components of one kind."""

    async def run(self, name: str, input: Any, options: CallOptions, /) -> Any:
        """Run the component of this name and answer its result.

        Raises:
            ComponentNotFoundError: There is none.
        """


class Addresses:
    """The kinds of component there are."""

    def __init__(self) -> None:
        self._runners: dict[str, ComponentRunner] = {}

    def add(self, kind: str, runner: ComponentRunner) -> None:
        """Let a kind be called."""
        self._runners[kind] = runner

    async def call(
        self,
        address: str,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        apart: bool = False,
        lenient: bool = False,
    ) -> Any:
        """Run any component by its address; see the contract's `Calls`."""
        return await self._call(address, input, CallOptions(deadline_s, apart=apart, lenient=lenient))

    async def __call__(self, call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None) -> Any:
        """Run a call for a hook: the runner's way in."""
        return await self._call(call.address, call.input, CallOptions(None, hops, started, call.scope))

    async def _call(self, address: str, given: Any, options: CallOptions) -> Any:
        kind, separator, name = address.partition(":")
        runner = self._runners.get(kind)
        if runner is None or not separator or not name:
            kinds = ", ".join(f"{known}:<name>" for known in sorted(self._runners))
            message = f"address {address!r}: it leads nowhere; write {kinds}"
            raise ComponentNotFoundError(message, address=address)
        return await runner.run(name, given, options)
