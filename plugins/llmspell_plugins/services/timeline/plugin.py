"""The plugin timeline: has the host's events recorded from its start; off until ``plugins.timeline.enabled = true``."""

from __future__ import annotations

from typing import ClassVar

from llmspell_hookspecs import Services
from llmspell_hookspecs.timeline import Timeline

from .settings import TimelineSettings

__all__ = ["TimelinePlugin"]


class TimelinePlugin:
    """Has the host's events recorded from its start, by the service that it asks for."""

    name: ClassVar[str] = "timeline"
    Settings: ClassVar[type[TimelineSettings]] = TimelineSettings

    def __init__(self, settings: TimelineSettings, services: Services) -> None:
        self.timeline = services.get(Timeline)
