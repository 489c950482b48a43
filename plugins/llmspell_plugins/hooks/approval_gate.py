"""The plugin approval_gate: takes what guards want persons asked about to the service Approvals.

Invariant: the service is loaded when the first guard wants somebody asked, and not before. Where a question cannot be
kept the verdict is a denial with the reason, so nobody waits for an answer that nobody can give.
"""

from __future__ import annotations

from typing import Any, ClassVar

from llmspell_hookspecs.approvals import Approvals
from llmspell_hookspecs.context import HookContext
from llmspell_hookspecs.errors import text_of_error
from llmspell_hookspecs.plugin import Services
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.services import Hooks

__all__ = ["ApprovalGate"]


class ApprovalGate:
    """Hears of each Cancel of a guard that wants a person asked."""

    name: ClassVar[str] = "approval_gate"

    def __init__(self, settings: None, services: Services) -> None:
        self._services = services
        services.get(Hooks).appeal(self.appeal)

    async def appeal(self, hook: str, cancel: Cancel, context: HookContext[Any], /) -> Cancel | None:
        """Ask the service; where it cannot be asked nobody can allow the call, so it is denied and says why."""
        try:
            return await (await self._services.enter(Approvals)).appeal(hook, cancel, context)
        except Exception as error:
            return Cancel(f"{cancel.reason}; nobody can be asked about it: {text_of_error(error)}")
