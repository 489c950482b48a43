"""What State offers a script of migrations, in the shapes of the original: what fails is told in the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llmspell_hookspecs import InvalidInputError, OperationCancelledError, ScriptGlobal, script_method
from llmspell_hookspecs.errors import StorageError
from llmspell_hookspecs.migration import Migration, Migrations, MigrationStatus

__all__ = ["StateMigrationMethods"]

_OPTIONS: Final = {"schema": str, "dry_run": bool, "validation": str, "rollback_on_error": bool}


class StateMigrationMethods(ScriptGlobal):
    """Bring what is kept from one version of its schema to another."""

    @script_method()
    async def migrate(self, version: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Bring the items of a schema to a version, and tell what became of it.

        Args:
            version: Where to, such as ``2.0.0``.
            options: ``schema`` (needed if there are several), ``dry_run``, ``validation`` (none, basic, strict or
                paranoid) and ``rollback_on_error``.
        """
        given = _checked(options or {})
        try:
            migration = await self._migrations.migrate(version, **given)
        except (InvalidInputError, StorageError, OperationCancelledError) as error:
            return {"success": False, "status": "failed", "target_version": version, "error": str(error)}
        return _answer(migration)

    @script_method()
    async def rollback_migration(self, id: str, force: bool = False) -> dict[str, Any]:
        """Put back every item as it was before a migration; with ``force`` also what was written since."""
        try:
            return _answer(await self._migrations.rollback(id, force=force))
        except (InvalidInputError, StorageError, OperationCancelledError) as error:
            return {"success": False, "status": "failed", "migration_id": id, "error": str(error)}

    @script_method("migration_status")
    async def get_migration_status(self, schema: str = "") -> dict[str, Any]:
        """Return where the items of a schema are, and where they can go.

        Raises:
            InvalidInputError: There is none of this name, or there are several and none is named.
        """
        status: MigrationStatus = await self._migrations.status(schema)
        return {
            "schema": status.schema,
            "current_version": status.current_version,
            "latest_version": status.latest_version,
            "is_latest": status.current_version == status.latest_version,
            "migration_available": bool(status.targets),
            "migration_targets": list(status.targets),
            "total_schemas": len(status.versions),
            "running": status.running or None,
        }

    @script_method("schema_versions")
    async def get_schema_versions(self, schema: str = "") -> Sequence[str]:
        """Return the versions of a schema, oldest first; raises as ``get_migration_status``."""
        return list((await self._migrations.status(schema)).versions)

    @property
    def _migrations(self) -> Migrations:
        return self.services.get(Migrations)


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in options.items():
        kind = _OPTIONS.get(name)
        if kind is None:
            message = f"State.migrate: there is no option {name!r:.40}; there are {', '.join(_OPTIONS)}"
            raise InvalidInputError(message, field="options")
        if not isinstance(value, kind):
            word = "true or false" if kind is bool else "a text"
            raise InvalidInputError(f"State.migrate: {name} is {value!r:.40}; give {word}", field=name)
    return dict(options)


def _answer(migration: Migration) -> dict[str, Any]:
    if migration.status == "already_current":
        version = migration.to_version
        return {
            "success": True,
            "status": migration.status,
            "current_version": version,
            "target_version": version,
            "items_migrated": 0,
        }
    answer: dict[str, Any] = {
        "success": not migration.errors,
        "status": migration.status,
        "schema": migration.schema,
        "from_version": migration.from_version,
        "to_version": migration.to_version,
        "items_migrated": migration.items,
        "items_changed": migration.changed,
        "duration_ms": migration.duration_s * 1000,
    }
    if migration.id:
        answer["migration_id"] = migration.id
    if migration.samples:
        answer["samples"] = list(migration.samples)
    if migration.errors:
        answer |= {"errors": list(migration.errors), "error": migration.errors[0]}
    return answer
