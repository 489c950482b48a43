"""Where settings lie: the machine's file, the user's, the project's, the user's data; and where running processes meet.

Invariant: of several files in one folder the first of `PROJECT_FILES` is read. The search upward ends at the
repository's root, below the home folder (whose ``.config`` is the user's own), or at the root of the file system. The
root of the file system is no project unless a person names it. Every place is absolute. The hidden folder for the
host's own files is made by its first use where that is allowed, for its owner only, and holds a ``.gitignore`` that
leaves it out. A project's own folder is never made, but the one in the user's data that stands for it in ``/`` is.
"""

from __future__ import annotations

import errno
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from llmspell_hookspecs.errors import SettingsError, StorageError
from llmspell_hookspecs.path_rules import DATA_FOLDER
from llmspell_hookspecs.paths import expand_root, home_folder

__all__ = [
    "MACHINE_FILE",
    "PROJECT_FILES",
    "HostFolder",
    "current_dir",
    "data_dir",
    "find_project",
    "own_folders",
    "project_dir_of",
    "project_file_in",
    "runtime_dir",
    "user_file",
]

PROJECT_FILES: Final = ("llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml")
MACHINE_FILE: Final = Path("/etc/llmspell/llmspell.toml")
_NOWHERE: Final = Path("/nonexistent")
"""Stands for the home folder where nobody knows one; no such folder is ever made by a system."""


def current_dir() -> Path:
    """Return the current folder, resolved.

    Raises:
        SettingsError: It is gone.
    """
    try:
        return Path.cwd().resolve()
    except OSError as error:
        message = f"settings: the current folder cannot be used: {error.strerror}; change to another, or give --project"
        raise SettingsError(message) from error


def user_file(environment: Mapping[str, str]) -> Path:
    """Return where the user's settings lie; ``LLMSPELL_CONFIG_HOME`` names another folder."""
    named = environment.get("LLMSPELL_CONFIG_HOME")
    return (
        _named("LLMSPELL_CONFIG_HOME", named) if named else _user_folder("XDG_CONFIG_HOME", ".config", "config")
    ) / "llmspell.toml"


def data_dir(environment: Mapping[str, str]) -> Path:
    """Return where the user's data lie; ``LLMSPELL_DATA_HOME`` names another folder."""
    named = environment.get("LLMSPELL_DATA_HOME")
    return _named("LLMSPELL_DATA_HOME", named) if named else _user_folder("XDG_DATA_HOME", ".local/share", "data")


def own_folders(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the folders that hold the host's own files: those that count now, and those that count without variables.

    What a run with other variables trusts and is told is no less its own.
    """
    folders = [MACHINE_FILE.parent]
    for variables in (environment, {}):
        folders += [user_file(variables).parent, data_dir(variables), runtime_dir(variables)]
    home = home_folder()
    if home is not None:
        folders += [Path(home, below, "llmspell") for below in (".config", ".local/share")]
    return tuple(dict.fromkeys(map(str, folders)))


def _named(variable: str, folder: str) -> Path:
    try:
        os.fsencode(folder)
    except UnicodeEncodeError as error:
        message = f"{variable}: {folder!r} can be no path: half a letter is in it; name another folder"
        raise SettingsError(message, origin=variable) from error
    return Path(os.path.abspath(expand_root(folder)))


def _user_folder(variable: str, below: str, kind: str) -> Path:
    """The user's folder of a kind; a variable or home that is not absolute counts as not given (XDG, POSIX)."""
    home = home_folder()
    if os.name != "posix" or (os.uname().sysname == "Darwin" and home is not None):
        import platformdirs

        path = platformdirs.user_config_path if kind == "config" else platformdirs.user_data_path
        return path("llmspell")
    named = os.environ.get(variable, "").strip()
    folder = Path(named) if os.path.isabs(named) else (_NOWHERE if home is None else Path(home)) / below
    return folder / "llmspell"


def runtime_dir(environment: Mapping[str, str]) -> Path:
    """Return where the user's running processes meet: a folder of their own that the system gives them, or their data.

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
    """Return the nearest project file, from this folder up to the repository's root or the home folder."""
    return next((file for file in map(project_file_in, _folders(cwd)) if file is not None), None)


def project_file_in(folder: Path) -> Path | None:
    """Return the folder's project file; what bears its name and is no file counts, so that it is told."""
    return next((folder / name for name in PROJECT_FILES if os.path.lexists(folder / name)), None)


def project_dir_of(file: Path | None, cwd: Path, environment: Mapping[str, str]) -> Path:
    """Return the project's folder, to which relative paths in settings are relative.

    It is where the file's name lies, never where a link leads: else a project could link to some file in ``/`` and so
    widen all paths. Somebody else's file above the current folder does not widen them either. The root of the file
    system, where ``cron`` starts what it runs, is never taken: then it is a folder of the user's data.

    Args:
        file: The project file, which may lie in ``config/`` or ``.config/``; None if there is none.
        cwd: The current folder, resolved.
        environment: Says where the user's data lie.
    """
    folder = cwd if file is None else Path(os.path.abspath(file)).parent
    if file is not None and folder.name in ("config", ".config") and not cwd.is_relative_to(folder):
        folder = folder.parent
    folder = folder.resolve()
    if folder != cwd and not (cwd.is_relative_to(folder) and _is_ours(file) and not _is_top(folder)):
        folder = cwd
    return data_dir(environment) / "no-project" if _is_top(folder) else folder


def _is_top(folder: Path) -> bool:
    return folder.parent == folder


def _is_ours(file: Path | None) -> bool:
    """Whether it is ours or the administrator's; so is what has no owner."""
    if file is None or not hasattr(os, "geteuid") or not os.path.lexists(file):
        return True
    return file.lstat().st_uid in (0, os.geteuid())


def _folders(cwd: Path) -> Iterator[Path]:
    known = home_folder()
    home = None if known is None else Path(os.path.realpath(known))
    for folder in (cwd, *cwd.parents):
        if folder == home != cwd:
            return
        yield folder
        if os.path.exists(folder / ".git") or folder == home:
            return


class HostFolder:
    """The project's folder, as the host's own files see it; implements the contract's `ProjectFolder`.

    Args:
        path: The project's folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def place(self, path: str | os.PathLike[str], /) -> Path:
        """Return where a path of settings leads."""
        return self._path / Path(path).expanduser()

    def data(self, name: str, /) -> Path:
        """Return where a file of this name lies; see the contract's `ProjectFolder`."""
        folder = self._path / DATA_FOLDER
        try:
            folder.mkdir(mode=0o700, parents=self._path.is_relative_to(data_dir(os.environ)), exist_ok=True)
            if folder.is_symlink():
                raise StorageError(f"{folder}: it is a link; make it a folder, or name another path in [storage]")
            ignore = folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="ascii")
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return folder / name  # who only reads is not kept from it; who writes is told by what it cannot write
            message = f"{folder}: {error.strerror}; let it be made, or name another path in [storage]"
            raise StorageError(message) from error
        return folder / name

    def runtime(self) -> Path:
        """Return where the user's running processes meet."""
        return runtime_dir(os.environ)

    def cache(self, name: str, /) -> Path:
        """Return where a file of this name lies that can be made again."""
        return data_dir(os.environ) / "cache" / name
