"""Writes a chained log, in batches, and takes out its oldest entries on purpose.

Invariant: what `ChainLog.flush` has returned for is durable; numbers have no gap, also where several processes write.
Of what was taken out on purpose the seal is kept first, so that a kill in between leaves entries too many, never a log
that seems cut.
"""

from __future__ import annotations

from typing import Final

import msgspec
import trio
from msgspec import structs

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import StorageError, line_of_error

from .entry import FIRST, ChainEntry, ChainPlaces, Head, hash_of, is_sealed, read_head, read_key, seal_of, write_head

__all__ = ["ChainLog"]

_BATCH: Final = 1024
_PENDING: Final = 100_000
_TRIES: Final = 100
_SHORT_BYTES: Final = 64 * 1024
"""How much is hashed on the loop."""


class ChainLog:
    """Writes the log; use `load` first, and `run` in a task.

    Args:
        storage: Keeps it.
        places: Where it is.

    Attributes:
        written: How many records are kept.
        lost: How many could not be.
        error: Why the last one could not; empty if it was kept.
    """

    def __init__(self, storage: Storage, places: ChainPlaces) -> None:
        self.written = self.lost = 0
        self.error = ""
        self._storage = storage
        self._places = places
        self._key = b""
        self._head = Head(0, FIRST)
        self._pending: list[tuple[int, str]] = []
        self._asked = self._done = self._told = 0
        self._failed: dict[int, str] = {}
        self._wake, self._settled = trio.Event(), trio.Event()
        self._turn = trio.Lock()

    @property
    def last(self) -> int:
        """The number of the newest entry, as far as this process knows."""
        return self._head.number

    @property
    def base(self) -> int:
        """The number of the last entry that was taken out on purpose."""
        return self._head.base

    async def load(self) -> None:
        """Read the key and find the newest entry.

        Raises:
            StorageError: The key is gone while there are entries, or something cannot be read.
        """
        head = await trio.to_thread.run_sync(read_head, self._places.head)
        newest = await self._newest(0, FIRST)
        self._key = await trio.to_thread.run_sync(read_key, self._places, newest.number == 0)
        if is_sealed(self._key, head):  # else nothing is known to be taken out, and `verify` says what is wrong
            newest = structs.replace(newest, base=head.base, base_hash=head.base_hash, seal=head.seal)
        if head.number > newest.number:  # its end was cut: it goes on behind the gap, which so stays to be found
            newest = structs.replace(newest, number=head.number, hash=head.hash)
        self._head = newest

    def append(self, record: str) -> int:
        """Take a record in, to be written soon; returns a ticket for `flush`."""
        self._asked += 1
        if len(self._pending) >= _PENDING:
            self._fail([self._asked], "the log cannot be written as fast as it grows")
        else:
            self._pending.append((self._asked, record))
        self._wake.set()
        return self._asked

    async def flush(self, ticket: int = 0) -> None:
        """Wait until the record of a ticket, or all so far, are kept.

        Raises:
            StorageError: They could not be; without a ticket, of those that no such call was told of before.
        """
        wanted = ticket or self._asked
        while self._done < wanted:
            settled = self._settled
            await self._write_pending()
            if self._done < wanted:
                await settled.wait()
        if ticket:
            problem = self._failed.pop(ticket, "")
        else:  # who asks for one of them later is told of it, too
            untold = (each for at, each in self._failed.items() if self._told < at <= wanted)
            problem, self._told = next(untold, ""), max(self._told, wanted)
        if problem:
            raise StorageError(f"{self._places.name}: {problem}; see to the storage")

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await self._write_pending()

    async def prune(self, upto: int) -> int:
        """Take out all entries up to this number, but for the newest; returns how many.

        Raises:
            StorageError: One of them cannot be read, or they cannot be taken out.
        """
        async with self._turn:
            old, upto = self._head.base, min(upto, self._head.number - 1)
            if upto <= old:
                return 0
            found = await self._head_of(upto)
            sealed = structs.replace(
                self._head, base=upto, base_hash=found.hash, seal=seal_of(self._key, upto, found.hash)
            )
            with trio.CancelScope(shield=True):  # half of it would be done again, and be no harm, but told as a failure
                try:
                    await trio.to_thread.run_sync(write_head, self._places.head, sealed)
                except OSError as error:
                    raise StorageError(f"{self._places.name}: {line_of_error(error)}; see to the head") from error
                self._head = sealed
                for first in range(old + 1, upto + 1, _BATCH):
                    numbers = range(first, min(first + _BATCH, upto + 1))
                    await self._storage.write({self._places.key_of(number): None for number in numbers})
            return upto - old

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
        large = sum(map(len, records)) > _SHORT_BYTES
        for _ in range(_TRIES):
            if large:
                head, written = await trio.to_thread.run_sync(self._chained, records)
            else:
                head, written = self._chained(records)
            if await self._storage.write(written, expect=dict.fromkeys(written, 0)) is not None:
                self._head = head
                await trio.to_thread.run_sync(write_head, self._places.head, head)
                return
            newest = await self._newest(self._head.number, self._head.hash)  # another process has written meanwhile
            self._head = structs.replace(self._head, number=newest.number, hash=newest.hash)
        raise StorageError(f"{self._places.name}: others write to it all the time; try again")

    def _chained(self, records: list[str]) -> tuple[Head, dict[str, bytes]]:
        """Return the head behind these records, and their entries as they are stored."""
        number, previous = self._head.number, self._head.hash
        written: dict[str, bytes] = {}
        for record in records:
            number += 1
            entry = ChainEntry(number, record, previous, hash_of(self._key, number, previous, record))
            written[self._places.key_of(number)] = msgspec.json.encode(entry)
            previous = entry.hash
        return structs.replace(self._head, number=number, hash=previous), written

    def _fail(self, tickets: list[int], problem: str) -> None:
        self.lost += len(tickets)
        self.error = problem
        self._failed.update(dict.fromkeys(tickets, problem))
        while len(self._failed) > _PENDING:
            del self._failed[next(iter(self._failed))]

    async def _newest(self, number: int, hash: str) -> Head:
        """Return the newest entry's number and hash, looking behind a known one: a scan only goes forward."""
        key_of = self._places.key_of
        after = key_of(number) if number else ""
        first = [name async for name, _ in self._storage.scan(self._places.prefix, after=after, limit=1)]
        if not first:
            return Head(number, hash)
        low, step = self._number_of(first[0]), 1
        while await self._storage.get(key_of(low + step)) is not None:
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._storage.get(key_of(middle)) is not None else (low, middle)
        return await self._head_of(low)

    def _number_of(self, name: str) -> int:
        try:
            return int(name.removeprefix(self._places.prefix))
        except ValueError as error:
            told = f"{self._places.name}: {name[:80]!r} is no entry of it; '{self._places.verb}' tells more"
            raise StorageError(told) from error

    async def _head_of(self, number: int) -> Head:
        entry = await self._storage.get(self._places.key_of(number))
        try:
            return Head(number, msgspec.json.decode(b"" if entry is None else entry.value, type=ChainEntry).hash)
        except msgspec.DecodeError as error:
            told = f"{self._places.name}: entry {number} cannot be read; '{self._places.verb}' tells more"
            raise StorageError(told) from error
