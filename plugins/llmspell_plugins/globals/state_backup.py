"""What State offers a script of backups, in the shapes of the original: what fails is told in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmspell_hookspecs import InvalidInputError, OperationCancelledError, ScriptGlobal, script_method
from llmspell_hookspecs.backup import Backup, Backups
from llmspell_hookspecs.errors import StorageError

__all__ = ["StateBackupMethods"]


class StateBackupMethods(ScriptGlobal):
    """Make backups of what is kept, and go back to one."""

    @script_method()
    async def create_backup(self, incremental: bool = False, description: str = "") -> dict[str, Any]:
        """Make a backup, of what changed since the last one if ``incremental``, and tell of it."""
        try:
            made = await self._backups.create(incremental=bool(incremental), description=description)
        except (InvalidInputError, StorageError, OperationCancelledError) as error:
            return {"success": False, "error": str(error)}
        return {"success": True, "backup_id": made.id, **_row(made)}

    @script_method()
    async def list_backups(self) -> Sequence[dict[str, Any]]:
        """Return the backups, newest first."""
        return [_row(backup) for backup in await self._backups.list()]

    @script_method()
    async def restore_backup(self, id: str, dry_run: bool = False) -> dict[str, Any]:
        """Go back to a backup: all of what is kept, after a backup of what is there; or tell what would change."""
        try:
            done = await self._backups.restore(id, dry_run=dry_run)
        except (InvalidInputError, StorageError, OperationCancelledError) as error:
            return {"success": False, "backup_id": id, "error": str(error)}
        return {
            "success": True,
            "backup_id": id,
            "entries_restored": done.written,
            "entries_deleted": done.deleted,
            "entries_unchanged": done.unchanged,
            "backup_before": done.before or None,
            "dry_run": done.dry_run,
        }

    @script_method()
    async def validate_backup(self, id: str) -> dict[str, Any]:
        """Read a backup byte by byte, and tell whether it is whole."""
        try:
            check = await self._backups.validate(id)
        except (InvalidInputError, StorageError) as error:
            return {"success": False, "backup_id": id, "is_valid": False, "error": str(error)}
        return {
            "success": True,
            "backup_id": id,
            "is_valid": check.is_valid,
            "checksum_valid": check.checksum_valid,
            "integrity_valid": check.integrity_valid,
            "entry_count": check.entries,
            "errors": list(check.errors),
            "warnings": list(check.warnings),
        }

    @script_method()
    async def get_storage_usage(self) -> dict[str, Any]:
        """Return how many backups there are, and how much room they take, in bytes."""
        backups = await self._backups.list()
        times = sorted(backup.created_s for backup in backups)
        incremental = sum(backup.is_incremental for backup in backups)
        return {
            "total_backups": len(backups),
            "total_size": sum(backup.size_bytes for backup in backups),
            "full_backups": len(backups) - incremental,
            "incremental_backups": incremental,
            "oldest_backup": times[0] if times else None,
            "newest_backup": times[-1] if times else None,
        }

    @script_method()
    async def cleanup_backups(self, dry_run: bool = False) -> dict[str, Any]:
        """Delete the backups that need not be kept, or tell which those are."""
        try:
            done = await self._backups.cleanup(dry_run=dry_run)
        except (StorageError, OperationCancelledError) as error:
            return {"success": False, "error": str(error)}
        deleted = [each for each in done.decisions if not each.keep]
        return {
            "success": True,
            "deleted_count": len(deleted),
            "retained_count": len(done.decisions) - len(deleted),
            "space_freed": done.freed_bytes,
            "dry_run": done.dry_run,
            "decisions": [
                {"id": each.id, "keep": each.keep, "importance": each.importance, "reason": each.reason}
                for each in done.decisions
            ],
        }

    @property
    def _backups(self) -> Backups:
        return self.services.get(Backups)


def _row(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.id,
        "created_at": backup.created_s,
        "size": backup.size_bytes,
        "size_bytes": backup.size_bytes,
        "is_incremental": backup.is_incremental,
        "parent_id": backup.parent or None,
        "entry_count": backup.entries,
        "description": backup.description,
        "problem": backup.problem or None,
    }
