"""A project's folder and a home of its own, in which processes of the command line run."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Room"]


class Room:
    """A project's folder, a home, and what processes are told of them."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.site = root / "site"
        self.site.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "PYTHONPATH": str(self.site),
            "LLMSPELL_CONFIG_HOME": str(root / "config"),
            "LLMSPELL_DATA_HOME": str(root / "data"),
        }

    def install(self, name: str, source: str, entry_points: str) -> None:
        """Have a package there, with one module."""
        (self.site / f"{name}.py").write_text(source)
        metadata = self.site / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(entry_points)
