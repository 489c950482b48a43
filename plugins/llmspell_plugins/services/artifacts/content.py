"""Contents by their hash: staged, put in their place, read and taken out.

What is known of a content stands in the storage under ``content/<hash>``. Up to 16 KiB it holds the content itself;
what is larger lies in a file ``<folder>/ab/<hash>``, or, where there is no folder, in pieces beside it. A content of
10 KiB and more is compressed by lz4, if its first 64 KiB become smaller by that.

Invariant: a file is whole before anything refers to it: written beside, synced, renamed, its folder synced. What takes
a content out first marks what is known of it, expecting that as it was before it looked who refers to it; whoever
stores the same content expects it unmarked, and looks once more whether it lies there when that is written. So of the
two one comes later, and nothing that is referred to goes.

It is longer than most because the ways of a content into its place and out of it only make sense together.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterable, Collection
from pathlib import Path
from typing import Any, Final

import lz4.frame  # type: ignore[import-untyped]
import msgspec
import trio
from blake3 import blake3
from msgspec import Struct, structs

from llmspell_hookspecs.errors import InvalidInputError, ResourceLimitError, StorageError, line_of_error
from llmspell_hookspecs.storage import Storage

__all__ = ["Contents", "Known", "Staged"]

INLINE_BYTES: Final = 16 * 1024
_PRESSED_BYTES: Final = 10 * 1024
_TRIED_BYTES: Final = 64 * 1024
_RATIO: Final = 1.05
_PIECE_BYTES: Final = 1024 * 1024
GOING_S: Final = 60.0
"""How long whoever marked a content may take to take it out."""
_PATIENCE_S: Final = 0.002
_STAGING: Final = "staging"
_STAGED_S: Final = 3600.0
"""Longer than anybody stages a content."""
_ROW: Final = 64


class Known(Struct, frozen=True, omit_defaults=True):
    """What is known of a content.

    Attributes:
        size_bytes: Of the plain content.
        stored_bytes: Of how it lies there.
        codec: ``raw`` or ``lz4``.
        touched_s: When it was stored last, in seconds since the epoch.
        data: It, if it is small.
        pieces: In how many pieces it lies beside this, if it does.
        going_s: Since when it is marked; 0 if it is not.
    """

    size_bytes: int = 0
    stored_bytes: int = 0
    codec: str = "raw"
    touched_s: float = 0.0
    data: bytes | None = None
    pieces: int = 0
    going_s: float = 0.0


class Staged(Struct):
    """A content that is hashed, and not yet in its place.

    Attributes:
        hash: Of the plain content, in hex.
        known: What will be known of it.
        file: Where it lies meanwhile; None if it is in memory.
        stored: It, as it will lie there, if it is in memory.
    """

    hash: str
    known: Known
    file: Path | None = None
    stored: bytes = b""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Known).decode


class _Writer:
    """Takes a content in piece by piece, in threads.

    Args:
        folder: Where a file of it is made once it is large; None for nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._hash = blake3()
        self._size = 0
        self._held: list[bytes] = []
        self._press: Any = None
        self._begun = False
        self._stream: Any = None
        self._stored = 0
        self.file: Path | None = None
        self._kept: list[bytes] = []

    @property
    def size(self) -> int:
        return self._size

    def write(self, piece: bytes) -> None:
        """Take a piece in."""
        self._hash.update(piece)
        self._size += len(piece)
        if self._begun:
            self._put(piece)
            return
        self._held.append(piece)
        if self._size >= _TRIED_BYTES:
            self._begin()

    def finish(self) -> Staged:
        """Return the content."""
        if not self._begun:
            whole = b"".join(self._held)
            if len(whole) < _PRESSED_BYTES or (len(whole) <= INLINE_BYTES and not _presses(whole)):
                return self._in_memory(whole, "raw")
            if len(whole) <= INLINE_BYTES:
                return self._in_memory(lz4.frame.compress(whole), "lz4")
            self._begin()
        if self._press is not None:
            self._out(self._press.flush())
        codec = "raw" if self._press is None else "lz4"
        if self._stream is None:
            return self._in_memory(b"".join(self._kept), codec)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        known = Known(self._size, self._stored, codec)
        return Staged(self._hash.hexdigest(), known, self.file)

    def close(self) -> None:
        """Give up what was begun."""
        if self._stream is not None:
            self._stream.close()
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _in_memory(self, stored: bytes, codec: str) -> Staged:
        return Staged(self._hash.hexdigest(), Known(self._size, len(stored), codec), None, stored)

    def _begin(self) -> None:
        whole, self._held, self._begun = b"".join(self._held), [], True
        if self._folder is not None:
            staging = self._folder / _STAGING
            staging.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.file = staging / secrets.token_hex(16)
            opened = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._stream = os.fdopen(opened, "wb", buffering=0)
        if _presses(whole[:_TRIED_BYTES]):
            self._press = lz4.frame.LZ4FrameCompressor()
            self._out(self._press.begin())
        self._put(whole)

    def _put(self, piece: bytes) -> None:
        for start in range(0, len(piece), 4 * _PIECE_BYTES):
            part = piece[start : start + 4 * _PIECE_BYTES] if len(piece) > 4 * _PIECE_BYTES else piece
            self._out(part if self._press is None else self._press.compress(part))

    def _out(self, stored: bytes) -> None:
        self._stored += len(stored)
        if self._stream is None:
            self._kept.append(stored)
            return
        view = memoryview(stored)
        while view:
            view = view[self._stream.write(view) :]


def _presses(sample: bytes) -> bool:
    """Return whether it pays to compress what begins so."""
    return len(lz4.frame.compress(sample)) * _RATIO < len(sample)


class Contents:
    """The contents of a storage.

    Args:
        storage: Keeps what is known of them.
        folder: Keeps them; None if there is none.
        in_files: Whether those that come go there, too.
    """

    def __init__(self, storage: Storage, folder: Path | None, *, in_files: bool = True) -> None:
        self._storage, self._folder = storage, folder
        self._writes_to = folder if in_files else None

    # Storing.

    async def stage(self, content: bytes | str | AsyncIterable[bytes], most_bytes: int, where: str) -> Staged:
        """Take a content in, hash it, and let it lie where nobody refers to it.

        Raises:
            InvalidInputError: It is none.
            ResourceLimitError: It is too large.
            StorageError: It cannot be written.
        """
        writer = _Writer(self._writes_to)
        try:
            if isinstance(content, str):
                content = _utf8(content, where)
            if isinstance(content, bytes | bytearray | memoryview):
                plain = bytes(content)
                _hold(len(plain), most_bytes, where)
                if len(plain) < _PRESSED_BYTES:
                    return _whole(writer, plain)
                return await trio.to_thread.run_sync(_whole, writer, plain)
            if not isinstance(content, AsyncIterable):
                message = f"{where}: its content is a {type(content).__name__}; give bytes, a text, or pieces of bytes"
                raise InvalidInputError(message, field="content")
            return await self._take(writer, content, most_bytes, where)
        except OSError as error:
            await trio.to_thread.run_sync(writer.close)
            raise StorageError(f"{where}: it cannot be kept: {line_of_error(error)}; see to the disk") from error
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.close)
            raise

    async def _take(self, writer: _Writer, content: AsyncIterable[bytes], most_bytes: int, where: str) -> Staged:
        held: list[bytes] = []
        size = 0
        try:
            async for piece in content:
                if not isinstance(piece, bytes | bytearray):
                    message = f"{where}: a piece of its content is a {type(piece).__name__}; give bytes"
                    raise InvalidInputError(message, field="content")
                held.append(bytes(piece))
                size += len(piece)
                _hold(writer.size + size, most_bytes, where)
                if size >= _PIECE_BYTES:
                    await trio.to_thread.run_sync(writer.write, b"".join(held))
                    held, size = [], 0
        finally:
            if isinstance(content, AsyncGenerator):
                await content.aclose()
        return await trio.to_thread.run_sync(_whole, writer, b"".join(held))

    async def ready(self, staged: Staged, now_s: float) -> tuple[dict[str, bytes | None], dict[str, int]]:
        """Put a content in its place, and return what is to be written with whatever refers to it, and to be expected.

        If that was not there when it was written, ask again.
        """
        key = _key(staged.hash)
        while True:
            known, version = await self.known(staged.hash)
            if known is None or not known.going_s or now_s - known.going_s > GOING_S:
                break
            await trio.sleep(_PATIENCE_S)  # somebody takes it out right now
        alive = known is not None and not known.going_s
        batch: dict[str, bytes | None] = {}
        if staged.file is not None:
            there = alive and await self._is_whole(staged.hash)
            if not there:
                await self._place(staged)
            fresh = staged.known if not there or known is None else known
        elif len(staged.stored) <= INLINE_BYTES:
            fresh = structs.replace(staged.known, data=staged.stored)
        else:
            pieces = [staged.stored[at : at + _PIECE_BYTES] for at in range(0, len(staged.stored), _PIECE_BYTES)]
            batch.update({f"{key}/{number:06d}": piece for number, piece in enumerate(pieces)})
            fresh = structs.replace(staged.known, pieces=len(pieces))
        batch[key] = _encode(structs.replace(fresh, touched_s=now_s, going_s=0.0))
        return batch, {key: version}

    def known_in(self, batch: dict[str, bytes | None], hash: str) -> Known:
        """Return what is known of a content according to what `ready` returned."""
        return _known(hash, batch[_key(hash)] or b"")

    async def plain_of(self, staged: Staged) -> bytes:
        """Return a content that is staged."""
        return await trio.to_thread.run_sync(_staged_plain, staged)

    async def discard(self, staged: Staged) -> None:
        """Let go what was staged; what was put in its place stays there."""
        if staged.file is not None:
            file = staged.file
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: file.unlink(missing_ok=True))

    async def _is_whole(self, hash: str) -> bool:
        try:
            await self.read(hash, "content")
        except StorageError:
            return False
        return True

    async def settle(self, staged: Staged) -> None:
        """Look once more whether a content lies where it should, now that it is referred to."""
        known, _ = await self.known(staged.hash)
        if staged.file is not None and known is not None and not await self._lies(staged.hash, known):
            await self._place(staged)

    async def _place(self, staged: Staged) -> None:
        file, final = staged.file, self._file(staged.hash)
        assert file is not None
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(_link, file, final)
        except OSError as error:
            told = f"content {staged.hash[:16]}: it cannot be kept: {line_of_error(error)}; see to the disk"
            raise StorageError(told) from error

    async def _lies(self, hash: str, known: Known) -> bool:
        """Return whether a content lies where it should, as large as it should be."""
        if known.data is not None or known.pieces:
            return True
        size_bytes = -1 if self._folder is None else await trio.to_thread.run_sync(_size_of, self._file(hash))
        return size_bytes == known.stored_bytes

    # Reading.

    async def known(self, hash: str) -> tuple[Known | None, int]:
        """Return what is known of a content, and the version of that."""
        entry = await self._storage.get(_key(hash))
        return (None, 0) if entry is None else (_known(hash, entry.value), entry.version)

    async def read(self, hash: str, where: str) -> bytes:
        """Return a content.

        Raises:
            StorageError: It is missing, or is not what it was.
        """
        known, _ = await self.known(hash)
        if known is None:
            raise _wrong(where, "is missing")
        try:
            stored = await self._stored(hash, known, where)
            if len(stored) < _PRESSED_BYTES:
                return _plain(stored, known, hash, where)
            return await trio.to_thread.run_sync(_plain, stored, known, hash, where)
        except FileNotFoundError as error:
            raise _wrong(where, "is missing") from error
        except OSError as error:
            raise StorageError(
                f"{where}: its content cannot be read: {line_of_error(error)}; see to the disk"
            ) from error

    async def _stored(self, hash: str, known: Known, where: str) -> bytes:
        if known.data is not None:
            return known.data
        if not known.pieces and self._folder is not None:
            return await trio.to_thread.run_sync(self._file(hash).read_bytes)
        found = [entry.value async for _, entry in self._storage.scan(f"{_key(hash)}/", limit=known.pieces + 1)]
        if len(found) != known.pieces:
            raise _wrong(where, "was cut")
        return b"".join(found)

    # Taking out.

    async def all(self) -> dict[str, tuple[Known | None, int]]:
        """Return what is known of every content, None where that is none of ours, with its version."""
        found: dict[str, tuple[Known | None, int]] = {}
        after = ""
        while True:
            last = ""
            async for key, entry in self._storage.scan("content/", after=after, limit=_ROW):
                last = key
                hash, slash, _ = key.removeprefix("content/").partition("/")
                if slash:
                    continue
                try:
                    found[hash] = _known(hash, entry.value), entry.version
                except StorageError:
                    found[hash] = None, entry.version
            if not last:
                return found
            _, slash, _ = last.removeprefix("content/").partition("/")
            after = f"{last.rpartition('/')[0]}/~" if slash else last
            await trio.lowlevel.checkpoint()

    async def take_out(self, hash: str, version: int, now_s: float) -> bool:
        """Take a content out that nobody refers to; False if it was stored since it had this version."""
        key = _key(hash)
        with trio.CancelScope(shield=True):
            marked = await self._storage.write({key: _encode(Known(going_s=now_s))}, expect={key: version})
            if marked is None:
                return False
            if self._folder is not None:
                await trio.to_thread.run_sync(_unlink, self._file(hash))
            pieces = [each async for each, _ in self._storage.scan(f"{key}/", limit=sys.maxsize)]
            await self._storage.write({key: None, **dict.fromkeys(pieces)}, expect={key: marked[key]})
        return True

    async def strays(self, hashes: Collection[str], before_s: float) -> list[str]:
        """Return the hashes of files of which nothing is known, and which were written before a time."""
        if self._folder is None:
            return []
        return await trio.to_thread.run_sync(_strays, self._folder, frozenset(hashes), before_s)

    async def tidy(self) -> None:
        """Take out what was staged long ago, by a process that died."""
        if self._folder is not None:
            await trio.to_thread.run_sync(_tidy, self._folder / _STAGING)

    def _file(self, hash: str) -> Path:
        assert self._folder is not None
        return self._folder / hash[:2] / hash


def _whole(writer: _Writer, plain: bytes) -> Staged:
    writer.write(plain)
    return writer.finish()


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{where}: its text has a lone surrogate; take it out", field="content") from None


def _hold(size_bytes: int, most_bytes: int, where: str) -> None:
    if size_bytes > most_bytes:
        message = (
            f"{where}: its content has more than {most_bytes} bytes; store less, or raise plugins.artifacts.max_bytes"
        )
        raise ResourceLimitError(message, resource="artifact_bytes", limit=most_bytes)


def _key(hash: str) -> str:
    return f"content/{hash}"


def _known(hash: str, encoded: bytes) -> Known:
    try:
        return _decode(encoded)
    except (msgspec.DecodeError, RecursionError) as error:
        told = f"content {hash[:16]}: what is known of it was changed; restore the storage"
        raise StorageError(told) from error


def _plain(stored: bytes, known: Known, hash: str, where: str) -> bytes:
    if len(stored) != known.stored_bytes:
        raise _wrong(where, "was changed")
    try:
        plain = stored if known.codec == "raw" else lz4.frame.decompress(stored)
    except RuntimeError as error:
        raise _wrong(where, "was changed") from error
    if blake3(plain).hexdigest() != hash:
        raise _wrong(where, "was changed")
    return plain


def _staged_plain(staged: Staged) -> bytes:
    stored = staged.stored if staged.file is None else staged.file.read_bytes()
    return _plain(stored, staged.known, staged.hash, "content")


def _wrong(where: str, what: str) -> StorageError:
    return StorageError(f"{where}: its content {what}; restore it, or store it again", code="corrupt")


def _link(file: Path, final: Path) -> None:
    """Give a file its final name, and keep the one that it has."""
    if not final.parent.exists():
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(final.parent.parent)
    beside = file.with_name(f"{file.name}.new")
    beside.unlink(missing_ok=True)
    os.link(file, beside)
    os.replace(beside, final)
    _sync(final.parent)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _unlink(file: Path) -> None:
    file.unlink(missing_ok=True)


def _strays(folder: Path, hashes: frozenset[str], before_s: float) -> list[str]:
    found: list[str] = []
    for file in folder.glob("??*/*"):
        try:
            is_old = file.stat().st_mtime <= before_s
        except OSError:
            continue
        if is_old and file.parent.name != _STAGING and file.name not in hashes:
            found.append(file.name)
    return found


def _tidy(staging: Path) -> None:
    before_s = time.time() - _STAGED_S  # the file system's time, whatever the host's clock says
    for file in staging.glob("*"):
        try:
            if file.stat().st_mtime <= before_s:
                file.unlink()
        except OSError:  # whoever staged it was quicker
            continue
