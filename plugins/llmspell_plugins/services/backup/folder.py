"""The folder of the backups: what lies there, and what may be cleared away. All of it blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError
from llmspell_hookspecs.backup import Backup, BackupCleanup
from llmspell_hookspecs.errors import StorageError

from .chain import open_chain
from .file import BackupReader, BackupWriter, Header, Trailer
from .retention import decide
from .settings import BackupSettings

__all__ = ["ENDING", "ID", "Ends", "all_in", "begin", "clean", "held_by", "in_words", "parent_of", "told"]

ENDING: Final = ".lsb"
ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
"""The form of a backup's id: no path leads out of the folder by it."""
_DAY_S: Final = 86_400.0
T = TypeVar("T")


class Ends(Struct, frozen=True):
    """What stands at the two ends of a backup's file."""

    header: Header
    trailer: Trailer


def in_words(work: Callable[[], T], path: Path) -> T:
    """Do it, and tell what the system refuses in words."""
    with _words(path):
        return work()


@contextmanager
def _words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or "the system refuses"
        raise StorageError(
            f"backup {path.stem}: it cannot be written: {reason}; make room, or correct {path.parent}"
        ) from None


def begin(path: Path, header: Header) -> BackupWriter:
    """Return what writes a new file."""
    with _words(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return BackupWriter(path, header)


def told(path: Path) -> Backup:
    """Return what a file tells of itself.

    Raises:
        InvalidInputError: There is none.
    """
    if not path.exists():
        message = f"backup {path.stem}: there is none; 'llmspell backup list' shows them"
        raise InvalidInputError(message, field="id")
    try:
        with BackupReader(path) as reader:
            head, tail = reader.header, reader.trailer
            size_bytes = reader.size_bytes
    except StorageError as error:
        return Backup(path.stem, _time_of(path.stem), path.stat().st_size, problem=str(error).partition(": ")[2])
    problem = "" if head.id == path.stem else f"its file was renamed: it is {head.id}"
    return Backup(
        path.stem,
        head.created_s,
        size_bytes,
        head.parent,
        tail.entries,
        tail.held,
        head.description,
        head.backend,
        head.codec,
        problem,
    )


def _time_of(id: str) -> float:
    try:
        return datetime.strptime(id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def all_in(folder: Path) -> list[Backup]:
    """Return all backups of a folder, newest first."""
    paths = [path for path in folder.glob(f"*{ENDING}") if ID.fullmatch(path.stem)] if folder.is_dir() else []
    return sorted(map(told, paths), key=lambda backup: (backup.created_s, backup.id), reverse=True)


def held_by(folder: Path, id: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the versions of the keys in a backup, and the sizes of the contents that it leads to."""
    with BackupReader(folder / f"{id}{ENDING}") as reader:
        return reader.versions(), {hash: size for hash, size, _, _ in reader.contents() if size >= 0}


def parent_of(folder: Path, id: str, oldest_s: float) -> Ends | None:
    """Return a backup's two ends if it and all before it are there, and the full one is young enough."""
    try:
        with open_chain(folder, id) as chain:
            ends = chain.ends
    except StorageError:
        return None
    return Ends(*ends[-1]) if ends[0][0].created_s >= oldest_s else None


def clean(folder: Path, settings: BackupSettings, now_s: float, *, dry_run: bool) -> BackupCleanup:
    """Delete what need not be kept, and what was never finished."""
    backups = all_in(folder)
    decisions = decide(backups, settings, now_s)
    sizes = {backup.id: backup.size_bytes for backup in backups}
    gone = [each.id for each in decisions if not each.keep]
    if not dry_run:
        with _words(folder / "cleanup"):
            for id in gone:  # newest first: what goes on from another one goes before it
                (folder / f"{id}{ENDING}").unlink(missing_ok=True)
            for left in folder.glob("*.new"):
                if now_s - left.stat().st_mtime > _DAY_S:
                    left.unlink(missing_ok=True)
    return BackupCleanup(tuple(decisions), sum(sizes[id] for id in gone), dry_run)
