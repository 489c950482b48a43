"""Rows of the group storage: what a value costs through the service State, with no hook around it.

Invariant: every contender reads and writes the same values, in a file on the same disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final

from llmspell import Host
from llmspell.settings import load_settings
from llmspell_hookspecs import Storage
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.operation import OperationKind, Operations
from llmspell_hookspecs.storage import Storages

from .backup import backup_row
from .migration import migration_row
from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_state"]

_BARE: Final = "floor: bare operation"
_STORAGE: Final = "floor: the storage's own"
_KEYS: Final = [f"benchmark:{number:04}" for number in range(1000)]
_VALUE: Final = {"text": "x" * 60, "number": 7}
_KIND: Final = OperationKind("bare")
_CACHED: Final = Bar("0.6 us over a bare operation", _BARE, 1.0, 600.0)
_COLD: Final = Bar("10 us", plus_ns=10_000.0)
_WRITE: Final = Bar("1.5 x the storage's own write", _STORAGE, 1.5)


async def measure_state(folder: Path, rounds: int) -> Run:
    """Time the rows of state, with files in this folder."""
    async with _opened(folder / "warm.db") as host, _opened(folder / "cold.db", cache_bytes=0) as cold:
        for each in (host, cold):
            for key in _KEYS:
                await each.state.set(key, _VALUE)
        storage = await host._services.get(Storages).open()
        run = await measure(list(_rows(host, cold, storage)), rounds)
        # Last: it fills the file.
        return run.joined(await measure([await backup_row(host, folder / "warm.db")], max(1, rounds // 20)))


@asynccontextmanager
async def _opened(path: Path, **table: Any) -> AsyncIterator[Host]:
    settings = {"storage": {"sqlite": {"path": str(path), **table}}}
    async with Host.open(load_settings(settings, environment={}, cwd=path.parent), discover=False) as host:
        yield host


def _rows(host: Host, cold: Host, storage: Storage) -> Iterator[Row]:
    bare = Contender(_BARE, _bare(host._services.get(Operations)), waits=True)
    yield Row("state, cached read", [bare, Contender(OURS, partial(host.state.get, _KEYS[7]), waits=True)], _CACHED)
    keys = cycle(_KEYS)
    yield Row("state, cold read", [Contender(OURS, lambda: cold.state.get(next(keys)), waits=True)], _COLD)
    numbers = count()
    writes = [
        Contender(_STORAGE, lambda: storage.write({"other": b"%0100d" % next(numbers)}), waits=True),
        Contender(OURS, lambda: host.state.set(next(keys), {**_VALUE, "number": next(numbers)}), waits=True),
    ]
    yield Row("state, durable write", writes, _WRITE)
    yield migration_row()


def _bare(operations: Operations) -> Callable[[], Any]:
    async def body(subject: Any) -> Any:
        return subject

    return lambda: operations.run(_KIND, ComponentRef("bare", "bare"), None, body)
