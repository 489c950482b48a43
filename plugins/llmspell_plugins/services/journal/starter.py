"""The plugin journal: has the service record as the host starts, if ``journal.record`` says so; imports little else."""

from __future__ import annotations

from typing import ClassVar

from llmspell_hookspecs import Services
from llmspell_hookspecs.journal import Journal
from llmspell_hookspecs.services import SettingsAccess

__all__ = ["JournalStarter"]


class JournalStarter:
    """Asks for the service, so that it is opened as the host starts."""

    name: ClassVar[str] = "journal"

    def __init__(self, settings: None, services: Services) -> None:
        if services.get(SettingsAccess).plain("journal.record") != "off":
            services.get(Journal)
