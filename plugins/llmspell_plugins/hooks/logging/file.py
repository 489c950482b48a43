"""A file of lines that grows at its end and is rotated. Sizes in bytes.

Each write holds a lock on the file (``flock``), so that hosts of any number may write to one path: none writes between
another's lines, and one of them rotates. A file that was moved or removed is opened anew.

A process that is killed ends within a write where the kernel goes on to the next page (``generic_perform_write`` looks
for a fatal signal there), so a line that lies in two pages would be cut. No line of up to `PAGE_BYTES` does: the one
before it is filled up with blanks.

Invariant: the file holds whole lines; of those that a full disk cuts off the part is taken back. Lines are lost only
with the file that is one too many.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["PAGE_BYTES", "RotatingFile"]

PAGE_BYTES: Final = 4096
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW | os.O_NONBLOCK
_TRIES: Final = 100
_BETWEEN_S: Final = 0.01


class RotatingFile:
    """The file; used by one thread at a time.

    Args:
        path: Where it lies; full ones get ``.1``, ``.2`` ... at the end of their names.
        rotate_bytes: How large it may be; 0 for any size. One line may be larger.
        keep: How many full ones are kept.

    Attributes:
        lines: How many were written.
        size_bytes: How much was written.
        rotations: How often a new one was begun.
    """

    def __init__(self, path: Path, rotate_bytes: int, keep: int) -> None:
        self.lines = self.size_bytes = self.rotations = 0
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._descriptor = -1

    def write(self, lines: Iterable[bytes]) -> None:
        """Add lines, each with its line feed.

        Raises:
            OSError: They cannot all be written; those that were are counted.
        """
        waiting = list(lines)
        at = 0
        while at < len(waiting):
            self._lock()
            try:
                size = os.fstat(self._descriptor).st_size if self._is_regular() else -1
                chunk = _Chunk(size, self._last_byte(size))
                while at < len(waiting) and not self._is_full(chunk, waiting[at]):
                    chunk.add(waiting[at])
                    at += 1
                self._put(chunk)
                if at < len(waiting):
                    self._rotate()
            finally:
                self._unlock()

    def close(self) -> None:
        """Let go of it; the next write opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_full(self, chunk: _Chunk, line: bytes) -> bool:
        if not self._rotate_bytes or chunk.start < 0 or not chunk.end:
            return False
        return chunk.end + chunk.room_left(line) + len(line) > self._rotate_bytes

    def _is_regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)

    def _last_byte(self, size: int) -> bytes:
        return os.pread(self._descriptor, 1, size - 1) if size > 0 else b"\n"

    def _lock(self) -> None:
        """Open the file that lies at the path now, and keep others from it."""
        for _ in range(_TRIES):
            if self._descriptor < 0:
                self._descriptor = self._opened()
            if not self._is_regular():
                return
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_BETWEEN_S)
                continue
            if self._is_there():
                return
            self.close()
        self.close()
        raise OSError(errno.EAGAIN, "another process holds it and does not let go", os.fspath(self._path))

    def _opened(self) -> int:
        try:
            descriptor = os.open(self._path, _FLAGS, 0o600)
        except ValueError as error:  # a NUL in the name
            raise OSError(errno.EINVAL, "it cannot be the name of a file", os.fspath(self._path)) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OSError(errno.ELOOP, "it is a link", os.fspath(self._path)) from error
            raise
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) or stat.S_ISCHR(mode):
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is neither a file nor a device", os.fspath(self._path))

    def _is_there(self) -> bool:
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        own = os.fstat(self._descriptor)
        return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)

    def _unlock(self) -> None:
        if self._descriptor >= 0 and self._is_regular():
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _put(self, chunk: _Chunk) -> None:
        """Write a chunk in one piece; take back what a full disk leaves of its last line."""
        data = bytes(chunk.data)
        done, problem = self._put_bytes(data, chunk.start)
        whole = len(chunk.ends) if done == len(data) else sum(end <= done for end in chunk.ends)
        kept = chunk.ends[whole - 1] if whole else 0
        self.lines += whole
        self.size_bytes += kept
        if problem is not None:
            if chunk.start >= 0 and done > kept:
                chunk.take_back(self._descriptor, kept)
            raise problem

    def _put_bytes(self, data: bytes, start: int) -> tuple[int, OSError | None]:
        """Return how much was written, and why not all was."""
        done = 0
        while done < len(data):  # a second time only to be told why it was not all of it
            rest = data[done:] if done else data
            try:
                size = (
                    os.pwrite(self._descriptor, rest, start + done) if start >= 0 else os.write(self._descriptor, rest)
                )
            except OSError as error:
                return done, error
            if not size:
                return done, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self._path))
            done += size
        return done, None

    def _rotate(self) -> None:
        """Move the file aside and each full one by one number, from the last; a gap takes up what is before it."""
        gap = next((number for number in range(1, self._keep) if not os.path.lexists(self._full(number))), self._keep)
        for number in range(gap, 1, -1):
            os.replace(self._full(number - 1), self._full(number))
        os.replace(self._path, self._full(1))
        for number in itertools.count(self._keep + 1):  # left by settings that kept more
            if not os.path.lexists(self._full(number)):
                break
            os.unlink(self._full(number))
        self.rotations += 1
        self.close()

    def _full(self, number: int) -> str:
        return f"{self._path}.{number}"


class _Chunk:
    """Lines that are written in one piece.

    Args:
        size: Of the file; -1 for a device.
        last: Its last byte.

    Attributes:
        start: Where in the file the chunk begins; -1 for a device.
        data: What is written.
        ends: Where in ``data`` each line ends.
    """

    def __init__(self, size: int, last: bytes) -> None:
        self.start = size
        self.data = bytearray()
        self.ends: list[int] = []
        if size >= 0 and last != b"\n":  # half a line of somebody else's
            self.data += b"\n"
        self._size = size

    @property
    def end(self) -> int:
        """How large the file is with the chunk."""
        return max(self.start, 0) + len(self.data)

    def add(self, line: bytes) -> None:
        """Add a line, on a page of its own if it does not fit on this one."""
        room = self.room_left(line)
        if room:
            self._fill(room)
        self.data += line
        self.ends.append(len(self.data))

    def room_left(self, line: bytes) -> int:
        """Return how much of a page is left empty before a line."""
        room = PAGE_BYTES - self.end % PAGE_BYTES
        return room if self.start >= 0 and room < len(line) <= PAGE_BYTES else 0

    def take_back(self, descriptor: int, kept: int) -> None:
        """Cut the file to what is kept of the chunk."""
        if not kept and self.start < self._size:
            os.pwrite(descriptor, b"\n", self.start)
            kept = 1
        os.ftruncate(descriptor, self.start + kept)

    def _fill(self, room: int) -> None:
        """Move the last line feed to the end of its page, with blanks before it."""
        if self.data:
            self.data[-1:] = b" " * room + b"\n"
            if self.ends:
                self.ends[-1] = len(self.data)
        else:
            self.start -= 1
            self.data += b" " * room + b"\n"
