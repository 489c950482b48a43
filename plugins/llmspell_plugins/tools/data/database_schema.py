"""The tables of a database server as the tool tells them, from the rows that catalogues answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmspell_hookspecs import ToolError

from .database_connection import TOOL, Task
from .database_rows import plain

__all__ = ["tables_of"]


def tables_of(columns: Iterable[Sequence[Any]], keys: Iterable[Sequence[Any]], task: Task) -> dict[str, Any]:
    """Return ``{tables, table_count, truncated}``.

    Args:
        columns: Schema, table, kind of table, column, type, whether nullable, default, whether of the primary key.
        keys: Schema, table, columns, the table they lead to, its columns.
        task: Which table, and how many.

    Raises:
        ToolError: ``not_found``: there is no such table.
    """
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for schema, name, kind, column, type_, nullable, default, primary in columns:
        empty = {"name": name, "schema": schema, "type": kind, "columns": [], "foreign_keys": []}
        tables.setdefault((schema, name), empty)["columns"].append(
            {
                "name": column,
                "type": type_,
                "nullable": bool(nullable),
                "default": plain(default),
                "primary_key": bool(primary),
            }
        )
    for schema, name, own, other, others in keys:
        if (schema, name) in tables:
            tables[schema, name]["foreign_keys"].append(
                {"columns": list(own), "references_table": other, "references_columns": list(others)}
            )
    if task.table and not tables:
        raise ToolError(f"{TOOL}: table: there is no {task.table!r}; ask schema for all", code="not_found")
    found = list(tables.values())[: task.limits.rows]
    return {"tables": found, "table_count": len(tables), "truncated": len(tables) > len(found)}
