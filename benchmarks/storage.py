"""The group storage: what it costs to write so that it stays, to read, and to scan.

Invariant: every contender writes the same keys and values to a file on the same disk, and waits for the disk at each
durable write.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final, Protocol

import trio

from llmspell_hookspecs import Storage
from llmspell_plugins.storage.lmdb import Lmdb, LmdbSettings
from llmspell_plugins.storage.sqlite import SQLite, SQLiteSettings

from .state import measure_state
from .timing import OURS, Bar, Contender, Row, Run, measure

__all__ = ["measure_storage"]

_FLOOR: Final = "floor: sqlite3"
_LMDB: Final = "llmspell, lmdb"
_KEYS: Final = [f"benchmark:{number:04}" for number in range(1000)]
_TOGETHER: Final = 100
_WARM_UP: Final = 1000
_WRITE = Bar("1.5 x SQLite's own commit", _FLOOR, 1.5)
_CACHED = Bar("0.6 us", plus_ns=600.0)
_COLD = Bar("10 us", plus_ns=10_000.0)


class _Peer(Protocol):
    """A store without an event loop."""

    name: str

    def write(self, batch: dict[str, bytes]) -> None:
        """Write all of it, durably, in one transaction."""

    def read(self, key: str) -> Any:
        """Return a value."""

    def scan(self) -> int:
        """Read everything in order of keys and return how much there was."""

    def close(self) -> None:
        """Close it."""


async def measure_storage(rounds: int) -> Run:
    """Time the rows of the group."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".benchmark-") as name, ExitStack() as stack:
        peers, absent = _find_peers(Path(name))
        for peer in peers:
            stack.callback(peer.close)
        async with _ours(Path(name), lmdb="lmdb" not in absent) as (cached, cold):
            await _fill(cached, cold, peers)
            run = await measure([*_writes(cached, peers), *_reads(cached, cold, peers)], rounds)
        run = run.joined(await measure_state(Path(name), rounds))
    return run.joined(Run(absent=tuple(absent)))


async def _fill(cached: dict[str, Storage], cold: dict[str, Storage], peers: Sequence[_Peer]) -> None:
    """Write all keys, and then until the logs of SQLite have been emptied once: they grow no more after that."""
    for peer in peers:
        peer.write(dict.fromkeys(_KEYS, b"first"))
        write = _each(peer.write)
        for _ in range(_WARM_UP):
            write()
    for storage in (*cached.values(), *cold.values()):
        await storage.write(dict.fromkeys(_KEYS, b"first"))
        write = _each(storage.write)
        for _ in range(_WARM_UP if storage in cached.values() else 0):
            await write()


@asynccontextmanager
async def _ours(folder: Path, *, lmdb: bool) -> AsyncIterator[tuple[dict[str, Storage], dict[str, Storage]]]:
    """Open ours; those of the second half read without a cache."""
    async with AsyncExitStack() as stack:
        cached: dict[str, Storage] = {OURS: SQLite(SQLiteSettings(path=folder / "ours.db"))}
        cold: dict[str, Storage] = {OURS: SQLite(SQLiteSettings(path=folder / "cold.db", cache_bytes=0))}
        if lmdb:
            cached[_LMDB] = Lmdb(LmdbSettings(path=folder / "ours"))
            cold[_LMDB] = Lmdb(LmdbSettings(path=folder / "cold"))
        for storage in (*cached.values(), *cold.values()):
            await stack.enter_async_context(storage)
        yield cached, cold


def _writes(ours: dict[str, Storage], peers: Sequence[_Peer]) -> Iterator[Row]:
    alone = [Contender(peer.name, _each(peer.write)) for peer in peers]
    alone += [Contender(name, _each(storage.write), waits=True) for name, storage in ours.items()]
    hop = next(peer for peer in peers if peer.name == _FLOOR)
    alone.append(Contender("sqlite3 in a trio thread", _each(lambda b: trio.to_thread.run_sync(hop.write, b)), True))
    yield Row("durable write", alone, _WRITE)

    together = [Contender(peer.name, _one_after_the_other(peer)) for peer in peers]
    together += [Contender(name, _at_once(storage), waits=True) for name, storage in ours.items()]
    yield Row(f"{_TOGETHER} durable writes at once", together)


def _reads(cached: dict[str, Storage], cold: dict[str, Storage], peers: Sequence[_Peer]) -> Iterator[Row]:
    held = dict.fromkeys(_KEYS, b"first")
    key = _KEYS[500]
    warm = [Contender("floor: dict", lambda: held[key])]
    warm += [Contender(peer.name, partial(peer.read, key)) for peer in peers]
    warm += [Contender(name, partial(storage.get, key), waits=True) for name, storage in cached.items()]
    yield Row("cached read", warm, _CACHED)

    others = [Contender(peer.name, _next(peer.read)) for peer in peers]
    others += [Contender(name, _next(storage.get), waits=True) for name, storage in cold.items()]
    yield Row("cold read", others, _COLD)

    scans = [Contender(peer.name, peer.scan) for peer in peers]
    scans += [Contender(name, _scan(storage), waits=True) for name, storage in cached.items()]
    yield Row(f"scan of {len(_KEYS)} entries", scans)


def _each(write: Callable[[dict[str, bytes]], Any]) -> Callable[[], Any]:
    """Return a function that writes another value each time: SQLite would not write the same one."""
    numbers, keys = count(), cycle(_KEYS)
    return lambda: write({next(keys): b"%0100d" % next(numbers)})


def _next(read: Callable[[str], Any]) -> Callable[[], Any]:
    """Return a function that reads another key each time."""
    keys = cycle(_KEYS)
    return lambda: read(next(keys))


def _one_after_the_other(peer: _Peer) -> Callable[[], None]:
    write = _each(peer.write)

    def write_all() -> None:
        for _ in range(_TOGETHER):
            write()

    return write_all


def _at_once(storage: Storage) -> Callable[[], Any]:
    write = _each(storage.write)

    async def write_all() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(_TOGETHER):
                nursery.start_soon(write)

    return write_all


def _scan(storage: Storage) -> Callable[[], Any]:
    async def scan() -> int:
        return len([row async for row in storage.scan("benchmark:")])

    return scan


def _find_peers(folder: Path) -> tuple[list[_Peer], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found: list[_Peer] = [_Sqlite3(folder)]
    absent: list[str] = []
    for kind in (_Lmdb, _DiskCache):
        try:
            found.append(kind(folder))
        except ImportError:
            absent.append(kind.name)
    return found, absent


class _Sqlite3:
    name = _FLOOR

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "floor.db", isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)")

    def write(self, batch: dict[str, bytes]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for row in batch.items():
            self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", row)
        self._connection.execute("COMMIT")

    def read(self, key: str) -> Any:
        return self._connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()

    def scan(self) -> int:
        return len(self._connection.execute("SELECT key, value FROM entries ORDER BY key").fetchall())

    def close(self) -> None:
        self._connection.close()


class _Lmdb:
    name = "lmdb"

    def __init__(self, folder: Path) -> None:
        import lmdb

        self._environment = lmdb.open(str(folder / "lmdb"), map_size=1 << 30)

    def write(self, batch: dict[str, bytes]) -> None:
        with self._environment.begin(write=True) as transaction:
            for key, value in batch.items():
                transaction.put(key.encode(), value)

    def read(self, key: str) -> Any:
        with self._environment.begin() as transaction:
            return transaction.get(key.encode())

    def scan(self) -> int:
        with self._environment.begin() as transaction:
            return len([(key.decode(), value) for key, value in transaction.cursor()])

    def close(self) -> None:
        self._environment.close()


class _DiskCache:
    name = "diskcache"

    def __init__(self, folder: Path) -> None:
        from diskcache import Cache

        self._cache = Cache(str(folder / "diskcache"), sqlite_synchronous=2, eviction_policy="none")

    def write(self, batch: dict[str, bytes]) -> None:
        with self._cache.transact():
            for key, value in batch.items():
                self._cache.set(key, value)

    def read(self, key: str) -> Any:
        return self._cache.get(key)

    def scan(self) -> int:
        return len([(key, self._cache.get(key)) for key in self._cache.iterkeys()])

    def close(self) -> None:
        self._cache.close()
