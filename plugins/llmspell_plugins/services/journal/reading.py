"""Reads journals: their heads, their records with paths, and whether they are whole.

Invariant: a record is taken for good only if its chunk follows the one before it and nothing in it was changed.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio
from msgspec import Struct

from llmspell_hookspecs import Storage
from llmspell_hookspecs.errors import ComponentNotFoundError, StorageError
from llmspell_hookspecs.journal import JournalReport, JournalRun

from .chunk import (
    HEADS,
    START,
    Head,
    chunk_key,
    hash_of,
    head_key,
    id_of,
    prefixes_of,
    read_chunk,
    read_head,
)
from .content import Content
from .record import Written

__all__ = ["Volume", "erase", "heads", "load", "paths_of", "run_of", "step_of", "verify"]

_AT_ONCE: Final = 100


class Volume(Struct, frozen=True):
    """A journal that was read.

    Attributes:
        id: Its id.
        head: What is known of it as a whole.
        records: In the order in which they were first seen.
        numbers: In which order each of them ended, from 1.
        blobs: What they need, by hash.
        report: Whether all that there should be is there.
    """

    id: str
    head: Head
    records: Sequence[Written]
    numbers: Sequence[int]
    blobs: dict[bytes, bytes]
    report: JournalReport


async def heads(storage: Storage) -> list[tuple[str, Head]]:
    """Return the heads of all journals that can be read, the newest first."""
    found: list[tuple[str, Head]] = []
    async for key, entry in storage.scan(HEADS, limit=sys.maxsize):
        id = id_of(key)
        try:
            found.append((id, read_head(entry.value, id)))
        except StorageError:
            found.append((id, Head(component="(cannot be read)")))
    found.sort(key=lambda each: -each[1].ended_s)
    return found


def run_of(id: str, head: Head) -> JournalRun:
    """Return what is told of a journal."""
    return JournalRun(
        id,
        head.session,
        head.component,
        head.began_s,
        head.ended_s,
        head.records,
        head.failed,
        head.lost,
        head.size_bytes,
    )


async def load(storage: Storage, id: str) -> Volume:
    """Return a journal, as far as it is whole.

    Raises:
        ComponentNotFoundError: There is none of this id.
        StorageError: Its head cannot be read.
    """
    entry = await storage.get(head_key(id))
    if entry is None:
        raise ComponentNotFoundError(f"journal {id}: there is none; see 'llmspell journal list'", address=id)
    head = read_head(entry.value, id)
    found: list[Written] = []
    previous, problem, path_id = START, "", ""
    for number in range(1, head.chunks + 1):
        chunk = await storage.get(chunk_key(id, number))
        if chunk is None:
            problem = f"chunk {number} is missing"
            break
        records, wrong = await trio.to_thread.run_sync(read_chunk, chunk.value, previous)
        found += records
        if wrong:
            problem = f"chunk {number}: {wrong}"
            break
        previous = hash_of(chunk.value)
    if not problem and previous != head.last:
        problem = "its head does not name the last chunk"
    if not problem and len(found) != head.records:
        problem = f"its head tells of {head.records} records, there are {len(found)}"
    blobs, changed = {}, set()
    async for key, blob in _blobs(storage, id):
        hashed = bytes.fromhex(key.rpartition("/")[2])
        blobs[hashed] = blob
        if hash_of(blob) != hashed:
            changed.add(hashed)
    order = sorted(range(len(found)), key=lambda index: found[index].order)
    records = [found[index] for index in order]
    if not problem:
        problem, path_id = await trio.to_thread.run_sync(_wrong_blob, found, blobs, changed)
    whole = len(found)
    path = ""
    if path_id:
        ids = [record.id for record in found]
        whole = ids.index(path_id)
        path = dict(zip((record.id for record in records), paths_of(records), strict=True))[path_id]
    numbers = [index + 1 for index in order]
    return Volume(id, head, records, numbers, blobs, JournalReport(id, whole, problem, path))


async def _blobs(storage: Storage, id: str) -> AsyncIterator[tuple[str, bytes]]:
    async for key, entry in storage.scan(prefixes_of(id)[1], limit=sys.maxsize):
        yield key, entry.value


def _wrong_blob(records: Sequence[Written], blobs: dict[bytes, bytes], changed: set[bytes]) -> tuple[str, str]:
    """Return what is wrong with the first record whose content is not what it was, and its operation."""
    for record in records:
        for content in _contents(record):
            for hashed in content.hashes:
                if hashed not in blobs:
                    return f"content of {record.address}, operation {record.id}, is missing", record.id
                if hashed in changed:
                    return f"content of {record.address}, operation {record.id}, was changed", record.id
    return "", ""


def _contents(record: Written) -> list[Content]:
    parts = [record.request, *(body.content for body in record.bodies), *(answer.content for answer in record.answers)]
    parts += [answer.subject for answer in record.answers if answer.subject is not None]
    return parts if record.left is None else [*parts, record.left]


def step_of(kind: str, component: str, digest: str) -> str:
    """Return the step of a path, but for its ordinal; a slash in a name is spelled as in a JSON pointer."""
    return f"{kind}:{component.replace('~', '~0').replace('/', '~1')}#{digest[:8]}"


def paths_of(records: Sequence[Written]) -> list[str]:
    """Return the path of each record; they come in the order in which they were first seen.

    What began in a body that has no record (the process was killed before it ended) is told as outermost, behind
    ``?``.
    """
    known: dict[str, str] = {}
    counts: dict[tuple[str, str], int] = {}
    found: list[str] = []
    for record in records:
        above = known.get(record.within, "?" if record.within else "")
        step = step_of(record.kind, record.component, record.digest)
        ordinal = counts[above, step] = counts.get((above, step), 0) + 1
        known[record.id] = path = f"{above}/{step}.{ordinal}"
        found.append(path)
    return found


async def verify(storage: Storage, id: str) -> JournalReport:
    """Return whether a journal is whole; raises `ComponentNotFoundError` if there is none."""
    try:
        return (await load(storage, id)).report
    except StorageError as error:
        return JournalReport(id, 0, str(error).removeprefix(f"journal {id}: "))


async def erase(storage: Storage, id: str) -> None:
    """Delete a journal: its head last, so that it can be deleted again if that is cut off."""
    for prefix in prefixes_of(id):
        while True:
            keys = [key async for key, _ in storage.scan(prefix, limit=_AT_ONCE)]
            if not keys:
                break
            await storage.write(dict.fromkeys(keys))
    await storage.write({head_key(id): None})
