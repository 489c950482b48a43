"""Where settings lie: the user's file, the project's file, the user's data; and where running processes meet.

Invariant: of several files in one folder the first of `PROJECT_FILES` is read. The search upward ends at the
repository's root, below the home folder (whose ``.config`` is the user's own), or at the root of the file system.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["PROJECT_FILES", "data_dir", "find_project", "project_dir_of", "runtime_dir", "user_file"]

PROJECT_FILES: Final = ("llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml")


def user_file(environment: Mapping[str, str]) -> Path:
    """Answer where the user's settings lie; ``LLMSPELL_CONFIG_HOME`` names another folder."""
    folder = environment.get("LLMSPELL_CONFIG_HOME")
    if folder:
        return Path(folder) / "llmspell.toml"
    import platformdirs

    return platformdirs.user_config_path("llmspell") / "llmspell.toml"


def data_dir(environment: Mapping[str, str]) -> Path:
    """Answer where the user's data lie; ``LLMSPELL_DATA_HOME`` names another folder."""
    folder = environment.get("LLMSPELL_DATA_HOME")
    if folder:
        return Path(folder)
    import platformdirs

    return platformdirs.user_data_path("llmspell")


def runtime_dir(environment: Mapping[str, str]) -> Path:
    """Answer where the user's running processes meet: a folder of their own that the system gives them, or their data.

    What would lie in the folder for temporary files does not count, since anybody may put folders there first.
    """
    if not environment.get("LLMSPELL_DATA_HOME"):
        import platformdirs

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says why there is none; then the data's place serves as well
            try:
                folder = platformdirs.user_runtime_path("llmspell")
            except OSError:
                folder = Path(tempfile.gettempdir())
        if not folder.is_relative_to(tempfile.gettempdir()):
            return folder
    return data_dir(environment) / "run"


def find_project(cwd: Path) -> Path | None:
    """Answer the nearest project file, from this folder up to the repository's root or the home folder."""
    for folder in _folders(cwd):
        for name in PROJECT_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def project_dir_of(file: Path, cwd: Path) -> Path:
    """Answer the project's folder, to which relative paths in settings are relative.

    It is where the file's name lies, never where a link leads: else a project could link to some file in ``/`` and so
    widen all paths. Somebody else's file above the current folder does not widen them either.

    Args:
        file: The project file, which may lie in ``config/`` or ``.config/``.
        cwd: The current folder, resolved.
    """
    folder = Path(os.path.abspath(file)).parent
    if folder.name in ("config", ".config") and not cwd.is_relative_to(folder):
        folder = folder.parent
    folder = folder.resolve()
    return folder if cwd == folder or (cwd.is_relative_to(folder) and _is_ours(file)) else cwd


def _is_ours(file: Path) -> bool:
    """Whether it is ours or the administrator's; so is what has no owner."""
    if not hasattr(os, "geteuid") or not os.path.lexists(file):
        return True
    return file.lstat().st_uid in (0, os.geteuid())


def _folders(cwd: Path) -> Iterator[Path]:
    home = Path.home()
    for folder in (cwd, *cwd.parents):
        if folder == home and folder != cwd:
            return
        yield folder
        if (folder / ".git").exists() or folder == home:
            return
