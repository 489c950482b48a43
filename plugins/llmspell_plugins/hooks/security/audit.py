"""The audit log: what was decided, one entry after the other, each bound to the one before by a keyed hash.

An entry is kept in the storage under ``audit/<number>``; its hash is BLAKE3 with the log's key over the hash before it
and the record. The head, which is the number and hash of the newest entry, is kept in a file apart from the storage, so
that a log that was cut at its end is found, too.

Invariant: what `AuditLog.flush` has returned for is durable; numbers have no gap; whoever lacks the key can change or
take out nothing without `verify` naming the first entry that is wrong. Who has the key and the head can.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from blake3 import blake3
from msgspec import Struct

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError, line_of_error

__all__ = ["AuditEntry", "AuditLog", "AuditPlaces", "AuditProblem", "read_entries", "verify"]

_PREFIX: Final = "audit/"
_BATCH: Final = 256
_PENDING: Final = 100_000
_TRIES: Final = 100
_FIRST: Final = "0" * 64


class AuditEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry.

    Attributes:
        number: From 1.
        record: What was decided, as JSON.
        previous: The hash of the entry before it.
        hash: Of this one.
    """

    number: int
    record: str
    previous: str
    hash: str


class AuditPlaces(Struct, frozen=True):
    """Where the key and the head are kept.

    Attributes:
        key: The file of the key.
        head: The file of the head.
    """

    key: Path
    head: Path


class AuditProblem(Struct, frozen=True):
    """What is wrong with a log.

    Attributes:
        number: The first entry that is wrong or missing.
        problem: What is wrong with it.
    """

    number: int
    problem: str


class _Head(Struct, frozen=True):
    number: int
    hash: str


class AuditLog:
    """Writes the log; use `load` first, and `run` in a task.

    Args:
        storage: Keeps it.
        places: Where the key and the head are.

    Attributes:
        written: How many records are kept.
        lost: How many could not be.
        error: Why the last one could not; empty if it was kept.
    """

    def __init__(self, storage: Storage, places: AuditPlaces) -> None:
        self.written = self.lost = 0
        self.error = ""
        self._storage = storage
        self._places = places
        self._key = b""
        self._head = _Head(0, _FIRST)
        self._pending: list[tuple[int, str]] = []
        self._asked = self._done = 0
        self._failed: dict[int, str] = {}
        self._wake, self._settled = trio.Event(), trio.Event()
        self._turn = trio.Lock()

    async def load(self) -> None:
        """Read the key and find the newest entry.

        Raises:
            StorageError: The key is gone while there are entries, or something cannot be read.
        """
        self._head = await _newest(self._storage)
        self._key = await trio.to_thread.run_sync(_read_key, self._places.key, self._head.number == 0)

    def add(self, record: Mapping[str, Any]) -> int:
        """Take a record in, to be written soon; returns a ticket for `flush`."""
        self._asked += 1
        if len(self._pending) >= _PENDING:
            self._fail([self._asked], "the log cannot be written as fast as it grows")
        else:
            self._pending.append((self._asked, msgspec.json.encode(record, enc_hook=str, order="sorted").decode()))
        self._wake.set()
        return self._asked

    async def flush(self, ticket: int = 0) -> None:
        """Wait until the record of a ticket, or all so far, are kept.

        Raises:
            StorageError: They could not be.
        """
        wanted = ticket or self._asked
        while self._done < wanted:
            settled = self._settled
            await self._write_pending()
            if self._done < wanted:
                await settled.wait()
        problem = self._failed.pop(wanted, "") if ticket else next(iter(self._failed.values()), "")
        if problem:
            raise StorageError(f"audit log: {problem}; see to the storage")

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._write_pending()

    async def _write_pending(self) -> None:
        async with self._turn:
            while self._pending:
                batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
                tickets = [ticket for ticket, _ in batch]
                try:
                    with trio.CancelScope(shield=True):  # others' records are among them
                        await self._write([record for _, record in batch])
                    self.written += len(batch)
                    self.error = ""
                except Exception as error:  # of any class: a storage is anybody's, a head's name may be none
                    self._fail(tickets, line_of_error(error))
                finally:
                    self._done = max(self._done, *tickets)
                    settled, self._settled = self._settled, trio.Event()
                    settled.set()

    async def _write(self, records: list[str]) -> None:
        for _ in range(_TRIES):
            entries: list[AuditEntry] = []
            head = self._head
            for record in records:
                number = head.number + 1
                head = _Head(number, _hash(self._key, number, head.hash, record))
                entries.append(AuditEntry(number, record, entries[-1].hash if entries else self._head.hash, head.hash))
            written = {_key_of(each.number): msgspec.json.encode(each) for each in entries}
            if await self._storage.write(written, expect=dict.fromkeys(written, 0)) is not None:
                self._head = head
                await trio.to_thread.run_sync(_write_head, self._places.head, head)
                return
            self._head = await _newest(self._storage, self._head)  # another process has written meanwhile
        raise StorageError("audit log: others write to it all the time; try again")

    def _fail(self, tickets: list[int], problem: str) -> None:
        self.lost += len(tickets)
        self.error = problem
        self._failed.update(dict.fromkeys(tickets, problem))
        while len(self._failed) > _PENDING:
            del self._failed[next(iter(self._failed))]


async def read_entries(storage: Storage, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
    """Return entries as they are kept, which may be wrong; those that cannot be read are left out."""
    found = []
    async for _, entry in storage.scan(_PREFIX, after=_key_of(after) if after else "", limit=limit):
        try:
            found.append(msgspec.json.decode(entry.value, type=AuditEntry))
        except msgspec.DecodeError:
            continue
    return found


async def verify(storage: Storage, places: AuditPlaces) -> tuple[int, AuditProblem | None]:
    """Return how many entries of the log are in order, and what is wrong with the first that is not.

    Raises:
        StorageError: The key cannot be read.
    """
    head = await trio.to_thread.run_sync(_read_head, places.head)
    if head.number == 0 and not [name async for name, _ in storage.scan(_PREFIX, limit=1)]:
        return 0, None
    key = await trio.to_thread.run_sync(_read_key, places.key, False)
    number, previous, after, hash_at_head = 0, _FIRST, "", ""
    while True:
        count = 0
        async for name, entry in storage.scan(_PREFIX, after=after, limit=1000):
            count, after = count + 1, name
            problem = _problem(key, number + 1, previous, name, entry.value)
            if problem:
                return number, AuditProblem(number + 1, problem)
            number += 1
            previous = msgspec.json.decode(entry.value, type=AuditEntry).hash
            hash_at_head = previous if number == head.number else hash_at_head
        if count < 1000:
            break
    if number < head.number:
        return number, AuditProblem(number + 1, f"it is missing; the head tells of {head.number} entries")
    if head.number == 0:
        return number, AuditProblem(number, "the head is missing or cannot be read, so what came after is not known")
    if hash_at_head != head.hash:
        return head.number - 1, AuditProblem(head.number, "it is not the one that the head tells of")
    return number, None


def _problem(key: bytes, number: int, previous: str, name: str, value: bytes) -> str:
    """Return what is wrong with an entry; empty if nothing is."""
    if name != _key_of(number):
        return "it is missing"
    try:
        entry = msgspec.json.decode(value, type=AuditEntry)
    except msgspec.DecodeError:
        return "it cannot be read"
    if msgspec.json.encode(entry) != value or entry.number != number:
        return "it was changed"
    if entry.previous != previous:
        return "it does not follow the one before it"
    wanted = _hash(key, number, previous, entry.record)
    return "" if secrets.compare_digest(entry.hash.encode(), wanted.encode()) else "it was changed"


def _hash(key: bytes, number: int, previous: str, record: str) -> str:
    return blake3(f"{number}\n{previous}\n{record}".encode(), key=key).hexdigest()


def _key_of(number: int) -> str:
    return f"{_PREFIX}{number:016d}"


async def _newest(storage: Storage, known: _Head | None = None) -> _Head:
    """Return the newest entry's number and hash, looking from a known one on."""
    head = known or _Head(0, _FIRST)
    if known is None:  # by doubling and halving, since a scan only goes forward
        low, high = 0, 1
        while await storage.get(_key_of(high)) is not None:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await storage.get(_key_of(middle)) is not None else (low, middle)
        if low:
            head = await _head_of(storage, low)
    while await storage.get(_key_of(head.number + 1)) is not None:
        head = await _head_of(storage, head.number + 1)
    return head


async def _head_of(storage: Storage, number: int) -> _Head:
    entry = await storage.get(_key_of(number))
    try:
        return _Head(number, msgspec.json.decode(b"" if entry is None else entry.value, type=AuditEntry).hash)
    except msgspec.DecodeError as error:
        raise StorageError(f"audit log: entry {number} cannot be read; 'llmspell audit verify' tells more") from error


def _read_key(file: Path, may_make: bool) -> bytes:
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        if not may_make:
            raise StorageError(f"audit log: its key {file} is missing; put it back, or move the log away") from None
        key = secrets.token_bytes(32)
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as made:
                made.write(key.hex())
                made.flush()
                os.fsync(made.fileno())
        except FileExistsError:  # another process was first
            return _read_key(file, False)
        except OSError as error:
            raise StorageError(
                f"audit log: its key {file} cannot be written: {line_of_error(error)}; see to it"
            ) from error
    except (OSError, ValueError) as error:
        raise StorageError(f"audit log: its key {file} cannot be read: {line_of_error(error)}; put it back") from error
    if len(key) != 32:
        raise StorageError(f"audit log: its key {file} has {len(key)} bytes, not 32; put the right one back")
    return key


def _read_head(file: Path) -> _Head:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Head)
    except (OSError, msgspec.DecodeError):
        return _Head(0, _FIRST)


def _write_head(file: Path, head: _Head) -> None:
    """Replace the head, unless another writer has gone further."""
    beside = file.with_name(f"{file.name}.new")
    with open(file.with_name(f"{file.name}.lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _read_head(file).number >= head.number:
            return
        with open(beside, "wb") as made:
            made.write(msgspec.json.encode(head))
            made.flush()
            os.fsync(made.fileno())
        os.replace(beside, file)
