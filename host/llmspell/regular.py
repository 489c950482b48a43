"""Reads whole files that somebody named, of whatever kind they turn out to be.

Invariant: nothing here waits for another program, and what is read is bounded: a pipe may have no writer and a device
no end, and a thread that waits for one cannot be cancelled. Sizes in bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

__all__ = ["MOST_BYTES", "read_regular"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""The largest file that a person has read: a script, the parameters of a call."""


def read_regular(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds.

    Args:
        path: The file; a link is followed.
        most_bytes: The largest that is read.

    Raises:
        OSError: It is no regular file, is larger, or cannot be read; ``strerror`` says so.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise _irregular(path) from error
        raise
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, "it cannot be the name of a file", os.fspath(path)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise _irregular(path)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", os.fspath(path))
    return content


def _irregular(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
