"""The topic backup: copies of all that the storage keeps, at one moment each, and the way back to one.

A backup is one file. It is full, or holds what changed since its parent. It moves between backends. The logs of events
and of the audit are in none: what they tell does not become untrue.

Sizes in bytes, times in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

__all__ = ["Backup", "BackupCheck", "BackupCleanup", "BackupDecision", "Backups", "Restored"]


class Backup(Struct, frozen=True):
    """A backup, as far as its file tells.

    Attributes:
        id: Under which it is found; its time, and a random ending.
        created_s: When.
        size_bytes: Of its file.
        parent: The backup that it goes on from; empty for a full one.
        entries: How many entries the storage held then.
        held: How many of these its own file holds.
        description: Whoever made it gave it.
        backend: The storage that it was made of.
        codec: How it is compressed.
        problem: Why it cannot be used; empty if nothing is known to be wrong.
    """

    id: str
    created_s: float = 0.0
    size_bytes: int = 0
    parent: str = ""
    entries: int = 0
    held: int = 0
    description: str = ""
    backend: str = ""
    codec: str = ""
    problem: str = ""

    @property
    def is_incremental(self) -> bool:
        """Whether it goes on from another one."""
        return bool(self.parent)


class BackupCheck(Struct, frozen=True):
    """What came of looking at a backup, and all that it goes on from, byte by byte.

    Attributes:
        id: Which.
        chain: It and its parents, the full one first.
        entries: How many it leads back to.
        checksum_valid: Whether every file is as it was written.
        integrity_valid: Whether all that is to be there is there.
        errors: What is wrong, one line each.
        warnings: What is worth knowing.
    """

    id: str
    chain: tuple[str, ...] = ()
    entries: int = 0
    checksum_valid: bool = True
    integrity_valid: bool = True
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether it can be restored."""
        return not self.errors


class Restored(Struct, frozen=True):
    """What a restoring did, or would do.

    Attributes:
        id: The backup.
        written: How many entries.
        deleted: How many were not there then.
        unchanged: How many were as they were then.
        before: The backup that was made of what was there; empty for none.
        dry_run: Whether nothing was written.
        contents: How many contents of artifacts, which lie in files, are among what it leads to.
    """

    id: str
    written: int = 0
    deleted: int = 0
    unchanged: int = 0
    before: str = ""
    dry_run: bool = False
    contents: int = 0


class BackupDecision(Struct, frozen=True):
    """What becomes of a backup.

    Attributes:
        id: Which.
        keep: Whether it stays.
        importance: ``critical`` is the newest full one, ``important`` the first one of a day, week or month.
        reason: Why, in words.
    """

    id: str
    keep: bool
    importance: Literal["critical", "important", "normal"]
    reason: str


class BackupCleanup(Struct, frozen=True):
    """What a cleaning did, or would do.

    Attributes:
        decisions: For each backup, newest first.
        freed_bytes: How much that gives back.
        dry_run: Whether nothing was deleted.
    """

    decisions: tuple[BackupDecision, ...] = ()
    freed_bytes: int = 0
    dry_run: bool = False


@runtime_checkable
class Backups(Protocol):
    """Makes backups of the configured storage, and brings it back to one; each is an operation."""

    async def create(self, *, incremental: bool = False, description: str = "") -> Backup:
        """Make a backup, and return it when its file is on the disk.

        Args:
            incremental: Hold only what changed since the last one. Where that cannot be known, or the last full one is
                older than settings say, it is full nevertheless.
            description: For people, on one line.

        Raises:
            StorageError: It cannot be read or written; nothing is left behind.
        """

    async def list(self) -> Sequence[Backup]:
        """Return all, newest first; those that cannot be used tell why."""

    async def info(self, id: str, /) -> Backup:
        """Return one.

        Raises:
            InvalidInputError: There is none.
        """

    async def validate(self, id: str, /) -> BackupCheck:
        """Read it and all that it goes on from, and return whether it is whole."""

    async def restore(self, id: str, /, *, dry_run: bool = False, backup_current: bool = True) -> Restored:
        """Bring the storage back to a backup: all of it, or, if it is broken off, nobody uses it until it is all.

        Args:
            id: Which; it is validated first.
            dry_run: Whether to tell what would change and write nothing.
            backup_current: Whether to make a backup of what is there before.

        Raises:
            InvalidInputError: There is none.
            StorageError: It is not whole, or another one is not at its end.
        """

    async def resume(self) -> Restored:
        """Go on with a restoring that was broken off.

        Raises:
            InvalidInputError: None was.
        """

    async def abandon(self) -> Restored:
        """Bring the storage back to what it was before a restoring that was broken off.

        Raises:
            InvalidInputError: None was, or no backup was made before it.
        """

    async def cleanup(self, *, dry_run: bool = False) -> BackupCleanup:
        """Delete the backups that need not be kept, by age, number and importance as settings say."""
