"""A row of the group storage: what bringing an item from one version of its schema to the next costs, in memory.

Invariant: every contender makes the same item of the same item, and checks the same fields.
"""

from __future__ import annotations

from typing import Any, Final

from llmspell_hookspecs.migration import (
    Convert,
    Copy,
    Default,
    Remove,
    Rename,
    Schema,
    SchemaField,
    SchemaVersion,
    Transition,
)
from llmspell_plugins.services.migration.catalog import Known

from .timing import OURS, Bar, Contender, Row

__all__ = ["migration_row"]

_ITEM: Final = {"id": 7, "name": "Ada", "email": "ada@example.com", "visits": "12", "legacy": True, "tags": ["a", "b"]}
_STEPS: Final = (
    Rename("name", "full_name"),
    Copy("email", "contact"),
    Convert("visits", "int"),
    Default("active", True),
    Remove("legacy"),
)
_FIELDS: Final = {
    "id": SchemaField("int", required=True),
    "full_name": SchemaField("text", required=True),
    "visits": SchemaField("int"),
    "active": SchemaField("bool"),
}
_BAR: Final = Bar("0.5 us", plus_ns=500.0)


def migration_row() -> Row:
    """Return the row."""
    version = SchemaVersion("2.0.0", _FIELDS)
    schema = Schema("people", "custom:people", "*", (version,), (Transition("1.0.0", "2.0.0", _STEPS),))
    bring = Known(schema).transform(("1.0.0", "2.0.0"), "basic")
    if bring(_ITEM) != _plainly(_ITEM):
        raise AssertionError("the contenders do not make the same item")
    contenders = [Contender("floor: plain Python", lambda: _plainly(_ITEM)), Contender(OURS, lambda: bring(_ITEM))]
    return Row("migration of an item, validated", contenders, _BAR)


def _plainly(item: dict[str, Any]) -> dict[str, Any]:
    made = {**item}
    made["full_name"] = made.pop("name")
    made["contact"] = made["email"]
    made["visits"] = int(made["visits"])
    made["active"] = True
    del made["legacy"]
    for field, kind in (("id", int), ("full_name", str), ("visits", int), ("active", bool)):
        if type(made[field]) is not kind:
            raise TypeError(field)
    return made
