"""The contents of artifacts that lie in files beside the storage: into a backup, and back into their places.

Invariant: a file is whole in its place before an entry refers to it, as where it was written first. What lies in a file
and is in a backup already is named in the next one, not copied.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.storage import Storage
from llmspell_plugins.services.artifacts.content import Known

from .file import Piece

__all__ = ["CONTENTS", "hash_of_key", "is_in_file", "moved", "next_page", "pieces_of", "place"]

CONTENTS: Final = "content/"
_KEY: Final = re.compile(r"content/([0-9a-f]{64})")
_PIECE_BYTES: Final = 1024 * 1024
_PAGE_ROWS: Final = 2000
_STAGING: Final = "staging"


def hash_of_key(key: str) -> str:
    """Return which content an entry tells of; empty for none."""
    found = _KEY.fullmatch(key)
    return "" if found is None else found[1]


def is_in_file(value: bytes) -> bool:
    """Whether a content should lie in a file, by what is known of it; False where that is encrypted."""
    try:
        known = msgspec.msgpack.decode(value, type=Known)
    except (msgspec.DecodeError, RecursionError):
        return False
    return known.data is None and not known.pieces and not known.going_s


def pieces_of(
    folder: Path, hashes: Iterable[str], there: Mapping[str, int], expected: Collection[str]
) -> Iterator[Piece]:
    """Yield what a backup says of contents.

    Args:
        folder: Where their files lie.
        hashes: Of all contents.
        there: Of those that the backup before leads to, how large they are.
        expected: Of those that should lie in files.
    """
    for hash in hashes:
        try:
            handle = os.open(_file(folder, hash), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if hash in expected:
                yield hash, -1, -1, b""
            continue
        with os.fdopen(handle, "rb", buffering=0) as file:
            size = os.fstat(handle).st_size
            if there.get(hash) == size:
                yield hash, size, -1, b""
                continue
            at = 0
            while at < size or not size:
                piece = file.read(_PIECE_BYTES)
                yield hash, size, at, piece
                at += len(piece)
                if not piece:
                    break


def next_page(pieces: Iterator[Piece]) -> list[Piece]:
    """Return what is written in one frame."""
    page: list[Piece] = []
    size_bytes = 0
    for piece in pieces:
        page.append(piece)
        size_bytes += len(piece[3])
        if len(page) >= _PAGE_ROWS or size_bytes >= _PIECE_BYTES:
            break
    return page


async def moved(storage: Storage, versions: Mapping[str, int], hashes: Sequence[str]) -> bool:
    """Whether a content that was missing was taken out meanwhile, so that it is to be begun anew."""
    for hash in hashes:
        entry = await storage.get(f"{CONTENTS}{hash}")
        if entry is None or entry.version != versions[f"{CONTENTS}{hash}"]:
            return True
    return False


def place(folder: Path, pieces: Iterator[Piece], wanted: Collection[str]) -> int:
    """Put the contents that are wanted in their places; returns how many.

    Raises:
        StorageError: One is cut.
        OSError: The system refuses.
    """
    staged = _Staged(folder)
    count = 0
    try:
        for hash, size, at, piece in pieces:
            if at < 0 or hash not in wanted:
                continue
            if at == 0:
                staged.begin(hash)
            if staged.hash != hash or staged.size != at:
                raise StorageError(
                    f"content {hash[:16]}: the backup holds a part of it; use another one", code="backup"
                )
            staged.write(piece)
            if staged.size == size:
                staged.settle()
                count += 1
    finally:
        staged.give_up()
    return count


class _Staged:
    """A file that is not in its place yet."""

    def __init__(self, folder: Path) -> None:
        self.hash, self.size = "", 0
        self._folder = folder
        self._path: Path | None = None
        self._handle = -1

    def begin(self, hash: str) -> None:
        self.give_up()
        self.hash, self.size = hash, 0
        staging = self._folder / _STAGING
        staging.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = staging / secrets.token_hex(16)
        self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._handle, view) :]
        self.size += len(piece)

    def settle(self) -> None:
        final = _file(self._folder, self.hash)
        assert self._path is not None
        os.fsync(self._handle)
        os.close(self._handle)
        self._handle = -1
        if not final.parent.exists():
            final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(self._folder)
        os.replace(self._path, final)
        _sync(final.parent)
        self._path = None

    def give_up(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
            self._path = None


def _file(folder: Path, hash: str) -> Path:
    return folder / hash[:2] / hash


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
