"""Packages as users have them: built as wheels, and installed with pip into a fresh environment.

The environment sees the packages of the running one, so nothing is downloaded but what builds the wheels, if that is
not there.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from pathlib import Path

__all__ = ["EXAMPLES", "build", "clean_environment", "editable", "environment"]

EXAMPLES = Path(__file__).parent.parent / "examples" / "plugins"
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")


def build(root: Path, *packages: Path) -> list[Path]:
    """Build the wheels of these packages below ``root``, from copies of their sources; return them by name."""
    sources = [shutil.copytree(package, root / "source" / package.name, ignore=_NOT_COPIED) for package in packages]
    isolation = ["--no-build-isolation"] if _builds_here() else []
    _pip("wheel", "--no-deps", *isolation, "-w", root / "dist", *sources)
    return sorted((root / "dist").glob("*.whl"))


def environment(root: Path, wheels: Iterable[Path]) -> tuple[Path, Path]:
    """Make a fresh environment with the wheels in it; return its interpreter, and where its packages lie."""
    python, site = _made(root)
    _pip("--python", python, "install", "--no-deps", "--no-index", *wheels)
    return python, site


def editable(root: Path, source: Path) -> Path:
    """Make a fresh environment with the package in it as its developer has it; return its interpreter."""
    python, _ = _made(root)
    isolation = ["--no-build-isolation"] if _builds_here() else []
    _pip("--python", python, "install", "--no-deps", *isolation, "--editable", source)
    return python


def _made(root: Path) -> tuple[Path, Path]:
    venv.create(root, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(root), "platbase": str(root)}))
    (site / "running.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return root / "bin" / "python", site


def clean_environment(root: Path) -> dict[str, str]:
    """Return variables in which nothing of the developer's own is left; settings and data lie below ``root``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LLMSPELL_", "PYTHON"))}
    return {**kept, "LLMSPELL_CONFIG_HOME": str(root / "config"), "LLMSPELL_DATA_HOME": str(root / "data")}


def _pip(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _builds_here() -> bool:
    """Return whether the packages' build system is installed, so that no isolated one need be fetched."""
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        return False
