"""Where the host's own files lie: the hidden folder in the project's; implements the contract's `ProjectFolder`.

Invariant: the folder is made by its first use where that is allowed, for its owner only, and holds a ``.gitignore``
that leaves it out. A project's own folder is never made, but the one in the user's data that stands for it in ``/`` is.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from llmspell.security import DATA_FOLDER
from llmspell.settings.place import data_dir, runtime_dir
from llmspell_hookspecs.errors import StorageError

__all__ = ["HostFolder"]


class HostFolder:
    """The project's folder, as the host's own files see it.

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
