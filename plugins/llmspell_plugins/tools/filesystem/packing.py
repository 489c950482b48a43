"""Files made into an archive, piece by piece: zip, tar (bare or with gzip, bzip2, xz), and one file packed alone.

Invariant: no more than a piece is held, and the same files make the same bytes: no clock is read, and owners are not
told. Files are read by their judged paths. All functions block; call them in a worker thread of trio. Sizes in bytes.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from llmspell_hookspecs import ToolError

from .archive import Meter
from .content import pieces

__all__ = ["Entry", "packed"]

_BLOCK: Final = 512
_RECORD: Final = 20 * _BLOCK
_FIRST_YEAR: Final = (1980, 1, 1, 0, 0, 0)
_LAST_YEAR: Final = (2107, 12, 31, 23, 59, 58)


class Entry(Struct, frozen=True):
    """A file or folder that goes into an archive.

    Attributes:
        name: In the archive; a folder's without a slash at its end.
        path: Where it is.
        mode: Its type and permissions.
        size: Of a file.
        modified: When it was changed.
    """

    name: str
    path: str
    mode: int
    size: int
    modified: float

    @property
    def is_folder(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.mode)


def packed(kind: str, entries: list[Entry], level: int, meter: Meter, file_bytes: int) -> Iterator[bytes]:
    """Yield the archive's bytes.

    Args:
        kind: ``zip``, ``tar``, ``tar.gz`` ..., or ``gz``, ``bz2``, ``xz`` for one entry.
        entries: Each folder before what is in it.
        level: 0 packs fast, 9 packs small.
        meter: Counts what goes in.
        file_bytes: The largest file.

    Raises:
        ToolError: A file changed while it was read.
        ResourceLimitError: There is too much.
    """
    if kind == "zip":
        return _zipped(entries, level, meter, file_bytes)
    if not kind.startswith("tar"):
        return _compressed(_content(entries[0], meter, file_bytes), kind, level)
    return _compressed(_tarred(entries, meter, file_bytes), kind.partition(".")[2], level)


def _content(entry: Entry, meter: Meter, file_bytes: int) -> Iterator[bytes]:
    return meter.counted(entry.name, pieces(entry.path, file_bytes))


def _compressed(raw: Iterable[bytes], kind: str, level: int) -> Iterator[bytes]:
    compressor: Any
    if kind == "gz":
        compressor = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    elif kind == "bz2":
        compressor = bz2.BZ2Compressor(max(1, level))
    elif kind == "xz":
        compressor = lzma.LZMACompressor(preset=level)
    else:
        yield from raw
        return
    for piece in raw:
        yield compressor.compress(piece)
    yield compressor.flush()


def _tarred(entries: list[Entry], meter: Meter, file_bytes: int) -> Iterator[bytes]:
    written = 0
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.mode, info.mtime = stat.S_IMODE(entry.mode) & 0o777, int(entry.modified)
        info.type = tarfile.DIRTYPE if entry.is_folder else tarfile.REGTYPE
        info.size = 0 if entry.is_folder else entry.size
        header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield header
        if not entry.is_folder:
            yield from _of_size(entry, _content(entry, meter, file_bytes))
            yield bytes(-entry.size % _BLOCK)
        written += len(header) + info.size + -info.size % _BLOCK
    yield bytes(2 * _BLOCK + -(written + 2 * _BLOCK) % _RECORD)


def _of_size(entry: Entry, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, which must be as many bytes as the header says."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size <= entry.size:
            yield chunk
    if size != entry.size:
        message = f"archive_handler: {entry.name}: it changed while it was packed; try again"
        raise ToolError(message, code="changed")


class _Sink:
    """Where zipfile writes; it cannot go back, so that what it wrote can be handed on at once."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Do nothing; zipfile asks for it."""

    def drained(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def _zipped(entries: list[Entry], level: int, meter: Meter, file_bytes: int) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for entry in entries:
            with archive.open(_zip_info(entry, level), "w") as writer:
                for piece in () if entry.is_folder else _content(entry, meter, file_bytes):
                    writer.write(piece)
                    yield sink.drained()
            yield sink.drained()
    yield sink.drained()


def _zip_info(entry: Entry, level: int) -> zipfile.ZipInfo:
    moment = time.localtime(entry.modified)[:6]
    info = zipfile.ZipInfo(entry.name + "/" * entry.is_folder, min(max(moment, _FIRST_YEAR), _LAST_YEAR))
    info.create_system = 3  # Unix: the mode counts
    info.external_attr = (stat.S_IFMT(entry.mode) | stat.S_IMODE(entry.mode) & 0o777) << 16 | 0x10 * entry.is_folder
    if level and not entry.is_folder:
        info.compress_type = zipfile.ZIP_DEFLATED
        info._compresslevel = level  # type: ignore[attr-defined]  # public from Python 3.13 on
    info.file_size = entry.size
    return info
