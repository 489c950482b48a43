"""Which backups are kept: by number and age, by importance, and because others go on from them.

Invariant: the newest full backup is kept, and so is all that a kept one goes on from. Times in seconds, days in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from llmspell_hookspecs.backup import Backup, BackupDecision

from .settings import BackupSettings

__all__ = ["decide"]

_DAY_S = 86_400.0


def decide(backups: Sequence[Backup], settings: BackupSettings, now_s: float) -> list[BackupDecision]:
    """Return what becomes of each, newest first."""
    newest_first = sorted(backups, key=lambda backup: (backup.created_s, backup.id), reverse=True)
    whole = [backup for backup in newest_first if not backup.problem]
    firsts = _firsts(whole, settings)
    critical = next((backup.id for backup in whole if not backup.is_incremental), "")
    made: dict[str, BackupDecision] = {}
    rank = 0
    for backup in newest_first:
        importance: Literal["critical", "important", "normal"] = "normal"
        if backup.problem:
            made[backup.id] = BackupDecision(backup.id, True, importance, f"it cannot be used: {backup.problem}")
            continue
        rank += 1
        age_days = (now_s - backup.created_s) / _DAY_S
        if backup.id == critical:
            keep, importance, reason = True, "critical", "it is the newest full one"
        elif backup.id in firsts:
            keep, importance, reason = True, "important", firsts[backup.id]
        elif rank > settings.max_backups:
            keep, reason = False, f"there are {settings.max_backups} newer ones"
        elif age_days > settings.max_age_days:
            keep, reason = False, f"it is older than {settings.max_age_days:g} days"
        else:
            keep, reason = True, f"it is one of the newest {settings.max_backups}"
        made[backup.id] = BackupDecision(backup.id, keep, importance, reason)
    _keep_parents(newest_first, made)
    return [made[backup.id] for backup in newest_first]


def _firsts(whole: Sequence[Backup], settings: BackupSettings) -> dict[str, str]:
    """Return the first backup of each of the last days, weeks and months, with what it is the first of."""
    found: dict[str, str] = {}
    periods = (
        ("%Y-%m", settings.monthly, "month"),
        ("%G-W%V", settings.weekly, "week"),
        ("%Y-%m-%d", settings.daily, "day"),
    )
    for form, count, word in periods:
        first: dict[str, str] = {}
        for backup in whole:  # the oldest of a period comes last
            first[datetime.fromtimestamp(backup.created_s, UTC).strftime(form)] = backup.id
        for period in sorted(first, reverse=True)[:count]:
            found.setdefault(first[period], f"it is the first one of the {word} {period}")
    return found


def _keep_parents(newest_first: Sequence[Backup], made: dict[str, BackupDecision]) -> None:
    by_id = {backup.id: backup for backup in newest_first}
    for backup in newest_first:
        child = backup
        while made[backup.id].keep and child.parent in by_id:
            parent = by_id[child.parent]
            if not made[parent.id].keep:
                reason = f"{child.id} goes on from it"
                made[parent.id] = BackupDecision(parent.id, True, made[parent.id].importance, reason)
            child = parent
