"""Writes what ended: batches become chunks in a thread, and go to the storage with the heads of their journals.

An operation that has ended is handed over and forgotten. When 256 wait, or 100 ms after the first, they are encoded
beside the loop and written in one batch; a chunk holds 256 records at most. When too many wait, the next operations
wait before their bodies run: nothing is dropped for want of room. What the storage does not take is lost and counted.

Invariant: a journal's chunk and its head are written together, so that it is whole whatever ends the process. Two
processes may write one session's: who comes second reads the head again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import trio
from msgspec import Struct, structs

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import LlmspellError, StorageError, line_of_error
from llmspell_hookspecs.operation import EndedOperation

from .chunk import Head, blob_key, chunk_key, chunk_of, hash_of, head_key, read_head
from .content import Encoder
from .record import Watched, Written, packed, write_record
from .secrets import Secrets

__all__ = ["Item", "Writer"]

_CHUNK: Final = 256
_CHUNK_BYTES: Final = 256 * 1024
_BATCH: Final = 2048
_WAIT_S: Final = 0.1
_CLOSE_S: Final = 4.5
_OPEN: Final = 256
_TRIES: Final = 5


class Item(Struct, frozen=True, gc=False):
    """An operation that has ended: of which journal, whether that is a session's, how it ran, and when it ended."""

    id: str
    session: bool
    ended: EndedOperation
    watched: Watched
    at_s: float


class _Book(Struct):
    """A journal that is written to."""

    head: Head
    version: int
    encoder: Encoder


class Writer:
    """Writes until it is cancelled; then what waits, for 4.5 s at most.

    Args:
        open_storage: Returns where to.
        new_encoder: Returns an encoder for a journal.
        secrets: What none of them holds.
        most: How many may wait.
        plugins: With which versions it is written.
        content: What of operations is recorded.
        problem: Told once of what goes wrong, until it goes right again.
        full: Told when there is no room any more, and when there is.

    Attributes:
        written: How many are on record.
        lost: How many could not be recorded.
        error: Why the last ones could not; empty if they were.
        room: Set when there is room again; None while there is.
    """

    def __init__(
        self,
        open_storage: Callable[[], Awaitable[Storage]],
        new_encoder: Callable[[], Encoder],
        secrets: Secrets,
        most: int,
        plugins: str,
        content: str,
        problem: Callable[[LlmspellError], object],
        full: Callable[[bool], object],
    ) -> None:
        self.written = self.lost = 0
        self.error = ""
        self.room: trio.Event | None = None
        self._open_storage = open_storage
        self._new_encoder = new_encoder
        self._secrets = secrets
        self._most = most
        self._plugins = plugins
        self._content = content
        self._problem = problem
        self._full = full
        self._pending: list[Item] = []
        self._books: OrderedDict[str, _Book] = OrderedDict()
        self._missing: dict[str, int] = {}
        self._handed = self._settled = self._told = 0
        self._some, self._many, self._progress = trio.Event(), trio.Event(), trio.Event()
        self._hurry = self._closed = False
        self._scope = trio.CancelScope(shield=True)

    @property
    def waiting(self) -> int:
        """How many are not on record yet."""
        return self._handed - self._settled

    def add(self, item: Item) -> None:
        """Take an operation that has ended."""
        if self._closed:
            self.lost += 1
            return
        self._handed += 1
        self._pending.append(item)
        count = len(self._pending)
        if count == 1:
            self._some.set()
        elif count == _CHUNK:
            self._many.set()
        if self.room is None and self._handed - self._settled >= self._most:
            self.room = trio.Event()
            self._full(True)

    async def flush(self) -> None:
        """Wait until all that was handed over before is on record; see the contract's `Journal`."""
        await self.settle()
        if self.lost > self._told:
            lost, self._told = self.lost - self._told, self.lost
            raise StorageError(f"journal: {lost} operations were not recorded: {self.error}; see to the storage")

    async def settle(self) -> None:
        """Wait until all that was handed over before is on record, or lost."""
        wanted = self._handed
        await trio.lowlevel.checkpoint()
        while self._settled < wanted:
            self._hurry = True
            self._many.set()
            await self._progress.wait()

    async def run(self) -> None:
        """Write until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all)
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(_CLOSE_S, shield=True):
                    await self.settle()
                self._closed = True
                self._scope.cancel()
                if self._pending:
                    self._lose(self._pending, "the host closed")
                    self._pending = []

    async def _write_all(self) -> None:
        """Write batch after batch; a cancellation does not cut one off, since it would be lost."""
        with self._scope:
            while True:
                await self._some.wait()
                with trio.move_on_after(0 if self._hurry else _WAIT_S):
                    await self._many.wait()
                await self._write_pending()

    async def _write_pending(self) -> None:
        batch, self._pending = self._pending[:_BATCH], self._pending[_BATCH:]
        self._hurry = False
        if not self._pending:
            self._some, self._many = trio.Event(), trio.Event()
        try:
            await self._write(batch)
        except Exception as error:  # of any class: a storage is anybody's
            self._lose(batch, line_of_error(error).removeprefix("journal: ").removesuffix("; see to the storage"))
        else:
            self.error = ""
            self.written += len(batch)
        finally:
            self._settled += len(batch)
            progress, self._progress = self._progress, trio.Event()
            progress.set()
            if self.room is not None and self._handed - self._settled < self._most // 2:
                self.room.set()
                self.room = None
                self._full(False)

    def _lose(self, items: Sequence[Item], why: str) -> None:
        self.lost += len(items)
        for item in items:
            self._books.pop(item.id, None)  # nobody knows what of it was written
            if item.id in self._missing or len(self._missing) < _OPEN:
                self._missing[item.id] = self._missing.get(item.id, 0) + 1
        if not self.error:
            lost = len(items)
            self._problem(StorageError(f"journal: {lost} operations were not recorded: {why}; see to the storage"))
        self.error = why

    async def _write(self, batch: Sequence[Item]) -> None:
        storage = await self._open_storage()
        items: dict[str, list[Item]] = {}
        for item in batch:
            items.setdefault(item.id, []).append(item)
        await self._secrets.refresh()
        for left in range(_TRIES, 0, -1):
            books = {id: await self._book(storage, id) for id in items}
            changes, heads = await trio.to_thread.run_sync(self._pages, items, books)
            expect = {head_key(id): book.version for id, book in books.items()}
            versions = await storage.write(changes, expect=expect)
            if versions is not None:
                for id, book in books.items():
                    self._missing.pop(id, None)
                    book.head, book.version = heads[id], versions[head_key(id)]
                return
            for id in items:  # another process has written to one of them
                del self._books[id]
            if left == 1:
                break
        raise StorageError("journal: another process writes to it all the time; let one run at a time")

    async def _book(self, storage: Storage, id: str) -> _Book:
        book = self._books.get(id)
        if book is None:
            entry = await storage.get(head_key(id))
            head = Head(plugins=self._plugins) if entry is None else read_head(entry.value, id)
            book = self._books[id] = _Book(head, 0 if entry is None else entry.version, self._new_encoder())
            while len(self._books) > max(_OPEN, _BATCH):
                self._books.popitem(last=False)
        else:
            self._books.move_to_end(id)
        return book

    def _pages(
        self, items: dict[str, list[Item]], books: dict[str, _Book]
    ) -> tuple[dict[str, bytes | None], dict[str, Head]]:
        """Return what is to be written, and the heads as they are then; called in a thread."""
        changes: dict[str, bytes | None] = {}
        heads: dict[str, Head] = {}
        encoded = {id: _encoded(own, books[id].encoder) for id, own in items.items()}  # all: they tell of secrets
        whole = b"".join([each for id in items for each in (*encoded[id][1], *books[id].encoder.blobs.values())])
        tells = self._secrets.are_in(whole)  # asked once: most batches hold none
        del whole
        for id, own in items.items():
            records, texts = encoded[id]
            book = books[id]
            encoder, missing = book.encoder, self._missing.get(id, 0)
            if tells and self._secrets.are_in(b"".join([*texts, *encoder.blobs.values()])):
                encoder.drop()
                encoder.masks = True
                records, texts = _encoded(own, encoder)
                encoder.masks = False
            content = self._content if book.head.content in ("", self._content) else "mixed"
            head = structs.replace(book.head, lost=book.head.lost + missing, content=content)
            start = size_bytes = 0
            for end, text in enumerate(texts):
                if end > start and (end - start >= _CHUNK or size_bytes >= _CHUNK_BYTES):
                    head = _add_chunk(changes, id, head, texts[start:end])
                    start, size_bytes = end, 0
                size_bytes += len(text)
            head = _add_chunk(changes, id, head, texts[start:])
            blobs, encoder.blobs = encoder.blobs, {}
            for hashed, data in blobs.items():
                changes[blob_key(id, hashed)] = data
            head = structs.replace(head, size_bytes=head.size_bytes + sum(map(len, blobs.values())))
            heads[id] = head = _counted(head, own, records)
            changes[head_key(id)] = msgspec.msgpack.encode(head)
        return changes, heads


def _encoded(items: Sequence[Item], encoder: Encoder) -> tuple[list[Written], list[bytes]]:
    records = [write_record(item.ended, item.watched, item.at_s, encoder) for item in items]
    return records, [packed(record) for record in records]


def _add_chunk(changes: dict[str, bytes | None], id: str, head: Head, texts: Sequence[bytes]) -> Head:
    data = chunk_of(texts, head.last)
    changes[chunk_key(id, head.chunks + 1)] = data
    return structs.replace(
        head,
        chunks=head.chunks + 1,
        records=head.records + len(texts),
        last=hash_of(data),
        size_bytes=head.size_bytes + len(data),
    )


def _counted(head: Head, items: Sequence[Item], records: Sequence[Written]) -> Head:
    """Return the head with these records told of, but for where they lie."""
    component, session = head.component, items[-1].session
    failed = 0
    for item, record in zip(items, records, strict=True):
        if record.status != "completed":
            failed += 1
        if not record.within and (not component or not session) and not item.ended.operation.parent_id:
            component = record.address
    return structs.replace(
        head,
        session=session,
        component=component,
        began_s=head.began_s or records[0].at_s,
        ended_s=records[-1].at_s,
        failed=head.failed + failed,
    )
