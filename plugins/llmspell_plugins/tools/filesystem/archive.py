"""What is in an archive, and what its files really hold: zip, tar (bare or with gzip, bzip2, xz), and one packed file.

Invariant: an archive is bytes, so nothing here opens a path; what a header says of a size is told and never trusted:
bytes are counted as they are unpacked. Entries of a zip may not share bytes (42.zip, zbsm.zip). Sizes in bytes, times
in seconds since the epoch. Sources: APPNOTE.TXT 6.3, POSIX pax, RFC 1952.

It is longer than most because what each format's reader must refuse stands beside that reader.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any, Final, TypeVar

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import ResourceLimitError, line_of_error
from llmspell_hookspecs.spelling import spelled_path

__all__ = ["ENCRYPTED", "Bounds", "Member", "Meter", "check", "opened", "sound", "sounded", "survey"]

_CHUNK: Final = 1 << 18
_BLOCK: Final = 512
_PACKERS: Final = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\0"}
_ZIPS: Final = (b"PK\x03\x04", b"PK\x05\x06")
_NAME_BYTES: Final = 255
ENCRYPTED: Final = "it is encrypted"
"""The fault of a member that needs a password."""
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    IndexError,
)
"""What Python's readers raise on what is no sound archive."""


class Bounds(Struct, frozen=True):
    """How much may come out of an archive, or go into one.

    Attributes:
        file_bytes: Each file.
        total_bytes: All files together.
        files: How many files and folders.
    """

    file_bytes: int
    total_bytes: int
    files: int


class Member(Struct, frozen=True):
    """Something in an archive.

    Attributes:
        name: As the archive says.
        kind: ``file``, ``directory``, ``symlink``, ``hardlink`` or ``other``.
        size: As the archive says; of one that was unpacked, what it holds.
        packed: What it takes in the archive; None where files are packed together.
        modified: When it was changed; None if the archive does not say.
        fault: Why it is never unpacked; empty if it may be.
    """

    name: str
    kind: str
    size: int
    packed: int | None = None
    modified: int | None = None
    fault: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Its folders and its name."""
        return tuple(part for part in self.name.split("/") if part not in ("", "."))

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be wanted by: its name, and those of the folders that it is in."""
        parts = self.parts
        return (self.name, *("/".join(parts[:end]) for end in range(1, len(parts) + 1)))

    def is_among(self, wanted: frozenset[str] | None) -> bool:
        """Return whether it, or a folder that it is in, is wanted; None wants all."""
        if wanted is None:
            return True
        return not wanted.isdisjoint(self.names)


Reader = Callable[[], Iterable[bytes]]
"""Unpacks a member, piece by piece; to be called before the next member is asked for."""


class Meter:
    """Counts what is really unpacked, of one file and of all."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.total = 0

    def counted(self, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces.

        Raises:
            ResourceLimitError: They are more than the bounds allow.
        """
        size = 0
        for piece in pieces:
            size += len(piece)
            self.total += len(piece)
            if size > self._bounds.file_bytes:
                raise _too_much(f"{spelled_path(name)[-200:]} holds", "bytes", self._bounds.file_bytes, "file_size")
            if self.total > self._bounds.total_bytes:
                raise _too_much("all files together hold", "bytes", self._bounds.total_bytes, "total")
            yield piece


def survey(
    content: bytes, path: str, bounds: Bounds, wanted: frozenset[str] | None, through: bool
) -> tuple[str, list[Member]]:
    """Return the format, and the members; with ``through`` each wanted one is unpacked, checked, and let go.

    Args:
        content: The archive.
        path: Where it was; names the file in one that holds one without a name.
        bounds: What may be in it.
        wanted: Names of members and of folders; None for all.
        through: Whether sizes are counted, and check sums compared.

    Raises:
        ToolError: ``unsupported_format``, or ``invalid_input``: it is damaged.
        ResourceLimitError: There is more in it than the bounds allow.
    """
    with sound(path):
        kind = _format(content, path)
        meter = Meter(bounds)
        members: list[Member] = []
        for member, read in opened(content, kind, path, bounds):
            is_read = through and member.kind == "file" and not member.fault
            if kind in _PACKERS or (is_read and member.is_among(wanted)):
                size = sum(map(len, meter.counted(member.name, read())))
                member = Member(member.name, member.kind, size, member.packed, member.modified, member.fault)
            members.append(member)
    return kind, members


def check(content: bytes, path: str, bounds: Bounds) -> dict[str, Any]:
    """Return ``{valid, errors, format, file_count, total_size}``: whether all can be unpacked, with its check sums."""
    try:
        kind, members = survey(content, path, bounds, None, True)
    except ToolError as error:
        if error.code != "invalid_input":
            raise
        return {"valid": False, "errors": [{"message": str(error)}]}
    faults = [{"message": f"{spelled_path(each.name)}: {each.fault}"} for each in members if each.fault]
    files = [each for each in members if each.kind == "file"]
    total = sum(each.size for each in files)
    return {
        "valid": not faults,
        "errors": faults,
        "format": kind,
        "file_count": len(files),
        "total_size": total,
    }


def opened(content: bytes, kind: str, path: str, bounds: Bounds) -> Iterator[tuple[Member, Reader]]:
    """Yield each member with what unpacks it.

    Raises:
        ResourceLimitError: There are more than the bounds allow.
    """
    members = _zipped(content) if kind == "zip" else _packed(content, kind, path)
    if kind.startswith("tar"):
        members = _tarred(content, kind, bounds)
    for count, each in enumerate(members, 1):
        if count > bounds.files:
            raise _too_much("it holds", "files", bounds.files, "files")
        yield each


@contextmanager
def sound(path: str) -> Iterator[None]:
    """Raise what Python's readers find wrong within the block as one error.

    Raises:
        ToolError: ``invalid_input``.
    """
    where = f"archive_handler: {spelled_path(path)[-200:]}"
    try:
        yield
    except RuntimeError as error:  # zipfile: a method that it has not, or a password is needed
        message = f"{where}: {line_of_error(error)[:150]}; it is packed in a way that cannot be read, pack it anew"
        raise ToolError(message, code="unsupported_format") from error
    except _DAMAGE as error:
        why = line_of_error(error)[:150] or type(error).__name__
        raise ToolError(f"{where}: it is damaged ({why}); get it again", code="invalid_input") from error


T = TypeVar("T")


def sounded(path: str, items: Iterable[T]) -> Iterator[T]:
    """Yield the items; what is wrong with the archive is told as by `sound`, and what the taker raises is not touched.

    Raises:
        ToolError: ``invalid_input``.
    """
    with sound(path):
        yield from items


def _format(content: bytes, path: str) -> str:
    """The archive's format by its first bytes; its name decides only whether packed zeros are a tar without files."""
    if content.startswith(_ZIPS):
        return "zip"
    for kind, magic in _PACKERS.items():
        if content.startswith(magic):
            named = path.endswith((f".tar.{kind}", ".tgz", ".tbz2", ".txz"))
            return f"tar.{kind}" if _is_tar(_unpacker(content, kind).read(_BLOCK), empty=named) else kind
    if _is_tar(content[:_BLOCK], empty=path.endswith(".tar")):
        return "tar"
    if zipfile.is_zipfile(io.BytesIO(content)):  # one with a program before it
        return "zip"
    message = f"archive_handler: {spelled_path(path)[-200:]}: it is no archive; give a zip, tar, tar.gz, gz, bz2 or xz"
    raise ToolError(message, code="unsupported_format")


def _is_tar(block: bytes, *, empty: bool) -> bool:
    if len(block) == _BLOCK == block.count(0):
        return empty
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _unpacker(content: bytes, kind: str) -> IO[bytes]:
    stream = io.BytesIO(content)
    if kind == "gz":
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    return bz2.BZ2File(stream) if kind == "bz2" else lzma.LZMAFile(stream)


def _packed(content: bytes, kind: str, path: str) -> Iterator[tuple[Member, Reader]]:
    """The one file of a packed one; the name that a gzip header may hold is a stranger's, so it is not used."""
    name = path.rpartition("/")[2]
    name = name.removesuffix(f".{kind}") if len(name) > len(kind) + 1 else name
    name = name if not path.endswith(f"/{name}") else f"{name}.unpacked"
    yield Member(name, "file", 0, len(content)), partial(_chunks, _unpacker(content, kind))


def _zipped(content: bytes) -> Iterator[tuple[Member, Reader]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        _check_apart(content, infos, archive.start_dir)
        for info in infos:
            yield _of_zip(info), partial(_zip_pieces, archive, info)


def _zip_pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    size = 0
    with archive.open(info) as stream:
        for chunk in _chunks(stream):
            size += len(chunk)
            yield chunk
    if size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r:.80} holds {size} bytes and not {info.file_size}")


def _check_apart(content: bytes, infos: list[zipfile.ZipInfo], end: int) -> None:
    """Refuse entries that share bytes: a few kilobytes unpack to petabytes so. Python checks it from 3.11.8 on."""
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        start = info.header_offset
        if start < 0 or content[start : start + 4] != _ZIPS[0]:
            raise zipfile.BadZipFile(f"{info.filename!r:.80} does not begin where the directory says")
        name, extra = struct.unpack_from("<HH", content, start + 26)
        if start + 30 + name + extra + info.compress_size > end:
            raise zipfile.BadZipFile(f"{info.filename!r:.80} overlaps what comes after it")
        end = start


def _of_zip(info: zipfile.ZipInfo) -> Member:
    name = _zip_name(info)
    mode = info.external_attr >> 16
    kind = "directory" if name.endswith("/") else "file"
    if stat.S_ISLNK(mode):
        kind = "symlink"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "other"
    try:
        modified = int(time.mktime((*info.date_time, 0, 0, -1)))
    except (ValueError, OverflowError):
        modified = None
    fault = ENCRYPTED if info.flag_bits & 1 and kind == "file" else _fault(name, kind)
    return Member(name, kind, info.file_size, info.compress_size, modified, fault)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name; programs of Unix write UTF-8 without the bit that says so, and Python takes it for code page 437."""
    name = info.orig_filename
    if info.create_system != 3 or info.flag_bits & 0x800:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


class _StrictInfo(tarfile.TarInfo):
    """A header that is wrong is an error also behind the first: tarfile would take it for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _StrictInfo:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not buf or buf.count(0) == _BLOCK:
                raise  # the archive's end, not an error
            raise tarfile.ReadError(f"a header is wrong: {line_of_error(error)}") from error


class _Bounded(io.RawIOBase):
    """What is unpacked on the way to a tar's headers, counted: a header can say that it has a terabyte."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream = stream
        self._most = most
        self._count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size if 0 <= size < _CHUNK else _CHUNK)
        self._count += len(data)
        if self._count > self._most:
            raise _too_much("unpacked it has", "bytes", self._most, "total")
        return data


def _tarred(content: bytes, kind: str, bounds: Bounds) -> Iterator[tuple[Member, Reader]]:
    packer = kind.partition(".")[2]
    stream = _unpacker(content, packer) if packer else io.BytesIO(content)
    most = bounds.total_bytes + 4 * _BLOCK * min(bounds.files, 100_000) + 20 * _BLOCK
    # As a stream, so that each byte is unpacked once, in order.
    with tarfile.open(fileobj=_Bounded(stream, most), mode="r|", tarinfo=_StrictInfo) as archive:
        for info in archive:
            yield _of_tar(info), partial(_tar_pieces, archive, info)


def _tar_pieces(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    stream = archive.extractfile(info)
    if stream is not None:
        yield from _chunks(stream)


def _of_tar(info: tarfile.TarInfo) -> Member:
    kind = "other"
    for told, is_so in (
        ("file", info.isreg()),
        ("directory", info.isdir()),
        ("symlink", info.issym()),
        ("hardlink", info.islnk()),
    ):
        kind = told if is_so else kind
    return Member(info.name, kind, info.size, None, int(info.mtime), _fault(info.name, kind))


def _fault(name: str, kind: str) -> str:
    if kind in ("symlink", "hardlink"):
        return "it is a link"
    if kind == "other":
        return "it is a device, a pipe or something else that is no file"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "its name is absolute"
    if ".." in re.split(r"[/\\]", name):
        return "its name leads out of the folder"
    if not name or "\0" in name or "\\" in name:
        return "its name is empty, or holds a backslash or a NUL"
    if kind == "file" and (name.endswith("/") or name.split("/")[-1] == "."):
        return "its name is a folder's"
    if any(len(part.encode("utf-8", "surrogateescape")) > _NAME_BYTES for part in name.split("/")):
        return f"its name is longer than {_NAME_BYTES} bytes"
    return ""


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _too_much(what: str, unit: str, limit: int, setting: str) -> ResourceLimitError:
    name = f"max_{setting}" if setting == "files" else f"max_{setting}_bytes"
    message = (
        f"archive_handler: {what} more than {limit} {unit}; take a smaller one, or raise the tool's setting {name}"
    )
    return ResourceLimitError(message, resource=unit, limit=limit)
