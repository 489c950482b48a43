"""The plugin logging as tests see it: settings that enable it, the newest one that a host made, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from llmspell_hookspecs import Services
from llmspell_plugins.hooks.logging import Logging, LoggingSettings

__all__ = ["Watched", "logged", "rows"]


class Watched(Logging):
    """The plugin, as the newest host made it."""

    name = "watched"
    Settings = LoggingSettings
    newest: ClassVar[Watched]

    def __init__(self, settings: LoggingSettings, services: Services) -> None:
        super().__init__(settings, services)
        Watched.newest = self


def logged(folder: Path | str, **settings: Any) -> dict[str, Any]:
    """Return the settings of a host with the plugin `Watched`, which writes ``it.log`` in a folder."""
    return {"plugins": {"watched": {"path": f"{folder}/it.log", **settings}}}


def rows(folder: Path, *points: str) -> list[dict[str, Any]]:
    """Return what the log holds, of some points if they are named."""
    text = (folder / "it.log").read_text()
    assert text.endswith("\n")
    found = [json.loads(line) for line in text[:-1].split("\n")]
    return [row for row in found if not points or row["point"] in points]
