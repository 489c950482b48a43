"""Reading and writing whole files: a write is seen whole or not at all, and a cancelled one leaves the old content.

Invariant: a file is written beside its place, made durable, and moved there in one step, keeping the permissions of the
file that it replaces; nothing above the limit is ever read or written. All functions block; call them in a worker
thread of trio. Sizes in bytes.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import trio

from llmspell_hookspecs.errors import ResourceLimitError

from .anchor import Anchor, anchored, open_regular

__all__ = ["append_file", "copy_file", "pieces", "read_file", "write_file", "write_pieces"]

_CHUNK_BYTES = 1 << 20


def read_file(path: str, max_bytes: int, charge: Callable[[int], None]) -> bytes:
    """Return a file's content.

    Args:
        path: Resolved.
        max_bytes: The largest file that is read.
        charge: Told the size before it is read.

    Raises:
        ResourceLimitError: It is larger, or ``charge`` refuses it.
    """
    with anchored(path) as anchor, _opened(anchor, os.O_RDONLY) as (descriptor, status):
        _check_size(path, status.st_size, max_bytes)
        charge(status.st_size)
        content = bytearray()
        for chunk in _chunks(descriptor):
            content += chunk
            _check_size(path, len(content), max_bytes)
        return bytes(content)


def pieces(path: str, max_bytes: int) -> Iterator[bytes]:
    """Yield a file's content piece by piece.

    Raises:
        ResourceLimitError: It is larger than ``max_bytes``.
    """
    with anchored(path) as anchor, _opened(anchor, os.O_RDONLY) as (descriptor, status):
        _check_size(path, status.st_size, max_bytes)
        yield from _counted(_chunks(descriptor), path, max_bytes)


def write_file(path: str, content: bytes, max_bytes: int) -> bool:
    """Replace a file's content, or make the file; returns whether it was made.

    Raises:
        ResourceLimitError: The content is larger than ``max_bytes``.
    """
    _check_size(path, len(content), max_bytes)
    with anchored(path) as anchor:
        old = _replaceable(anchor)
        _replace(anchor, old, (content[at : at + _CHUNK_BYTES] for at in range(0, len(content), _CHUNK_BYTES)))
        return old is None


def write_pieces(path: str, chunks: Iterable[bytes], max_bytes: int) -> int:
    """Replace a file's content by what comes piece by piece, or make the file; returns how many bytes.

    Raises:
        ResourceLimitError: They are more than ``max_bytes``; the file stays as it was.
    """
    with anchored(path) as anchor:
        return _replace(anchor, _replaceable(anchor), _counted(chunks, path, max_bytes))


def append_file(path: str, content: bytes, max_bytes: int) -> int:
    """Add to the end of a file, which is made if it is not there; returns its size then.

    Raises:
        ResourceLimitError: It would be larger than ``max_bytes``.
    """
    with anchored(path) as anchor, _opened(anchor, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as (descriptor, status):
        _check_size(path, status.st_size + len(content), max_bytes)
        _write_all(descriptor, content)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size


def copy_file(source: str, target: str, max_bytes: int) -> int:
    """Copy a file's content and permissions; returns how many bytes.

    Raises:
        ResourceLimitError: It is larger than ``max_bytes``.
    """
    with anchored(source) as origin, _opened(origin, os.O_RDONLY) as (descriptor, status):
        _check_size(source, status.st_size, max_bytes)
        with anchored(target) as anchor:
            old = _replaceable(anchor)
            if old is not None and os.path.samestat(old, status):
                raise FileExistsError(17, "Source and target are the same file", target)
            return _replace(anchor, old or status, _counted(_chunks(descriptor), source, max_bytes))


@contextmanager
def _opened(anchor: Anchor, flags: int) -> Iterator[tuple[int, os.stat_result]]:
    descriptor, status = open_regular(anchor, flags)
    try:
        yield descriptor, status
    finally:
        os.close(descriptor)


def _replaceable(anchor: Anchor) -> os.stat_result | None:
    """What is there, if it may be replaced by a file; None for nothing."""
    status = anchor.status_or_none()
    if status is not None and not stat.S_ISREG(status.st_mode):
        os.close(open_regular(anchor, os.O_RDONLY)[0])
    return status


def _replace(anchor: Anchor, like: os.stat_result | None, chunks: Iterable[bytes]) -> int:
    """Write beside the place, then move there; permissions are those of ``like``, if there is one."""
    beside = Anchor(anchor.folder, f".{anchor.name[:200]}.{secrets.token_hex(8)}", anchor.path)
    descriptor = beside.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if like is None else 0o600)
    try:
        size_bytes = 0
        for chunk in chunks:
            trio.from_thread.check_cancelled()
            size_bytes += _write_all(descriptor, chunk)
        if like is not None:
            _make_alike(descriptor, like)
        os.fsync(descriptor)
        trio.from_thread.check_cancelled()
        os.rename(beside.name, anchor.name, src_dir_fd=anchor.folder, dst_dir_fd=anchor.folder)
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(beside.name, dir_fd=anchor.folder)
    _make_durable(anchor)
    return size_bytes


def _make_alike(descriptor: int, like: os.stat_result) -> None:
    """Owner and permissions as they were; what would run as somebody else is not kept."""
    with suppress(PermissionError):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode) & 0o777)


def _make_durable(anchor: Anchor) -> None:
    """The move itself, where the folder may be opened for that."""
    with suppress(PermissionError):
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=anchor.folder)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write_all(descriptor: int, content: bytes) -> int:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(content)


def _chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        trio.from_thread.check_cancelled()
        yield chunk


def _counted(chunks: Iterable[bytes], path: str, max_bytes: int) -> Iterator[bytes]:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        _check_size(path, size_bytes, max_bytes)
        yield chunk


def _check_size(path: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        message = (
            f"{path}: {size_bytes} bytes are above the limit of {max_bytes}; "
            "use a smaller file, or raise the tool's setting max_file_size_bytes"
        )
        raise ResourceLimitError(message, resource="file_bytes", limit=max_bytes)
