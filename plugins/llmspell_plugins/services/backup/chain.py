"""A backup with all that it goes on from: found, checked, and read as what the storage held.

Invariant: a chain is only made of files that are whole and are the ones that their children were made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from llmspell_hookspecs.backup import BackupCheck
from llmspell_hookspecs.errors import StorageError

from .file import BackupReader, Header, Piece, Trailer

__all__ = ["Chain", "check_chain", "open_chain"]

_LONGEST: Final = 10_000


class Chain:
    """The files of a backup, the full one first; close it."""

    def __init__(self, readers: list[BackupReader]) -> None:
        self._readers = readers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()

    @property
    def ends(self) -> list[tuple[Header, Trailer]]:
        """What stands at the two ends of each."""
        return [(reader.header, reader.trailer) for reader in self._readers]

    def versions(self) -> dict[str, int]:
        """Return the version of each key that the storage held."""
        return self._readers[-1].versions()

    def rows(self, final: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
        """Yield each key that the storage held, once, and its value."""
        for reader in self._readers:
            for frame in reader.entries():
                for key, version, value in frame:
                    if final.get(key) == version:
                        yield key, value

    def sizes(self) -> dict[str, int]:
        """Return the size of each content's file that was there, -1 for one that was missing."""
        return {hash: size for hash, size, _, _ in self._readers[-1].contents()}

    def contents(self) -> Iterator[Piece]:
        """Yield the pieces of contents that its files hold, the oldest first."""
        for reader in self._readers:
            yield from reader.contents()

    def readers(self) -> list[BackupReader]:
        """Return what reads them."""
        return self._readers

    def close(self) -> None:
        """Close the files."""
        for reader in self._readers:
            reader.__exit__(None, None, None)


def open_chain(folder: Path, id: str) -> Chain:
    """Return a backup's chain.

    Raises:
        StorageError: A file is missing, not whole, or another one than its child was made of.
    """
    readers: list[BackupReader] = []
    child: Header | None = None
    try:
        while True:
            path = folder / f"{id}.lsb"
            if not path.exists():
                message = f"backup {id}: it is missing" + ("" if child is None else f", and {child.id} goes on from it")
                raise StorageError(f"{message}; use another one", code="backup")
            reader = BackupReader(path)
            readers.append(reader)
            if reader.header.id != id or (child is not None and reader.trailer.hash != child.parent_hash):
                raise StorageError(
                    f"backup {id}: its file is another one than it was; use another backup", code="backup"
                )
            child, id = reader.header, reader.header.parent
            if not id:
                return Chain(readers[::-1])
            if len(readers) > _LONGEST:
                raise StorageError(f"backup {child.id}: it goes on from too many; use another one", code="backup")
    except BaseException:
        for reader in readers:
            reader.__exit__(None, None, None)
        raise


def check_chain(folder: Path, id: str) -> BackupCheck:
    """Read a backup and all that it goes on from; blocks for long."""
    try:
        chain = open_chain(folder, id)
    except StorageError as error:
        return BackupCheck(id, checksum_valid=False, integrity_valid=False, errors=(str(error).partition("; ")[0],))
    with chain:
        ids = tuple(header.id for header, _ in chain.ends)
        errors = [
            f"backup {reader.header.id}: it is not as it was written"
            for reader in chain.readers()
            if not reader.check_hash()
        ]
        if errors:
            return BackupCheck(id, ids, 0, False, False, tuple(errors))
        try:
            final = chain.versions()
            found = {key for key, _ in chain.rows(final)}
            sizes = chain.sizes()
            held = _held(chain)
        except StorageError as error:
            return BackupCheck(id, ids, 0, True, False, (str(error).partition("; ")[0],))
        lacking = len(final) - len(found)
        entries = chain.ends[-1][1].entries
        if lacking or entries != len(final):
            errors.append(f"backup {id}: {lacking or entries - len(final)} entries of it are in none of its files")
        errors += [
            f"backup {id}: the content {hash[:16]} is not whole in its files"
            for hash, size in sizes.items()
            if size >= 0 and size not in held.get(hash, ())
        ]
        warnings = [f"it goes on from {len(ids) - 1} others; make a full one"] if len(ids) >= 50 else []
        lost = sum(size < 0 for size in sizes.values())
        if lost:
            warnings.append(
                f"the files of {lost} contents were missing when it was made; see 'llmspell artifact verify'"
            )
        return BackupCheck(id, ids, entries, True, not errors, tuple(errors), tuple(warnings))


def _held(chain: Chain) -> dict[str, set[int]]:
    """Return for each content the sizes of the files of it that are whole in a chain."""
    held: dict[str, set[int]] = {}
    last, end = "", 0
    for hash, size, at, piece in chain.contents():
        if at < 0:
            continue
        end = end + len(piece) if at and hash == last and at == end else len(piece) if not at else -1
        last = hash
        if end == size:
            held.setdefault(hash, set()).add(size)
    return held
