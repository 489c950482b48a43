"""Addresses: ``kind:name`` leads to whoever runs components of that kind.

Invariant: whatever can be called has an address, and an address leads to one runner of components.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.kind import CallOptions
from llmspell_hookspecs.results import Call

__all__ = ["Addresses"]

Run = Callable[[str, Any, CallOptions], Awaitable[Any]]
"""Runs the component of a name, as the contract's `ComponentKind` does."""


class Addresses:
    """The kinds of component there are."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def add(self, kind: str, run: Run) -> None:
        """Let a kind be called."""
        self._runs[kind] = run

    def call(
        self,
        address: str,
        input: Any = None,
        /,
        *,
        deadline_s: float | None = None,
        apart: bool = False,
        lenient: bool = False,
        key: str = "",
    ) -> Coroutine[Any, Any, Any]:
        """Run any component by its address; see the contract's `Calls`."""
        return self._call(address, input, CallOptions(deadline_s, apart=apart, lenient=lenient, key=key))

    def __call__(
        self, call: Call, /, *, hops: int = 0, started: Callable[[], None] | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Run a call for a hook: the runner's way in."""
        return self._call(call.address, call.input, CallOptions(None, hops, started, call.scope))

    async def _call(self, address: str, given: Any, options: CallOptions) -> Any:
        kind, separator, name = address.partition(":")
        run = self._runs.get(kind)
        if run is None or not separator or not name:
            kinds = ", ".join(f"{known}:<name>" for known in sorted(self._runs))
            message = f"address {address!r}: it leads nowhere; write {kinds}"
            raise ComponentNotFoundError(message, address=address)
        return await run(name, given, options)
