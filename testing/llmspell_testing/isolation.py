"""Settings of a test's own: nothing of the person's who runs it, and nothing of the machine's, reaches the host.

Invariant: the folders are empty at first; the environment is as it was when the test ends.
"""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["TemporarySettings", "isolate"]


class TemporarySettings:
    """Where the settings of one test lie.

    Attributes:
        project: The project's folder, which is the current folder.
        user_file: The user's settings file.
        data: Where the user's data go.
    """

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.user_file = root / "config" / "llmspell.toml"
        self.data = root / "data"

    def write_project(self, toml: str) -> Path:
        """Write the project's settings, which may only tighten; returns the file."""
        return _write(self.project / "llmspell.toml", toml)

    def write_user(self, toml: str) -> Path:
        """Write the user's settings; returns the file."""
        return _write(self.user_file, toml)


def isolate(root: Path, monkeypatch: pytest.MonkeyPatch) -> TemporarySettings:
    """Make the folders below ``root``, and let this process and its children see them and no other settings."""
    settings = TemporarySettings(root)
    # A repository's root ends the search for a project file, so none above it counts.
    for folder in (settings.project / ".git", settings.user_file.parent, settings.data):
        folder.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("LLMSPELL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LLMSPELL_CONFIG_HOME", str(settings.user_file.parent))
    monkeypatch.setenv("LLMSPELL_DATA_HOME", str(settings.data))
    monkeypatch.chdir(settings.project)
    return settings


def _write(file: Path, toml: str) -> Path:
    file.write_text(dedent(toml), encoding="utf-8")
    return file
