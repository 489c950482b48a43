"""The plugin event_log: has the host's events recorded; off until ``plugins.event_log.enabled = true``."""

from __future__ import annotations

from typing import ClassVar

from llmspell_hookspecs import Services
from llmspell_hookspecs.event_log import EventLog

from .settings import EventLogSettings

__all__ = ["EventRecorder"]


class EventRecorder:
    """Asks for the service as the host starts, so that it is opened then and records."""

    name: ClassVar[str] = "event_log"
    Settings: ClassVar[type[EventLogSettings]] = EventLogSettings

    def __init__(self, settings: EventLogSettings, services: Services) -> None:
        self.log = services.get(EventLog)
