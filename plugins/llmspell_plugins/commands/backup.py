"""Make backups of what the storage keeps, look at them, and go back to one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from llmspell_hookspecs.commands import CommandError
from llmspell_plugins.commands.told import size_of

if TYPE_CHECKING:
    from llmspell_hookspecs.backup import Backup, BackupCheck, BackupCleanup, Restored
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["backup"]


@click.group()
def backup() -> None:
    """Make backups of what the storage keeps, look at them, and go back to one."""


@backup.command("create")
@click.option("--incremental", "-i", is_flag=True, help="Hold only what changed since the last one.")
@click.option("--description", "-d", default="", help="A line for people.")
@click.pass_obj
def backup_create(invocation: Invocation, incremental: bool, description: str) -> None:
    """Make a backup."""
    from llmspell_hookspecs.backup import Backups

    async def use(host: CommandHost) -> Backup:
        return await (await host.enter(Backups)).create(incremental=incremental, description=description)

    made = invocation.run(use)
    kind = f"goes on from {made.parent}, " if made.is_incremental else ""
    line = f"backup {made.id}: {kind}{made.held} of {made.entries} entries, {size_of(made.size_bytes)}"
    invocation.show(_row(made), line)


@backup.command("list")
@click.option("--limit", "-l", type=click.IntRange(min=1), default=None, help="The newest so many.")
@click.pass_obj
def backup_list(invocation: Invocation, limit: int | None) -> None:
    """List the backups, newest first."""
    from llmspell_hookspecs.backup import Backups

    async def use(host: CommandHost) -> list[Backup]:
        return list(await (await host.enter(Backups)).list())[:limit]

    found = invocation.run(use)
    if invocation.json:
        invocation.show([_row(each) for each in found])
        return
    rows = [
        {
            "id": each.id,
            "made": _time(each.created_s),
            "kind": "incremental" if each.is_incremental else "full",
            "entries": each.entries,
            "size": size_of(each.size_bytes),
            "description": each.description,
            "problem": each.problem,
        }
        for each in found
    ]
    columns = ("id", "made", "kind", "entries", "size", "description", "problem")
    invocation.show_rows(rows, columns, empty="there are none; make one with 'llmspell backup create'")


@backup.command("info")
@click.argument("id")
@click.pass_obj
def backup_info(invocation: Invocation, id: str) -> None:
    """Print what the backup ID tells of itself."""
    from llmspell_hookspecs.backup import Backups

    async def use(host: CommandHost) -> Backup:
        return await (await host.enter(Backups)).info(id)

    row = _row(invocation.run(use))
    shown = {**row, "created_s": _time(row["created_s"]), "size_bytes": size_of(row["size_bytes"])}
    lines = [
        f"{name.removesuffix('_s').removesuffix('_bytes')}: {value}" for name, value in shown.items() if value != ""
    ]
    invocation.show(row, *lines)


@backup.command("validate")
@click.argument("id")
@click.pass_obj
def backup_validate(invocation: Invocation, id: str) -> None:
    """Read the backup ID byte by byte; ends with 1 if it cannot be restored."""
    from llmspell_hookspecs.backup import Backups

    async def use(host: CommandHost) -> BackupCheck:
        return await (await host.enter(Backups)).validate(id)

    check = invocation.run(use)
    told = {**structs.asdict(check), "is_valid": check.is_valid}
    if check.is_valid:
        chain = "" if len(check.chain) == 1 else f", over {len(check.chain)} files"
        invocation.show(told, f"backup {id} is whole: {check.entries} entries{chain}", *check.warnings)
        return
    if invocation.json:
        invocation.show(told)
    raise CommandError("; ".join(check.errors[:3]))


@backup.command("restore")
@click.argument("id", default="")
@click.option("--dry-run", is_flag=True, help="Tell what would change, and change nothing.")
@click.option("--no-backup", is_flag=True, help="Make no backup of what is there before.")
@click.option("--resume", is_flag=True, help="Go on with one that was broken off.")
@click.option("--abandon", is_flag=True, help="Go back to what was there before one that was broken off.")
@click.pass_obj
def backup_restore(
    invocation: Invocation, id: str, dry_run: bool, no_backup: bool, resume: bool, abandon: bool
) -> None:
    """Bring all that the storage keeps back to the backup ID; stop other processes that use it before."""
    from llmspell_hookspecs.backup import Backups

    if bool(id) + resume + abandon != 1:
        raise click.UsageError("give the ID of a backup, or --resume, or --abandon")
    if (dry_run or no_backup) and not id:
        raise click.UsageError("--dry-run and --no-backup go with the ID of a backup")

    async def use(host: CommandHost) -> Restored:
        backups = await host.enter(Backups)
        if resume:
            return await backups.resume()
        if abandon:
            return await backups.abandon()
        return await backups.restore(id, dry_run=dry_run, backup_current=not no_backup)

    done = invocation.run(use)
    counts = f"{done.written} written, {done.deleted} deleted, {done.unchanged} as they were"
    if done.dry_run:
        line = f"going back to {done.id} would leave: {counts}"
    else:
        line = f"the storage is back at {done.id}: {counts}"
    before = f"what was there before is in {done.before}" if done.before and done.before != done.id else ""
    invocation.show(structs.asdict(done), line, *([before] if before else []))


@backup.command("cleanup")
@click.option("--dry-run", is_flag=True, help="Tell which would go, and delete none.")
@click.option("--verbose", "-v", is_flag=True, help="Tell of each why it stays or goes.")
@click.pass_obj
def backup_cleanup(invocation: Invocation, dry_run: bool, verbose: bool) -> None:
    """Delete the backups that need not be kept, by age, number and importance."""
    from llmspell_hookspecs.backup import Backups

    async def use(host: CommandHost) -> BackupCleanup:
        return await (await host.enter(Backups)).cleanup(dry_run=dry_run)

    done = invocation.run(use)
    gone = sum(not each.keep for each in done.decisions)
    told: dict[str, Any] = {
        "evaluated": len(done.decisions),
        "retained": len(done.decisions) - gone,
        "deleted": gone,
        "freed_bytes": done.freed_bytes,
        "dry_run": dry_run,
        "decisions": [structs.asdict(each) for each in done.decisions],
    }
    would = "would go" if dry_run else "gone"
    lines = [f"{gone} of {len(done.decisions)} backups {would}, {size_of(done.freed_bytes)}"]
    if verbose or dry_run:
        lines += [f"  {each.id}  {'stays' if each.keep else 'goes'}: {each.reason}" for each in done.decisions]
    invocation.show(told, *lines)


def _row(made: Backup) -> dict[str, Any]:
    return {**structs.asdict(made), "is_incremental": made.is_incremental}


def _time(created_s: float) -> str:
    return datetime.fromtimestamp(created_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
