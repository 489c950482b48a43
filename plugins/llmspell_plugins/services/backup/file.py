"""The file of a backup: written from its beginning to its end, read by frames.

::

    LSB1, the header's length, the header in JSON, its hash
    frames: kind (E entries, C contents, T versions), length, compressed MessagePack
    the trailer in JSON, its hash, its length, LSBE

The trailer counts what is there and has the BLAKE3 of all before it; a file without one was not finished. Lengths are
32 bits, the smallest byte first.

Invariant: a file has its name only when it is whole and on the disk.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs.errors import StorageError

__all__ = ["BackupReader", "BackupWriter", "Header", "Piece", "Trailer", "codec_here"]

_FIRST, _LAST = b"LSB1", b"LSBE"
_LENGTH: Final = struct.Struct("<I")
_FRAME: Final = struct.Struct("<cI")
_HASH_BYTES: Final = 32
_LARGEST_HEAD: Final = 1 << 20
_LARGEST_FRAME: Final = (1 << 31) - 1
_ROW: Final = 5000
_FORMAT: Final = 2
_FORMATS: Final = (1, _FORMAT)
"""The first had no contents."""

Piece = tuple[str, int, int, bytes]
"""Of a content's file: its hash, the size of the file, where the piece begins, and the piece.

With -1 for where it begins, the content is in a backup before; with -1 for the size, too, it was missing.
"""


class Header(Struct, frozen=True):
    """What stands at the beginning.

    Attributes:
        id: The backup's.
        created_s: When.
        codec: How frames are compressed.
        backend: Of what.
        parent: From which backup it goes on; empty for a full one.
        parent_hash: The hash in that one's trailer.
        description: For people.
        format: Of the file.
    """

    id: str
    created_s: float
    codec: str
    backend: str
    parent: str = ""
    parent_hash: str = ""
    description: str = ""
    format: int = _FORMAT


class Trailer(Struct, frozen=True):
    """What stands at the end.

    Attributes:
        entries: How many entries the storage held.
        held: How many the file holds.
        versions_at: Where the frames of the versions begin.
        hash: The BLAKE3 of all before.
        contents_at: Where the frames of the contents begin; 0 if there are none.
    """

    entries: int
    held: int
    versions_at: int
    hash: str
    contents_at: int = 0


def codec_here() -> str:
    """Return the best codec that is installed."""
    try:
        import zstandard  # noqa: F401 - asked whether it is there
    except ImportError:
        return "lz4"
    return "zstd"


class BackupWriter:
    """Writes a file, in threads; one thread at a time.

    Args:
        path: Where it will be.
        header: What stands at its beginning.

    Attributes:
        path: Where it will be.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self._new = path, path.with_suffix(".new")
        self._compress = _codec(header.codec, path)[0]
        self._hash = blake3()
        self._at = 0
        self._held = self._entries = 0
        self._versions_at = self._contents_at = 0
        # Made with its mode, so that it is never open to others, and never over a file that is there.
        handle = os.open(self._new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        head = msgspec.json.encode(header)
        self._write(_FIRST + _LENGTH.pack(len(head)) + head + blake3(head).digest())

    def add(self, rows: Sequence[tuple[str, int, bytes]]) -> None:
        """Write entries: key, version and value."""
        self._frame(b"E", rows)
        self._held += len(rows)

    def add_contents(self, pieces: Sequence[Piece]) -> None:
        """Write pieces of contents, those of one behind each other; after all entries."""
        self._contents_at = self._contents_at or self._at
        self._frame(b"C", pieces)

    def finish(self, versions: Mapping[str, int]) -> Trailer:
        """Write the versions of all keys and the trailer, and let the file have its name."""
        self._versions_at = self._at
        rows = list(versions.items())
        for start in range(0, len(rows), _ROW):
            self._frame(b"T", rows[start : start + _ROW])
        trailer = Trailer(len(versions), self._held, self._versions_at, self._hash.hexdigest(), self._contents_at)
        tail = msgspec.json.encode(trailer)
        self._write(tail + blake3(tail).digest() + _LENGTH.pack(len(tail)) + _LAST)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.rename(self._new, self.path)
        _sync_folder(self.path.parent)
        return trailer

    def give_up(self) -> None:
        """Leave nothing behind, if it is not finished."""
        self._file.close()
        self._new.unlink(missing_ok=True)

    def _frame(self, kind: bytes, rows: Any) -> None:
        packed = self._compress(msgspec.msgpack.encode(rows))
        self._write(_FRAME.pack(kind, len(packed)) + packed)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._at += len(data)


class BackupReader:
    """Reads a file, in threads; within ``with``.

    Args:
        path: The file.

    Attributes:
        header: What stands at its beginning.
        trailer: What stands at its end.
        size_bytes: Of the file.

    Raises:
        StorageError: It is none of ours, or not whole, as far as its two ends tell.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb")
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise StorageError(f"backup {path.stem}: its file cannot be read: {reason}; look at {path}") from None
        try:
            self.size_bytes = os.fstat(self._file.fileno()).st_size
            self.header = self._read_header()
            self.trailer = self._read_trailer()
            self._expand = _codec(self.header.codec, path)[1]
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._file.close()

    def check_hash(self) -> bool:
        """Return whether all before the trailer is as it was written."""
        self._file.seek(0)
        hash, left = blake3(), self._end
        while left > 0 and (piece := self._file.read(min(left, 1 << 20))):
            hash.update(piece)
            left -= len(piece)
        return left == 0 and hash.hexdigest() == self.trailer.hash

    def entries(self) -> Iterator[list[tuple[str, int, bytes]]]:
        """Yield the entries that it holds, a frame at a time."""
        yield from self._frames(b"E", self._begin, self.trailer.contents_at or self.trailer.versions_at)

    def contents(self) -> Iterator[Piece]:
        """Yield the pieces of the contents that it tells of, those of one behind each other."""
        if self.trailer.contents_at:
            for pieces in self._frames(b"C", self.trailer.contents_at, self.trailer.versions_at):
                for piece in pieces:
                    yield tuple(piece)

    def versions(self) -> dict[str, int]:
        """Return the version of each key that the storage held."""
        found: dict[str, int] = {}
        for rows in self._frames(b"T", self.trailer.versions_at, self._end):
            found.update(rows)
        return found

    def _frames(self, kind: bytes, start: int, end: int) -> Iterator[list[Any]]:
        self._file.seek(start)
        at = start
        while at < end:
            head = self._file.read(_FRAME.size)
            if len(head) < _FRAME.size:
                raise self._wrong("it is cut off")
            found, length = _FRAME.unpack(head)
            at += _FRAME.size + length
            if found != kind or at > end:
                raise self._wrong("a part of it is not what it should be")
            try:
                rows: list[Any] = msgspec.msgpack.decode(self._expand(self._file.read(length)))
            except Exception:  # whatever a codec raises for bytes that are none of its own
                raise self._wrong("a part of it cannot be read") from None
            yield rows

    def _read_header(self) -> Header:
        head = self._file.read(len(_FIRST) + _LENGTH.size)
        if len(head) < len(_FIRST) + _LENGTH.size or head[: len(_FIRST)] != _FIRST:
            raise self._wrong("it is no backup of ours")
        (length,) = _LENGTH.unpack(head[len(_FIRST) :])
        if length > _LARGEST_HEAD:
            raise self._wrong("its beginning is damaged")
        header: Header = self._checked(self._file.read(length + _HASH_BYTES), length, "beginning", Header)
        if header.format not in _FORMATS:
            message = f"backup {self._path.stem}: it has the format {header.format}, and this version reads {_FORMAT}"
            raise StorageError(f"{message}; restore it with the version that made it")
        self._begin = self._file.tell()
        return header

    def _read_trailer(self) -> Trailer:
        tail_bytes = _LENGTH.size + len(_LAST)
        if self.size_bytes < self._begin + tail_bytes + _HASH_BYTES:
            raise self._wrong("it is cut off")
        self._file.seek(self.size_bytes - tail_bytes)
        tail = self._file.read(tail_bytes)
        (length,) = _LENGTH.unpack(tail[: _LENGTH.size])
        self._end = self.size_bytes - tail_bytes - _HASH_BYTES - length
        if tail[_LENGTH.size :] != _LAST or self._end < self._begin:
            raise self._wrong("it is cut off, or was never finished")
        self._file.seek(self._end)
        trailer: Trailer = self._checked(self._file.read(length + _HASH_BYTES), length, "end", Trailer)
        return trailer

    def _checked(self, data: bytes, length: int, which: str, kind: Callable[..., Any]) -> Any:
        content, hash = data[:length], data[length:]
        if blake3(content).digest() != hash:
            raise self._wrong(f"its {which} is damaged")
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError:
            raise self._wrong(f"its {which} is none of ours") from None

    def _wrong(self, reason: str) -> StorageError:
        return StorageError(f"backup {self._path.stem}: {reason}; use another one", code="backup")


def _codec(name: str, path: Path) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Return what compresses and what expands.

    Raises:
        StorageError: It is not installed, or unknown.
    """
    if name == "lz4":
        import lz4.frame  # type: ignore[import-untyped]

        return lz4.frame.compress, lz4.frame.decompress
    if name == "zstd":
        try:
            import zstandard
        except ImportError:
            message = f"backup {path.stem}: it is compressed with zstd; install it: pip install 'llmspell[backup]'"
            raise StorageError(message) from None
        compressor, expander = zstandard.ZstdCompressor(level=3), zstandard.ZstdDecompressor()
        return compressor.compress, lambda data: expander.decompress(data, max_output_size=_LARGEST_FRAME)
    raise StorageError(f"backup {path.stem}: it is compressed with {name[:20]!r}, which this version does not know")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
