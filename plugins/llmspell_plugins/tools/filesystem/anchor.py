"""Opening files so that no link is followed on the way: what was judged is what is opened.

Invariant: an anchored path is walked from the root, folder by folder, each opened without following links; so a link
that is put in its place after the host resolved and judged the path is an error, never another file. All functions
block; call them in a worker thread. Sizes in bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import SecurityError

__all__ = ["Anchor", "anchored", "open_regular"]

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WALK = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)


class Anchor:
    """A name within an open folder.

    Attributes:
        folder: The folder's descriptor, for the ``dir_fd`` of functions in `os`.
        name: The name in it; ``.`` for the root folder.
        path: The whole path, for messages.
    """

    __slots__ = ("folder", "name", "path")

    def __init__(self, folder: int, name: str, path: str) -> None:
        self.folder = folder
        self.name = name
        self.path = path

    def status(self) -> os.stat_result:
        """Return what is there; of a link, what the link itself is.

        Raises:
            FileNotFoundError: Nothing.
        """
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def status_or_none(self) -> os.stat_result | None:
        """Return what is there, None for nothing."""
        with suppress(FileNotFoundError):
            return self.status()
        return None

    def open(self, flags: int, mode: int = 0o666) -> int:
        """Open it and return the descriptor.

        Raises:
            SecurityError: It is a link by now.
            OSError: It cannot be opened.
        """
        try:
            return os.open(self.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, mode, dir_fd=self.folder)
        except OSError:
            self._refuse_link()
            raise

    def open_folder(self) -> int:
        """Open it as a folder that can be listed and return the descriptor.

        Raises:
            SecurityError: It is a link by now.
            OSError: It is no folder, or cannot be opened.
        """
        return self.open(os.O_RDONLY | os.O_DIRECTORY)

    def _refuse_link(self) -> None:
        status = self.status_or_none()
        if status is not None and stat.S_ISLNK(status.st_mode):
            raise _swapped(self.path)


@contextmanager
def anchored(path: str) -> Iterator[Anchor]:
    """Hold the folder of a resolved path open.

    Args:
        path: Absolute, without links, as the host answered it.

    Raises:
        SecurityError: There is a link on the way by now.
        OSError: A folder on the way is missing, no folder, or closed to us.
    """
    if not path.startswith("/"):
        raise ToolError(f"{path!r}: not resolved; call the tool through the host", code="invalid_input")
    *folders, name = [part for part in path.split("/") if part] or ["."]
    descriptor = os.open("/", _WALK)
    try:
        for part in folders:
            descriptor = _step(descriptor, part, path)
        yield Anchor(descriptor, name, path)
    finally:
        os.close(descriptor)


def open_regular(anchor: Anchor, flags: int) -> tuple[int, os.stat_result]:
    """Open a regular file and return its descriptor and status; a pipe or device would block or never end.

    Raises:
        ToolError: It is not a regular file.
        SecurityError: It is a link by now.
        OSError: It cannot be opened.
    """
    try:
        descriptor = anchor.open(flags)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a pipe that nobody reads
            raise _irregular(anchor.path) from error
        raise
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(21, "Is a directory", anchor.path)
    raise _irregular(anchor.path)


def _irregular(path: str) -> ToolError:
    return ToolError(f"{path}: not a regular file; only regular files can be used so", code="not_a_file")


def _step(folder: int, part: str, path: str) -> int:
    """The next folder on the way; the one before is closed if this succeeds."""
    try:
        following = os.open(part, _WALK, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise _swapped(path) from None
        raise
    os.close(folder)
    return following


def _swapped(path: str) -> SecurityError:
    message = f"{path}: a link has been put in its way since it was judged; ask again"
    return SecurityError(message, rule="path")
