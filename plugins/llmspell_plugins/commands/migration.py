"""The verbs ``state migrate``, ``rollback``, ``migrations`` and ``schemas``: items from version to version, and back.

Invariant: each command is an operation like a script's own, so every hook sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.commands import CommandError

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.migration import Migration

__all__ = ["forget", "migrate", "migrations", "rollback", "schemas"]


@click.command()
@click.argument("version")
@click.option("--schema", default="", help="Which schema; may be left out if there is one.")
@click.option("--dry-run", is_flag=True, help="Work it out, write nothing, and print what would change.")
@click.option(
    "--validation",
    type=click.Choice(["none", "basic", "strict", "paranoid"]),
    default="basic",
    help="How what comes out is checked.",
)
@click.option("--keep", is_flag=True, help="If an item cannot be brought over, stop there instead of undoing it all.")
@click.pass_obj
def migrate(invocation: Invocation, version: str, schema: str, dry_run: bool, validation: Any, keep: bool) -> None:
    """Bring the items of a schema to VERSION; goes on with a migration that was broken off."""
    from llmspell_hookspecs.migration import Migrations

    async def use(host: CommandHost) -> Migration:
        return await (await host.enter(Migrations)).migrate(
            version, schema=schema, dry_run=dry_run, validation=validation, rollback_on_error=not keep
        )

    _tell(invocation, invocation.run(use))


@click.command()
@click.argument("id")
@click.option("--force", is_flag=True, help="Undo it though items were written since.")
@click.pass_obj
def rollback(invocation: Invocation, id: str, force: bool) -> None:
    """Put back every item as it was before the migration ID."""
    from llmspell_hookspecs.migration import Migrations

    async def use(host: CommandHost) -> Migration:
        return await (await host.enter(Migrations)).rollback(id, force=force)

    _tell(invocation, invocation.run(use))


@click.command()
@click.argument("id")
@click.pass_obj
def forget(invocation: Invocation, id: str) -> None:
    """Delete what is kept to undo the migration ID."""
    from llmspell_hookspecs.migration import Migrations

    async def use(host: CommandHost) -> int:
        return await (await host.enter(Migrations)).forget(id)

    count = invocation.run(use)
    told = f"migration {id} can no longer be undone; what {count} items were is deleted"
    invocation.show({"id": id, "items": count}, told)


@click.command()
@click.pass_obj
def migrations(invocation: Invocation) -> None:
    """List the migrations that are not forgotten, oldest first."""
    from llmspell_hookspecs.migration import Migrations

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        return [_row(each) for each in await (await host.enter(Migrations)).runs()]

    columns = ("id", "schema", "from_version", "to_version", "status", "items")
    invocation.show_rows(invocation.run(use), columns, empty="nothing was migrated")


@click.command()
@click.pass_obj
def schemas(invocation: Invocation) -> None:
    """List the schemas, and at which version their items are."""
    from llmspell_hookspecs.migration import Migrations

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        service = await host.enter(Migrations)
        rows = []
        for schema in service.schemas():
            status = await service.status(schema.name)
            rows.append(
                {
                    "schema": schema.name,
                    "scope": schema.scope,
                    "keys": schema.keys,
                    "version": status.current_version,
                    "latest": status.latest_version,
                    "targets": list(status.targets),
                    "running": status.running,
                }
            )
        return rows

    empty = "no schema is known; declare one under plugins.migrations.schemas"
    invocation.show_rows(invocation.run(use), ("schema", "scope", "keys", "version", "latest", "running"), empty=empty)


def _row(migration: Migration) -> dict[str, Any]:
    return {
        "id": migration.id,
        "schema": migration.schema,
        "from_version": migration.from_version,
        "to_version": migration.to_version,
        "status": migration.status,
        "items": migration.items,
        "changed": migration.changed,
        "duration_s": migration.duration_s,
        "errors": list(migration.errors),
        "samples": list(migration.samples),
    }


def _tell(invocation: Invocation, migration: Migration) -> None:
    lines = [_line(migration), *(f"  {sample}" for sample in migration.samples)]
    if not migration.errors:
        invocation.show(_row(migration), *lines)
        return
    if invocation.json:
        invocation.show(_row(migration))
    else:
        for line in (*lines, *(f"  {error}" for error in migration.errors)):
            invocation.note(line)
    more = "" if migration.status == "dry_run" else "; correct them, and migrate again"
    count = len(migration.errors)
    what = "an item does" if count == 1 else f"{count} items, or more, do" if count == 20 else f"{count} items do"
    raise CommandError(f"state migrate: {what} not fit {migration.to_version}{more}")


def _line(migration: Migration) -> str:
    name, items = migration.schema, "1 item" if migration.items == 1 else f"{migration.items} items"
    way = f"{migration.from_version} to {migration.to_version}"
    match migration.status:
        case "already_current":
            return f"{name} is at {migration.to_version} already"
        case "dry_run":
            return f"{name} would go from {way}: {items}, {migration.changed} of them change"
        case "rolled_back":
            return f"{name} is back at {migration.from_version}: {items} are as they were"
        case "completed":
            undo = f"undo it with 'llmspell state rollback {migration.id}'"
            return f"{name} went from {way}: {items}, {migration.changed} changed, {migration.duration_s:.1f} s; {undo}"
    return f"{name} is on the way from {way}: {items}, {migration.status} (migration {migration.id})"
