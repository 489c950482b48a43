"""The plugin sessions: lets all that a host runs be within the session that ``plugins.sessions.current`` names.

Invariant: while no session is named it does nothing, and the service is not loaded. If the one that is named cannot be
held here nothing begins, and the refusal says why.
"""

from __future__ import annotations

from typing import ClassVar, Self

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import LlmspellError, text_of_error
from llmspell_hookspecs.operation import Operations
from llmspell_hookspecs.results import Cancel
from llmspell_hookspecs.services import Hooks
from llmspell_hookspecs.sessions import Sessions

from .settings import SessionSettings

__all__ = ["SessionPlugin"]


class SessionPlugin:
    """Holds the session that settings name, and lets every operation carry it."""

    name: ClassVar[str] = "sessions"
    Settings: ClassVar[type[SessionSettings]] = SessionSettings

    def __init__(self, settings: SessionSettings, services: Services) -> None:
        self._current = settings.current
        self._services = services
        self._sessions = services.get(Sessions) if self._current else None

    async def __aenter__(self) -> Self:
        """Hold it."""
        if self._sessions is not None:
            try:
                held = await self._sessions.hold(self._current)
            except LlmspellError as error:
                self._refuse(text_of_error(error))
            else:
                self._services.get(Operations).carry("session", held.id)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Let operations carry nothing; the service lets the session go as it closes."""
        if self._sessions is not None:
            self._services.get(Operations).carry("session", "")

    def _refuse(self, reason: str) -> None:
        """Let nothing begin."""
        refusal = Cancel(f"plugins.sessions.current: {reason}", "session")
        for point in ("before_script_run", "before_agent_execution", "before_tool_execution", "before_workflow_start"):
            self._services.get(Hooks).register(
                point, lambda context: refusal, plugin=self.name, kind="guard", name="current"
            )
