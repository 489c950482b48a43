"""Reads and replaces whole files that somebody named, of whatever kind they turn out to be.

Invariant: nothing here waits for another program without end, and what is read is bounded: a pipe may have no writer
and a device no end, and a thread that waits for one cannot be cancelled. The one pipe that is waited for, and not for
long, is one that the process was given (``/dev/stdin``, or ``/dev/fd/63`` of a shell's ``<(...)``). Sizes in bytes.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
from pathlib import Path
from typing import Final

__all__ = ["MOST_BYTES", "read_regular", "replace_regular"]

MOST_BYTES: Final = 64 * 1024 * 1024
"""The largest file that a person has read: a script, the parameters of a call."""
_GIVEN: Final = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/(\d{1,4})")
_WAIT_S: Final = 10.0
"""How long the other end of a given pipe may say nothing."""
_PIECE_BYTES: Final = 1 << 16


def read_regular(path: str | os.PathLike[str], most_bytes: int = MOST_BYTES) -> bytes:
    """Return what a regular file holds.

    Args:
        path: The file; a link is followed.
        most_bytes: The largest that is read.

    Raises:
        OSError: It is no regular file, is larger, or cannot be read; ``strerror`` says so.
    """
    content = _given_pipe(path, most_bytes)
    if content is None:
        content = _regular(path, most_bytes)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes} bytes", os.fspath(path))
    return content


def replace_regular(path: Path, content: bytes) -> None:
    """Let a file hold this, all of it or what it held before; its mode stays, and a link stays one.

    Raises:
        OSError: It cannot be written.
    """
    import tempfile  # 2 ms, and most who read write nothing

    target = path.resolve()
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".llmspell-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise


def _given_pipe(path: str | os.PathLike[str], most_bytes: int) -> bytes | None:
    """Return what comes through a pipe that the process was given; None if the path names none."""
    given = _GIVEN.fullmatch(os.fsdecode(path))
    if given is None:
        return None
    descriptor = int(given[1] or 0)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return None
    content = bytearray()
    while len(content) <= most_bytes:
        if not select.select([descriptor], [], [], _WAIT_S)[0]:
            raise OSError(errno.ETIMEDOUT, f"nothing came through it for {_WAIT_S:g} s", os.fspath(path))
        piece = os.read(descriptor, _PIECE_BYTES)
        if not piece:
            break
        content += piece
    return bytes(content)


def _regular(path: str | os.PathLike[str], most_bytes: int) -> bytes:
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
            return stream.read(most_bytes + 1)
    finally:
        os.close(descriptor)


def _irregular(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
