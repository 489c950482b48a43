"""Which agent's run an operation belongs to, and whether that run is one of another agent's.

Invariant: how many runs are remembered is bounded; the ones used last stay. What is forgotten belongs to nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from llmspell_hookspecs import HookContext

__all__ = ["Whereabouts"]

_MOST: Final = 8192


class Whereabouts:
    """Remembers who runs within whom."""

    def __init__(self) -> None:
        self._run_of: OrderedDict[str, str] = OrderedDict()
        self._stopped: OrderedDict[str, str] = OrderedDict()

    def note(self, context: HookContext[Any]) -> None:
        """Note that an operation begins; an agent's is a run of its own."""
        operation = context.operation
        run = operation.id if context.component.kind == "agent" else self.run_around(context)
        if run:
            self._keep(self._run_of, operation.id, run)

    def run_around(self, context: HookContext[Any]) -> str:
        """Return the run that an operation stands in, its own left out; empty if in none."""
        operation = context.operation
        around = self._found(operation.parent_id)
        if not around and operation.root_id != operation.id:
            around = self._found(operation.root_id)
        return around

    def _found(self, operation: str) -> str:
        """The run of an operation, which with that is one of those that were used last."""
        run = self._run_of.get(operation, "")
        for used in (operation, run):
            if used in self._run_of:
                self._run_of.move_to_end(used)
        return run

    def stop(self, run: str, reason: str) -> None:
        """Let a run ask its model no more."""
        if run:
            self._keep(self._stopped, run, reason)

    def stopped(self, run: str) -> str | None:
        """Return why a run is to stop; None if it is not."""
        if run in self._stopped:
            self._stopped.move_to_end(run)
        return self._stopped.get(run)

    @staticmethod
    def _keep(where: OrderedDict[str, str], key: str, value: str) -> None:
        where[key] = value
        where.move_to_end(key)
        if len(where) > _MOST:
            where.popitem(last=False)
