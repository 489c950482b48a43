"""The upkeep of state: a backup, a migration with a function of one's own, its undoing, and the way back.

Run it with ``python examples/upkeep.py``; it needs no key and no network, and works in a folder that it deletes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import trio

from llmspell import Host
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.migration import Custom, Default, Migrations, Rename, Schema, Transition
from llmspell_hookspecs.state_scopes import StateScopes

NOTES = "custom:notes"


def count_words(item: Any) -> Any:
    """Return a note that knows how many words it has."""
    return {**item, "words": len(item["body"].split())}


STEPS = (Rename("text", "body"), Default("stars", 0), Custom("count_words", count_words))
SCHEMA = Schema("notes", NOTES, transitions=(Transition("1.0.0", "2.0.0", STEPS),))


async def main(folder: Path) -> None:
    """Do it all."""
    settings = {
        "storage": {"sqlite": {"path": str(folder / "state.db")}},
        "plugins": {"backups": {"folder": str(folder)}},
    }
    async with Host.open(settings) as host:
        for key, text in {"tea": "buy some tea", "ada": "call Ada"}.items():
            await host.state.set(key, {"text": text}, scope=NOTES)
        backups = host.get(Backups)
        made = await backups.create(description="before the new form")
        print(f"a backup of {made.entries} entries")

        migrations = host.get(Migrations)
        migrations.register(SCHEMA)
        told = await migrations.migrate("2.0.0", schema="notes", dry_run=True)
        print(f"it would change {told.changed} of {told.items} notes")
        done = await migrations.migrate("2.0.0", schema="notes")
        print(f"{done.status}: tea is {await host.state.get('tea', scope=NOTES)}")

        await migrations.rollback(done.id)
        print(f"undone: tea is {await host.state.get('tea', scope=NOTES)}")

        await host.get(StateScopes).clear(NOTES)
        print(f"cleared: {len(await host.state.keys(NOTES))} notes")
        await backups.restore(made.id)
        print(f"restored: {len(await host.state.keys(NOTES))} notes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        trio.run(main, Path(name))
