"""A row of the group storage: a full backup of ten thousand values beside SQLite's own ways to copy a file.

Invariant: every contender copies the same file, and what it makes is on the disk when it returns.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from itertools import count
from pathlib import Path
from typing import Any, Final

from llmspell import Host
from llmspell_hookspecs.backup import Backups
from llmspell_hookspecs.storage import Storages
from llmspell_plugins.services.state_value import encode

from .timing import OURS, Contender, Row

__all__ = ["backup_row"]

_ENTRIES: Final = 10_000


async def backup_row(host: Host, path: Path) -> Row:
    """Return the row.

    Args:
        host: Its storage is that file.
        path: The file.
    """
    storage = await host._services.get(Storages).open()
    for start in range(0, _ENTRIES, 1000):
        values = {
            f"state:custom:backup\n{number:06}": encode("x", {"number": number, "text": f"value {number}" * 8}, 9999)
            for number in range(start, start + 1000)
        }
        await storage.write(values)
    numbers = count()

    def vacuum_into() -> None:
        made = path.with_name(f"vacuum{next(numbers)}.db")
        with sqlite3.connect(path) as connection:
            connection.execute("VACUUM INTO ?", (str(made),))
        connection.close()
        _to_disk(made)

    def copied() -> None:
        made = path.with_name(f"copy{next(numbers)}.db")
        source, target = sqlite3.connect(path), sqlite3.connect(made)
        source.backup(target)
        source.close()
        target.close()
        _to_disk(made)

    async def ours() -> Any:
        made = await host._services.get(Backups).create()
        folder = path.parent / ".llmspell" / "backups"
        shutil.rmtree(folder)
        return made

    contenders = [
        Contender("floor: VACUUM INTO", vacuum_into),
        Contender("sqlite3's backup", copied),
        Contender(OURS, ours, waits=True),
    ]
    return Row(f"full backup of {_ENTRIES} values", contenders)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    path.unlink()
