"""Installs small plugin packages into a folder that stands on the path, as pip would: code and metadata."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["install", "llmspell"]


def install(
    folder: Path,
    distribution: str,
    *,
    name: str,
    code: str,
    group: str = "llmspell.plugins",
    attribute: str = "",
    summary: str = "",
) -> Path:
    """Put a package with one entry point into a folder and return the file in which its module notes each import."""
    module = f"{distribution.replace('-', '_')}_module"
    marker = folder / f"{module}.imported"
    note = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
    (folder / f"{module}.py").write_text(note + code)
    attribute = ":Plugin" if "class Plugin" in code else f":{attribute}" if attribute else ""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    told = f"Summary: {summary}\n" if summary else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n{told}")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}{attribute}\n")
    return marker


def llmspell(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder where packages were installed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "LLMSPELL_CONFIG_HOME": str(folder)}
    command = [sys.executable, "-m", "llmspell", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
